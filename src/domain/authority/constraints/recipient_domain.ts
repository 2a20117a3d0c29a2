/**
 * `recipient_domain`: every recipient of the call is in this DNS domain or below it, on whole labels and
 * whatever the case. A recipient is a domain or `local@domain`. Forms that mail systems read differently
 * (quotes, lists, comments, source routes, several `@`) cannot be judged and deny.
 */

import { badAuthority } from '../parse.ts';
import type { ConstraintKind, Verdict } from './kind.ts';

const MAX_LENGTH = 253;

export const recipientDomain: ConstraintKind<string> = {
  key: 'recipient_domain',
  parse(value, path) {
    if (typeof value !== 'string' || !isDomain(value, 0)) {
      throw badAuthority(path, 'must be a DNS name such as "example.com"');
    }
    return value.toLowerCase();
  },
  print: (domain) => domain,
  within: (a, b) => isAtOrUnder(a, 0, b),
  intersect: (a, b) => {
    if (isAtOrUnder(a, 0, b)) return a;
    return isAtOrUnder(b, 0, a) ? b : null;
  },
  evaluate(domain, { context }) {
    const recipients: unknown = context.recipients;
    // Nobody is not everybody in the domain: an empty list is a fact that was not found.
    if (!Array.isArray(recipients) || recipients.length === 0) return 'unevaluable';
    for (let at = 0; at < recipients.length; at++) {
      const verdict = judge(recipients[at], domain);
      if (verdict !== 'met') return verdict;
    }
    return 'met';
  },
  describe: (domain) => `to recipients in ${domain}`,
};

function judge(recipient: unknown, domain: string): Verdict {
  if (typeof recipient !== 'string') return 'unevaluable';
  const at = recipient.indexOf('@');
  if (at === 0 || (at > 0 && !isLocalPart(recipient, at)) || !isDomain(recipient, at + 1))
    return 'unevaluable';
  return isAtOrUnder(recipient, at + 1, domain) ? 'met' : 'violated';
}

/** `text` from `start` on equals `domain` or ends in a dot and `domain`; letters compare without case. */
function isAtOrUnder(text: string, start: number, domain: string): boolean {
  const offset = text.length - domain.length;
  if (offset < start || (offset > start && text.charCodeAt(offset - 1) !== 0x2e)) return false;
  for (let at = 0; at < domain.length; at++) {
    if (lower(text.charCodeAt(offset + at)) !== domain.charCodeAt(at)) return false;
  }
  return true;
}

/** DNS name of letters, digits and hyphens; the last label is not a number (that would be an address). */
function isDomain(text: string, start: number): boolean {
  if (text.length === start || text.length - start > MAX_LENGTH) return false;
  let label = start;
  let digits_only = true;
  for (let at = start; at <= text.length; at++) {
    if (at === text.length || text.charCodeAt(at) === 0x2e) {
      if (at === label || at - label > 63) return false;
      if (text.charCodeAt(label) === 0x2d || text.charCodeAt(at - 1) === 0x2d) return false;
      if (at === text.length) return !digits_only;
      label = at + 1;
      digits_only = true;
      continue;
    }
    const unit = text.charCodeAt(at);
    const digit = unit >= 0x30 && unit <= 0x39;
    if (!digit && !isLetter(unit) && unit !== 0x2d) return false;
    if (!digit) digits_only = false;
  }
  return false;
}

/** A dot-atom without the characters of old routing syntax (`%`, `!`). */
function isLocalPart(text: string, end: number): boolean {
  if (end > 64) return false;
  for (let at = 0; at < end; at++) {
    const unit = text.charCodeAt(at);
    const digit = unit >= 0x30 && unit <= 0x39;
    // Dot, hyphen, plus, underscore.
    if (!digit && !isLetter(unit) && unit !== 0x2e && unit !== 0x2d && unit !== 0x2b && unit !== 0x5f)
      return false;
  }
  return true;
}

function isLetter(unit: number): boolean {
  return (unit >= 0x41 && unit <= 0x5a) || (unit >= 0x61 && unit <= 0x7a);
}

function lower(unit: number): number {
  return unit >= 0x41 && unit <= 0x5a ? unit | 0x20 : unit;
}
