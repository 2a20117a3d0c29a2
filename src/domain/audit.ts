/**
 * The audit chain: every record's hash covers the one before, so that nothing can be changed, removed or put
 * in between without breaking all that follow. Records are grouped in segments; a sealed segment's bounds and
 * hashes are signed, so that retention can drop its records and the chain still verifies across the gap.
 * Pure: the caller brings the records.
 */
import { createHash } from 'node:crypto';
import { canonicalize, type JsonObject } from './json.ts';

/** The hash before the first record ever. */
export const GENESIS_HASH = `sha-256:${Buffer.alloc(32).toString('base64url')}`;

/** A record as it is chained. `ts` in seconds. */
export interface ChainedRecord {
  readonly seq: number;
  readonly segment: number;
  readonly ts: number;
  readonly event: string;
  readonly actor: string;
  readonly mission_id: string | null;
  readonly details: JsonObject;
  readonly hash: string;
}

export interface ChainedSegment {
  readonly segment: number;
  readonly first_seq: number;
  readonly last_seq: number;
  /** Hash of the record before the first. */
  readonly previous_hash: string;
  /** Hash of the last record. */
  readonly head_hash: string;
}

/** What a segment's seal signs (wire: payload of its JWS). */
export interface SealPayload {
  readonly segment: number;
  readonly first_seq: number;
  readonly last_seq: number;
  readonly previous_hash: string;
  readonly head_hash: string;
}

/** `sha-256:` over the JCS of the record with the previous hash inside. */
export function chain(previous_hash: string, record: Omit<ChainedRecord, 'hash'>): string {
  // One canonical object rather than a concatenation: no two inputs can read as the same bytes.
  const text = canonicalize({
    previous_hash,
    seq: record.seq,
    segment: record.segment,
    ts: record.ts,
    event: record.event,
    actor: record.actor,
    mission_id: record.mission_id,
    details: record.details,
  });
  return `sha-256:${createHash('sha256').update(text, 'utf8').digest('base64url')}`;
}

/** The members that a seal signs, in one place for the signer and the verifier. */
export function sealPayload(segment: ChainedSegment): SealPayload {
  return {
    segment: segment.segment,
    first_seq: segment.first_seq,
    last_seq: segment.last_seq,
    previous_hash: segment.previous_hash,
    head_hash: segment.head_hash,
  };
}

/** How far a verification came: what the next record must continue. */
export interface ChainPosition {
  readonly next_seq: number;
  readonly hash: string;
}

export type ChainCheck =
  | { readonly ok: true; readonly position: ChainPosition; readonly records: number }
  /** `first_bad`: the first seq at which the chain does not hold (missing, changed or out of place). */
  | { readonly ok: false; readonly first_bad: number; readonly records: number };

/** Checks consecutive records of one segment from `position` on; call it again with the next page. */
export function verifyRecords(
  position: ChainPosition,
  segment: number,
  records: Iterable<ChainedRecord>,
): ChainCheck {
  let { next_seq, hash } = position;
  let checked = 0;
  for (const record of records) {
    if (record.seq !== next_seq || record.segment !== segment || record.hash !== chain(hash, record)) {
      return { ok: false, first_bad: Math.min(record.seq, next_seq), records: checked };
    }
    hash = record.hash;
    next_seq += 1;
    checked += 1;
  }
  return { ok: true, position: { next_seq, hash }, records: checked };
}

/** Where a segment must begin, given the one before; the bounds of a segment without records included. */
export function verifySegmentBounds(position: ChainPosition, segment: ChainedSegment): boolean {
  return (
    segment.first_seq === position.next_seq &&
    segment.previous_hash === position.hash &&
    segment.last_seq >= segment.first_seq - 1 &&
    (segment.last_seq >= segment.first_seq || segment.head_hash === segment.previous_hash)
  );
}

/** Whether the records ended exactly where the segment says it ends. */
export function verifySegmentEnd(position: ChainPosition, segment: ChainedSegment): boolean {
  return position.next_seq === segment.last_seq + 1 && position.hash === segment.head_hash;
}

/**
 * Checks a whole chain held in memory: `segments` in order from the first ever, `records` in order. A segment
 * named in `pruned` has no records any more and is crossed by its (signed) bounds.
 */
export function verifyChain(
  records: readonly ChainedRecord[],
  segments: readonly ChainedSegment[],
  pruned: ReadonlySet<number> = new Set(),
): ChainCheck {
  let position: ChainPosition = { next_seq: 1, hash: GENESIS_HASH };
  let checked = 0;
  let at = 0;
  let previous_segment: number | null = null;
  for (const segment of segments) {
    const consecutive = previous_segment === null || segment.segment === previous_segment + 1;
    if (!consecutive || !verifySegmentBounds(position, segment)) {
      return { ok: false, first_bad: position.next_seq, records: checked };
    }
    previous_segment = segment.segment;
    if (pruned.has(segment.segment)) {
      position = { next_seq: segment.last_seq + 1, hash: segment.head_hash };
      continue;
    }
    let end = at;
    while (end < records.length && records[end]?.segment === segment.segment) end += 1;
    const result = verifyRecords(position, segment.segment, records.slice(at, end));
    checked += result.records;
    if (!result.ok) return { ...result, records: checked };
    if (!verifySegmentEnd(result.position, segment)) {
      return { ok: false, first_bad: result.position.next_seq, records: checked };
    }
    position = result.position;
    at = end;
  }
  const stray = records[at];
  if (stray !== undefined) return { ok: false, first_bad: stray.seq, records: checked };
  return { ok: true, position, records: checked };
}
