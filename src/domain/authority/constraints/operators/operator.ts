/**
 * One operator of `parameters.<name>`, over a value alone. The laws are those of a constraint kind
 * (`../kind.ts`); `predicate.ts` joins operators, where all must hold.
 */

import type { JsonValue } from '../../../json.ts';
import type { Verdict } from '../kind.ts';

export interface Operator<V> {
  readonly key: string;
  parse(value: JsonValue, path: string): V;
  print(value: V): JsonValue;
  within(a: V, b: V): boolean;
  intersect(a: V, b: V): V | null;
  evaluate(value: V, found: JsonValue): Verdict;
  describe(value: V): string;
}
