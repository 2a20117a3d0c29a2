/**
 * One mission's life from the outside: suspend, resume, contain, revoke, complete. Each changes the mission,
 * the feed and the audit in one transaction, so that an answered revocation is a durable one.
 */
import {
  type AuthoritySet,
  applyContainment,
  type Containment,
  effective,
  type Removal,
} from '../domain/authority/index.ts';
import { Denied, malformed } from '../domain/denial.ts';
import { canonicalize, type JsonObject, type JsonValue } from '../domain/json.ts';
import {
  type Mission,
  type MissionEvent,
  type MissionState,
  missionError,
  stateAt,
} from '../domain/mission.ts';
import { rfc3339 } from '../domain/reader.ts';
import type { FeedEffect, FeedReason } from '../domain/revocation.ts';
import { type Committed, type Ports, type Write, WriteConflict } from '../ports.ts';

/** Guards refuse tokens whose `iat` is further ahead than this; entries live that much longer. */
export const CLOCK_SKEW_SECONDS = 60;

export interface Intervention {
  /** `admin:<name>`, an agent id, `broker`, or `behaviour` for what a verdict does by itself. */
  readonly actor: string;
  readonly reason: string;
  readonly expected_version?: number;
  /** Makes a repeated request harmless. */
  readonly event_id?: string;
  /** What is on record together with it, or not at all. */
  readonly with?: readonly Write[];
}

export interface Intervened {
  readonly mission: Mission;
  /** Where enforcement of this can be watched: verifiers that acknowledged this `seq` enforce it. */
  readonly seq: number | null;
  /** Audiences that were told; null for all. */
  readonly audiences: readonly string[] | null;
  /** Cascaded descendants. */
  readonly cascaded: readonly string[];
  /** `event_id` was applied before: nothing was done. */
  readonly repeated: boolean;
}

/** After this, no token can exist that an entry written at `now` would refuse. */
export function lastTokenEnd(ports: Pick<Ports, 'policy'>, now: number): number {
  return Math.ceil(now) + ports.policy().max_token_seconds + CLOCK_SKEW_SECONDS;
}

const EFFECT: Record<'suspend' | 'resume' | 'revoke' | 'complete' | 'expire', FeedEffect> = {
  suspend: 'deny',
  resume: 'lift',
  revoke: 'deny',
  complete: 'deny',
  expire: 'deny',
};

/**
 * @throws Denied `not_found`, or `conflict` for a wrong state or `expected_version`
 */
export async function intervene(
  ports: Ports,
  mission_id: string,
  event: keyof typeof EFFECT,
  by: Intervention,
  reason_code: FeedReason,
): Promise<Intervened> {
  const now = ports.clock.now();
  const announced: Write = {
    kind: 'append_feed',
    entry: {
      ts: now,
      // Any token below this mission carries its id in `mission.path`.
      kind: 'mission_tree',
      key: mission_id,
      effect: EFFECT[event],
      not_after: lastTokenEnd(ports, now),
      reason_code,
    },
    to: 'minted',
  };
  // A denial at guards that a block put there is the block's to lift.
  const blocked = event === 'resume' && (await isBlocked(ports, mission_id, now));
  return changed(ports, mission_id, event, by, now, [
    {
      kind: 'transition',
      id: mission_id,
      event,
      at: now,
      reason: by.reason,
      ...(by.expected_version !== undefined && { expected_version: by.expected_version }),
    },
    ...(blocked ? [] : [announced]),
    record(now, `mission.${PAST[event]}`, by, mission_id, {}),
  ]);
}

/**
 * Suspends a mission, also one that is suspended for its silence: evidence alone must not wake it any more.
 * @throws Denied `not_found`, or `conflict` for a mission that is suspended for another reason or has ended
 */
export async function suspendForGood(
  ports: Ports,
  mission: Mission,
  by: Intervention,
  reason_code: FeedReason,
): Promise<Intervened> {
  const now = ports.clock.now();
  if (stateAt(mission, now) !== 'suspended' || mission.state_reason !== SILENT)
    return intervene(ports, mission.id, 'suspend', by, reason_code);
  const step = (event: MissionEvent): Write => ({
    kind: 'transition',
    id: mission.id,
    event,
    at: now,
    reason: by.reason,
  });
  // Guards deny it already; nothing of this group is seen apart.
  return changed(ports, mission.id, 'suspend', by, now, [
    step('resume'),
    step('suspend'),
    record(now, 'mission.suspended', by, mission.id, {}),
  ]);
}

