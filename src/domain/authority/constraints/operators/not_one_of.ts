/**
 * `not_one_of`: any value of the same type but these. A value of another type is not thereby allowed: a server
 * that reads "5" as 5 would let it through. A list of what is allowed is always the safer constraint.
 */

import type { JsonValue } from '../../../json.ts';
import { badAuthority } from '../../parse.ts';
import { isSubsetOf } from '../../subset.ts';
import type { Operator } from './operator.ts';
import { each, has, listed, readValues, spoken, union, type ValueSet } from './values.ts';

interface Excluded {
  /** The one type of every listed value, and so of every value that can pass. */
  readonly type: 'string' | 'number' | 'boolean';
  readonly values: ValueSet;
}

export const notOneOf: Operator<Excluded> = {
  key: 'not_one_of',
  parse(value, path) {
    const values = readValues(value, path);
    const types = new Set([...each(values)].map((one) => typeof one));
    const [type] = types;
    if (types.size !== 1 || (type !== 'string' && type !== 'number' && type !== 'boolean')) {
      throw badAuthority(path, 'must list strings, numbers or booleans, all of one type');
    }
    return { type, values };
  },
  print: ({ values }): JsonValue => listed(values),
  // Every listed value is a scalar.
  within: (a, b) => a.type === b.type && isSubsetOf(b.values.scalars, a.values.scalars),
  intersect: (a, b) => (a.type === b.type ? { type: a.type, values: union(a.values, b.values) } : null),
  evaluate: ({ type, values }, found) => {
    if (typeof found !== type) return 'unevaluable';
    return has(values, found) ? 'violated' : 'met';
  },
  describe: ({ values }) => `anything but ${spoken(values)}`,
};
