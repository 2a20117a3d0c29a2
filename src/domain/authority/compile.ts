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
    const compiled = { entry: index, resource, prefix: match === 'prefix', constraints };
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
  if (typeof action !== 'string' || typeof resource !== 'string')
    return explain(authority, call, now_seconds);
  const literal = authority.by_action.get(action);
  if (literal !== undefined) {
    for (let at = 0; at < literal.length; at++) {
      const entry = literal[at];
      if (entry !== undefined && covers(entry, resource) && meets(entry, call, now_seconds)) return null;
    }
  }
  const { families } = authority;
  for (let at = 0; at < families.length; at++) {
    const family = families[at];
    if (family === undefined || !isBelow(action, family.stem)) continue;
    if (covers(family.entry, resource) && meets(family.entry, call, now_seconds)) return null;
  }
  return explain(authority, call, now_seconds);
}

/** True only for one literal action under the stem: a call names no family. */
function isBelow(action: string, stem: string): boolean {
  return action.length > stem.length && action.startsWith(stem) && isLiteralAction(action);
}

function covers(entry: CompiledEntry, resource: string): boolean {
  // A text that equals a normal form is normal.
  if (resource === entry.resource) return true;
  if (
    entry.prefix &&
    isAtOrBelow(resource, entry.resource) &&
    isCertainlyNormal(resource, entry.resource.length)
  ) {
    return true;
  }
  if (isCertainlyForeign(entry.resource, resource)) return false;
  const normal = normalResource(resource);
  if (normal === null) return false;
  return normal === entry.resource || (entry.prefix && isAtOrBelow(normal, entry.resource));
}

/** Cheap and certain: no normalization can make a text this unlike equal to, or lie below, the entry's. */
function isCertainlyForeign(base: string, resource: string): boolean {
  const shared = Math.min(base.length, resource.length);
  for (let at = 0; at < shared; at++) {
    const ours = base.charCodeAt(at);
    const theirs = resource.charCodeAt(at);
    if (ours === theirs) continue;
    // A small letter or a digit on both sides, before anything that normalization could move.
    return isStable(ours) && isStable(theirs) && isCertainlyNormal(resource, authorityEnd(resource));
  }
  return false;
}

function isStable(unit: number): boolean {
  return (unit >= 0x61 && unit <= 0x7a) || (unit >= 0x30 && unit <= 0x39);
}

/** Where the path begins, or the start of the text when it has no authority. */
function authorityEnd(resource: string): number {
  const slashes = resource.indexOf('://');
  const path = slashes === -1 ? -1 : resource.indexOf('/', slashes + 3);
  return path === -1 ? 0 : path;
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
  const here = authority.entries.filter((entry) => covers(entry, resource));
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
