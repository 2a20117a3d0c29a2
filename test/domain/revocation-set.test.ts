import { describe, expect, it } from 'vitest';
import { KeyedHash } from '../../src/domain/keyed-hash.ts';
import type { FeedEntry } from '../../src/domain/revocation.ts';
import { type RevocableToken, RevocationSet } from '../../src/domain/revocation-set.ts';

const NOW = 1_800_000_000;
const SEED = [0x1234_5678, 0x9abc_def0] as const;

const token: RevocableToken = {
  iss: 'https://broker.example.com',
  kid: 'key-1',
  jti: 'cred_AAAAAAAAAAAAAAAAAAAAAA',
  iat: NOW - 100,
  sub: 'k8s/payments/root',
  client_id: 'k8s/payments/child',
  act: { sub: 'k8s/payments/child', act: { sub: 'k8s/payments/middle' } },
  cnf: { jkt: 'thumbprint' },
  mission: {
    id: 'msn_self',
    version: 3,
    path: ['msn_root', 'msn_middle', 'msn_self'],
    template: { id: 'reconcile', version: '7' },
    attester: 'cluster-a',
    rule: 'payments',
  },
};

type Change = Partial<FeedEntry> & Pick<FeedEntry, 'kind' | 'key'>;

/** A set at epoch 1 with nothing in it, and a way to feed it. */
function feed(): { set: RevocationSet; say: (change: Change) => void } {
  const set = new RevocationSet(SEED);
  set.load({ epoch: 1, seq: 0, ts: NOW, max_token_seconds: 900, entries: [] }, NOW);
  const say = (change: Change): void => {
    const entry = {
      seq: set.seq + 1,
      prev: set.seq,
      ts: NOW,
      effect: 'deny',
      not_after: NOW + 900,
      reason_code: 'admin_revoked',
      ...change,
    } as FeedEntry;
    expect(set.apply(1, entry, NOW)).toBe('applied');
  };
  return { set, say };
}

describe('what an entry refuses', () => {
  const matching: readonly [FeedEntry['kind'], string][] = [
    ['token', token.jti],
    ['mission', 'msn_self'],
    ['mission_tree', 'msn_root'],
    ['mission_tree', 'msn_middle'],
    ['mission_tree', 'msn_self'],
    ['agent', token.sub],
    ['agent', token.client_id],
    ['agent', 'k8s/payments/middle'],
    ['template', 'reconcile'],
    ['template', 'reconcile@7'],
    ['attester', 'cluster-a'],
    ['rule', 'payments'],
    ['agent_key', 'thumbprint'],
    ['signing_key', 'key-1'],
    ['issuer', 'https://broker.example.com'],
  ];
  for (const [kind, key] of matching) {
    it(`${kind} ${key} refuses the token, and a lift lets it pass again`, () => {
      const { set, say } = feed();
      const keys = set.keysOf(token);
      expect(set.judge(keys)).toBeNull();
      say({ kind, key, issued_before: NOW, reason_code: 'behaviour' });
      expect(set.judge(keys)).toStrictEqual({ effect: 'deny', kind, reason_code: 'behaviour' });
      say({ kind, key, effect: 'lift' });
      expect(set.judge(keys)).toBeNull();
    });
  }

  it('instance refuses where the instance is known', () => {
    const { set, say } = feed();
    say({ kind: 'instance', key: 'pod-1' });
    expect(set.judge(set.keysOf(token))).toBeNull();
    expect(set.judge(set.keysOf({ ...token, instance: 'pod-1' }))?.kind).toBe('instance');
  });

  it('a mission entry of an ancestor is not one of this mission', () => {
    const { set, say } = feed();
    say({ kind: 'mission', key: 'msn_root' });
    expect(set.judge(set.keysOf(token))).toBeNull();
  });

  it('a key of one kind never matches another kind', () => {
    const { set, say } = feed();
    for (const kind of ['token', 'agent', 'rule', 'issuer'] as const) say({ kind, key: 'msn_self' });
    say({ kind: 'template', key: 'reconcile@8' });
    expect(set.judge(set.keysOf(token))).toBeNull();
  });

  it('issued_before refuses iat up to and including it, and no later one', () => {
    const { set, say } = feed();
    say({ kind: 'agent', key: token.sub, issued_before: NOW + 0.5 });
    expect(set.judge(set.keysOf({ ...token, iat: NOW }))).not.toBeNull();
    expect(set.judge(set.keysOf({ ...token, iat: NOW + 1 }))).toBeNull();
  });

  it('mission, tree, agent key and signing key refuse whatever iat says', () => {
    for (const [kind, key] of [
      ['mission', 'msn_self'],
      ['mission_tree', 'msn_root'],
      ['agent_key', 'thumbprint'],
      ['signing_key', 'key-1'],
    ] as const) {
      const { set, say } = feed();
      say({ kind, key, issued_before: NOW - 1000 });
      expect(set.judge(set.keysOf({ ...token, iat: NOW + 50 }))).not.toBeNull();
    }
  });

  it('narrow refuses older versions of that mission only', () => {
    const { set, say } = feed();
    say({
      kind: 'mission',
      key: 'msn_self',
      effect: 'narrow',
      min_version: 4,
      reason_code: 'admin_contained',
    });
    expect(set.judge(set.keysOf(token))).toStrictEqual({
      effect: 'narrow',
      kind: 'mission',
      reason_code: 'admin_contained',
    });
    expect(set.judge(set.keysOf({ ...token, mission: { ...token.mission, version: 4 } }))).toBeNull();
  });

  it('resuming a suspended mission keeps its narrowing', () => {
    const { set, say } = feed();
    say({ kind: 'mission', key: 'msn_self', effect: 'narrow', min_version: 4 });
    say({ kind: 'mission', key: 'msn_self', reason_code: 'admin_suspended' });
    expect(set.judge(set.keysOf(token))?.reason_code).toBe('admin_suspended');
    say({ kind: 'mission', key: 'msn_self', effect: 'lift' });
    expect(set.judge(set.keysOf(token))?.effect).toBe('narrow');
  });

  it('a later, weaker entry never lowers a bound', () => {
    const { set, say } = feed();
    say({ kind: 'agent', key: token.sub, issued_before: NOW });
    say({ kind: 'agent', key: token.sub, issued_before: NOW - 5000 });
    expect(set.judge(set.keysOf(token))).not.toBeNull();
    say({ kind: 'mission', key: 'msn_self', effect: 'narrow', min_version: 9 });
    say({ kind: 'mission', key: 'msn_self', effect: 'narrow', min_version: 2 });
    expect(set.judge(set.keysOf({ ...token, iat: NOW + 10 }))?.effect).toBe('narrow');
  });

  it('an unblock with a bound leaves what was revoked before the block refused', () => {
    const { set, say } = feed();
    say({ kind: 'agent', key: token.sub, issued_before: NOW });
    say({ kind: 'agent', key: token.sub, effect: 'lift', issued_before: NOW - 50 });
    expect(set.judge(set.keysOf(token))).not.toBeNull();
    expect(set.judge(set.keysOf({ ...token, iat: NOW - 49 }))).toBeNull();
  });
});

