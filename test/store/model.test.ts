/** The store against a model a person can check: random lives, versions, counters and trees. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { verifyChain } from '../../src/domain/audit.ts';
import { type Mission, type MissionEvent, type MissionState, nextState } from '../../src/domain/mission.ts';
import { type Conflict, type Selector, type Store, type Write, WriteConflict } from '../../src/ports.ts';
import { openSqliteStore } from '../../src/store/sqlite.ts';
import { audit, child, mission, NOW } from './records.ts';

const EVENTS = ['suspend', 'resume', 'revoke', 'complete', 'expire'] as const;
const TEMPLATES = ['alpha', 'beta'] as const;
const RULES = ['first', 'second'] as const;

interface Life {
  readonly id: string;
  readonly path: readonly string[];
  readonly template: string;
  readonly rule: string;
  readonly max_derivations: number | null;
  state: MissionState;
  version: number;
  expires_at: number;
  derivations: number;
}

/** What the port promises, in the fewest words. */
class Model {
  lives = new Map<string, Life>();

  copy(): Model {
    const copy = new Model();
    for (const [id, life] of this.lives) copy.lives.set(id, { ...life });
    return copy;
  }

  /** @returns the conflict, or null after the write took effect. */
  apply(write: Write): Conflict | null {
    switch (write.kind) {
      case 'insert_mission':
        return this.insert(write.mission);
      case 'require_active': {
        const life = this.lives.get(write.id);
        return life === undefined || !this.active(life, write.at) ? 'mission_not_active' : null;
      }
      case 'require_active_below':
        return this.live(write.template_id, write.at) < write.max ? null : 'max_active_reached';
      case 'derive': {
        const life = this.lives.get(write.id);
        if (life === undefined || !this.active(life, write.at)) return 'mission_not_active';
        if (life.version !== write.version) return 'wrong_version';
        if (life.max_derivations !== null && life.derivations >= life.max_derivations) {
          return 'derivations_exhausted';
        }
        life.derivations += 1;
        return this.countAbove(life.path, 1);
      }
      case 'transition': {
        const life = this.lives.get(write.id);
        if (life === undefined) return 'mission_not_found';
        if (write.expected_version !== undefined && life.version !== write.expected_version) {
          return 'wrong_version';
        }
        if (life.expires_at <= write.at && write.event !== 'expire') return 'wrong_state';
        return this.step(life, write.event) ? null : 'wrong_state';
      }
      case 'transition_all':
        for (const life of this.selected(write.selector, write.event)) {
          if (write.event === 'resume' && life.expires_at <= write.at) continue;
          this.step(life, write.event);
        }
        return null;
      case 'contain': {
        const life = this.lives.get(write.id);
        if (life === undefined) return 'mission_not_found';
        if (life.version !== write.expected_version) return 'wrong_version';
        const live = life.state === 'active' || life.state === 'suspended';
        if (!live || life.expires_at <= write.at) return 'wrong_state';
        life.version += 1;
        life.expires_at = Math.min(life.expires_at, write.expires_at);
        return null;
      }
      default:
        return null;
    }
  }

  live(template: string, at: number): number {
    return [...this.lives.values()].filter(
      (life) =>
        life.template === template &&
        (life.state === 'active' || life.state === 'suspended') &&
        life.expires_at > at,
    ).length;
  }

  private active(life: Life, at: number): boolean {
    return life.state === 'active' && life.expires_at > at;
  }

  private insert(made: Mission): Conflict | null {
    for (const id of made.path.slice(0, -1)) {
      const above = this.lives.get(id);
      if (above === undefined || !this.active(above, made.created_at)) return 'mission_not_active';
    }
    this.lives.set(made.id, {
      id: made.id,
      path: made.path,
      template: made.template.id,
      rule: made.rule,
      max_derivations: made.max_derivations,
      state: made.state,
      version: made.version,
      expires_at: made.expires_at,
      derivations: made.derivations,
    });
    return this.countAbove(made.path, made.derivations);
  }

