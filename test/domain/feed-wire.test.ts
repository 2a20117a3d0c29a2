import { describe, expect, it } from 'vitest';
import { MalformedFeed, readHeartbeat, readSnapshot, readStreamEntry } from '../../src/domain/feed-wire.ts';

const entry = {
  seq: 4,
  prev: 2,
  ts: 1,
  kind: 'mission',
  key: 'msn_a',
  effect: 'deny',
  not_after: 9,
  reason_code: 'admin_revoked',
};

describe('reading the feed', () => {
  it('takes an entry as the profile writes it', () => {
    expect(readStreamEntry(entry)).toStrictEqual(entry);
    const narrow = { ...entry, effect: 'narrow', min_version: 3 };
    expect(readStreamEntry(narrow)).toStrictEqual(narrow);
  });

  it('refuses what it could not enforce', () => {
    for (const bad of [
      null,
      [],
      { ...entry, kind: 'galaxy' },
      { ...entry, effect: 'pause' },
      { ...entry, reason_code: 'because' },
      { ...entry, key: '' },
      { ...entry, key: 7 },
      { ...entry, seq: 1.5 },
      { ...entry, prev: undefined },
      { ...entry, not_after: '9' },
      { ...entry, issued_before: Number.NaN },
      { ...entry, effect: 'narrow' },
      { ...entry, effect: 'narrow', min_version: 2 ** 24 },
      { ...entry, effect: 'narrow', kind: 'agent', min_version: 1 },
      { ...entry, min_version: 1 },
    ])
      expect(() => readStreamEntry(bad)).toThrow(MalformedFeed);
  });

  it('refuses a snapshot whose entries are out of order or past its head', () => {
    const snapshot = (...seqs: number[]) => ({
      epoch: 1,
      seq: 5,
      ts: 1,
      max_token_seconds: 900,
      entries: seqs.map((seq) => ({ ...entry, seq })),
    });
    expect(readSnapshot(snapshot(1, 4, 5)).entries).toHaveLength(3);
    for (const bad of [
      snapshot(4, 1),
      snapshot(4, 4),
      snapshot(6),
      { ...snapshot(), entries: {} },
      { ...snapshot(), max_token_seconds: '1' },
    ])
      expect(() => readSnapshot(bad)).toThrow(MalformedFeed);
  });

  it('refuses a heartbeat without its members', () => {
    expect(readHeartbeat({ epoch: 1, seq: 2, ts: 3.5 })).toStrictEqual({ epoch: 1, seq: 2, ts: 3.5 });
    for (const bad of [
      {},
      { epoch: 1, seq: 2 },
      { epoch: -1, seq: 2, ts: 3 },
      { epoch: 1, seq: 2, ts: Number.POSITIVE_INFINITY },
    ])
      expect(() => readHeartbeat(bad)).toThrow(MalformedFeed);
  });
});
