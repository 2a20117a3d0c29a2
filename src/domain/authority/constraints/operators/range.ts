/**
 * `range`: at least `min`, at most `max`, both included. Numbers compare with numbers, decimal strings with
 * decimal strings, exactly; a value of the other form denies, because a server may round one into the other.
 */

import type { JsonObject, JsonValue } from '../../../json.ts';
import { compareDecimals, isDecimal, normalDecimal } from '../../decimal.ts';
import { badAuthority, member, readObject } from '../../parse.ts';
import type { Operator } from './operator.ts';

type Bound = number | string;

interface Range {
  readonly type: 'number' | 'string';
  readonly min: Bound | null;
  readonly max: Bound | null;
}

export const range: Operator<Range> = {
  key: 'range',
  parse(value, path) {
    const object = readObject(value, path, ['min', 'max']);
    const min = readBound(object, 'min', path);
    const max = readBound(object, 'max', path);
    const some = min ?? max;
    if (some === null) throw badAuthority(path, 'must have min or max');
    if (min !== null && max !== null) {
      if (typeof min !== typeof max) throw badAuthority(path, 'mixes a number with a decimal string');
      if (compare(min, max) > 0) throw badAuthority(path, 'is empty: max is below min');
    }
    return { type: typeof some === 'number' ? 'number' : 'string', min, max };
  },
  print({ min, max }): JsonValue {
    return {
      ...(min === null ? {} : { min: normalBound(min) }),
      ...(max === null ? {} : { max: normalBound(max) }),
    };
  },
  within(a, b) {
    if (a.type !== b.type) return false;
    if (b.min !== null && (a.min === null || compare(a.min, b.min) < 0)) return false;
    return b.max === null || (a.max !== null && compare(a.max, b.max) <= 0);
  },
  intersect(a, b) {
    if (a.type !== b.type) return null;
    const min = a.min === null || (b.min !== null && compare(b.min, a.min) > 0) ? b.min : a.min;
    const max = a.max === null || (b.max !== null && compare(b.max, a.max) < 0) ? b.max : a.max;
    if (min !== null && max !== null && compare(min, max) > 0) return null;
    return { type: a.type, min, max };
  },
  evaluate({ type, min, max }, found) {
    if (typeof found !== type || !isBound(found)) return 'unevaluable';
    if (min !== null && compare(found, min) < 0) return 'violated';
    return max !== null && compare(found, max) > 0 ? 'violated' : 'met';
  },
  describe({ min, max }) {
    if (max === null) return `at least ${min}`;
    return min === null ? `at most ${max}` : `from ${min} to ${max}`;
  },
};

function readBound(object: JsonObject, name: string, path: string): Bound | null {
  const value = member(object, name);
  if (value === undefined) return null;
  if (!isBound(value)) throw badAuthority(`${path}.${name}`, 'must be a finite number or a decimal string');
  return value;
}

function isBound(value: JsonValue): value is Bound {
  return typeof value === 'number'
    ? Number.isFinite(value)
    : typeof value === 'string' && isDecimal(value, true);
}

/** Both of one type. */
function compare(a: Bound, b: Bound): number {
  if (typeof a === 'number') return a - (b as number);
  return compareDecimals(a, b as string);
}

function normalBound(bound: Bound): Bound {
  if (typeof bound === 'string') return normalDecimal(bound);
  return bound === 0 ? 0 : bound;
}
