/** The purse: what is given out of a limit, at one audience and at all of them, by tokens and by the broker itself. */
import { describe, expect, it } from 'vitest';
import { readBundle } from '../../src/domain/bundle.ts';
import type { Denied } from '../../src/domain/denial.ts';
import { type Account, type Allowance, countingAt, leftOf, Purse } from '../../src/domain/limits.ts';
import { readDecisionEvent } from '../../src/domain/reports.ts';
import { RevocationSet } from '../../src/domain/revocation-set.ts';

const HERE = 'https://erp.example.com';
const THERE = 'https://crm.example.com';
const allowance = (max: number, reserved: number, ...claims: Allowance['claims']): Allowance => ({
  control: 'max_calls',
  max,
  reserved,
  claims,
});
const account = (mission_id: string, stored: Allowance | null, max = 10): Account => ({
  mission_id,
  limits: { max_calls: max },
  allowances: stored === null ? null : [stored],
});
const taken = (mission_id: string, max: number, amount: number) => ({
  mission_id,
  control: 'max_calls',
  max,
  amount,
});
const refusal = (run: () => unknown) => {
  try {
    run();
  } catch (error) {
    return (error as Denied).private_reason;
  }
  return 'accepted';
};

describe('what is left', () => {
  const stored = allowance(
    10,
    7,
    { audience: HERE, held: 2, claimed: 4 },
    { audience: THERE, held: 2, claimed: 3 },
  );

  it('at an audience is what nobody claimed and what came back there', () => {
    expect(leftOf(stored, HERE)).toBe(5);
    expect(leftOf(stored, THERE)).toBe(4);
    expect(leftOf(stored, 'https://new.example')).toBe(3);
    expect(leftOf(stored)).toBe(6);
    expect(leftOf({ ...stored, reserved: 99 }, HERE)).toBe(0);
  });
});

describe('who counts', () => {
  it('is every verifier for itself, and the broker for those that ask', () => {
    const one = { audience: HERE, processes: 2, counts_bytes: true };
    expect(countingAt(HERE, [one, { ...one, processes: 3 }])).toStrictEqual({ processes: 5, bytes: true });
    expect(countingAt(HERE, [one, { audience: HERE, asks: true }])).toStrictEqual({
      processes: 2,
      bytes: false,
    });
    expect(countingAt(HERE, [{ audience: HERE, asks: true, counts_bytes: true }])).toStrictEqual({
      processes: 0,
      bytes: false,
    });
    expect(countingAt(HERE, [one, { audience: HERE }])).toBeNull();
    expect(countingAt(HERE, [{ audience: THERE, processes: 1 }])).toBeNull();
  });
});

describe('a token', () => {
  it('takes the same of its own limit and of every one above', () => {
    const purse = new Purse([account('root', allowance(100, 0), 100), account('child', null)]);
    expect(purse.take(HERE, { processes: 2, bytes: true }, 1)).toStrictEqual([
      { control: 'max_calls', amount: 10, taken: [taken('root', 100, 10), taken('child', 10, 10)] },
    ]);
    expect(refusal(() => purse.take(HERE, { processes: 2, bytes: true }, 1))).toContain(
      'too small to be divided',
    );
  });

  it('takes of what came back at its audience before it claims more, and not of what came back elsewhere', () => {
    const stored = allowance(10, 10, { audience: HERE, held: 6, claimed: 10 });
    expect(new Purse([account('m', stored)]).take(HERE, { processes: 1, bytes: true }, 1)[0]?.amount).toBe(4);
    expect(
      refusal(() => new Purse([account('m', stored)]).take(THERE, { processes: 1, bytes: true }, 1)),
    ).toBe('max_calls is used up');
  });

  it('takes nothing where the broker counts, but finds something left', () => {
    const broker = { processes: 0, bytes: false };
    expect(new Purse([account('m', allowance(10, 9))]).take(HERE, broker, 1)).toStrictEqual([
      { control: 'max_calls', amount: 0, taken: [] },
    ]);
    expect(refusal(() => new Purse([account('m', allowance(10, 10))]).take(HERE, broker, 1))).toBe(
      'max_calls is used up',
    );
    expect(refusal(() => new Purse([account('m', null)]).take(HERE, null, 1))).toContain(
      'controls.max_calls cannot be',
    );
    expect(
      refusal(() => new Purse([account('m', null, 1)]).take(HERE, { processes: 2, bytes: true }, 1)),
    ).toBe(
      'max_calls is too small to be divided: each token needs at least 2, one for each process that checks calls',
    );
  });

  it('names the budget of the nearest mission that has one', () => {
    const budget = (amount: string) => ({ budget: { amount, currency: 'EUR' } });
    const plain = account('m', null);
    expect(
      new Purse([{ ...plain, ...budget('9') }, { ...plain, ...budget('5') }, plain]).budget?.amount,
    ).toBe('5');
    expect(new Purse([{ ...plain, ...budget('9') }, plain]).budget?.amount).toBe('9');
    expect(new Purse([plain]).budget).toBeNull();
  });
});