describe('position in the feed', () => {
  const entry = (seq: number, prev: number, key = `msn_${seq}`): FeedEntry => ({
    seq,
    prev,
    ts: NOW,
    kind: 'mission',
    key,
    effect: 'deny',
    not_after: NOW + 900,
    reason_code: 'admin_revoked',
  });

  it('a gap makes the set unusable until a snapshot', () => {
    const { set } = feed();
    expect(set.apply(1, entry(5, 0), NOW)).toBe('applied');
    expect(set.apply(1, entry(9, 7), NOW)).toBe('gap');
    expect(set.complete).toBe(false);
    expect(set.stale(NOW, 30)).toBe(true);
    expect(set.apply(1, entry(10, 9), NOW)).toBe('gap');
    expect(set.load({ epoch: 1, seq: 9, ts: NOW, max_token_seconds: 900, entries: [] }, NOW)).toBe('applied');
    expect(set.stale(NOW, 30)).toBe(false);
  });

  it('a heartbeat that names another head than the last one seen is a gap', () => {
    const { set } = feed();
    expect(set.heartbeat({ epoch: 1, seq: 3, ts: NOW + 1 }, NOW + 1)).toBe('gap');
    expect(set.complete).toBe(false);
  });

  it('never accepts a lower seq or a lower epoch, by entry, heartbeat or snapshot', () => {
    for (const turn of [
      (set: RevocationSet) => set.apply(1, entry(4, 3), NOW),
      (set: RevocationSet) => set.apply(0, entry(9, 5), NOW),
      (set: RevocationSet) => set.heartbeat({ epoch: 1, seq: 4, ts: NOW + 5 }, NOW),
      (set: RevocationSet) => set.heartbeat({ epoch: 0, seq: 99, ts: NOW + 5 }, NOW),
      (set: RevocationSet) =>
        set.load({ epoch: 1, seq: 4, ts: NOW, max_token_seconds: 900, entries: [] }, NOW),
      (set: RevocationSet) =>
        set.load({ epoch: 0, seq: 99, ts: NOW, max_token_seconds: 900, entries: [] }, NOW),
    ]) {
      const { set } = feed();
      set.apply(1, entry(5, 0), NOW);
      expect(turn(set)).toBe('rollback');
      expect(set.stale(NOW, 30)).toBe(true);
      // What was seen stays the floor, and what was denied stays denied.
      expect(set.seq).toBe(5);
      expect(set.judge(set.keysOf({ ...token, mission: { ...token.mission, id: 'msn_5' } }))).not.toBeNull();
    }
  });

  it('a replayed lift never revives what was denied after it', () => {
    const { set, say } = feed();
    const lift = { ...entry(1, 0, 'msn_self'), effect: 'lift' } as const;
    expect(set.apply(1, lift, NOW)).toBe('applied');
    say({ kind: 'mission', key: 'msn_self' });
    set.apply(1, lift, NOW);
    expect(set.judge(set.keysOf(token))).not.toBeNull();
  });

  it('a higher epoch needs a snapshot, and takes it', () => {
    const { set } = feed();
    expect(set.apply(2, entry(1, 0), NOW)).toBe('gap');
    expect(set.load({ epoch: 2, seq: 1, ts: NOW, max_token_seconds: 600, entries: [] }, NOW)).toBe('applied');
    expect(set.epoch).toBe(2);
    expect(set.max_token_seconds).toBe(600);
  });
});

