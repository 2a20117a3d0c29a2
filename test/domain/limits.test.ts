import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { AuthoritySet } from '../../src/domain/authority/index.ts';
import { Denied } from '../../src/domain/denial.ts';
import {
  type Allowance,
  allotmentOf,
  type CountedLimits,
  type Counting,
  countedLimits,
  countingAt,
  isLimited,
  Purse,
  requireCounted,
  unsupported,
} from '../../src/domain/limits.ts';

function denialOf(work: () => unknown): unknown {
  try {
    work();
  } catch (cause) {
    if (cause instanceof Denied) return [cause.denial, cause.private_reason];
    throw cause;
  }
  return null;
}

/** Of one mission without a parent. */
const purse = (limits: CountedLimits, allowances: readonly Allowance[] | null) =>
  new Purse([{ mission_id: 'self', limits, allowances }]);
/** Of one token for one audience. */
const take = (from: Purse, counting: Counting | null, tokens: number) =>
  from.take('erp', counting, tokens).flatMap(({ taken }) => taken);
const ONE: Counting = { processes: 1, bytes: true };

describe('what is limited', () => {
  it('is the smaller of what was declared and what the template allows', () => {
    expect(countedLimits(undefined, undefined)).toEqual({});
    expect(countedLimits({ max_calls: 5 }, { max_calls: 9, max_egress_volume: 7 })).toEqual({
      max_calls: 5,
      max_egress_volume: 7,
    });
    expect(countedLimits({ max_calls: 9 }, { max_calls: 5 })).toEqual({ max_calls: 5 });
    expect(isLimited({})).toBe(false);
    expect(isLimited({ max_calls: 0 })).toBe(true);
    expect(isLimited({ max_egress_volume: 1 })).toBe(true);
  });

  it('is counted at an audience only if each of its verifiers counts', () => {
    const here = { audience: 'a', processes: 2, counts_bytes: true };
    expect(countingAt('a', [])).toBeNull();
    expect(countingAt('a', [{ audience: 'b', processes: 1 }])).toBeNull();
    expect(countingAt('a', [here, { audience: 'b' }])).toEqual({ processes: 2, bytes: true });
    expect(countingAt('a', [here, { audience: 'a', processes: 3 }])).toEqual({ processes: 5, bytes: false });
    expect(countingAt('a', [here, { audience: 'a', counts_bytes: true }])).toBeNull();
  });

  it('is refused where nobody would count it', () => {
    const erp = [
      { type: 'mission_resource_access', resource: 'https://erp.example.com', actions: ['read'] },
    ] as unknown as AuthoritySet;
    const elsewhere = [...erp, { type: 'aws_session' }] as unknown as AuthoritySet;
    const blind: Counting = { processes: 1, bytes: false };
    const refused = (...asked: Parameters<typeof requireCounted>) => denialOf(() => requireCounted(...asked));
    const because = (control: string) => {
      const { denial, private_reason } = unsupported(control);
      return [denial, private_reason];
    };
    expect(because('max_calls')[0]).toEqual({
      tag: 'access_denied',
      reason: 'unsupported_control',
      detail: 'controls.max_calls cannot be enforced for this mission; leave it out or narrow the proposal',
    });
    expect(refused({ max_calls: 1, max_egress_volume: 1 }, erp, [ONE, ONE])).toBeNull();
    expect(refused({}, elsewhere, [null])).toBeNull();
    expect(refused({ max_calls: 1 }, erp, [blind])).toBeNull();
    expect(refused({ max_calls: 1 }, erp, [ONE, null])).toEqual(because('max_calls'));
    expect(refused({ max_calls: 1 }, elsewhere, [ONE])).toEqual(because('max_calls'));
    expect(refused({ max_egress_volume: 1 }, erp, [ONE, blind])).toEqual(because('max_egress_volume'));
    expect(refused({ max_egress_volume: 1 }, elsewhere, [ONE])).toEqual(because('max_egress_volume'));
  });
});

