/** Every constraint kind there is, and the reading of a `constraints` object into them. */

import type { JsonObject, JsonValue } from '../../json.ts';
import type { Refusal } from '../model.ts';
import { badAuthority, isPlainText, member, readObject, shown } from '../parse.ts';
import { allowedTools } from './allowed_tools.ts';
import { dataClassification } from './data_classification.ts';
import type { ConstraintKind } from './kind.ts';
import { maxAmount } from './max_amount.ts';
import { parameterKind } from './parameters.ts';
import { recipientDomain } from './recipient_domain.ts';
import { regions } from './regions.ts';
import { resourceIssuedAfter, resourceIssuedBefore } from './resource_issued.ts';
import { tenant } from './tenant.ts';
import { timeWindow } from './time_window.ts';

/** Checked in this order: the cheap and the telling first. */
export const KINDS: readonly ConstraintKind<unknown>[] = [
  tenant,
  allowedTools,
  regions,
  dataClassification,
  maxAmount,
  recipientDomain,
  resourceIssuedAfter,
  resourceIssuedBefore,
  timeWindow,
] as readonly ConstraintKind<unknown>[];

const BY_KEY: ReadonlyMap<string, ConstraintKind<unknown>> = new Map(KINDS.map((kind) => [kind.key, kind]));
export const PARAMETERS = 'parameters';
const MAX_PARAMETERS = 64;

/** One key of a `constraints` object with its meaning. */
export interface Constraint {
  readonly kind: ConstraintKind<unknown>;
  readonly value: unknown;
  /** As it was written. */
  readonly given: JsonValue;
}

/** By key, where each parameter is a key of its own: `parameters.<name>`. */
export type Constraints = ReadonlyMap<string, Constraint>;

/** @throws Denied for an unknown key, a malformed value, or keys that nothing satisfies together */
export function readConstraints(value: JsonValue | undefined, path: string): Constraints {
  const found = new Map<string, Constraint>();
  if (value === undefined) return found;
  const object = readObject(value, path);
  const keys = Object.keys(object);
  if (keys.length === 0) throw badAuthority(path, 'must not be empty; leave it out');
  for (const key of keys) {
    const given = member(object, key);
    if (given === undefined) throw badAuthority(`${path}.${shown(key)}`, 'must have a value');
    if (key === PARAMETERS) {
      readParameters(given, `${path}.${key}`, found);
      continue;
    }
    const kind = BY_KEY.get(key);
    if (kind === undefined) throw badAuthority(`${path}.${shown(key)}`, 'unknown constraint');
    found.set(key, { kind, value: kind.parse(given, `${path}.${key}`), given });
  }
  if (isContradiction(found))
    throw badAuthority(path, 'resource_issued_after lies past resource_issued_before');
  return found;
}

function readParameters(value: JsonValue, path: string, found: Map<string, Constraint>): void {
  const object = readObject(value, path);
  const names = Object.keys(object);
  if (names.length === 0) throw badAuthority(path, 'must not be empty; leave it out');
  if (names.length > MAX_PARAMETERS) throw badAuthority(path, `must have at most ${MAX_PARAMETERS} members`);
  for (const name of names) {
    if (name === '' || name.length > 128 || name === '__proto__' || !isPlainText(name)) {
      throw badAuthority(`${path}.${shown(name)}`, 'is not a parameter name');
    }
    const given = member(object, name);
    if (given === undefined) throw badAuthority(`${path}.${shown(name)}`, 'must have a value');
    const kind: ConstraintKind<unknown> = parameterKind(name) as ConstraintKind<unknown>;
    found.set(kind.key, { kind, value: kind.parse(given, `${path}.${shown(name)}`), given });
  }
}

/** Two keys that no call can meet together although each could be met alone. */
function isContradiction(constraints: Constraints): boolean {
  const after = constraints.get(resourceIssuedAfter.key);
  const before = constraints.get(resourceIssuedBefore.key);
  return after !== undefined && before !== undefined && (after.value as number) > (before.value as number);
}

/** Null if `a` is no broader than `b`: every key of `b` is in `a`, and no broader there. */
export function constraintsRefusal(a: Constraints, b: Constraints): Refusal | null {
  for (const [key, theirs] of b) {
    const ours = a.get(key);
    if (ours === undefined) return { code: 'constraint_missing', key, allowed: theirs.given };
    if (!theirs.kind.within(ours.value, theirs.value)) {
      return { code: 'constraint_broader', key, value: ours.given, allowed: theirs.given };
    }
  }
  return null;
}

/** The greatest constraints within both as written values, or the key that nothing satisfies. */
export function intersectConstraints(
  a: Constraints,
  b: Constraints,
): Constraints | { readonly contradiction: string } {
  const both = new Map<string, Constraint>();
  for (const key of new Set([...a.keys(), ...b.keys()])) {
    const ours = a.get(key);
    const theirs = b.get(key);
    const joined = ours === undefined || theirs === undefined ? (ours ?? theirs) : intersectOne(ours, theirs);
    if (joined === undefined) return { contradiction: key };
    both.set(key, joined);
  }
  return isContradiction(both) ? { contradiction: resourceIssuedBefore.key } : both;
}

function intersectOne(ours: Constraint, theirs: Constraint): Constraint | undefined {
  const { kind } = ours;
  // A value that survives whole is carried as it was written: anchors are taken over what was granted.
  if (kind.within(ours.value, theirs.value)) return ours;
  if (kind.within(theirs.value, ours.value)) return theirs;
  const value = kind.intersect(ours.value, theirs.value);
  return value === null ? undefined : { kind, value, given: kind.print(value) };
}

/** Back to the wire form. */
export function writeConstraints(constraints: Constraints): JsonObject {
  const written: { [key: string]: JsonValue } = {};
  const parameters: { [key: string]: JsonValue } = {};
  for (const [key, { given }] of constraints) {
    if (key.startsWith(`${PARAMETERS}.`)) parameters[key.slice(PARAMETERS.length + 1)] = given;
    else written[key] = given;
  }
  if (Object.keys(parameters).length > 0) written[PARAMETERS] = parameters;
  return written;
}

export function normalConstraints(constraints: Constraints): Constraints {
  return new Map(
    [...constraints].map(
      ([key, { kind, value }]) => [key, { kind, value, given: kind.print(value) }] as const,
    ),
  );
}

/** In the order in which a call is checked: the kinds' own, then parameters as written. */
export function compileConstraints(constraints: Constraints): readonly Constraint[] {
  return [...constraints.values()].sort((a, b) => place(a) - place(b));
}

function place({ kind }: Constraint): number {
  const at = KINDS.findIndex(({ key }) => key === kind.key);
  return at === -1 ? KINDS.length : at;
}
