/**
 * Destinations that recurring missions used before (`behaviour/history.ts`): learned here from missions that ended
 * clean, told to guards where the mission's template turns history on. Learning never holds up a mission: it looks at
 * what was reported some seconds after the end, and what a crash loses is not learned.
 */
import {
  type DeliveredHistory,
  type DestinationHistory,
  type EndedMission,
  forgetSince,
  learn,
  vouchedDestinations,
} from '../behaviour/history.ts';
import { Denied } from '../domain/denial.ts';
import type { Mission } from '../domain/mission.ts';
import type { KeptDecision } from '../domain/reports.ts';
import { type HistoryScope, type HistorySummary, type Ports, type Write, WriteConflict } from '../ports.ts';
import { missionBehaviour } from './mission-behaviour.ts';

const TRIES = 3;
/** Batches of reports about one mission that are read; a mission with more teaches nothing. */
const BATCHES = 64;
const PAGES = 16;
/** What says that a mission was not left alone. */
const NOT_CLEAN = ['call.refused', 'behaviour.verdict', 'mission.contained', 'mission.suspended'] as const;

function scopeOf(mission: Pick<Mission, 'template' | 'agent'>, audience: string): HistoryScope {
  return { template_id: mission.template.id, agent: mission.agent, audience };
}

/** What vouches for destinations of this mission at this audience; null where its template keeps history off. */
export async function missionHistory(
  ports: Ports,
  mission: Pick<Mission, 'template' | 'agent'>,
  audience: string,
): Promise<DeliveredHistory | null> {
  const { rules } = await missionBehaviour(ports, mission, audience);
  if (rules.history === 'off') return null;
  const scope = scopeOf(mission, audience);
  const history = await ports.store.history(scope);
  return {
    version: history.version,
    key: ports.historyKey(scope),
    digests: new Set(vouchedDestinations(history, ports.clock.now())),
  };
}

/**
 * Learns from one mission, if it ended clean. Doing it again changes nothing.
 * @returns audiences at which something was learned
 */
export async function learnFrom(ports: Ports, mission_id: string): Promise<readonly string[]> {
  const mission = await ports.store.mission(mission_id);
  if (mission?.state !== 'completed' || mission.declared_by !== 'launcher') return [];
  const audiences = [...new Set((await ports.store.credentials(mission_id)).map(({ target }) => target))];
  const wanted: string[] = [];
  for (const audience of audiences)
    if ((await missionBehaviour(ports, mission, audience)).rules.history !== 'off') wanted.push(audience);
  if (wanted.length === 0) return [];
  const told = await reportedOf(ports, mission_id);
  if (told === null) return [];
  const taught: string[] = [];
  for (const audience of wanted) {
    const ended: EndedMission = {
      state: 'completed',
      declared_by: mission.declared_by,
      born_tainted: mission.born_tainted ?? false,
      refusals: told.refusals,
      strays: told.strays,
      destinations: [...(told.destinations.get(audience) ?? [])],
    };
    if (
      await save(ports, scopeOf(mission, audience), mission_id, (history, now) => learn(history, ended, now))
    )
      taught.push(audience);
  }
  return taught;
}

interface Reported {
  readonly refusals: number;
  readonly strays: number;
  readonly destinations: ReadonlyMap<string, ReadonlySet<string>>;
}

/** Everything that was reported of a mission; null for more than is read. */
async function reportedOf(ports: Ports, mission_id: string): Promise<Reported | null> {
  let refusals = 0;
  for (const event of NOT_CLEAN)
    refusals += (await ports.store.auditRecords({ mission_id, event, limit: 1 })).length;
  let strays = 0;
  const destinations = new Map<string, Set<string>>();
  let before: number | undefined;
  for (let page = 0; ; page++) {
    if (page === PAGES) return null;
    const found = await ports.store.reports({
      kind: 'decisions',
      mission_id,
      limit: BATCHES,
      ...(before !== undefined && { before }),
    });
    for (const { position, report } of found) {
      before = position;
      for (const decision of JSON.parse(report.body) as KeptDecision[]) {
        if (decision.mission_id !== mission_id) continue;
        if (decision.decision === 'deny') refusals++;
        if (decision.verdict !== undefined) strays++;
        if (!isProvenUse(decision)) continue;
        const known = destinations.get(report.audience) ?? new Set<string>();
        for (const digest of decision.destinations ?? []) known.add(digest);
        destinations.set(report.audience, known);
      }
    }
    if (found.length < BATCHES) return { refusals, strays, destinations };
    await new Promise((turn) => setImmediate(turn));
  }
}

