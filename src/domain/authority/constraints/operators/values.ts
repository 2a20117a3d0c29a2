/** Finite sets of JSON values, for `exact`, `one_of`, `not_one_of`, `subset` and `contains`. */

import { Denied } from '../../../denial.ts';
import { canonicalize, type JsonValue } from '../../../json.ts';
import { badAuthority, readList } from '../../parse.ts';

const MAX_VALUES = 1000;

type Scalar = null | boolean | number | string;

/** Scalars are looked up as they are; objects and arrays by their canonical text. Never joined in one map. */
export interface ValueSet {
  readonly scalars: ReadonlySet<Scalar>;
  readonly compounds: ReadonlyMap<string, JsonValue>;
}

export const NO_VALUES: ValueSet = { scalars: new Set(), compounds: new Map() };

export function valueSet(values: Iterable<JsonValue>): ValueSet {
  const scalars = new Set<Scalar>();
  const compounds = new Map<string, JsonValue>();
  for (const value of values) {
    if (isScalar(value)) scalars.add(value === 0 ? 0 : value);
    else compounds.set(canonicalize(value), value);
  }
  return { scalars, compounds };
}

export function isScalar(value: JsonValue): value is Scalar {
  return typeof value !== 'object' || value === null;
}

/** A list of distinct values. @throws Denied naming the path */
export function readValues(value: JsonValue, path: string): ValueSet {
  const list = readList(value, path, MAX_VALUES, (element, at) => readValue(element as JsonValue, at));
  const set = valueSet(list);
  if (size(set) !== list.length) throw badAuthority(path, 'holds a repeated value');
  return set;
}

export function readValue(value: JsonValue, path: string): JsonValue {
  // What has no canonical form has no equality either: this throws for it.
  if (typeof value === 'string' && !value.isWellFormed()) throw badAuthority(path, 'holds a lone surrogate');
  if (typeof value === 'number' && !Number.isFinite(value))
    throw badAuthority(path, 'is not a finite number');
  if (!isScalar(value)) canonicalize(value);
  return value;
}

export function has(set: ValueSet, value: JsonValue): boolean {
  if (isScalar(value)) return set.scalars.has(value);
  return set.compounds.size > 0 && hasCompound(set.compounds, value);
}

/** A call's value may be no JSON at all: then it equals nothing. */
function hasCompound(compounds: ValueSet['compounds'], value: JsonValue): boolean {
  try {
    return compounds.has(canonicalize(value));
  } catch (error) {
    if (error instanceof Denied) return false;
    throw error;
  }
}

export function size(set: ValueSet): number {
  return set.scalars.size + set.compounds.size;
}

export function* each(set: ValueSet): Generator<JsonValue> {
  yield* set.scalars;
  yield* set.compounds.values();
}

export function keep(set: ValueSet, test: (value: JsonValue) => boolean): ValueSet {
  const kept = [...each(set)].filter(test);
  return kept.length === size(set) ? set : valueSet(kept);
}

export function union(a: ValueSet, b: ValueSet): ValueSet {
  return valueSet([...each(a), ...each(b)]);
}

/** Sorted by canonical text: the normal form of a list whose order says nothing. */
export function listed(set: ValueSet): readonly JsonValue[] {
  return [...each(set)]
    .map((value) => [canonicalize(value), value] as const)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, value]) => value);
}

/** Values as plain words for people. */
export function spoken(set: ValueSet): string {
  return listed(set)
    .map((value) => (typeof value === 'string' ? value : canonicalize(value)))
    .join(', ');
}
