/**
 * Limits (wire profile 2.2): a limit is enforced where it can be counted. What verifiers count (calls, bytes
 * out) is reserved by the broker when a token is minted, carried in the token as an allotment, divided over
 * the verifier's processes and settled from their events. Every rounding and every loss is downward: a crash
 * loses allotment and never gains it.
 */

import { addDecimals, compareDecimals, isDecimal } from './authority/decimal.ts';
import { type AuthoritySet, isFamily, isResourceAccess } from './authority/index.ts';
import { Denied } from './denial.ts';

/** What a token carries in `limits`; a member that is absent is not limited. */
export interface TokenLimits {
  readonly calls?: number;
  readonly egress_bytes?: number;
}

/** One counted limit of one mission. Whole numbers; `settled + outstanding` never passes `max`. */
export interface Allowance {
  readonly max: number;
  /** Known to be used. */
  readonly settled: number;
  /** In allotments of tokens that are not settled yet. */
  readonly outstanding: number;
}

/** @throws RangeError unless `max` is a whole number of at least 0 */
export function openAllowance(max: number): Allowance {
  requireCount(max, 'max');
  return { max, settled: 0, outstanding: 0 };
}

/** What is neither used nor promised. */
export function leftOf({ max, settled, outstanding }: Allowance): number {
  return Math.max(0, max - settled - outstanding);
}

/**
 * Reserves at mint. The allotment is `share`, or what is left if that is less; null when nothing is left, and
 * then no token is minted.
 * @param share how much one token may carry, a whole number of at least 1
 */
export function reserveAllotment(
  allowance: Allowance,
  share: number,
): { readonly allowance: Allowance; readonly allotment: number } | null {
  requireCount(share, 'share');
  const allotment = Math.min(share, leftOf(allowance));
  if (allotment < 1) return null;
  return { allowance: { ...allowance, outstanding: allowance.outstanding + allotment }, allotment };
}

/**
 * Settles one token's allotment, once, after it can no longer be used.
 * @param used what its events add up to; null when a process fell silent: then all of it counts as used. A
 * verifier that reports more than the allotment is counted in full: it has been used.
 */
export function settleAllotment(allowance: Allowance, allotment: number, used: number | null): Allowance {
  requireCount(allotment, 'allotment');
  if (allotment > allowance.outstanding) throw new RangeError('the allotment is not outstanding');
  // NaN, negative or broken numbers say nothing: the whole allotment counts.
  const counted = used !== null && Number.isSafeInteger(used) && used >= 0 ? used : allotment;
  return {
    ...allowance,
    settled: Math.min(Number.MAX_SAFE_INTEGER, allowance.settled + counted),
    outstanding: allowance.outstanding - allotment,
  };
}

/**
 * The part of an allotment that process `index` of `processes` may spend by itself. The parts of all add up to
 * exactly the allotment; where it does not divide, the first ones get one more. A process of unknown place
 * (a restart under another number, one too many) gets nothing.
 */
export function portion(allotment: number, processes: number, index: number): number {
  requireCount(allotment, 'allotment');
  if (!Number.isSafeInteger(processes) || processes < 1) return 0;
  if (!Number.isSafeInteger(index) || index < 0 || index >= processes) return 0;
  return Math.floor(allotment / processes) + (index < allotment % processes ? 1 : 0);
}

/** What is left of a process's portion after one use, or null: the use is refused and nothing is taken. */
export function spend(left: number, cost: number): number | null {
  if (!Number.isSafeInteger(cost) || cost < 0 || !Number.isSafeInteger(left)) return null;
  return cost > left ? null : left - cost;
}

/** Money spent by actions that the broker judges one by one. Amounts are exact decimals. */
export interface Budget {
  readonly amount: string;
  readonly currency: string;
  readonly spent: string;
}

/** The budget after one charge, or null when it does not fit, has another currency, or is no plain decimal. */
export function charge(
  budget: Budget,
  cost: { readonly amount: string; readonly currency: string },
): Budget | null {
  if (cost.currency !== budget.currency || !isDecimal(cost.amount)) return null;
  const spent = addDecimals(budget.spent, cost.amount);
  return compareDecimals(spent, budget.amount) <= 0 ? { ...budget, spent } : null;
}

/** What this build counts, and for whom; the caller knows the registered audiences. */
export interface Counting {
  /** Every verifier of every audience of the mission counts calls against `limits.calls`. */
  readonly calls: boolean;
  /** The same for bytes and `limits.egress_bytes`. */
  readonly egress: boolean;
  /** True if the action spends nothing, or is `consequential` with a named amount. */
  budgeted(resource: string, action: string): boolean;
}

/** The members of `controls` that verifiers must count. */
export interface CountedControls {
  readonly max_calls?: unknown;
  readonly max_egress_volume?: unknown;
  readonly max_budget?: unknown;
}

/**
 * Refuses a limit that nobody would count: worse than none, because somebody relies on it.
 * @throws Denied `access_denied` with `unsupported_control`, naming the control
 */
export function requireEnforceable(
  controls: CountedControls,
  granted: AuthoritySet,
  counting: Counting,
): void {
  if (controls.max_calls !== undefined && !counting.calls) throw unsupported('max_calls');
  if (controls.max_egress_volume !== undefined && !counting.egress) throw unsupported('max_egress_volume');
  if (controls.max_budget !== undefined && !isBudgeted(granted, counting)) throw unsupported('max_budget');
}

/** A family names actions that nobody has judged, and a provider's credential spends unseen. */
function isBudgeted(granted: AuthoritySet, counting: Counting): boolean {
  return granted.every(
    (entry) =>
      isResourceAccess(entry) &&
      entry.actions.every((action) => !isFamily(action) && counting.budgeted(entry.resource, action)),
  );
}

function unsupported(control: string): Denied {
  return new Denied({
    tag: 'access_denied',
    reason: 'unsupported_control',
    detail: `controls.${control} cannot be enforced for this mission; leave it out or narrow the proposal`,
  });
}

function requireCount(value: number, name: string): void {
  if (!Number.isSafeInteger(value) || value < 0)
    throw new RangeError(`${name} is a whole number of at least 0`);
}
