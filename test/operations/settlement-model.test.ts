/**
 * Settlement against what it promises: real purses, real store, real counting processes, in random interleavings of
 * minting, calling, telling, losing, lying, crashing, revoking and time. Nobody's word and nobody's silence ever lets the
 * calls that are permitted pass the limit; and where nobody crashed or lost a word, nothing of it is lost.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { Denied } from '../../src/domain/denial.ts';
import type { JsonObject } from '../../src/domain/json.ts';
import { leftOf, Purse } from '../../src/domain/limits.ts';
import type { Mission } from '../../src/domain/mission.ts';
import type { AudiencePolicy, TemplateDocument } from '../../src/domain/policy.ts';
import type { Statement } from '../../src/domain/settlement.ts';
import { planToken } from '../../src/operations/mint.ts';
import { settle } from '../../src/operations/settle.ts';
import { type Ports, type Store, type VerifierPolicy, WriteConflict } from '../../src/ports.ts';
import { Allotments } from '../../src/sdk/resource/allotments.ts';
import { openSqliteStore } from '../../src/store/sqlite.ts';
import { child, mission, nextId } from '../store/records.ts';

const RUNS = Number(process.env['SORTIE_PROPERTY_RUNS'] ?? 60);
vi.setConfig({ testTimeout: 60_000 + RUNS * 1000 });

const ERP = 'https://erp.example.com';
const MAIL = 'https://mail.example.com';
/** Two verifiers share one audience. */
const VERIFIERS: readonly (VerifierPolicy & { readonly processes: number })[] = [
  { id: 'erp', audience: ERP, processes: 2 },
  { id: 'erp-batch', audience: ERP, processes: 1 },
  { id: 'mail', audience: MAIL, processes: 1 },
];
/** Of the root; the child has its own beside it. */
const LIMIT = 24;
const CHILD_LIMIT = 15;
const TTL = 40;
/** Nothing is asked of it here. */
const TEMPLATE = { bearer_audiences: [], deliver_audiences: [] } as unknown as TemplateDocument;

interface Token {
  readonly jti: string;
  readonly iat: number;
  readonly exp: number;
  readonly limits: JsonObject;
  readonly audience: string;
  readonly path: readonly string[];
}

interface Process {
  readonly verifier: VerifierPolicy;
  readonly allotments: Allotments;
  readonly run_id: string;
  /** Of its clock against the broker's. */
  readonly skew: number;
  /** The newest time of the broker that it heard. */
  heard: number;
  pending: Statement | null;
}

let folder: string;
let store: Store;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sortie-settlement-'));
  store = await openSqliteStore({ path: join(folder, 'sortie.db') });
});
afterAll(async () => {
  await store.close();
  rmSync(folder, { recursive: true });
});

class World {
  now = 1_790_000_000;
  readonly root: Mission = mission({
    token_ttl_seconds: TTL,
    created_at: this.now,
    expires_at: this.now + 20_000,
  });
  readonly below: Mission = child(this.root, { token_ttl_seconds: TTL });
  readonly tokens: Token[] = [];
  readonly processes: Process[];
  /** Statements that are on their way, or will come again. */
  readonly sent: { readonly verifier: VerifierPolicy; readonly statement: Statement }[] = [];
  /** Permitted under each mission, at each audience. */
  readonly permitted = new Map<string, number>();
  readonly liars = new Set<string>();
  /** The most that an audience was ever seen to hold, whatever the store says of it later. */
  readonly peaks = new Map<string, number>();
  /** Somebody crashed, or a word was lost for good. */
  lost = false;

  readonly #ports: Ports;
  #runs = 0;

