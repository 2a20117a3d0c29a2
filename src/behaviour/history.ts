import { createHmac } from 'node:crypto';
import type { Context } from './proof.ts';

/**
 * Destinations that clean missions of one template and agent used before. Off unless a template turns it on, and
 * never for external effects unless it says `all`. Built so that one bad mission cannot teach it anything:
 *
 * - only a mission that ended `completed`, was never refused anything, and was declared by a launcher teaches;
 * - only a destination that was proven *without* history is learned, so that the past cannot vouch for itself;
 * - a destination vouches after several missions, on different days, and not before a quarantine has passed;
 * - what an incident calls in question is forgotten by time, and every change has a version that verdicts name.
 */

export interface LearnedDestination {
  readonly first_seen: number;
  readonly last_seen: number;
  readonly missions: number;
  readonly days: number;
}

export interface DestinationHistory {
  readonly version: number;
  readonly learned: ReadonlyMap<string, LearnedDestination>;
}

export const NO_HISTORY: DestinationHistory = { version: 0, learned: new Map() };

export interface HistoryPolicy {
  readonly min_missions: number;
  readonly min_days: number;
  readonly quarantine_seconds: number;
  readonly forget_after_seconds: number;
  /** New destinations that one mission may add; a mission that wants more teaches nothing. */
  readonly max_new_per_mission: number;
  readonly max_destinations: number;
}

export const DEFAULT_HISTORY_POLICY: HistoryPolicy = {
  min_missions: 5,
  min_days: 3,
  quarantine_seconds: 7 * 86_400,
  forget_after_seconds: 180 * 86_400,
  max_new_per_mission: 8,
  max_destinations: 2048,
};

export interface EndedMission {
  readonly state: 'completed' | 'revoked' | 'expired' | 'suspended' | 'cascaded';
  readonly declared_by: 'launcher' | 'agent';
  readonly born_tainted: boolean;
  readonly refusals: number;
  readonly strays: number;
  /** Digests, under the history's own key, of destinations that were proven without history. */
  readonly destinations: readonly string[];
}

function isClean(mission: EndedMission): boolean {
  return (
    mission.state === 'completed' &&
    mission.declared_by === 'launcher' &&
    !mission.born_tainted &&
    mission.refusals === 0 &&
    mission.strays === 0
  );
}

/** Learns from one ended mission; returns the same history where it teaches nothing. */
export function learn(
  history: DestinationHistory,
  mission: EndedMission,
  now: number,
  policy: HistoryPolicy = DEFAULT_HISTORY_POLICY,
): DestinationHistory {
  if (!isClean(mission)) return history;
  const used = [...new Set(mission.destinations)];
  const fresh = used.filter((digest) => !history.learned.has(digest));
  if (used.length === 0 || fresh.length > policy.max_new_per_mission) return history;
  const learned = new Map(history.learned);
  for (const [digest, entry] of learned)
    if (now - entry.last_seen > policy.forget_after_seconds) learned.delete(digest);
  for (const digest of used) {
    const before = learned.get(digest);
    // Full is full: an old destination is never pushed out by a stream of new ones.
    if (before === undefined && learned.size >= policy.max_destinations) continue;
    const sameDay =
      before !== undefined && Math.floor(before.last_seen / 86_400) === Math.floor(now / 86_400);
    learned.set(digest, {
      first_seen: before?.first_seen ?? now,
      last_seen: now,
      missions: (before?.missions ?? 0) + 1,
      days: (before?.days ?? 0) + (sameDay ? 0 : 1),
    });
  }
  return { version: history.version + 1, learned };
}

/** Whether the past vouches for a destination, by its digest under the history's key. */
export function vouchesFromHistory(
  history: DestinationHistory,
  digest: string,
  now: number,
  policy: HistoryPolicy = DEFAULT_HISTORY_POLICY,
): boolean {
  const entry = history.learned.get(digest);
  return (
    entry !== undefined &&
    entry.missions >= policy.min_missions &&
    entry.days >= policy.min_days &&
    now - entry.first_seen >= policy.quarantine_seconds &&
    now - entry.last_seen <= policy.forget_after_seconds
  );
}

/** Forgets every destination first seen at or after a time: what an incident has called in question. */
export function forgetSince(history: DestinationHistory, since: number): DestinationHistory {
  const kept = [...history.learned].filter(([, entry]) => entry.first_seen < since);
  return { version: history.version + 1, learned: new Map(kept) };
}

/** What of a history reaches a guard: only what vouches now, by digests under the history's own key. */
export interface DeliveredHistory {
  readonly version: number;
  /** 32 bytes; of one template, agent and audience. */
  readonly key: Uint8Array;
  readonly digests: ReadonlySet<string>;
}

const DIGEST_BYTES = 16;
export const HISTORY_DIGEST_CHARS = 22;

/** Digest of a destination's value key under a history's key, 22 characters. */
export function historyDigest(key: Uint8Array, valueKey: string): string {
  return createHmac('sha256', key).update(valueKey).digest().subarray(0, DIGEST_BYTES).toString('base64url');
}

/** As the rules ask it. */
export function historyContext({ version, key, digests }: DeliveredHistory): NonNullable<Context['history']> {
  return { version, vouches: (valueKey) => digests.has(historyDigest(key, valueKey)) };
}

/** Digests of everything that a history vouches for now. */
export function vouchedDestinations(
  history: DestinationHistory,
  now: number,
  policy: HistoryPolicy = DEFAULT_HISTORY_POLICY,
): string[] {
  return [...history.learned.keys()]
    .filter((digest) => vouchesFromHistory(history, digest, now, policy))
    .sort();
}