/** Whether a block is in force that guards know as the denial of this mission. */
async function isBlocked(ports: Ports, mission_id: string, now: number): Promise<boolean> {
  const instance = (await ports.store.mission(mission_id))?.instance;
  return (await ports.store.blocks(now)).some(
    ({ selector: { kind, key } }) =>
      ((kind === 'mission' || kind === 'mission_tree') && key === mission_id) ||
      (kind === 'instance' && key === instance),
  );
}

const PAST = {
  suspend: 'suspended',
  resume: 'resumed',
  revoke: 'revoked',
  complete: 'completed',
  expire: 'expired',
} as const satisfies Partial<Record<MissionEvent, string>>;

/** Births come one by one; whoever makes more than this in a moment meets the fault of the last try. */
const CONTAIN_RETRIES = 20;

/** What to take away. All given members apply; at least one is needed. */
export interface ContainRequest extends Intervention {
  /** As verifiers are told it; default `admin_contained`. */
  readonly reason_code?: FeedReason;
  readonly remove?: readonly Removal[];
  /** Seconds; a new, earlier end. */
  readonly expires_at?: number;
}

/**
 * A removal-only overlay on a live mission and everything below it. Guards enforce it by `min_version`: the next
 * call needs a renewal, and the renewed token has less (wire profile 3).
 * @throws Denied `not_found`, `conflict`, `invalid_request`
 */
export async function contain(
  ports: Ports,
  mission_id: string,
  request: ContainRequest,
): Promise<Intervened> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await containTree(ports, mission_id, request);
    } catch (cause) {
      // A child was born, with what is to be taken away: it is one of them.
      const grown = cause instanceof WriteConflict && cause.conflict === 'tree_changed';
      if (!grown || attempt >= CONTAIN_RETRIES) throw cause;
    }
  }
}

async function containTree(ports: Ports, mission_id: string, request: ContainRequest): Promise<Intervened> {
  const now = ports.clock.now();
  const tree = await ports.store.missionTree(mission_id);
  const root = tree.find((mission) => mission.id === mission_id);
  if (!root) throw new Denied({ tag: 'not_found' });
  // A repeated request is harmless whatever became of the mission since.
  if (applied(root, request))
    return { mission: root, seq: null, audiences: [], cascaded: [], repeated: true };
  if (request.expected_version !== undefined && request.expected_version !== root.version)
    throw new Denied({ tag: 'conflict', detail: `the mission is at version ${root.version}` });
  const live = tree.filter((mission) => isLive(stateAt(mission, now)));
  if (!live.includes(root))
    throw new Denied({ tag: 'conflict', detail: `the mission is ${stateAt(root, now)}` });

  const containment: Containment = {
    event_id: request.event_id ?? ports.chance.id('evt'),
    at: rfc3339(now),
    actor: request.actor,
    reason: request.reason,
    ...(request.remove !== undefined && { remove: request.remove }),
    ...(request.expires_at !== undefined && { expires_at: rfc3339(request.expires_at) }),
  };
  const writes: Write[] = [{ kind: 'require_tree', id: mission_id, below: tree.length - 1 }];
  for (const mission of live) {
    const { overlay: containments } = applyContainment(mission.authority, mission.containments, containment);
    const expires_at = Math.min(mission.expires_at, request.expires_at ?? mission.expires_at);
    const unchanged = sameSet(
      effective(mission.authority, mission.containments),
      effective(mission.authority, containments),
    );
    if (unchanged && expires_at === mission.expires_at) {
      if (mission === root) throw malformed('the containment removes nothing that the mission still has');
      continue;
    }
    writes.push(
      {
        kind: 'contain',
        id: mission.id,
        at: now,
        expected_version: mission.version,
        containments,
        expires_at,
      },
      {
        kind: 'append_feed',
        entry: {
          ts: now,
          kind: 'mission',
          key: mission.id,
          effect: 'narrow',
          min_version: mission.version + 1,
          not_after: lastTokenEnd(ports, now),
          reason_code: request.reason_code ?? 'admin_contained',
        },
        to: 'minted',
      },
      record(now, 'mission.contained', request, mission.id, {
        ...(request.remove !== undefined && { remove: request.remove as unknown as JsonObject[] }),
        ...(request.expires_at !== undefined && { expires_at: request.expires_at }),
        version: mission.version + 1,
      }),
    );
  }
  return changed(ports, mission_id, 'contain', request, now, writes);
}

