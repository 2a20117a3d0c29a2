/**
 * What may stand under `parameters.<name>`: operators over one value, all of which must hold. Five shapes carry
 * the nine operators, so that each pair of constraints has a greatest one below both:
 *
 * - `exact` and `one_of` are one finite set; with it, the other operators only filter it;
 * - `subset` is `all` over a finite set, `contains` is one `any` for each of its values;
 * - `not_one_of`, `range` and `prefix` stand for themselves.
 */

import { canonicalize, isJsonObject, type JsonObject, type JsonValue } from '../../json.ts';
import { badAuthority, member, readList, readObject } from '../parse.ts';
import type { Verdict } from './kind.ts';
import { notOneOf } from './operators/not_one_of.ts';
import type { Operator } from './operators/operator.ts';
import { prefix } from './operators/prefix.ts';
import { range } from './operators/range.ts';
import * as sets from './operators/values.ts';

const MAX_NESTING = 2;
const MAX_ANY = 8;

/** The operators that stand for themselves, in the order in which they are printed. */
const OPERATORS: readonly Operator<unknown>[] = [notOneOf, range, prefix];
const MEMBERS = ['exact', 'one_of', 'subset', 'contains', 'all', 'any', ...OPERATORS.map(({ key }) => key)];

export interface Predicate {
  /** The only values; null when there is no such list. Empty means never, which only `all` may hold. */
  readonly values: sets.ValueSet | null;
  /** By place in OPERATORS; undefined where an operator is not used. */
  readonly operators: readonly unknown[];
  /** Of every element of a list. */
  readonly all: Predicate | null;
  /** Each of some element of a list. */
  readonly any: readonly Predicate[];
}

const UNUSED: readonly unknown[] = OPERATORS.map(() => undefined);
const ONLY: Pick<Predicate, 'operators' | 'all' | 'any'> = { operators: UNUSED, all: null, any: [] };

/** @throws Denied for an unknown operator, a malformed value, or operators that nothing satisfies together */
export function parsePredicate(value: JsonValue, path: string, nesting = 0): Predicate {
  if (nesting > MAX_NESTING) throw badAuthority(path, 'nests too deep');
  const object = readObject(value, path, MEMBERS);
  if (Object.keys(object).length === 0) throw badAuthority(path, 'must have an operator');
  const predicate = narrowValues({
    values: readFinite(object, path),
    operators: OPERATORS.map(({ key, parse }) => {
      const given = member(object, key);
      return given === undefined ? undefined : parse(given, `${path}.${key}`);
    }),
    all: readAll(object, path, nesting),
    any: readAny(object, path, nesting),
  });
  if (isNever(predicate)) throw badAuthority(path, 'cannot be met by any value');
  return predicate;
}

function readFinite(object: JsonObject, path: string): sets.ValueSet | null {
  const exact = member(object, 'exact');
  const one_of = member(object, 'one_of');
  const single = exact === undefined ? null : sets.valueSet([sets.readValue(exact, `${path}.exact`)]);
  const list = one_of === undefined ? null : sets.readValues(one_of, `${path}.one_of`);
  if (single === null || list === null) return single ?? list;
  return sets.keep(single, (value) => sets.has(list, value));
}

function readAll(object: JsonObject, path: string, nesting: number): Predicate | null {
  const subset = member(object, 'subset');
  const all = member(object, 'all');
  const listed = subset === undefined ? null : { ...ONLY, values: readSubset(subset, `${path}.subset`) };
  const nested = all === undefined ? null : parsePredicate(all, `${path}.all`, nesting + 1);
  return listed === null || nested === null ? (listed ?? nested) : intersectAny(listed, nested);
}

/** Unlike `one_of`, an empty list says something: the empty list alone passes. */
function readSubset(value: JsonValue, path: string): sets.ValueSet {
  return Array.isArray(value) && value.length === 0 ? sets.NO_VALUES : sets.readValues(value, path);
}

function readAny(object: JsonObject, path: string, nesting: number): readonly Predicate[] {
  const contains = member(object, 'contains');
  const any = member(object, 'any');
  const values = contains === undefined ? [] : [...sets.each(sets.readValues(contains, `${path}.contains`))];
  const nested = any === undefined ? [] : isJsonObject(any) ? [any] : any;
  const predicates =
    any === undefined
      ? []
      : readList(nested, `${path}.any`, MAX_ANY, (one, at) =>
          parsePredicate(one as JsonValue, at, nesting + 1),
        );
  return reduceAny([...values.map((value) => ({ ...ONLY, values: sets.valueSet([value]) })), ...predicates]);
}

/** With a finite list, every other operator only removes values from it. */
function narrowValues(predicate: Predicate): Predicate {
  if (predicate.values === null) return predicate;
  const rest = { ...predicate, values: null };
  return { ...ONLY, values: sets.keep(predicate.values, (value) => judge(rest, value) === 'met') };
}

export function isNever(predicate: Predicate): boolean {
  return predicate.values !== null && sets.size(predicate.values) === 0;
}

