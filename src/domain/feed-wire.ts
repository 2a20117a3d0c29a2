/**
 * What a reader of the revocation feed accepts: every member checked, nothing guessed (wire profile 3).
 * An entry that this reader does not understand might be one that it must enforce, so it is refused, and the
 * guard denies until it has a feed that it understands.
 */
import {
  FEED_EFFECTS,
  FEED_KINDS,
  FEED_REASONS,
  type FeedEffect,
  type FeedEntry,
  type FeedHeartbeat,
  type FeedKind,
  type FeedReason,
  type FeedSnapshot,
} from './revocation.ts';

/** The feed said something that this reader cannot enforce. The message names the member, never its value. */
export class MalformedFeed extends Error {
  constructor(member: string) {
    super(`revocation feed: bad ${member}`);
    this.name = 'MalformedFeed';
  }
}

const kinds: ReadonlySet<unknown> = new Set(FEED_KINDS);
const effects: ReadonlySet<unknown> = new Set(FEED_EFFECTS);
const reasons: ReadonlySet<unknown> = new Set(FEED_REASONS);
const MAX_KEY_LENGTH = 1024;
/** Versions are kept in 24 bits. */
export const MAX_MIN_VERSION = 0xffffff;

type Members = Readonly<Record<string, unknown>>;

function members(value: unknown, what: string): Members {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new MalformedFeed(what);
  return value as Members;
}

function seconds(from: Members, name: string): number {
  const value = from[name];
  if (typeof value !== 'number' || !Number.isFinite(value) || value < 0) throw new MalformedFeed(name);
  return value;
}

function count(from: Members, name: string): number {
  const value = from[name];
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) throw new MalformedFeed(name);
  return value;
}

/** @throws MalformedFeed */
export function readFeedEntry(value: unknown): Omit<FeedEntry, 'prev'> {
  const from = members(value, 'entry');
  const { kind, key, effect, reason_code } = from;
  if (!kinds.has(kind)) throw new MalformedFeed('kind');
  if (!effects.has(effect)) throw new MalformedFeed('effect');
  if (!reasons.has(reason_code)) throw new MalformedFeed('reason_code');
  if (typeof key !== 'string' || key.length === 0 || key.length > MAX_KEY_LENGTH)
    throw new MalformedFeed('key');
  const narrow = effect === 'narrow';
  // Only a mission has a version to compare with.
  if (narrow !== (from['min_version'] !== undefined) || (narrow && kind !== 'mission'))
    throw new MalformedFeed('min_version');
  const min_version = narrow ? count(from, 'min_version') : undefined;
  if (min_version !== undefined && min_version > MAX_MIN_VERSION) throw new MalformedFeed('min_version');
  const issued_before = from['issued_before'] === undefined ? undefined : seconds(from, 'issued_before');
  return {
    seq: count(from, 'seq'),
    ts: seconds(from, 'ts'),
    kind: kind as FeedKind,
    key,
    effect: effect as FeedEffect,
    ...(issued_before === undefined ? {} : { issued_before }),
    ...(min_version === undefined ? {} : { min_version }),
    not_after: seconds(from, 'not_after'),
    reason_code: reason_code as FeedReason,
  };
}

/** An entry of the stream: with `prev`. @throws MalformedFeed */
export function readStreamEntry(value: unknown): FeedEntry {
  return { ...readFeedEntry(value), prev: count(members(value, 'entry'), 'prev') };
}

/** @throws MalformedFeed */
export function readHeartbeat(value: unknown): FeedHeartbeat {
  const from = members(value, 'heartbeat');
  return { epoch: count(from, 'epoch'), seq: count(from, 'seq'), ts: seconds(from, 'ts') };
}

/** @throws MalformedFeed */
export function readSnapshot(value: unknown): FeedSnapshot {
  const from = members(value, 'snapshot');
  const listed = from['entries'];
  if (!Array.isArray(listed)) throw new MalformedFeed('entries');
  const max_token_seconds = seconds(from, 'max_token_seconds');
  const head = readHeartbeat(from);
  const entries = listed.map(readFeedEntry);
  let last = 0;
  for (const entry of entries) {
    // A lift must come after the denial that it lifts.
    if (entry.seq <= last || entry.seq > head.seq) throw new MalformedFeed('order of entries');
    last = entry.seq;
  }
  return { ...head, max_token_seconds, entries };
}