/** A permitted effect that the mission's key made under its own token: what a verifier invents teaches nothing. */
function isProvenUse({ decision, proof, proven_at, destinations }: KeptDecision): boolean {
  return decision === 'permit' && proof === 'valid' && proven_at !== undefined && destinations !== undefined;
}

/** @returns whether something changed */
async function save(
  ports: Ports,
  scope: HistoryScope,
  once: string | null,
  change: (history: DestinationHistory, now: number) => DestinationHistory,
  also: readonly Write[] = [],
): Promise<boolean> {
  for (let attempt = 1; ; attempt++) {
    const now = ports.clock.now();
    const before = await ports.store.history(scope);
    const after = change(before, now);
    if (after === before) return false;
    try {
      await ports.store.atomically([
        ...(once === null
          ? []
          : [{ kind: 'insert_event_id', event_id: `history:${once}:${scope.audience}`, at: now } as const]),
        {
          kind: 'save_history',
          scope,
          version: after.version,
          learned: [...after.learned].filter(([digest, entry]) => before.learned.get(digest) !== entry),
          forgotten: [...before.learned.keys()].filter((digest) => !after.learned.has(digest)),
        },
        ...also,
      ]);
      return true;
    } catch (cause) {
      if (!(cause instanceof WriteConflict)) throw cause;
      if (cause.conflict === 'repeated') return false;
      if (attempt === TRIES) throw cause;
    }
  }
}

export interface ForgetRequest {
  readonly template_id: string;
  readonly agent?: string;
  /** Seconds. Everything first seen at this time or later goes; 0 forgets all of it. */
  readonly since: number;
  readonly actor: string;
  readonly reason: string;
}

/**
 * Forgets what an incident has called in question.
 * @returns the histories that changed
 * @throws Denied `not_found` where there is no history of this template and agent
 */
export async function forgetHistory(
  ports: Ports,
  request: ForgetRequest,
): Promise<readonly HistorySummary[]> {
  const { template_id, agent, since, actor, reason } = request;
  const query = { template_id, ...(agent !== undefined && { agent }) };
  const found = await ports.store.histories(query);
  if (found.length === 0) throw new Denied({ tag: 'not_found' });
  for (const scope of found) {
    const { audience } = scope;
    await save(
      ports,
      { template_id, agent: scope.agent, audience },
      null,
      (history) => forgetSince(history, since),
      [
        {
          kind: 'append_audit',
          record: {
            ts: ports.clock.now(),
            event: 'history.forgotten',
            actor,
            mission_id: null,
            details: { template_id, agent: scope.agent, audience, since, reason },
          },
        },
      ],
    );
  }
  return ports.store.histories(query);
}

export interface HistoryLearner {
  /** Looks at missions that ended at least this long ago; the guards have told what they had to tell by then. */
  tend(): Promise<void>;
}

/** After this, whatever a guard had to say of a mission is here. */
const SETTLED_SECONDS = 10;
/** Ended missions that wait; what comes on top is not learned from. */
const WAITING = 10_000;
/** Missions before everybody else gets a turn of the event loop. */
const TURN = 16;

/** Learns from missions as they end. */
export function createHistoryLearner(ports: Ports): HistoryLearner {
  const waiting = new Map<string, number>();
  ports.store.onCommit(({ changed_missions }) => {
    for (const id of changed_missions) if (waiting.size < WAITING) waiting.set(id, ports.clock.now());
  });
  return {
    async tend() {
      const due = ports.clock.now() - SETTLED_SECONDS;
      let looked = 0;
      for (const [id, at] of waiting) {
        if (at > due) continue;
        waiting.delete(id);
        if (++looked % TURN === 0) await new Promise((turn) => setImmediate(turn));
        await learnFrom(ports, id);
      }
    },
  };
}