export function predicateWithin(a: Predicate, b: Predicate): boolean {
  const { values } = a;
  if (values !== null) {
    for (const value of sets.each(values)) if (judge(b, value) !== 'met') return false;
    return true;
  }
  if (b.values !== null) return false;
  const operators = OPERATORS.every((operator, at) => {
    const [ours, theirs] = [a.operators[at], b.operators[at]];
    return theirs === undefined || (ours !== undefined && operator.within(ours, theirs));
  });
  if (!operators || (b.all !== null && (a.all === null || !predicateWithin(a.all, b.all)))) return false;
  return b.any.every((theirs) => a.any.some((ours) => predicateWithin(ours, theirs)));
}

/** The greatest predicate within both; null when nothing satisfies both. */
export function intersectPredicates(a: Predicate, b: Predicate): Predicate | null {
  const both = intersectAny(a, b);
  return isNever(both) ? null : both;
}

const NEVER: Predicate = { ...ONLY, values: sets.NO_VALUES };

/** As {@link intersectPredicates}, with "never" as a predicate: the empty list still passes `all` of it. */
function intersectAny(a: Predicate, b: Predicate): Predicate {
  if (a.values !== null) return { ...a, values: sets.keep(a.values, (value) => judge(b, value) === 'met') };
  if (b.values !== null) return { ...b, values: sets.keep(b.values, (value) => judge(a, value) === 'met') };
  const operators: unknown[] = [];
  for (const [at, operator] of OPERATORS.entries()) {
    const [ours, theirs] = [a.operators[at], b.operators[at]];
    const both =
      ours === undefined || theirs === undefined ? (ours ?? theirs) : operator.intersect(ours, theirs);
    if (both === null) return NEVER;
    operators.push(both);
  }
  return {
    values: null,
    operators,
    all: a.all === null || b.all === null ? (a.all ?? b.all) : intersectAny(a.all, b.all),
    any: reduceAny([...a.any, ...b.any]),
  };
}

/** Drops what a narrower member asks for already. */
function reduceAny(any: readonly Predicate[]): readonly Predicate[] {
  return any.filter(
    (one, index) =>
      !any.some(
        (other, at) =>
          at !== index && predicateWithin(other, one) && (at < index || !predicateWithin(one, other)),
      ),
  );
}

/** Whether a value passes. */
export function judge(predicate: Predicate, found: JsonValue): Verdict {
  const { values, operators, all, any } = predicate;
  if (values !== null) return sets.has(values, found) ? 'met' : 'violated';
  for (let at = 0; at < operators.length; at++) {
    const value = operators[at];
    if (value === undefined) continue;
    const verdict = OPERATORS[at]?.evaluate(value, found) ?? 'unevaluable';
    if (verdict !== 'met') return verdict;
  }
  if (all === null && any.length === 0) return 'met';
  if (!Array.isArray(found)) return 'unevaluable';
  const elements: readonly JsonValue[] = found;
  if (all !== null) {
    for (let at = 0; at < elements.length; at++) {
      const verdict = judge(all, elements[at] ?? null);
      if (verdict !== 'met') return verdict;
    }
  }
  for (let at = 0; at < any.length; at++) {
    const one = any[at];
    if (one === undefined || !someElement(one, elements)) return 'violated';
  }
  return 'met';
}

function someElement(predicate: Predicate, elements: readonly JsonValue[]): boolean {
  for (let at = 0; at < elements.length; at++) {
    if (judge(predicate, elements[at] ?? null) === 'met') return true;
  }
  return false;
}

/** The normal form: `exact` before `one_of`, `subset` before `all`, `contains` before `any`. */
export function printPredicate(predicate: Predicate): JsonObject {
  const { values, operators, all, any } = predicate;
  if (values !== null) return printFinite(values);
  const printed: { [key: string]: JsonValue } = {};
  for (const [at, operator] of OPERATORS.entries()) {
    const value = operators[at];
    if (value !== undefined) printed[operator.key] = operator.print(value);
  }
  if (all !== null) {
    if (all.values === null) printed['all'] = printPredicate(all);
    else printed['subset'] = sets.listed(all.values);
  }
  const single = any.filter(isSingle);
  const wider = any.filter((one) => !isSingle(one)).map(printPredicate);
  if (single.length > 0) {
    printed['contains'] = sets.listed(
      sets.valueSet(single.flatMap((one) => [...sets.each(one.values ?? sets.NO_VALUES)])),
    );
  }
  const [first] = wider;
  if (first !== undefined) printed['any'] = wider.length === 1 ? first : wider.sort(byText);
  return printed;
}

function printFinite(values: sets.ValueSet): JsonObject {
  const list = sets.listed(values);
  const [first] = list;
  return list.length === 1 && first !== undefined ? { exact: first } : { one_of: list };
}

function isSingle(predicate: Predicate): boolean {
  return predicate.values !== null && sets.size(predicate.values) === 1;
}

function byText(a: JsonObject, b: JsonObject): number {
  return canonicalize(a) < canonicalize(b) ? -1 : 1;
}

export function describePredicate(predicate: Predicate): string {
  const { values, operators, all, any } = predicate;
  if (values !== null) return sets.size(values) === 1 ? sets.spoken(values) : `one of ${sets.spoken(values)}`;
  const parts = OPERATORS.flatMap((operator, at) => {
    const value = operators[at];
    return value === undefined ? [] : [operator.describe(value)];
  });
  if (all !== null)
    parts.push(isNever(all) ? 'an empty list' : `a list whose every element is ${describePredicate(all)}`);
  for (const one of any) parts.push(`a list with an element that is ${describePredicate(one)}`);
  return parts.join(', and ');
}
