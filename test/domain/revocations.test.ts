/** The revocation set at its edges: what it forgets, takes twice or takes from elsewhere lets a dead token live. */
import { describe, expect, it } from 'vitest';
import {
  MalformedFeed,
  readFeedEntry,
  readHeartbeat,
  readSnapshot,
  readStreamEntry,
} from '../../src/domain/feed-wire.ts';
import { KeyedHash } from '../../src/domain/keyed-hash.ts';
import { FEED_KINDS, FEED_REASONS, type FeedEntry, type FeedSnapshot } from '../../src/domain/revocation.ts';
import { type RevocableToken, RevocationSet } from '../../src/domain/revocation-set.ts';
import { kindNumber, RevocationTable } from '../../src/domain/revocation-table.ts';

const NOW = 1_800_000_000;
const SEED = [3, 5] as const;
const token: RevocableToken = {
  iss: 'i',
  kid: 'k',
  jti: 'cred_1',
  iat: NOW,
  sub: 'a',
  client_id: 'a',
  mission: {
    id: 'msn_1',
    version: 3,
    path: ['msn_1'],
    template: { id: 't', version: '1' },
    attester: 'x',
    rule: 'r',
  },
};
const entry = (change: Partial<FeedEntry> = {}): FeedEntry => ({
  seq: 1,
  prev: 0,
  ts: NOW,
  kind: 'mission',
  key: 'msn_1',
  effect: 'deny',
  not_after: NOW + 900,
  reason_code: 'behaviour',
  ...change,
});
const snapshot = (change: Partial<FeedSnapshot> = {}): FeedSnapshot => ({
  epoch: 1,
  seq: 0,
  ts: NOW,
  max_token_seconds: 900,
  entries: [],
  ...change,
});
function loaded(change: Partial<FeedSnapshot> = {}): RevocationSet {
  const set = new RevocationSet(SEED);
  expect(set.load(snapshot(change), NOW)).toBe('applied');
  return set;
}

describe('a set', () => {
  it('knows nothing before its first snapshot, and takes nothing else before it', () => {
    const set = new RevocationSet(SEED);
    expect([set.epoch, set.seq, set.complete, set.revision, set.max_token_seconds]).toStrictEqual([
      -1,
      -1,
      false,
      0,
      0,
    ]);
    expect(set.vouched_since).toBe(Number.NEGATIVE_INFINITY);
    expect(set.apply(1, entry(), NOW)).toBe('gap');
    expect(set.heartbeat({ epoch: 1, seq: 0, ts: NOW }, NOW)).toBe('gap');
    expect(new RevocationSet(SEED).load(snapshot({ epoch: 0, seq: 0 }), NOW)).toBe('applied');
  });

  it('denies what its snapshot holds, and what comes after', () => {
    const set = loaded({ seq: 1, entries: [entry()] });
    expect(set.judge(set.keysOf(token))).toStrictEqual({
      effect: 'deny',
      kind: 'mission',
      reason_code: 'behaviour',
    });
    expect(set.footprint.entries).toBe(1);
    const other = set.keysOf({ ...token, mission: { ...token.mission, id: 'msn_2', path: ['msn_2'] } });
    expect(set.judge(other)).toBeNull();
    expect(set.apply(1, entry({ seq: 2, prev: 1, key: 'msn_2' }), NOW)).toBe('applied');
    expect(set.judge(other)?.reason_code).toBe('behaviour');
  });

  it('tells by its revision when what it denies has changed', () => {
    const set = loaded();
    expect(set.revision).toBe(1);
    set.apply(1, entry(), NOW);
    expect(set.revision).toBe(2);
    expect(set.apply(1, entry(), NOW)).toBe('repeated');
    set.heartbeat({ epoch: 1, seq: 1, ts: NOW + 1 }, NOW + 1);
    expect(set.revision).toBe(2);
    set.load(snapshot({ seq: 1 }), NOW);
    expect(set.revision).toBe(3);
  });

  it('takes an entry twice without harm, and stays complete', () => {
    const set = loaded();
    set.apply(1, entry(), NOW);
    expect(set.apply(1, entry(), NOW)).toBe('repeated');
    expect(set.complete).toBe(true);
    expect(set.seq).toBe(1);
  });

  it('takes no heartbeat of a later epoch: the broker was restored and entries are missing', () => {
    const set = loaded();
    expect(set.heartbeat({ epoch: 2, seq: 0, ts: NOW + 1 }, NOW)).toBe('gap');
    expect(set.complete).toBe(false);
    // Once in doubt, a heartbeat alone does not make it sure again.
    expect(set.heartbeat({ epoch: 1, seq: 0, ts: NOW + 2 }, NOW)).toBe('gap');
  });

  it('a lower seq of a higher epoch is no rollback', () => {
    const set = loaded({ seq: 9 });
    expect(set.load(snapshot({ epoch: 2, seq: 0 }), NOW)).toBe('applied');
    expect([set.epoch, set.seq]).toStrictEqual([2, 0]);
  });

  it('in doubt is stale until a snapshot', () => {
    const set = loaded();
    set.doubt();
    expect(set.complete).toBe(false);
    expect(set.stale(NOW, 1_000)).toBe(true);
    set.load(snapshot(), NOW);
    expect(set.stale(NOW, 1_000)).toBe(false);
  });

  it('remembers when the broker vouched for the first time', () => {
    const set = loaded({ ts: NOW - 5 });
    set.heartbeat({ epoch: 1, seq: 0, ts: NOW + 1 }, NOW + 1);
    set.load(snapshot({ ts: NOW + 3 }), NOW + 3);
    expect(set.vouched_since).toBe(NOW - 5);
    expect(set.age(NOW + 3)).toBe(0);
  });

  it('asks of a token without a key no key, and narrows by mission alone', () => {
    const set = loaded();
    expect(set.keysOf(token).kinds).not.toContain('agent_key');
    expect(set.keysOf({ ...token, cnf: { jkt: 'j' } }).kinds).toContain('agent_key');
    set.apply(1, entry({ effect: 'narrow', min_version: 4, reason_code: 'admin_contained' }), NOW);
    expect(set.judge(set.keysOf(token))?.effect).toBe('narrow');
    expect(set.judge(set.keysOf({ ...token, mission: { ...token.mission, version: 4 } }))).toBeNull();
  });
});

