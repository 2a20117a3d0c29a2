/** What a change of a ceiling widens and narrows, computed by the algebra instead of compared as text. */

import { explainEntry } from './explain.ts';
import type { AuthorityEntry, AuthoritySet, Refusal } from './model.ts';
import { within } from './sets.ts';

/** One entry that the other side does not cover. */
export interface Change {
  /** Place of the entry on its own side: in `after` when widened, in `before` when narrowed. */
  readonly entry: number;
  readonly value: AuthorityEntry;
  /** How it goes past the nearest entry of the other side. */
  readonly refusal: Refusal;
  /** In plain words. */
  readonly text: string;
}

export interface Difference {
  /** Allowed after and not before: what the approver must look at. */
  readonly widened: readonly Change[];
  /** Allowed before and not after. */
  readonly narrowed: readonly Change[];
  /** True if both allow the same, however they are written. */
  readonly equivalent: boolean;
}

export function diff(before: AuthoritySet, after: AuthoritySet): Difference {
  const widened = uncovered(after, before, 'New');
  const narrowed = uncovered(before, after, 'Gone');
  return { widened, narrowed, equivalent: widened.length === 0 && narrowed.length === 0 };
}

function uncovered(set: AuthoritySet, other: AuthoritySet, word: string): readonly Change[] {
  return set.flatMap((value, entry) => {
    const found = within([value], other);
    if (found.ok) return [];
    const { refusal } = found;
    return [{ entry, value, refusal, text: `${word}: ${explainEntry(value)} ${because(refusal)}` }];
  });
}

function because({ code, key, value, allowed }: Refusal): string {
  const shown = value === undefined ? '' : ` ${JSON.stringify(value)}`;
  const instead = allowed === undefined ? '' : `; the other side has ${JSON.stringify(allowed)}`;
  return `(${code}${key === undefined ? '' : ` ${key}`}${shown}${instead})`;
}
