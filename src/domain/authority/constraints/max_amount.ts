/** `max_amount`: the amount of one call, in one currency, is at most this. Compared exactly, never converted. */

import { compareDecimals, isDecimal, normalDecimal } from '../decimal.ts';
import { badAuthority, member, readObject } from '../parse.ts';
import type { ConstraintKind } from './kind.ts';

interface Money {
  readonly amount: string;
  readonly currency: string;
}

export const maxAmount: ConstraintKind<Money> = {
  key: 'max_amount',
  parse(value, path) {
    const object = readObject(value, path, ['amount', 'currency']);
    const amount = member(object, 'amount');
    const currency = member(object, 'currency');
    if (typeof amount !== 'string' || !isDecimal(amount)) {
      throw badAuthority(`${path}.amount`, 'must be a decimal string such as "500.00"');
    }
    if (!isCurrency(currency))
      throw badAuthority(`${path}.currency`, 'must be an ISO 4217 code such as "EUR"');
    return { amount, currency };
  },
  print: ({ amount, currency }) => ({ amount: normalDecimal(amount), currency }),
  within: (a, b) => a.currency === b.currency && compareDecimals(a.amount, b.amount) <= 0,
  intersect(a, b) {
    if (a.currency !== b.currency) return null;
    return compareDecimals(a.amount, b.amount) <= 0 ? a : b;
  },
  evaluate(limit, { context }) {
    const wanted: unknown = context.amount;
    if (typeof wanted !== 'object' || wanted === null) return 'unevaluable';
    const { amount, currency } = wanted as { amount?: unknown; currency?: unknown };
    // A float, a sign or an exponent is a form that another reader may read differently.
    if (typeof amount !== 'string' || !isDecimal(amount) || !isCurrency(currency)) return 'unevaluable';
    return currency === limit.currency && compareDecimals(amount, limit.amount) <= 0 ? 'met' : 'violated';
  },
  describe: ({ amount, currency }) => `up to ${amount} ${currency} a call`,
};

function isCurrency(value: unknown): value is string {
  if (typeof value !== 'string' || value.length !== 3) return false;
  for (let at = 0; at < 3; at++) {
    const unit = value.charCodeAt(at);
    if (unit < 0x41 || unit > 0x5a) return false;
  }
  return true;
}