  constructor(skews: readonly number[]) {
    const audiences = [ERP, MAIL].map(
      (resource) => ({ resource, token_alg: 'ES256', reserved: false }) as unknown as AudiencePolicy,
    );
    const policy = { issuer: 'https://sortie.test', audiences, verifiers: VERIFIERS, max_token_seconds: 900 };
    this.#ports = {
      store,
      clock: { now: () => this.now },
      chance: { id: nextId },
      policy: () => policy,
    } as unknown as Ports;
    this.processes = VERIFIERS.flatMap((verifier) =>
      Array.from({ length: verifier.processes }, (_, index) => this.#started(verifier, skews[index] ?? 0)),
    );
  }

  #started(verifier: VerifierPolicy, skew: number): Process {
    const started_at = Math.max(this.now, this.now + skew);
    this.#runs++;
    return {
      verifier,
      skew,
      heard: this.now,
      run_id: `run-${this.root.id}-${this.#runs}`,
      pending: null,
      allotments: new Allotments(
        () => started_at,
        () => 1,
        100,
      ),
    };
  }

  async open(): Promise<this> {
    await store.atomically([
      { kind: 'insert_mission', mission: this.root },
      { kind: 'insert_mission', mission: this.below },
    ]);
    return this;
  }

  async mint(below: boolean, audience: string): Promise<Token | null> {
    const own = below ? this.below : this.root;
    const account = async (one: Mission, max_calls: number) => ({
      mission_id: one.id,
      limits: { max_calls },
      allowances: await store.allowances(one.id),
    });
    const root = await account(this.root, LIMIT);
    const purse = new Purse(below ? [root, await account(this.below, CHILD_LIMIT)] : [root]);
    try {
      const { claims, credential, write, reserves } = planToken(this.#ports, {
        // Near its end, so that tokens are few and allotments large.
        mission: { ...own, expires_at: this.now + TTL },
        template: TEMPLATE,
        audience: { resource: audience, token_alg: 'ES256', reserved: false } as unknown as AudiencePolicy,
        authority: [],
        cap_at: null,
        purse,
        now: this.now,
      });
      await store.atomically([{ kind: 'require_active', id: own.id, at: this.now }, write, ...reserves]);
      const token: Token = {
        jti: credential.id,
        iat: claims.iat,
        exp: claims.exp,
        limits: claims.limits ?? {},
        audience,
        path: own.path,
      };
      this.tokens.push(token);
      return token;
    } catch (cause) {
      if (cause instanceof Denied || cause instanceof WriteConflict) return null;
      throw cause;
    }
  }

  /** As a guard judges it: by its own clock, in its own process. */
  call(token: Token, { allotments, verifier, skew }: Process): boolean {
    const now = this.now + skew;
    if (token.audience !== verifier.audience || token.exp <= now || token.iat > now + 60) return false;
    if (allotments.take(token, 0, now) !== null) return false;
    for (const id of token.path) {
      const key = `${id} ${token.audience}`;
      this.permitted.set(key, (this.permitted.get(key) ?? 0) + 1);
    }
    return true;
  }

  async tell(one: Process, through: number, fate: 'arrives' | 'late' | 'twice' | 'refused'): Promise<void> {
    one.pending ??= one.allotments.statement(one.run_id, through, one.heard);
    const { verifier, pending: statement } = one;
    if (statement === null) return;
    if (fate === 'refused') this.lost = true;
    else this.sent.push({ verifier, statement });
    if (fate === 'arrives' || fate === 'twice') await this.deliver(this.sent.length - 1);
    if (fate === 'twice') await this.deliver(this.sent.length - 1);
    // A late one has not been answered yet: it is said again until it is.
    if (fate === 'late') return;
    one.allotments.told(statement);
    one.pending = null;
  }

  async deliver(index: number): Promise<void> {
    const found = this.sent[index % Math.max(1, this.sent.length)];
    if (found) await settle(this.#ports, found.verifier, found.statement as unknown as JsonObject);
  }

  /** Says that nothing was ever spent, in the name of a run that there never was. */
  async lie(verifier: VerifierPolicy): Promise<void> {
    this.liars.add(verifier.audience);
    this.#runs++;
    const run_id = `lie-${this.root.id}-${this.#runs}`;
    const statement = { run_id, since: 0, alive_at: 9e15, from: 0, through: 9e15, spent: [] };
    await settle(this.#ports, verifier, statement);
  }

  replace(at: number): void {
    const { verifier, skew } = this.processes[at] as Process;
    this.processes[at] = this.#started(verifier, skew);
  }

  /** What counts against a mission's limit: calls where nobody lied, and all that a liar's audience ever held at once. */
  async counted(one: Mission): Promise<number> {
    const [allowance] = await store.allowances(one.id);
    let sum = 0;
    for (const audience of [ERP, MAIL]) {
      const held = allowance?.claims.find((claim) => claim.audience === audience)?.held ?? 0;
      const key = `${one.id} ${audience}`;
      const most = Math.max(this.peaks.get(key) ?? 0, held);
      this.peaks.set(key, most);
      sum += this.liars.has(audience) ? most : (this.permitted.get(key) ?? 0);
    }
    return sum;
  }

  async hold(): Promise<void> {
    expect(await this.counted(this.root)).toBeLessThanOrEqual(LIMIT);
    expect(await this.counted(this.below)).toBeLessThanOrEqual(CHILD_LIMIT);
  }

  /** Whatever can still be had is taken: what was given back wrongly is permitted now. */
  async drain(): Promise<void> {
    for (let round = 0; round < 6; round++) {
      for (const at of [ERP, MAIL]) {
        const token = await this.mint(round % 2 === 1, at);
        if (token) this.spend(token, LIMIT);
      }
      await this.hold();
      this.pass(TTL + 5, true);
      for (let at = 0; at < this.sent.length; at++) await this.deliver(at);
      for (const one of this.processes)
        await this.tell(one, Math.min(this.now + one.skew - 1, one.heard), 'arrives');
    }
  }

  /** By every process, as often as it permits. */
  spend(token: Token, times: number): void {
    for (const one of this.processes) for (let time = 0; time < times; time++) this.call(token, one);
  }

  /** Time passes for those who run: each hears of it, sooner or later. */
  pass(seconds: number, heard: boolean): void {
    this.now += seconds;
    if (heard) for (const one of this.processes) one.heard = this.now;
  }
}

const index = fc.nat({ max: 1000 });
const audience = fc.constantFrom(ERP, ERP, MAIL);
const fate = fc.constantFrom('arrives', 'arrives', 'late', 'twice', 'refused') as fc.Arbitrary<
  'arrives' | 'late' | 'twice' | 'refused'
>;
const harmless = [
  { weight: 5, arbitrary: fc.record({ do: fc.constant('mint' as const), below: fc.boolean(), audience }) },
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('call' as const),
      token: index,
      process: index,
      times: fc.nat(9),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('pass' as const),
      seconds: fc.integer({ min: 1, max: 50 }),
      heard: fc.boolean(),
    }),
  },
];
const told = { weight: 4, arbitrary: fc.record({ do: fc.constant('tell' as const), process: index, fate }) };
const harmful = [
  told,
  { weight: 2, arbitrary: fc.record({ do: fc.constant('deliver' as const), statement: index }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('crash' as const), process: index }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('stop' as const), process: index, fate }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('revoke' as const) }) },
];
const lying = { weight: 2, arbitrary: fc.record({ do: fc.constant('lie' as const), verifier: index }) };
const skews = fc.array(fc.integer({ min: -25, max: 25 }), { minLength: 2, maxLength: 2 });

