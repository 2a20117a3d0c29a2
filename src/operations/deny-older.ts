/**
 * The way out where a counterpart has no room for one revocation more: everything of one target that was issued
 * before now ends, whoever has it. What is hit besides what was meant is counted first, and said.
 */
import { Denied } from '../domain/denial.ts';
import type { JsonObject } from '../domain/json.ts';
import { stateAt } from '../domain/mission.ts';
import { instant, rfc3339 } from '../domain/reader.ts';
import {
  type LeaseRecord,
  type Ports,
  type Provider,
  ProviderFault,
  type Residual,
  type Write,
  WriteConflict,
} from '../ports.ts';
import { leaseRecord, quietly } from './tend-leases.ts';

export interface DenyOlderRequest {
  readonly type: string;
  /** As the provider names it: the ARN of a role. */
  readonly target: string;
  readonly actor: string;
  readonly reason: string;
  readonly dry_run: boolean;
  readonly event_id?: string;
}

export interface StruckMission {
  readonly id: string;
  readonly agent: string;
  readonly state: string;
  /** Credentials of it that die. */
  readonly credentials: number;
  /** False for a mission that is over, or whose credentials were to be revoked: those are meant. */
  readonly collateral: boolean;
}

export interface DenyOlderAnswer {
  readonly dry_run: boolean;
  /** `event_id` was applied before: the same time was denied again, and nothing newer. */
  readonly repeated: boolean;
  readonly type: string;
  readonly target: string;
  readonly issued_before: string;
  /** At most 10,000, collateral ones first. */
  readonly missions: readonly StruckMission[];
  readonly clean: number;
  readonly collateral: number;
  /** What else dies that this broker knows nothing of. */
  readonly unknown: string;
  readonly effective_within_seconds: number;
  readonly why: string;
}

const EVENT = 'credentials.older_denied';
const MAX_LEASES = 10_000;
/** Leases a commit: the writer thread serves others in between. */
const BATCH = 100;
const REMEMBERED = 1000;
/** The counterpart's clock may be ahead of ours by so much: what is that young may have been issued after the time. */
const SKEW_SECONDS = 60;

/** @throws Denied `not_found` for a target of no provider, `conflict` with the counterpart's fault */
export async function denyOlder(ports: Ports, request: DenyOlderRequest): Promise<DenyOlderAnswer> {
  const provider = ports.providers.get(request.type);
  if (provider?.denyOlder === undefined) throw new Denied({ tag: 'not_found' });
  const now = ports.clock.now();
  const leases = await ports.store.openLeases(request.type, request.target, MAX_LEASES);
  const missions = await struck(ports, leases, now);
  const answer = {
    dry_run: request.dry_run,
    type: request.type,
    target: request.target,
    missions,
    clean: missions.filter(({ collateral }) => !collateral).length,
    collateral: missions.filter(({ collateral }) => collateral).length,
    unknown: 'whatever others than this broker issued there before',
  };
  const issued_before = Math.ceil(now);
  const preview = await deny(provider, request.target, issued_before, now, true);
  if (request.dry_run)
    return {
      ...answer,
      repeated: false,
      issued_before: rfc3339(issued_before),
      effective_within_seconds: preview.seconds,
      why: preview.why,
    };
  // Asked for on record first: whatever happens next, somebody can see who did it.
  const asked = await recordAsked(ports, request, missions, issued_before, now);
  const { seconds, why } = await deny(provider, request.target, asked.issued_before, now, false);
  await end(ports, request, asked.issued_before, { seconds, why });
  return {
    ...answer,
    repeated: asked.repeated,
    issued_before: rfc3339(asked.issued_before),
    effective_within_seconds: seconds,
    why,
  };
}

async function struck(
  ports: Ports,
  leases: readonly LeaseRecord[],
  now: number,
): Promise<readonly StruckMission[]> {
  const found = new Map<string, LeaseRecord[]>();
  for (const lease of leases) found.set(lease.mission_id, [...(found.get(lease.mission_id) ?? []), lease]);
  const missions: StruckMission[] = [];
  for (const [id, own] of found) {
    const mission = await ports.store.mission(id);
    const state = mission === null ? 'gone' : stateAt(mission, now);
    missions.push({
      id,
      agent: mission?.agent ?? '',
      state,
      credentials: own.length,
      collateral: state === 'active' && own.some((lease) => lease.state !== 'revoking'),
    });
  }
  return missions.sort((a, b) => Number(b.collateral) - Number(a.collateral));
}

