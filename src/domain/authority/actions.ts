/**
 * Actions: literal names in dot-separated segments, and families `name.*` that cover every action below the
 * name at a dot, at any depth, but not the name itself.
 */

import { badAuthority, readList } from './parse.ts';

const MAX_LENGTH = 128;
const MAX_ACTIONS = 1000;

/** One literal action: segments of letters, digits, `_`, `-`, `:` and `/`, joined by dots. ASCII only. */
export function isLiteralAction(text: string): boolean {
  return text.length > 0 && text.length <= MAX_LENGTH && areSegments(text, text.length);
}

/** A family such as `invoices.*`; a bare `*` is none. */
export function isFamily(text: string): boolean {
  return (
    text.length > 2 && text.length <= MAX_LENGTH && text.endsWith('.*') && areSegments(text, text.length - 2)
  );
}

function areSegments(text: string, end: number): boolean {
  let previous = 0x2e;
  for (let at = 0; at < end; at++) {
    const unit = text.charCodeAt(at);
    if (unit === 0x2e ? previous === 0x2e : !isActionChar(unit)) return false;
    previous = unit;
  }
  return previous !== 0x2e;
}

function isActionChar(unit: number): boolean {
  // Digits with "/" before and ":" after them, letters, "-", "_".
  return (
    (unit >= 0x2f && unit <= 0x3a) ||
    (unit >= 0x41 && unit <= 0x5a) ||
    (unit >= 0x61 && unit <= 0x7a) ||
    unit === 0x2d ||
    unit === 0x5f
  );
}

/** A non-empty list of distinct literal actions and families. @throws Denied naming the path */
export function readActions(value: unknown, path: string): readonly string[] {
  const actions = readList(value, path, MAX_ACTIONS, readAction);
  if (new Set(actions).size !== actions.length) throw badAuthority(path, 'holds a repeated action');
  return actions;
}

export function readAction(value: unknown, path: string): string {
  if (typeof value !== 'string' || !(isLiteralAction(value) || isFamily(value))) {
    throw badAuthority(path, 'must be an action such as "invoices.read" or a family such as "invoices.*"');
  }
  return value;
}

/** True if everything `a` names is named by `b`. */
export function actionWithin(a: string, b: string): boolean {
  if (a === b) return true;
  // "invoices.*" without its star: what it covers starts with "invoices." and goes on.
  return isFamily(b) && a.length > b.length - 1 && a.startsWith(b.slice(0, -1));
}

/** True if some action is named by both. */
export function actionsOverlap(a: string, b: string): boolean {
  return actionWithin(a, b) || actionWithin(b, a);
}

/** The actions named by both lists, as few patterns as can be, in the order of `a`, then of `b`. */
export function intersectActions(a: readonly string[], b: readonly string[]): readonly string[] {
  const { names: b_names, families: b_families } = sorted(b);
  const found = a.filter(
    (action) => b_names.has(action) || b_families.some((family) => actionWithin(action, family)),
  );
  const seen = new Set(found);
  const { families: a_families } = sorted(a);
  for (const action of b) {
    if (seen.has(action) || !a_families.some((family) => actionWithin(action, family))) continue;
    seen.add(action);
    found.push(action);
  }
  return reduceActions(found);
}

/** Drops what another member covers; keeps the order. */
export function reduceActions(actions: readonly string[]): readonly string[] {
  const families = actions.filter(isFamily);
  if (families.length === 0) return actions;
  return actions.filter(
    (action) => !families.some((family) => family !== action && actionWithin(action, family)),
  );
}

interface Sorted {
  readonly names: ReadonlySet<string>;
  readonly families: readonly string[];
}

/** Lists are compared with many others, and never change: each is sorted once. */
const SORTED = new WeakMap<readonly string[], Sorted>();

function sorted(actions: readonly string[]): Sorted {
  const known = SORTED.get(actions);
  if (known !== undefined) return known;
  const made = { names: new Set(actions), families: actions.filter(isFamily) };
  SORTED.set(actions, made);
  return made;
}

/** The first action of `a` that no action of `b` covers, or null. */
export function uncoveredAction(a: readonly string[], b: readonly string[]): string | null {
  const { names, families } = sorted(b);
  for (const action of a) {
    if (!names.has(action) && !families.some((family) => actionWithin(action, family))) return action;
  }
  return null;
}
