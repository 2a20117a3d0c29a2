/**
 * `max_budget` (wire profile 2.2): money that a mission may spend in all. Only the broker adds it up, in the transaction
 * that permits a call; so every action that may spend is one that the broker judges (`consequential`), and names its
 * amount.
 */
import { isDecimal } from './authority/decimal.ts';
import { type AuthoritySet, isResourceAccess } from './authority/index.ts';
import { CONSEQUENTIAL } from './bundle.ts';
import { malformed } from './denial.ts';
import { isJsonObject, type JsonValue } from './json.ts';
import { unsupported } from './limits.ts';

export interface Budget {
  /** Exact decimal without a sign. */
  readonly amount: string;
  /** Three capital letters (ISO 4217). */
  readonly currency: string;
}

/** The budget of one mission. */
export interface MissionBudget {
  readonly mission_id: string;
  readonly budget: Budget;
}

/** What was spent of a budget, as stored. */
export interface SpentBudget {
  readonly currency: string;
  readonly max: string;
  readonly spent: string;
}

/** @throws Denied `invalid_request` */
export function readBudget(value: JsonValue, at: string): Budget {
  const read = moneyOf(value);
  if (read === null || !isJsonObject(value) || Object.keys(value).length !== 2)
    throw malformed(`${at} must be {"amount": decimal, "currency": three capital letters}`);
  return read;
}

/** An amount of money that can be added up; null for anything else. */
export function moneyOf(value: unknown): Budget | null {
  if (!isJsonObject(value as JsonValue)) return null;
  const { amount, currency } = value as { amount?: unknown; currency?: unknown };
  if (typeof amount !== 'string' || !isDecimal(amount)) return null;
  return typeof currency === 'string' && isCurrency(currency) ? { amount, currency } : null;
}

/**
 * Refuses a budget that something could pass by: an action that is not known to only read, and that the broker does not
 * judge; or a provider's credential, which is used where nobody of ours sees it.
 * @param labelsOf of an action, at each audience that the resource reaches; null where it is not catalogued
 * @throws Denied `access_denied` with `unsupported_control`
 */
export function requireBudgeted(
  granted: AuthoritySet,
  labelsOf: (resource: string, action: string) => readonly (readonly string[] | null)[],
): void {
  for (const entry of granted) {
    if (!isResourceAccess(entry)) throw unsupported('max_budget');
    for (const action of entry.actions) {
      const labels = labelsOf(entry.resource, action);
      if (labels.length === 0 || !labels.every(isJudgedOrReads)) throw unsupported('max_budget');
    }
  }
}

function isJudgedOrReads(labels: readonly string[] | null): boolean {
  return labels !== null && (labels.includes(CONSEQUENTIAL) || onlyReads(labels));
}

/** Spends nothing. An action without labels is not known to. */
export function onlyReads(labels: readonly string[]): boolean {
  return labels.length > 0 && labels.every((label) => label === 'read');
}

function isCurrency(text: string): boolean {
  if (text.length !== 3) return false;
  for (let at = 0; at < 3; at++) {
    const unit = text.charCodeAt(at);
    if (unit < 0x41 || unit > 0x5a) return false;
  }
  return true;
}
