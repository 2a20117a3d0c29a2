/**
 * The check path: a set compiled once a token, then asked once a call. Nothing is allocated on a permit. One
 * entry must match alone: resource, action and every constraint.
 */

import { isFamily, isLiteralAction } from './actions.ts';
import { type Constraint, compileConstraints } from './constraints/kinds.ts';
import { type AuthoritySet, type Call, isResourceAccess, type Refusal } from './model.ts';
import { isAtOrBelow, isCertainlyNormal, normalResource } from './resource.ts';
import { constraintsOf, scopeOf } from './resource_access.ts';

interface CompiledEntry {
  /** Place in the set that was compiled. */
  readonly entry: number;
  readonly constraints: readonly Constraint[];
}

/** Entries with one resource, so that it is looked at once however many there are. */
interface Place {
  /** Normal. */
  readonly resource: string;
  /** As granted. */
  readonly given: string;
  readonly prefix: boolean;
  readonly entries: CompiledEntry[];
}

interface Family {
  /** `invoices.` for `invoices.*`. */
  readonly stem: string;
  readonly places: Place[];
}

/** Opaque: made by {@link compile}, read by {@link permits}. */
export interface CompiledAuthority {
  readonly by_action: ReadonlyMap<string, readonly Place[]>;
  readonly families: readonly Family[];
  /** Every entry, whatever its actions; read only to explain a denial. */
  readonly places: readonly Place[];
}

/**
 * Entries of provider types authorize no call and are left out.
 * @throws Denied for a set that `parseAuthoritySet` would refuse: what is not understood never permits
 */
export function compile(set: AuthoritySet): CompiledAuthority {
  const by_action = new Map<string, Place[]>();
  const by_family = new Map<string, Place[]>();
  const places: Place[] = [];
  for (const [index, entry] of set.entries()) {
    if (!isResourceAccess(entry)) continue;
    const { resource, match } = scopeOf(entry);
    const place = { resource, given: entry.resource, prefix: match === 'prefix' };
    const compiled = { entry: index, constraints: compileConstraints(constraintsOf(entry)) };
    addTo(places, place, compiled);
    for (const action of entry.actions) {
      // A call names no family, so that the two are never looked up in one map.
      const named = isFamily(action) ? by_family : by_action;
      const known = named.get(action);
      if (known === undefined) named.set(action, [{ ...place, entries: [compiled] }]);
      else addTo(known, place, compiled);
    }
  }
  const families = [...by_family].map(([family, found]) => ({ stem: family.slice(0, -1), places: found }));
  return { by_action, families, places };
}

function addTo(places: Place[], place: Omit<Place, 'entries'>, entry: CompiledEntry): void {
  const same = places.find(({ given, prefix }) => given === place.given && prefix === place.prefix);
  if (same === undefined) places.push({ ...place, entries: [entry] });
  else same.entries.push(entry);
}

/**
 * Null permits; anything else says why not, by the entry that came nearest.
 * @param now_seconds the verifier's clock, seconds since the epoch, for `time_window`
 */
export function permits(authority: CompiledAuthority, call: Call, now_seconds: number): Refusal | null {
  if (!isCall(call)) return { code: 'call_refused' };
  if (somePermits(authority, call, call.resource, false, now_seconds)) return null;
  if (!isLiteralAction(call.action)) return { code: 'action_refused', key: 'action' };
  // Looked at again only when the text was not seen to be normal, and only then is anything allocated.
  const normal = normalResource(call.resource);
  if (normal === null) return { code: 'resource_refused', key: 'resource' };
  if (somePermits(authority, call, normal, true, now_seconds)) return null;
  return explain(authority, call, normal, now_seconds);
}

/** A call comes from somebody else's code: its types are a wish. */
function isCall(call: Call): boolean {
  if (typeof call !== 'object' || call === null) return false;
  const { action, resource, parameters, context } = call;
  return (
    typeof action === 'string' &&
    typeof resource === 'string' &&
    typeof parameters === 'object' &&
    parameters !== null &&
    typeof context === 'object' &&
    context !== null
  );
}

function somePermits(
  authority: CompiledAuthority,
  call: Call,
  resource: string,
  normal: boolean,
  now_seconds: number,
): boolean {
  const named = authority.by_action.get(call.action);
  if (named !== undefined && onePermits(named, call, resource, normal, now_seconds)) return true;
  const { families } = authority;
  for (let at = 0; at < families.length; at++) {
    const family = families[at];
    if (family === undefined || !isBelow(call.action, family.stem)) continue;
    if (onePermits(family.places, call, resource, normal, now_seconds)) return true;
  }
  return false;
}

function onePermits(
  places: readonly Place[],
  call: Call,
  resource: string,
  normal: boolean,
  now_seconds: number,
): boolean {
  for (let at = 0; at < places.length; at++) {
    const place = places[at];
    if (place === undefined || !covers(place, resource, normal)) continue;
    for (let index = 0; index < place.entries.length; index++) {
      const entry = place.entries[index];
      if (entry !== undefined && meets(entry, call, now_seconds)) return true;
    }
  }
  return false;
}

/** True only for one literal action under the stem: a call for a family is no call. */
function isBelow(action: string, stem: string): boolean {
  return action.length > stem.length && action.startsWith(stem) && isLiteralAction(action);
}

/** Certain, or false. A text that is not known to be normal never counts as below a prefix. */
function covers(place: Place, resource: string, normal: boolean): boolean {
  // Equal to a normal form, or to what was normalized into it.
  if (resource === place.resource || resource === place.given) return true;
  if (!place.prefix || !isAtOrBelow(resource, place.resource)) return false;
  return normal || isCertainlyNormal(resource, place.resource.length);
}

function meets({ constraints }: CompiledEntry, call: Call, now_seconds: number): boolean {
  for (let at = 0; at < constraints.length; at++) {
    const constraint = constraints[at];
    if (constraint === undefined) return false;
    if (constraint.kind.evaluate(constraint.value, call, now_seconds) !== 'met') return false;
  }
  return true;
}

/** Walks the whole set once more, only to say why: denials may be slow, permits may not. */
function explain(authority: CompiledAuthority, call: Call, normal: string, now_seconds: number): Refusal {
  const { action, resource } = call;
  if (authority.places.length === 0) return { code: 'nothing_granted' };
  const here = authority.places.filter((place) => covers(place, normal, true));
  const first = here[0]?.entries[0];
  if (first === undefined) return { code: 'resource_not_covered', key: 'resource', value: resource };
  const named = [
    ...(authority.by_action.get(action) ?? []),
    ...authority.families.filter(({ stem }) => isBelow(action, stem)).flatMap(({ places }) => places),
  ];
  for (const place of named) {
    if (!covers(place, normal, true)) continue;
    for (const entry of place.entries) {
      const refusal = constraintRefusal(entry, call, now_seconds);
      if (refusal !== null) return refusal;
    }
  }
  return { code: 'action_not_covered', entry: first.entry, key: 'actions', value: action };
}

function constraintRefusal(entry: CompiledEntry, call: Call, now_seconds: number): Refusal | null {
  for (const { kind, value, given } of entry.constraints) {
    const verdict = kind.evaluate(value, call, now_seconds);
    if (verdict === 'met') continue;
    const code = verdict === 'violated' ? 'constraint_violated' : 'constraint_unevaluable';
    return { code, entry: entry.entry, key: kind.key, allowed: given };
  }
  return null;
}
