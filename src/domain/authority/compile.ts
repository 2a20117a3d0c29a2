/**
 * The check path: a set compiled once a token, then asked once a call. Nothing is allocated on a permit. One
 * entry must match alone: resource, action and every constraint.
 */

import { isFamily, isLiteralAction } from './actions.ts';
import { type CompiledConstraint, codeOf, compileConstraints } from './constraints/kinds.ts';
import { type AuthoritySet, type Call, isResourceAccess, type Refusal } from './model.ts';
import { isAtOrBelow, isCertainlyNormal, normalResource } from './resource.ts';
import { constraintsOf, scopeOf } from './resource_access.ts';

interface CompiledEntry {
  /** Place in the set that was compiled. */
  readonly entry: number;
  /** Normal. */
  readonly resource: string;
  /** As granted. */
  readonly given: string;
  readonly prefix: boolean;
  readonly constraints: readonly CompiledConstraint[];
}

interface Family {
  /** `invoices.` for `invoices.*`. */
  readonly stem: string;
  readonly entry: CompiledEntry;
}

/** Opaque: made by {@link compile}, read by {@link permits}. */
export interface CompiledAuthority {
  readonly by_action: ReadonlyMap<string, readonly CompiledEntry[]>;
  readonly families: readonly Family[];
  readonly entries: readonly CompiledEntry[];
}

/**
 * Entries of provider types authorize no call and are left out.
 * @throws Denied for a set that `parseAuthoritySet` would refuse: what is not understood never permits
 */
export function compile(set: AuthoritySet): CompiledAuthority {
  const by_action = new Map<string, CompiledEntry[]>();
  const families: Family[] = [];
  const entries: CompiledEntry[] = [];
  for (const [index, entry] of set.entries()) {
    if (!isResourceAccess(entry)) continue;
    const { resource, match } = scopeOf(entry);
    const constraints = compileConstraints(constraintsOf(entry));
    const compiled = {
      entry: index,
      resource,
      given: entry.resource,
      prefix: match === 'prefix',
      constraints,
    };
    entries.push(compiled);
    for (const action of entry.actions) {
      if (isFamily(action)) families.push({ stem: action.slice(0, -1), entry: compiled });
      else if (by_action.get(action)?.push(compiled) === undefined) by_action.set(action, [compiled]);
    }
  }
  return { by_action, families, entries };
}

/**
 * Null permits; anything else says why not, by the entry that came nearest.
 * @param now_seconds the verifier's clock, seconds since the epoch, for `time_window`
 */
export function permits(authority: CompiledAuthority, call: Call, now_seconds: number): Refusal | null {
  const { action, resource } = call;
  if (typeof action === 'string' && typeof resource === 'string') {
    if (somePermits(authority, call, resource, false, now_seconds)) return null;
    // Looked at again only when a text was not seen to be normal, and only then is anything allocated.
    const normal = normalResource(resource);
    if (normal !== null && somePermits(authority, call, normal, true, now_seconds)) return null;
  }
  return explain(authority, call, now_seconds);
}

function somePermits(
  authority: CompiledAuthority,
  call: Call,
  resource: string,
  normal: boolean,
  now_seconds: number,
): boolean {
  const literal = authority.by_action.get(call.action);
  if (literal !== undefined) {
    for (let at = 0; at < literal.length; at++) {
      const entry = literal[at];
      if (entry !== undefined && covers(entry, resource, normal) && meets(entry, call, now_seconds))
        return true;
    }
  }
  const { families } = authority;
  for (let at = 0; at < families.length; at++) {
    const family = families[at];
    if (family === undefined || !isBelow(call.action, family.stem)) continue;
    if (covers(family.entry, resource, normal) && meets(family.entry, call, now_seconds)) return true;
  }
  return false;
}

/** True only for one literal action under the stem: a call names no family. */
function isBelow(action: string, stem: string): boolean {
  return action.length > stem.length && action.startsWith(stem) && isLiteralAction(action);
}

/** Certain, or false. A text that is not known to be normal never counts as below a prefix. */
function covers(entry: CompiledEntry, resource: string, normal: boolean): boolean {
  // Equal to a normal form, or to what was normalized into it.
  if (resource === entry.resource || resource === entry.given) return true;
  return (
    entry.prefix &&
    isAtOrBelow(resource, entry.resource) &&
    (normal || isCertainlyNormal(resource, entry.resource.length))
  );
}

function meets(entry: CompiledEntry, call: Call, now_seconds: number): boolean {
  const { constraints } = entry;
  for (let at = 0; at < constraints.length; at++) {
    if (constraints[at]?.check(call, now_seconds) !== 'met') return false;
  }
  return true;
}

/** Walks the whole set once more, only to say why: denials may be slow, permits may not. */
function explain(authority: CompiledAuthority, call: Call, now_seconds: number): Refusal {
  const { action, resource } = call;
  if (typeof action !== 'string' || !isLiteralAction(action))
    return { code: 'action_refused', key: 'action' };
  const normal = typeof resource === 'string' ? normalResource(resource) : null;
  if (normal === null) return { code: 'resource_refused', key: 'resource' };
  if (authority.entries.length === 0) return { code: 'nothing_granted' };
  const here = authority.entries.filter(
    (entry) => entry.resource === normal || (entry.prefix && isAtOrBelow(normal, entry.resource)),
  );
  const [first] = here;
  if (first === undefined) return { code: 'resource_not_covered', key: 'resource', value: resource };
  const named = new Set([
    ...(authority.by_action.get(action) ?? []),
    ...authority.families.filter(({ stem }) => isBelow(action, stem)).map(({ entry }) => entry),
  ]);
  for (const entry of here) {
    if (!named.has(entry)) continue;
    for (const { key, given, check } of entry.constraints) {
      const verdict = check(call, now_seconds);
      if (verdict !== 'met') return { code: codeOf(verdict), entry: entry.entry, key, allowed: given };
    }
  }
  return { code: 'action_not_covered', entry: first.entry, key: 'actions', value: action };
}
