import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { AuthoritySet } from '../../src/domain/authority/index.ts';
import { Denied } from '../../src/domain/denial.ts';
import {
  charge,
  leftOf,
  openAllowance,
  portion,
  requireEnforceable,
  reserveAllotment,
  settleAllotment,
  spend,
} from '../../src/domain/limits.ts';

describe('allotments', () => {
  it('are reserved at mint until nothing is left', () => {
    const first = reserveAllotment(openAllowance(10), 6);
    expect(first).toEqual({ allowance: { max: 10, settled: 0, outstanding: 6 }, allotment: 6 });
    const second = reserveAllotment(first?.allowance ?? openAllowance(0), 6);
    expect(second).toEqual({ allowance: { max: 10, settled: 0, outstanding: 10 }, allotment: 4 });
    expect(reserveAllotment(second?.allowance ?? openAllowance(0), 1)).toBeNull();
    expect(reserveAllotment(openAllowance(0), 1)).toBeNull();
    expect(reserveAllotment(openAllowance(5), 0)).toBeNull();
  });

  it('give back what events show unused', () => {
    const reserved = { max: 10, settled: 1, outstanding: 6 };
    expect(settleAllotment(reserved, 6, 2)).toEqual({ max: 10, settled: 3, outstanding: 0 });
    expect(leftOf(settleAllotment(reserved, 6, 2))).toBe(7);
    expect(settleAllotment(reserved, 4, 0)).toEqual({ max: 10, settled: 1, outstanding: 2 });
  });

  it.each([null, Number.NaN, -1, 1.5, Number.POSITIVE_INFINITY])(
    'count as used whole when the use is %s',
    (used) => {
      expect(settleAllotment({ max: 10, settled: 0, outstanding: 6 }, 6, used)).toEqual({
        max: 10,
        settled: 6,
        outstanding: 0,
      });
    },
  );

  it('count an overrun that a verifier admits', () => {
    const after = settleAllotment({ max: 10, settled: 0, outstanding: 6 }, 6, 12);
    expect(after.settled).toBe(12);
    expect(leftOf(after)).toBe(0);
    expect(reserveAllotment(after, 1)).toBeNull();
  });

  it('are settled only while they are outstanding', () => {
    expect(() => settleAllotment({ max: 10, settled: 0, outstanding: 5 }, 6, 0)).toThrow(RangeError);
    expect(() => settleAllotment({ max: 10, settled: 0, outstanding: 5 }, -1, 0)).toThrow(RangeError);
    expect(() => openAllowance(-1)).toThrow(RangeError);
    expect(() => openAllowance(1.5)).toThrow(RangeError);
    expect(() => reserveAllotment(openAllowance(1), -1)).toThrow(RangeError);
  });

  it('never let more be used than the limit, whatever crashes', () => {
    const step = fc.record({
      share: fc.integer({ min: 1, max: 9 }),
      used: fc.integer({ min: 0, max: 9 }),
      crash: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.nat({ max: 40 }), fc.array(step, { maxLength: 30 }), (max, steps) => {
        let allowance = openAllowance(max);
        let really_used = 0;
        for (const { share, used, crash } of steps) {
          const reserved = reserveAllotment(allowance, share);
          if (reserved === null) continue;
          const use = Math.min(used, reserved.allotment);
          really_used += use;
          allowance = settleAllotment(reserved.allowance, reserved.allotment, crash ? null : use);
          expect(allowance.settled + allowance.outstanding).toBeLessThanOrEqual(max);
        }
        expect(really_used).toBeLessThanOrEqual(max);
      }),
    );
  });
});