describe('age', () => {
  it('nothing is fresh before the first snapshot', () => {
    const set = new RevocationSet(SEED);
    expect(set.stale(NOW, Number.POSITIVE_INFINITY)).toBe(true);
    expect(set.age(NOW)).toBe(Number.POSITIVE_INFINITY);
  });

  it('counts from the last heartbeat, not from its delivery', () => {
    const { set } = feed();
    expect(set.heartbeat({ epoch: 1, seq: 0, ts: NOW + 1 }, NOW + 20)).toBe('applied');
    expect(set.age(NOW + 20)).toBe(19);
    expect(set.stale(NOW + 31, 30)).toBe(false);
    expect(set.stale(NOW + 31.1, 30)).toBe(true);
  });

  it('a replayed heartbeat makes nothing fresher', () => {
    const { set } = feed();
    set.heartbeat({ epoch: 1, seq: 0, ts: NOW + 1 }, NOW + 1);
    expect(set.heartbeat({ epoch: 1, seq: 0, ts: NOW + 1 }, NOW + 40)).toBe('repeated');
    expect(set.stale(NOW + 40, 30)).toBe(true);
  });

  it('a broker clock ahead of the verifier cannot stretch the bound', () => {
    const { set } = feed();
    set.heartbeat({ epoch: 1, seq: 0, ts: NOW + 500 }, NOW + 1);
    expect(set.stale(NOW + 32, 30)).toBe(true);
  });

  it('a clock that is no number is stale', () => {
    const { set } = feed();
    expect(set.stale(Number.NaN, 30)).toBe(true);
  });
});

describe('memory', () => {
  it('holds every one of 200,000 entries at 64 bytes or less each, and nothing that was not said', () => {
    const set = new RevocationSet(SEED);
    const entries = Array.from({ length: 200_000 }, (_, index) => ({
      seq: index + 1,
      ts: NOW,
      kind: 'mission' as const,
      key: `msn_${index}`,
      effect: 'deny' as const,
      not_after: NOW + 900,
      reason_code: 'admin_revoked' as const,
    }));
    set.load({ epoch: 1, seq: entries.length, ts: NOW, max_token_seconds: 900, entries }, NOW);
    expect(set.footprint.entries).toBe(entries.length);
    expect(set.footprint.bytes / entries.length).toBeLessThanOrEqual(64);
    const probe = (id: string) =>
      set.judge(set.keysOf({ ...token, mission: { ...token.mission, id, path: [id] } }));
    for (let index = 0; index < entries.length; index += 97) {
      expect(probe(`msn_${index}`)).not.toBeNull();
      expect(probe(`msn_${index}x`)).toBeNull();
    }
  });

  it('grows entry by entry within 64 bytes each and forgets what has expired', () => {
    const { set, say } = feed();
    for (let index = 0; index < 5_000; index++)
      say({ kind: 'token', key: `cred_${index}`, not_after: NOW + (index % 2) * 900 });
    expect(set.footprint.bytes / set.footprint.entries).toBeLessThanOrEqual(64);
    set.drop(NOW + 500);
    expect(set.footprint.entries).toBe(2_500);
    expect(set.judge(set.keysOf({ ...token, jti: 'cred_4999' }))).not.toBeNull();
  });
});

describe('keyed hash', () => {
  it('depends on seed, domain, length and every character', () => {
    const seen = new Set<string>();
    const note = (hash: KeyedHash, domain: number, text: string): void => {
      hash.of(domain, text);
      seen.add(`${hash.low}.${hash.high}`);
    };
    const one = new KeyedHash([1, 2]);
    const other = new KeyedHash([1, 3]);
    const texts = [
      '',
      '\0',
      '\0\0',
      '\0\0\0',
      'a',
      'b',
      'ab',
      'ba',
      'abc',
      'abcd',
      'abce',
      'abdd',
      'xbcd',
      'Ā',
      'ā',
    ];
    for (const text of texts)
      for (const hash of [one, other]) for (const domain of [1, 2]) note(hash, domain, text);
    expect(seen.size).toBe(texts.length * 4);
  });

  it('spreads: no two of 100,000 similar keys meet', () => {
    const hash = new KeyedHash([7, 9]);
    const seen = new Set<number>();
    for (let index = 0; index < 100_000; index++) {
      hash.of(1, `msn_${index}`);
      seen.add(hash.high * 2 ** 21 + (hash.low & 0x1fffff));
    }
    expect(seen.size).toBe(100_000);
  });
});