  /** Tokens of a mission count against every limited mission above it. */
  private countAbove(path: readonly string[], amount: number): Conflict | null {
    for (const id of path.slice(0, -1)) {
      const above = this.lives.get(id);
      if (above === undefined || above.max_derivations === null) continue;
      above.derivations += amount;
      if (above.derivations > above.max_derivations) return 'derivations_exhausted';
    }
    return null;
  }

  private step(life: Life, event: MissionEvent): boolean {
    const to = nextState(life.state, event);
    if (to === null) return false;
    life.state = to;
    life.version += 1;
    if (to === 'active' || to === 'suspended') return true;
    for (const below of this.lives.values()) {
      if (below.id === life.id || !below.path.includes(life.id)) continue;
      if (below.state !== 'active' && below.state !== 'suspended') continue;
      below.state = 'cascaded';
      below.version += 1;
    }
    return true;
  }

  /** Selected ones only: what is below them follows by cascading. */
  private selected(selector: { readonly kind: string; readonly key: string }, event: MissionEvent): Life[] {
    const all = [...this.lives.values()];
    switch (selector.kind) {
      case 'template':
        return all.filter(({ template }) => template === selector.key);
      case 'rule':
        return all.filter(({ rule }) => rule === selector.key);
      case 'mission':
        return all.filter(({ id }) => id === selector.key);
      case 'mission_tree': {
        const wholeTree = event === 'suspend' || event === 'resume';
        return all.filter(({ id, path }) => (wholeTree ? path.includes(selector.key) : id === selector.key));
      }
      default:
        throw new Error(`the model has no ${selector.kind}`);
    }
  }
}

/** One step as drawn: numbers pick among what exists by then. */
const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant('create'), pick: fc.nat(), life: fc.nat(90) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('child'), pick: fc.nat(), life: fc.nat(90) }) },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('transition'),
      pick: fc.nat(),
      event: fc.constantFrom(...EVENTS),
      life: fc.nat(3),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('bulk'), pick: fc.nat(), event: fc.constantFrom(...EVENTS) }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('contain'), pick: fc.nat(), life: fc.nat(90) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('derive'), pick: fc.nat() }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('wait'), pick: fc.nat(30) }) },
);
type Step = {
  readonly do: string;
  readonly pick: number;
  readonly life?: number;
  readonly event?: (typeof EVENTS)[number];
};

function pickFrom<T>(list: readonly T[], at: number): T | null {
  return list[at % Math.max(1, list.length)] ?? null;
}

function writesOf(drawn: Step, known: readonly Mission[], model: Model, now: number): Write[] {
  const target = pickFrom(known, drawn.pick);
  const life = target === null ? undefined : model.lives.get(target.id);
  const expires_at = now + 1 + (drawn.life ?? 0);
  switch (drawn.do) {
    case 'create':
    case 'child': {
      const over = {
        created_at: now,
        expires_at,
        template: { id: pickFrom(TEMPLATES, drawn.pick) ?? 'alpha', version: '1', hash: 'h' },
        rule: pickFrom(RULES, drawn.pick >> 1) ?? 'first',
        max_derivations: drawn.pick % 3 === 0 ? 2 : null,
      };
      const made = drawn.do === 'child' && target !== null ? child(target, over) : mission(over);
      return [
        { kind: 'require_active_below', template_id: made.template.id, max: 4, at: now },
        { kind: 'insert_mission', mission: made },
      ];
    }
    case 'transition':
      return [
        {
          kind: 'transition',
          id: target?.id ?? 'msn_none',
          event: drawn.event ?? 'revoke',
          at: now,
          reason: 'r',
          ...(drawn.life === 0 ? { expected_version: 1 } : {}),
        },
      ];
    case 'bulk': {
      const selectors: Selector[] = [
        { kind: 'template', key: pickFrom(TEMPLATES, drawn.pick) ?? 'alpha' },
        { kind: 'rule', key: pickFrom(RULES, drawn.pick) ?? 'first' },
        { kind: 'mission', key: target?.id ?? 'msn_none' },
        { kind: 'mission_tree', key: target?.id ?? 'msn_none' },
      ];
      const selector = pickFrom(selectors, drawn.pick >> 2);
      if (selector === null) return [];
      return [{ kind: 'transition_all', selector, event: drawn.event ?? 'revoke', at: now, reason: 'r' }];
    }
    case 'contain':
      return [
        {
          kind: 'contain',
          id: target?.id ?? 'msn_none',
          at: now,
          expected_version: drawn.pick % 4 === 0 ? 1 : (life?.version ?? 1),
          containments: [],
          expires_at,
        },
      ];
    case 'derive':
      return [
        { kind: 'require_active', id: target?.id ?? 'msn_none', at: now },
        {
          kind: 'derive',
          id: target?.id ?? 'msn_none',
          at: now,
          version: drawn.pick % 5 === 0 ? 1 : (life?.version ?? 1),
          attested: drawn.pick % 2 === 0,
        },
      ];
    default:
      return [];
  }
}