describe('portions', () => {
  it('add up to exactly the allotment', () => {
    fc.assert(
      fc.property(fc.nat({ max: 10_000 }), fc.integer({ min: 1, max: 64 }), (allotment, processes) => {
        const parts = Array.from({ length: processes }, (_, index) => portion(allotment, processes, index));
        expect(parts.reduce((sum, part) => sum + part, 0)).toBe(allotment);
        expect(Math.max(...parts) - Math.min(...parts)).toBeLessThanOrEqual(1);
      }),
    );
  });

  it.each([
    [10, 3, 3],
    [10, 3, -1],
    [10, 3, 0.5],
    [10, 0, 0],
    [10, Number.NaN, 0],
  ])(
    'are nothing for a process that was not counted: %d over %d, place %d',
    (allotment, processes, index) => {
      expect(portion(allotment, processes, index)).toBe(0);
    },
  );

  it('are spent one by one and never below zero', () => {
    expect(spend(5, 5)).toBe(0);
    expect(spend(5, 0)).toBe(5);
    expect(spend(5, 6)).toBeNull();
    expect(spend(5, -1)).toBeNull();
    expect(spend(5, 0.5)).toBeNull();
    expect(spend(Number.NaN, 0)).toBeNull();
  });
});

describe('budgets', () => {
  const budget = { amount: '10.00', currency: 'EUR', spent: '0' };

  it('are exact to the last digit', () => {
    let left: typeof budget | null = budget;
    for (let at = 0; at < 100 && left !== null; at++) left = charge(left, { amount: '0.1', currency: 'EUR' });
    expect(left?.spent).toBe('10');
    expect(
      left === null ? null : charge(left, { amount: '0.000000000000000001', currency: 'EUR' }),
    ).toBeNull();
    expect(charge(budget, { amount: '10.000', currency: 'EUR' })?.spent).toBe('10');
  });

  it.each([
    ['another currency', '1', 'USD'],
    ['a negative amount', '-1', 'EUR'],
    ['an exponent', '1e0', 'EUR'],
    ['too much', '10.01', 'EUR'],
  ])('refuse %s', (_name, amount, currency) => {
    expect(charge(budget, { amount, currency })).toBeNull();
  });
});

describe('controls', () => {
  const granted: AuthoritySet = [
    {
      type: 'mission_resource_access',
      resource: 'https://erp.example.com',
      actions: ['journal.post', 'invoices.read'],
    },
  ];
  const counting = { calls: true, egress: true, budgeted: () => true };
  const refused = (controls: object, set = granted, able: Partial<typeof counting> = {}) => {
    try {
      requireEnforceable(controls, set, { ...counting, ...able });
      return null;
    } catch (error) {
      if (!(error instanceof Denied) || error.denial.tag !== 'access_denied') throw error;
      expect(error.denial.reason).toBe('unsupported_control');
      return error.denial.detail ?? '';
    }
  };

  it('pass where every one is counted', () => {
    const budget = { amount: '1', currency: 'EUR' };
    expect(refused({ max_calls: 1, max_egress_volume: 1, max_budget: budget })).toBeNull();
    expect(refused({}, granted, { calls: false, egress: false, budgeted: () => false })).toBeNull();
  });

  it('are refused where nobody counts', () => {
    expect(refused({ max_calls: 1 }, granted, { calls: false })).toContain('max_calls');
    expect(refused({ max_egress_volume: 1 }, granted, { egress: false })).toContain('max_egress_volume');
    expect(refused({ max_budget: 1 }, granted, { budgeted: () => false })).toContain('max_budget');
  });

  it('refuse a budget over an action without a named amount, a family, or a provider credential', () => {
    const only = (action: string) => ({ budgeted: (_resource?: string, name?: string) => name === action });
    expect(refused({ max_budget: 1 }, granted, only('journal.post'))).toContain('max_budget');
    const family = [
      { type: 'mission_resource_access' as const, resource: 'https://e.example', actions: ['a.*'] },
    ];
    expect(refused({ max_budget: 1 }, family)).toContain('max_budget');
    expect(refused({ max_budget: 1 }, [{ type: 'aws_session' }])).toContain('max_budget');
  });
});