describe('the broker', () => {
  it('spends one call after the other of every limit, and none when one of them is used up', () => {
    const purse = new Purse([account('root', allowance(10, 8), 10), account('child', allowance(3, 0), 3)]);
    const one = [taken('root', 10, 1), taken('child', 3, 1)];
    expect(purse.spend(HERE, 'max_calls')).toStrictEqual(one);
    expect(purse.spend(THERE, 'max_calls')).toStrictEqual(one);
    expect(purse.spend(HERE, 'max_calls')).toBeNull();
    expect(purse.spend(HERE, 'max_egress_volume')).toStrictEqual([]);
  });

  it('spends what came back at an audience before anything new', () => {
    const stored = allowance(5, 5, { audience: HERE, held: 4, claimed: 5 });
    const purse = new Purse([account('m', stored, 5)]);
    expect(purse.spend(THERE, 'max_calls')).toBeNull();
    expect(purse.spend(HERE, 'max_calls')).toStrictEqual([taken('m', 5, 1)]);
    expect(purse.spend(HERE, 'max_calls')).toBeNull();
  });
});

describe('what guards are told and tell beside it', () => {
  it('is whether they count, when the broker vouched last, and digests of destinations', () => {
    const bundle = {
      iss: 'i',
      aud: 'a',
      iat: 1,
      version: 'v',
      keys: [],
      actions: [],
      sinks: [],
      field_trust: [],
      sequence_rules: [],
      max_staleness_seconds: 5,
      max_token_seconds: 300,
    };
    expect(readBundle({ ...bundle, counting: true }).counting).toBe(true);
    for (const counting of [false, 1, 'true', null])
      expect(readBundle({ ...bundle, counting })).toStrictEqual(bundle);

    const set = new RevocationSet([1, 2]);
    expect(set.vouched_until).toBe(Number.NEGATIVE_INFINITY);
    set.load({ epoch: 1, seq: 0, ts: 100, max_token_seconds: 900, entries: [] }, 100);
    set.heartbeat({ epoch: 1, seq: 0, ts: 101 }, 101);
    set.load({ epoch: 1, seq: 0, ts: 99, max_token_seconds: 900, entries: [] }, 102);
    expect(set.vouched_until).toBe(101);

    const event = {
      ts: 1,
      jti: 'j',
      mission_id: 'm',
      seq: 0,
      action: 'a.pay',
      resource: HERE,
      decision: 'permit',
      reason: 'permitted',
      latency_us: 0,
    };
    expect(readDecisionEvent({ ...event, destinations: ['0123456789ab'] })?.destinations).toStrictEqual([
      '0123456789ab',
    ]);
    expect(readDecisionEvent(event)).not.toHaveProperty('destinations');
    for (const destinations of [null, 'x', [1], [''], ['a'.repeat(100)]])
      expect(readDecisionEvent({ ...event, destinations })).toBeNull();
  });
});