/** Whether the overlay holds this very request. @throws Denied `conflict` if its id was used for another one */
function applied(mission: Mission, request: ContainRequest): boolean {
  const same = mission.containments.find(({ event_id }) => event_id === request.event_id);
  if (same === undefined) return false;
  const asked = [
    request.remove ?? [],
    request.expires_at === undefined ? null : rfc3339(request.expires_at),
  ] as unknown as JsonValue;
  if (canonicalize([same.remove ?? [], same.expires_at ?? null]) === canonicalize(asked)) return true;
  throw new Denied({ tag: 'conflict', detail: 'event_id was used for another containment' });
}

async function changed(
  ports: Ports,
  mission_id: string,
  verb: string,
  by: Intervention,
  now: number,
  writes: readonly Write[],
): Promise<Intervened> {
  let committed: Committed;
  try {
    committed = await ports.store.atomically([
      ...(by.event_id === undefined
        ? []
        : [{ kind: 'insert_event_id', event_id: `${mission_id}:${verb}:${by.event_id}`, at: now } as const]),
      ...writes,
      ...(by.with ?? []),
    ]);
  } catch (cause) {
    if (!(cause instanceof WriteConflict) || cause.conflict === 'tree_changed') throw cause;
    const mission = await ports.store.mission(mission_id);
    if (mission === null) throw new Denied({ tag: 'not_found' });
    if (cause.conflict === 'repeated')
      return { mission, seq: null, audiences: [], cascaded: [], repeated: true };
    throw new Denied({
      tag: 'conflict',
      detail: `the mission is ${stateAt(mission, now)} at version ${mission.version}`,
    });
  }
  const mission = await ports.store.mission(mission_id);
  if (mission === null) throw new Denied({ tag: 'not_found' });
  return {
    mission,
    seq: committed.feed.at(-1)?.seq ?? null,
    audiences: audiencesOf(committed),
    cascaded: committed.changed_missions.filter((id) => id !== mission_id),
    repeated: false,
  };
}

/** Every audience that one of the entries went to; null for all. */
function audiencesOf(committed: Committed): readonly string[] | null {
  const told = committed.feed.map((entry) => entry.audiences);
  return told.some((audiences) => audiences === null)
    ? null
    : [...new Set(told.flatMap((some) => some ?? []))];
}

function isLive(state: MissionState): boolean {
  return state === 'active' || state === 'suspended';
}

function sameSet(a: AuthoritySet, b: AuthoritySet): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

function record(
  now: number,
  event: string,
  by: Intervention,
  mission_id: string,
  details: JsonObject,
): Write {
  return {
    kind: 'append_audit',
    record: { ts: now, event, actor: by.actor, mission_id, details: { reason: by.reason, ...details } },
  };
}

/** Reasons that only the broker gives begin with this; the API refuses them from people. */
export const BROKER_REASON = 'broker:';
/** A mission that was suspended for its silence, and for nothing else. */
export const SILENT = `${BROKER_REASON} not re-attested in time`;

/**
 * The mission as it can mint now. One that was suspended only for its silence is woken by what it lacked: fresh
 * evidence of the same instance with a proof by the same key. Nothing else that the broker does ever resumes one.
 * @param attested whether this request carries that evidence
 * @throws Denied `dead_mission`
 */
export function awake(
  ports: Ports,
  mission: Mission,
  attested: boolean,
  now: number,
): { readonly mission: Mission; readonly writes: readonly Write[] } {
  const state = stateAt(mission, now);
  if (state === 'active') return { mission, writes: [] };
  if (state !== 'suspended' || mission.state_reason !== SILENT || !attested)
    throw new Denied({ tag: 'dead_mission', error: missionError(state) });
  return {
    mission: { ...mission, state: 'active', version: mission.version + 1, last_attested_at: now },
    writes: [
      {
        kind: 'transition',
        id: mission.id,
        event: 'resume',
        at: now,
        reason: 're-attested',
        expected_version: mission.version,
      },
      {
        kind: 'append_feed',
        entry: {
          ts: now,
          kind: 'mission_tree',
          key: mission.id,
          effect: 'lift',
          not_after: lastTokenEnd(ports, now),
          reason_code: 'reattested',
        },
        to: 'minted',
      },
      record(now, 'mission.resumed', { actor: mission.agent, reason: 're-attested' }, mission.id, {}),
    ],
  };
}
