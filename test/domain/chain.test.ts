/** The audit chain, check by check: each one alone must be enough to notice what it is for. */
import { describe, expect, it } from 'vitest';
import {
  type ChainedRecord,
  type ChainedSegment,
  chain,
  GENESIS_HASH,
  verifyChain,
  verifyRecords,
  verifySegmentBounds,
  verifySegmentEnd,
} from '../../src/domain/audit.ts';

/** Chains a record that may lie about its place: the hash is right for what it says. */
function record(previous: string, seq: number, segment: number): ChainedRecord {
  const plain = { seq, segment, ts: 1, event: 'e', actor: 'ä', mission_id: null, details: {} };
  return { ...plain, hash: chain(previous, plain) };
}
const one = record(GENESIS_HASH, 1, 1);
const two = record(one.hash, 2, 1);
const start = { next_seq: 1, hash: GENESIS_HASH };
const segment: ChainedSegment = {
  segment: 1,
  first_seq: 1,
  last_seq: 2,
  previous_hash: GENESIS_HASH,
  head_hash: two.hash,
};

describe('records', () => {
  it('continue each other, and the position goes on from the last', () => {
    expect(verifyRecords(start, 1, [one, two])).toStrictEqual({
      ok: true,
      position: { next_seq: 3, hash: two.hash },
      records: 2,
    });
    expect(verifyRecords(start, 1, [])).toStrictEqual({ ok: true, position: start, records: 0 });
  });

  it('of another number or segment are noticed though their hash is right: the forger can hash too', () => {
    expect(verifyRecords(start, 1, [one, record(one.hash, 3, 1)])).toStrictEqual({
      ok: false,
      first_bad: 2,
      records: 1,
    });
    expect(verifyRecords(start, 1, [one, record(one.hash, 1, 1)])).toStrictEqual({
      ok: false,
      first_bad: 1,
      records: 1,
    });
    expect(verifyRecords(start, 1, [one, record(one.hash, 2, 2)])).toStrictEqual({
      ok: false,
      first_bad: 2,
      records: 1,
    });
  });

  it('with another hash are noticed', () => {
    expect(verifyRecords(start, 1, [{ ...one, hash: two.hash }])).toMatchObject({ ok: false, first_bad: 1 });
  });
});

describe('the bounds of a segment', () => {
  it('begin where the one before ended', () => {
    expect(verifySegmentBounds(start, segment)).toBe(true);
    expect(verifySegmentBounds(start, { ...segment, first_seq: 2 })).toBe(false);
    expect(verifySegmentBounds(start, { ...segment, previous_hash: one.hash })).toBe(false);
    expect(verifySegmentBounds({ ...start, next_seq: 2 }, segment)).toBe(false);
  });

  it('hold no record before their first, and an empty one changes no hash', () => {
    const empty = { ...segment, last_seq: 0, head_hash: GENESIS_HASH };
    expect(verifySegmentBounds(start, empty)).toBe(true);
    expect(verifySegmentBounds(start, { ...empty, head_hash: one.hash })).toBe(false);
    expect(verifySegmentBounds(start, { ...empty, last_seq: -1 })).toBe(false);
    expect(verifySegmentBounds(start, { ...segment, last_seq: 1 })).toBe(true);
  });

  it('end where they say, by number and by hash', () => {
    expect(verifySegmentEnd({ next_seq: 3, hash: two.hash }, segment)).toBe(true);
    expect(verifySegmentEnd({ next_seq: 2, hash: two.hash }, segment)).toBe(false);
    expect(verifySegmentEnd({ next_seq: 3, hash: one.hash }, segment)).toBe(false);
  });
});

describe('a whole chain', () => {
  const three = record(two.hash, 3, 2);
  const second: ChainedSegment = {
    segment: 2,
    first_seq: 3,
    last_seq: 3,
    previous_hash: two.hash,
    head_hash: three.hash,
  };

  it('is counted and continued', () => {
    expect(verifyChain([one, two, three], [segment, second])).toStrictEqual({
      ok: true,
      position: { next_seq: 4, hash: three.hash },
      records: 3,
    });
    expect(verifyChain([], [segment, second], new Set([1, 2]))).toStrictEqual({
      ok: true,
      position: { next_seq: 4, hash: three.hash },
      records: 0,
    });
  });

  it('without its first segments is not one: what was dropped must have been sealed', () => {
    expect(verifyChain([three], [second])).toStrictEqual({ ok: false, first_bad: 1, records: 0 });
    expect(verifyChain([], [second], new Set([2]))).toStrictEqual({ ok: false, first_bad: 1, records: 0 });
  });

  it('has its segments one after the other', () => {
    const far = record(two.hash, 3, 5);
    expect(
      verifyChain([one, two, far], [segment, { ...second, segment: 5, head_hash: far.hash }]),
    ).toStrictEqual({ ok: false, first_bad: 3, records: 2 });
  });

  it('ends with its last segment: nothing is hung on behind', () => {
    const stray = record(three.hash, 4, 3);
    expect(verifyChain([one, two, three, stray], [segment, second])).toStrictEqual({
      ok: false,
      first_bad: 4,
      records: 3,
    });
    expect(verifyChain([one, two], [segment, second])).toStrictEqual({ ok: false, first_bad: 3, records: 2 });
  });
});
