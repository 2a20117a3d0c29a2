/** Budgets: money that nobody adds up is no limit, and an amount in another form is no amount. */
import { describe, expect, it } from 'vitest';
import type { AuthoritySet } from '../../src/domain/authority/index.ts';
import { moneyOf, onlyReads, readBudget, requireBudgeted } from '../../src/domain/budget.ts';
import type { Denied } from '../../src/domain/denial.ts';
import type { JsonValue } from '../../src/domain/json.ts';

const euro = { amount: '10.50', currency: 'EUR' };
const wrong = (run: () => unknown): string => {
  try {
    run();
  } catch (error) {
    return (error as Denied).private_reason;
  }
  return 'accepted';
};

describe('money', () => {
  it('is an exact amount of one currency', () => {
    expect(moneyOf({ ...euro, more: 1 })).toStrictEqual(euro);
    expect(readBudget(euro, 'b')).toStrictEqual(euro);
    for (const currency of ['AAA', 'ZZZ']) expect(moneyOf({ ...euro, currency })).not.toBeNull();
    for (const bad of [
      null,
      1,
      'x',
      [],
      {},
      { amount: '1' },
      { currency: 'EUR' },
      ...[10.5, '-1', '1e2', '', '1,5', null].map((amount) => ({ ...euro, amount })),
      ...['eur', 'EU', 'EURO', 'E R', '@AA', 'A[A', 'AA[', 'AA@', 1, null].map((currency) => ({
        ...euro,
        currency,
      })),
    ]) {
      expect(moneyOf(bad), JSON.stringify(bad)).toBeNull();
      expect(wrong(() => readBudget(bad as JsonValue, 'b'))).toBe(
        'b must be {"amount": decimal, "currency": three capital letters}',
      );
    }
    expect(wrong(() => readBudget({ ...euro, more: 1 }, 'b'))).toContain('b must be');
  });
});

describe('a budget', () => {
  const refusal =
    'controls.max_budget cannot be enforced for this mission; leave it out or narrow the proposal';
  const access = (...actions: string[]): AuthoritySet => [
    { type: 'mission_resource_access', resource: 'https://erp.example.com', actions },
  ];
  const check = (set: AuthoritySet, labels: Record<string, readonly (readonly string[] | null)[]>) =>
    wrong(() => requireBudgeted(set, (resource, action) => labels[`${resource} ${action}`] ?? []));
  const at = (action: string) => `https://erp.example.com ${action}`;

  it('is for actions that the broker judges or that only read, at every audience that they reach', () => {
    const labels = {
      [at('a.read')]: [['read'], ['read', 'read']],
      [at('a.pay')]: [['write', 'consequential']],
    };
    expect(check(access('a.read', 'a.pay'), labels)).toBe('accepted');
    expect(check([], {})).toBe('accepted');
    for (const bad of [
      [],
      [null],
      [['read'], null],
      [['write']],
      [['read', 'write']],
      [[]],
      [['read'], ['write']],
    ])
      expect(check(access('a.read', 'a.pay'), { ...labels, [at('a.pay')]: bad }), JSON.stringify(bad)).toBe(
        refusal,
      );
  });

  it('is for nothing that a provider hands out: nobody of ours sees it spent', () => {
    expect(check([{ type: 'aws_session' }], {})).toBe(refusal);
    expect(onlyReads(['read'])).toBe(true);
    expect(onlyReads([])).toBe(false);
    expect(onlyReads(['read', 'write'])).toBe(false);
  });
});