type Drawn<T> = T extends fc.Arbitrary<infer Value> ? Value : never;
type Step =
  | Drawn<(typeof harmless)[number]['arbitrary']>
  | Drawn<(typeof harmful)[number]['arbitrary']>
  | Drawn<typeof lying.arbitrary>;

async function step(world: World, one: Step): Promise<void> {
  const processAt = (at: number) => world.processes[at % world.processes.length] as Process;
  switch (one.do) {
    case 'mint':
      await world.mint(one.below, one.audience);
      return;
    case 'call': {
      const token = world.tokens.at(-1 - (one.token % 3));
      if (token && one.times === 9) world.spend(token, LIMIT);
      else if (token) for (let time = 0; time < one.times; time++) world.call(token, processAt(one.process));
      return;
    }
    case 'pass':
      return world.pass(one.seconds, one.heard);
    case 'tell': {
      const speaker = processAt(one.process);
      return world.tell(speaker, Math.min(world.now + speaker.skew - 1, speaker.heard), one.fate);
    }
    case 'deliver':
      return world.deliver(one.statement);
    case 'crash':
      world.lost = true;
      return world.replace(one.process % world.processes.length);
    case 'stop':
      await world.tell(processAt(one.process), Number.MAX_SAFE_INTEGER, one.fate);
      return world.replace(one.process % world.processes.length);
    case 'revoke': {
      const [write] = [
        { kind: 'transition', id: world.below.id, event: 'revoke', at: world.now, reason: 'r' } as const,
      ];
      await store.atomically([write]).catch((cause: unknown) => {
        if (!(cause instanceof WriteConflict)) throw cause;
      });
      return;
    }
    case 'lie':
      return world.lie(VERIFIERS[one.verifier % VERIFIERS.length] as VerifierPolicy);
  }
}