describe('the table', () => {
  const table = () => new RevocationTable(new KeyedHash(SEED));
  const hash = new KeyedHash(SEED);
  const at = (one: RevocationTable, key: string, kind: FeedEntry['kind'] = 'agent') => {
    hash.of(kindNumber(kind), key);
    return one.find(hash.low, hash.high);
  };
  const agent = (key: string, change: Partial<FeedEntry> = {}) =>
    entry({ kind: 'agent', key, issued_before: NOW, ...change });

  it('tells every kind and reason from the others', () => {
    expect(new Set(FEED_KINDS.map(kindNumber)).size).toBe(FEED_KINDS.length);
    expect(FEED_KINDS.map(kindNumber)).not.toContain(0);
    const one = table();
    for (const reason_code of FEED_REASONS) one.put(agent(reason_code, { reason_code }), NOW);
    for (const reason_code of FEED_REASONS) expect(one.reasonAt(at(one, reason_code))).toBe(reason_code);
  });

  it('loses no entry as it grows, reason, version and end with it', () => {
    const one = table();
    for (let index = 0; index < 1_000; index++) {
      one.put(agent(`a${index}`, { issued_before: NOW + index, reason_code: 'blocked' }), NOW);
      one.put(entry({ key: `m${index}`, effect: 'narrow', min_version: index + 1 }), NOW);
      expect(one.size).toBe(2 * index + 2);
    }
    expect(at(one, 'a1000')).toBe(-1);
    for (let index = 0; index < 1_000; index++) {
      const denied = at(one, `a${index}`);
      expect(one.denies(denied, NOW + index)).toBe(true);
      expect(one.denies(denied, NOW + index + 1)).toBe(false);
      expect(one.reasonAt(denied)).toBe('blocked');
      const narrowed = at(one, `m${index}`, 'mission');
      expect(one.narrows(narrowed, index)).toBe(true);
      expect(one.narrows(narrowed, index + 1)).toBe(false);
    }
    // 2,000 entries at no more than three quarters of 4,096 slots of 20 bytes.
    expect(one.bytes).toBe(4_096 * 20);
  });

  it('is of 64 slots at first and is three quarters full before it grows', () => {
    const one = table();
    for (let index = 0; index < 48; index++) one.put(agent(`a${index}`), NOW);
    expect(one.bytes).toBe(64 * 20);
    one.put(agent('one more'), NOW);
    expect(one.bytes).toBe(128 * 20);
    expect(one.size).toBe(49);
  });

  it('drops before it grows, and then does not grow', () => {
    const one = table();
    for (let index = 0; index < 48; index++)
      one.put(agent(`a${index}`, { not_after: NOW + (index < 20 ? 1 : 900) }), NOW);
    one.put(agent('one more'), NOW + 2);
    expect(one.bytes).toBe(64 * 20);
    expect(one.size).toBe(29);
    expect(at(one, 'a0')).toBe(-1);
    expect(at(one, 'a20')).toBeGreaterThanOrEqual(0);
  });

  it('makes room at once for as many as are announced', () => {
    const one = table();
    one.reserve(48);
    expect(one.bytes).toBe(64 * 20);
    one.reserve(49);
    expect(one.bytes).toBe(128 * 20);
    one.reserve(1_000);
    expect(one.bytes).toBe(2_048 * 20);
    one.reserve(1);
    expect(one.bytes).toBe(2_048 * 20);
  });

  it('keeps what it holds when room is made', () => {
    const one = table();
    one.put(agent('a'), NOW);
    one.reserve(1_000);
    expect(one.denies(at(one, 'a'), NOW)).toBe(true);
    expect(one.size).toBe(1);
  });

  it('drops what has expired and what was lifted, and nothing that still denies or narrows', () => {
    const one = table();
    one.put(agent('ended', { not_after: NOW }), NOW);
    one.put(agent('lives', { not_after: NOW + 1 }), NOW);
    one.put(agent('fraction', { not_after: NOW + 0.2 }), NOW);
    one.put(agent('lifted'), NOW);
    one.put(agent('lifted', { effect: 'lift', issued_before: undefined as unknown as number }), NOW);
    one.put(entry({ key: 'narrowed', effect: 'narrow', min_version: 2 }), NOW);
    one.put(agent('longer', { not_after: NOW }), NOW);
    one.put(agent('longer', { not_after: NOW + 900 }), NOW);
    one.put(agent('longer', { not_after: NOW - 900 }), NOW);
    one.drop(NOW);
    expect(at(one, 'ended')).toBeGreaterThanOrEqual(0);
    one.drop(NOW + 1);
    expect([at(one, 'ended'), at(one, 'lifted')]).toStrictEqual([-1, -1]);
    for (const key of ['lives', 'fraction', 'longer']) expect(one.denies(at(one, key), NOW)).toBe(true);
    expect(one.narrows(at(one, 'narrowed', 'mission'), 1)).toBe(true);
    expect(one.size).toBe(4);
  });

  it('never holds a slot for the lift of what it does not know', () => {
    const one = table();
    one.put(agent('unknown', { effect: 'lift' }), NOW);
    expect(one.size).toBe(0);
    expect(at(one, 'unknown')).toBe(-1);
  });

  it('narrows all where an entry says no version, and keeps the higher bound', () => {
    const one = table();
    const { min_version: _, ...plain } = { ...entry({ effect: 'narrow' }), min_version: 0 };
    one.put(plain, NOW);
    expect(one.narrows(at(one, 'msn_1', 'mission'), 0xfffffe)).toBe(true);
  });

  it('finds a key behind others that begin in the same slot', () => {
    const one = table();
    const keys: string[] = [];
    for (let index = 0; keys.length < 8; index++) {
      hash.of(kindNumber('agent'), `k${index}`);
      // The last slot of 64: a search goes on at the first.
      if ((hash.low & 63) === 63) keys.push(`k${index}`);
    }
    for (const [index, key] of keys.entries()) one.put(agent(key, { issued_before: NOW + index }), NOW);
    for (const [index, key] of keys.entries()) {
      expect(one.denies(at(one, key), NOW + index)).toBe(true);
      expect(one.denies(at(one, key), NOW + index + 1)).toBe(false);
    }
  });

  it('tells keys that share one half of their hash', () => {
    const half = {
      low: 0,
      high: 0,
      of(_: number, text: string) {
        [this.low = 0, this.high = 0] = text.split('.').map(Number);
      },
    };
    const one = new RevocationTable(half as unknown as KeyedHash);
    for (const [index, key] of ['5.7', '5.8', '69.7', '0.9', '64.9', '9.0', '9.64'].entries())
      one.put(agent(key, { issued_before: NOW + index }), NOW);
    expect(one.size).toBe(7);
    one.reserve(100);
    for (const [index, [low, high]] of (
      [
        [5, 7],
        [5, 8],
        [69, 7],
        [0, 9],
        [64, 9],
        [9, 0],
        [9, 64],
      ] as const
    ).entries()) {
      expect(one.denies(one.find(low, high), NOW + index), `${low}.${high}`).toBe(true);
      expect(one.denies(one.find(low, high), NOW + index + 1)).toBe(false);
    }
    for (const [low, high] of [
      [5, 9],
      [6, 7],
      [0, 7],
      [9, 9],
      [64, 0],
    ] as const)
      expect(one.find(low, high)).toBe(-1);
  });

  it('clamps a bound that is out of range to the stricter side', () => {
    const one = table();
    one.put(agent('a', { issued_before: 1e300, not_after: 1e300 }), NOW);
    expect(one.denies(at(one, 'a'), 0xfffffffe)).toBe(true);
    one.drop(0xfffffffe);
    expect(at(one, 'a')).toBeGreaterThanOrEqual(0);
  });
});