/**
 * The time that is denied before: now, or for a repeated event the time that it had. Anything else would end what
 * was issued in between, which nobody asked for.
 */
async function recordAsked(
  ports: Ports,
  request: DenyOlderRequest,
  missions: readonly StruckMission[],
  issued_before: number,
  now: number,
): Promise<{ readonly issued_before: number; readonly repeated: boolean }> {
  const { type, target, actor, reason, event_id } = request;
  const details: JsonObject = {
    type,
    target,
    reason,
    issued_before: rfc3339(issued_before),
    missions: missions.length,
    collateral: missions
      .filter(({ collateral }) => collateral)
      .map(({ id }) => id)
      .slice(0, 100),
    ...(event_id !== undefined && { event_id }),
  };
  const writes: Write[] = [
    ...(event_id === undefined
      ? []
      : [
          {
            kind: 'insert_event_id',
            event_id: `deny_older:${JSON.stringify([type, target, event_id])}`,
            at: now,
          } as const,
        ]),
    { kind: 'append_audit', record: { ts: now, event: EVENT, actor, mission_id: null, details } },
  ];
  try {
    await ports.store.atomically(writes);
    return { issued_before, repeated: false };
  } catch (cause) {
    if (!(cause instanceof WriteConflict) || cause.conflict !== 'repeated') throw cause;
  }
  const records = await ports.store.auditRecords({ event: EVENT, limit: REMEMBERED, newest_first: true });
  const before = records.find(
    (one) =>
      one.details['event_id'] === event_id &&
      one.details['type'] === type &&
      one.details['target'] === target,
  )?.details['issued_before'];
  const time = typeof before === 'string' ? instant(before) : null;
  if (time === null) throw new Denied({ tag: 'conflict', detail: 'event_id was used long ago' });
  return { issued_before: time, repeated: true };
}

async function deny(
  provider: Provider,
  target: string,
  issued_before: number,
  now: number,
  dry_run: boolean,
): Promise<Residual> {
  try {
    const residual = await provider.denyOlder?.(target, issued_before, now, dry_run);
    if (residual === undefined) throw new Denied({ tag: 'not_found' });
    return residual;
  } catch (cause) {
    if (cause instanceof ProviderFault)
      throw new Denied({ tag: 'conflict', detail: `${cause.code}: ${cause.detail}` });
    // A target that is not configured.
    if (cause instanceof Denied) throw new Denied({ tag: 'not_found' });
    throw cause;
  }
}

/**
 * What was delivered before is dead now, and says so. What is under way must not become live, and what was delivered
 * too short a time before is revoked by itself as well: there is room for that again.
 */
async function end(
  ports: Ports,
  request: DenyOlderRequest,
  issued_before: number,
  residual: Residual,
): Promise<void> {
  const seen = new Set<string>();
  for (;;) {
    // Once more than the first look: what was made since, and before the time, is dead too.
    const open = await ports.store.openLeases(request.type, request.target, MAX_LEASES);
    const older = open.filter(({ id, created_at }) => created_at < issued_before && !seen.has(id));
    if (older.length === 0) return;
    for (const { id } of older) seen.add(id);
    for (let at = 0; at < older.length; at += BATCH)
      await Promise.all(
        older
          .slice(at, at + BATCH)
          .map((lease) => quietly(endOne(ports, request, lease, issued_before, residual))),
      );
  }
}

async function endOne(
  ports: Ports,
  { actor, reason }: DenyOlderRequest,
  { id, type, mission_id, credential_id }: LeaseRecord,
  issued_before: number,
  residual: Residual,
): Promise<void> {
  const credential = await ports.store.credential(credential_id);
  if (credential === null || credential.issued_at >= issued_before - SKEW_SECONDS) {
    const from = ['pending', 'live', 'revoking'] as const;
    await ports.store.atomically([
      { kind: 'update_lease', id, from, set: { state: 'revoking', next_at: 0 } },
    ]);
    return;
  }
  const ended_at = ports.clock.now();
  await ports.store.atomically([
    { kind: 'update_lease', id, from: ['live', 'revoking'], set: { state: 'revoked', ended_at } },
    ...(credential.revoked_at === null
      ? [{ kind: 'revoke_credential', id: credential_id, at: ended_at } as const]
      : []),
    leaseRecord('lease.revoked', actor, mission_id, ended_at, {
      lease: id,
      type,
      reason,
      residual: { ...residual },
    }),
  ]);
}