async function live(world: World, steps: readonly Step[]): Promise<void> {
  await world.open();
  for (const one of steps) {
    await step(world, one);
    await world.hold();
  }
  await world.drain();
  await world.hold();
}

describe('settlement', () => {
  it('never lets the permitted calls pass a limit, whoever crashes, repeats, delays or loses a word', async () => {
    await fc.assert(
      fc.asyncProperty(
        skews,
        fc.array(fc.oneof(...harmless, ...harmful), { minLength: 20, maxLength: 80 }),
        async (skew, steps) => live(new World(skew), steps as Step[]),
      ),
      { numRuns: RUNS },
    );
  });

  it('takes nothing from others when a verifier lies: its lies are spent at its own audience', async () => {
    await fc.assert(
      fc.asyncProperty(
        skews,
        fc.array(fc.oneof(...harmless, ...harmful, lying), { minLength: 20, maxLength: 80 }),
        async (skew, steps) => live(new World(skew), steps as Step[]),
      ),
      { numRuns: RUNS },
    );
  });

  it('loses nothing where nobody crashed and every word came: the whole limit can be used', async () => {
    await fc.assert(
      fc.asyncProperty(
        skews,
        fc.array(fc.oneof(...harmless), { minLength: 5, maxLength: 40 }),
        async (skew, steps) => {
          const world = new World(skew);
          // What was minted while a process started is not its own to spend.
          world.pass(60, true);
          await live(world, steps as Step[]);
          // Two lives of a token later everything is over, and told.
          world.pass(2 * TTL + 60, true);
          const settleAll = async () => {
            for (const one of world.processes)
              await world.tell(one, Math.min(world.now + one.skew - 1, one.heard), 'arrives');
          };
          await settleAll();
          const [before] = await store.allowances(world.root.id);
          const permitted = (uri: string) => world.permitted.get(`${world.root.id} ${uri}`) ?? 0;
          for (const { audience: uri, held } of before?.claims ?? []) expect(held).toBe(permitted(uri));
          // What is left is used up, token by token, until less is left than there are processes.
          for (const uri of [ERP, MAIL])
            for (
              let token = await world.mint(false, uri);
              token !== null;
              token = await world.mint(false, uri)
            ) {
              for (const one of world.processes)
                for (let time = 0; time < LIMIT; time++) world.call(token, one);
            }
          const [after] = await store.allowances(world.root.id);
          if (after === undefined) return;
          expect(leftOf(after, MAIL)).toBe(0);
          expect(leftOf(after, ERP)).toBeLessThan(3);
          await world.hold();
        },
      ),
      { numRuns: RUNS },
    );
  });
});