describe('allotments', () => {
  it('are an equal part for each token to come, whole for each process', () => {
    expect(allotmentOf(10, 5, 1)).toBe(2);
    expect(allotmentOf(10, 12, 1)).toBe(1);
    expect(allotmentOf(10, 1, 1)).toBe(10);
    expect(allotmentOf(10, 0, 1)).toBe(10);
    expect(allotmentOf(10, 4, 2)).toBe(4);
    expect(allotmentOf(10, 1, 3)).toBe(9);
    expect(allotmentOf(3, 9, 3)).toBe(3);
    expect(allotmentOf(2, 1, 3)).toBeNull();
    expect(allotmentOf(0, 1, 1)).toBeNull();
  });

  it('never add up to more than the limit, and never leave a process a part to share', () => {
    const numbers = fc.tuple(fc.nat(1000), fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 7 }));
    fc.assert(
      fc.property(numbers, ([max, tokens, processes]) => {
        const mine = purse({ max_calls: max }, []);
        let sum = 0;
        let missed: unknown = null;
        for (let token = tokens; missed === null; token--) {
          missed = denialOf(() => {
            for (const { amount } of take(mine, { processes, bytes: false }, token)) {
              expect(amount % processes).toBe(0);
              expect(amount).toBeGreaterThan(0);
              sum += amount;
            }
          });
        }
        expect(missed).toEqual([{ tag: 'dead_mission', error: 'limit_exhausted' }, 'max_calls is used up']);
        expect(sum).toBeLessThanOrEqual(max);
        expect(max - sum).toBeLessThan(processes);
      }),
    );
  });

  it('last for every token that the mission will need, however the limit divides', () => {
    const numbers = fc
      .integer({ min: 1, max: 40 })
      .chain((tokens) =>
        fc.tuple(fc.constant(tokens), fc.integer({ min: tokens * (tokens + 1), max: 5000 })),
      );
    fc.assert(
      fc.property(numbers, ([tokens, max]) => {
        const mine = purse({ max_calls: max }, null);
        for (let token = tokens; token > 0; token--) expect(take(mine, ONE, token)).toHaveLength(1);
      }),
    );
  });

  it('go on from what is stored', () => {
    const limits = { max_calls: 10, max_egress_volume: 100 };
    const mine = purse(limits, [
      { control: 'max_egress_volume', max: 100, reserved: 60, claims: [] },
      // What was stored first counts, and a limit that was passed leaves nothing, not less.
      { control: 'max_calls', max: 4, reserved: 2, claims: [] },
    ]);
    expect(take(mine, ONE, 1)).toEqual([
      { mission_id: 'self', control: 'max_calls', max: 4, amount: 2 },
      { mission_id: 'self', control: 'max_egress_volume', max: 100, amount: 40 },
    ]);
    const over = purse({ max_calls: 1 }, [{ control: 'max_calls', max: 1, reserved: 5, claims: [] }]);
    expect(denialOf(() => take(over, ONE, 1))).toEqual([
      { tag: 'dead_mission', error: 'limit_exhausted' },
      'max_calls is used up',
    ]);
  });

  it('take all of a token or nothing of it', () => {
    const mine = purse({ max_calls: 10, max_egress_volume: 0 }, []);
    expect(denialOf(() => take(mine, ONE, 1))).toEqual([
      { tag: 'dead_mission', error: 'limit_exhausted' },
      'max_egress_volume is used up',
    ]);
    expect(take(purse({}, []), null, 1)).toEqual([]);
  });

  it('of a child come out of the limits above it as well, and never out of more than the scarcest', () => {
    const family = new Purse([
      {
        mission_id: 'root',
        limits: { max_calls: 10 },
        allowances: [{ control: 'max_calls', max: 10, reserved: 4, claims: [] }],
      },
      { mission_id: 'between', limits: {}, allowances: [] },
      { mission_id: 'child', limits: { max_calls: 100, max_egress_volume: 7 }, allowances: null },
    ]);
    expect(take(family, ONE, 2)).toEqual([
      { mission_id: 'root', control: 'max_calls', max: 10, amount: 3 },
      { mission_id: 'child', control: 'max_calls', max: 100, amount: 3 },
      { mission_id: 'child', control: 'max_egress_volume', max: 7, amount: 4 },
    ]);
    expect(take(family, ONE, 1).map(({ amount }) => amount)).toEqual([3, 3, 3]);
    expect(denialOf(() => take(family, ONE, 1))).toEqual([
      { tag: 'dead_mission', error: 'limit_exhausted' },
      'max_calls is used up',
    ]);
    const smaller = new Purse([
      { mission_id: 'root', limits: { max_calls: 10 }, allowances: [] },
      { mission_id: 'child', limits: { max_calls: 4 }, allowances: null },
    ]);
    expect(take(smaller, ONE, 1).map(({ amount }) => amount)).toEqual([4, 4]);
    expect(denialOf(() => take(smaller, ONE, 1))).toEqual([
      expect.objectContaining({ tag: 'invalid_request' }),
      expect.any(String),
    ]);
  });

  it('are refused where nobody counts any more', () => {
    const mine = purse({ max_egress_volume: 10 }, []);
    const [refusal] = denialOf(() => take(mine, { processes: 1, bytes: false }, 1)) as unknown[];
    expect(refusal).toMatchObject({ tag: 'access_denied', reason: 'unsupported_control' });
    expect(denialOf(() => take(mine, null, 1))).toEqual([refusal, expect.any(String)]);
  });

  it('that are too small for a new mission teach how large they must be', () => {
    const mine = purse({ max_calls: 3 }, null);
    const detail =
      'max_calls is too small to be divided: each token needs at least 4, one for each process that checks calls';
    expect(denialOf(() => take(mine, { processes: 4, bytes: false }, 1))).toEqual([
      { tag: 'invalid_request', detail },
      detail,
    ]);
  });
});