describe('the wire of the feed', () => {
  const wire = (change: object = {}) => ({ ...entry(), ...change });
  const wrong = (run: () => unknown): string => {
    try {
      run();
    } catch (error) {
      if (error instanceof MalformedFeed && error.name === 'MalformedFeed') return error.message;
      throw error;
    }
    return 'accepted';
  };
  const bad = (change: object) => wrong(() => readStreamEntry(wire(change)));

  it('says which member is wrong, and never its value', () => {
    for (const [change, member] of [
      [{ kind: 'secret' }, 'kind'],
      [{ effect: 'secret' }, 'effect'],
      [{ reason_code: 'secret' }, 'reason_code'],
      [{ key: '' }, 'key'],
      [{ key: 1 }, 'key'],
      [{ key: 'k'.repeat(1025) }, 'key'],
      [{ min_version: 1 }, 'min_version'],
      [{ effect: 'narrow' }, 'min_version'],
      [{ effect: 'narrow', kind: 'agent', min_version: 1 }, 'min_version'],
      [{ effect: 'narrow', min_version: 0x1000000 }, 'min_version'],
      [{ effect: 'narrow', min_version: -1 }, 'min_version'],
      [{ issued_before: -1 }, 'issued_before'],
      [{ issued_before: '1' }, 'issued_before'],
      [{ seq: -1 }, 'seq'],
      [{ seq: '1' }, 'seq'],
      [{ prev: -1 }, 'prev'],
      [{ prev: 2 ** 53 }, 'prev'],
      [{ ts: -0.1 }, 'ts'],
      [{ ts: Number.NaN }, 'ts'],
      [{ not_after: '9' }, 'not_after'],
      [{ not_after: Number.POSITIVE_INFINITY }, 'not_after'],
    ] as const)
      expect(bad(change)).toBe(`revocation feed: bad ${member}`);
    for (const value of [null, [], 1, 'x']) {
      expect(wrong(() => readFeedEntry(value))).toBe('revocation feed: bad entry');
      expect(wrong(() => readStreamEntry(value))).toBe('revocation feed: bad entry');
      expect(wrong(() => readHeartbeat(value))).toBe('revocation feed: bad heartbeat');
      expect(wrong(() => readSnapshot(value))).toBe('revocation feed: bad snapshot');
    }
    expect(wrong(() => readSnapshot({ ...snapshot(), entries: {} }))).toBe('revocation feed: bad entries');
    expect(wrong(() => readSnapshot({ ...snapshot({ seq: 1 }), entries: [wire({ seq: 2 })] }))).toBe(
      'revocation feed: bad order of entries',
    );
  });

  it('takes each bound', () => {
    for (const change of [
      { key: 'k'.repeat(1024) },
      { effect: 'narrow', min_version: 0xffffff },
      { effect: 'narrow', min_version: 0 },
      { issued_before: 0 },
      { seq: 0, prev: 0, ts: 0, not_after: 0 },
    ])
      expect(readStreamEntry(wire(change))).toStrictEqual(wire(change));
    expect(readFeedEntry(wire({ issued_before: 1.5 }))).toMatchObject({ issued_before: 1.5 });
    expect(readHeartbeat({ epoch: 0, seq: 0, ts: 0 })).toStrictEqual({ epoch: 0, seq: 0, ts: 0 });
    expect(readSnapshot({ ...snapshot({ seq: 1 }), entries: [wire({ seq: 1 })] }).entries).toHaveLength(1);
    expect(wrong(() => readSnapshot({ ...snapshot({ seq: 1 }), entries: [wire({ seq: 0 })] }))).toBe(
      'revocation feed: bad order of entries',
    );
  });
});