async function outcomeOf(store: Store, writes: readonly Write[]): Promise<[Conflict, number] | null> {
  try {
    await store.atomically(writes);
    return null;
  } catch (error) {
    if (error instanceof WriteConflict) return [error.conflict, error.index];
    throw error;
  }
}

/** A group on the model: all of its writes, or the first conflict and none. */
function expectedOf(model: Model, writes: readonly Write[]): [Model, [Conflict, number] | null] {
  const after = model.copy();
  for (const [index, write] of writes.entries()) {
    const conflict = after.apply(write);
    if (conflict !== null) return [model, [conflict, index]];
  }
  return [after, null];
}

describe('the store lives as its model does', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'sortie-model-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it('whatever happens in whatever order: states, versions, counters, trees, conflicts', async () => {
    let runs = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 80 }), async (steps) => {
        runs += 1;
        const store = await openSqliteStore({ path: join(folder, `${runs}.db`), segment_records: 7 });
        try {
          let model = new Model();
          let now = NOW;
          const known: Mission[] = [];
          for (const drawn of steps as Step[]) {
            if (drawn.do === 'wait') now += drawn.pick;
            const writes = [...writesOf(drawn, known, model, now), audit('step')];
            // First with a failure at its end: nothing of it may stay.
            const failing = [...writes, { kind: 'require_active', id: 'msn_none', at: now } as const];
            const [, failure] = expectedOf(model, failing);
            expect(await outcomeOf(store, failing)).toEqual(failure);
            const [after, conflict] = expectedOf(model, writes);
            expect(await outcomeOf(store, writes), JSON.stringify(drawn)).toEqual(conflict);
            model = after;
            for (const write of writes) {
              if (write.kind === 'insert_mission' && conflict === null) known.push(write.mission);
            }
          }
          for (const life of model.lives.values()) {
            const { state, version, expires_at, derivations } = life;
            expect(await store.mission(life.id)).toMatchObject({ state, version, expires_at, derivations });
          }
          for (const template_id of TEMPLATES) {
            const live = model.live(template_id, now);
            const below = (max: number): Write => ({
              kind: 'require_active_below',
              template_id,
              max,
              at: now,
            });
            expect(await outcomeOf(store, [below(live + 1)])).toBeNull();
            expect(await outcomeOf(store, [below(live)])).toEqual(['max_active_reached', 0]);
          }
          const due = await store.missionsDue(now, 1000);
          const overdue = [...model.lives.values()].filter(
            ({ state, expires_at }) => (state === 'active' || state === 'suspended') && expires_at <= now,
          );
          expect([...due.expired].sort()).toEqual(overdue.map(({ id }) => id).sort());
          const records = await store.auditRecords({ limit: 1000 });
          expect(verifyChain(records, await store.auditSegments())).toMatchObject({ ok: true });
        } finally {
          await store.close();
        }
      }),
      { numRuns: 25 },
    );
  }, 120_000);
});
