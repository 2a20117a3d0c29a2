/**
 * What a constraint kind is. A new kind is one file that exports one of these and one line in `kinds.ts`; the
 * conformance suite (test/domain/authority/kinds.ts) then holds it to the laws that the algebra needs:
 *
 * - `within` is reflexive and transitive, and antisymmetric on what `print` gives;
 * - `intersect` is the greatest value within both, or null when nothing is;
 * - `a` within `b` means that every call met by `a` is met by `b`.
 */

import type { JsonValue } from '../../json.ts';
import type { Call } from '../model.ts';

/** `unevaluable`: the call lacks the fact, or has it in a form that decides nothing. Both others deny too. */
export type Verdict = 'met' | 'violated' | 'unevaluable';

export interface ConstraintKind<V> {
  /** `max_amount`, or `parameters.<name>`. */
  readonly key: string;
  /** @throws Denied `invalid_authorization_details` naming the path */
  parse(value: JsonValue, path: string): V;
  /** The normal form: equal values print the same. */
  print(value: V): JsonValue;
  /** True if `a` is no broader than `b`. */
  within(a: V, b: V): boolean;
  /** The greatest value within both; null if nothing satisfies both. */
  intersect(a: V, b: V): V | null;
  /** Must not allocate when it answers `met`. */
  evaluate(value: V, call: Call, now_seconds: number): Verdict;
  /** What it allows, in plain words that end a sentence begun with "only". */
  describe(value: V): string;
}
