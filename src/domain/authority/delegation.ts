/**
 * The `delegation` member: who may receive an entry, and how deep. Absent means that nobody may. It is policy
 * beside the authority, but it never widens either.
 */

import { canonicalize, type JsonObject } from '../json.ts';
import type { Delegate, Delegation } from './model.ts';
import { badAuthority, member, readCount, readList, readObject, readText } from './parse.ts';

/** `mission.path` holds at most eight missions, so that a child is at most seven deep. */
export const MAX_DEPTH = 7;
const MAX_DELEGATES = 64;

export function readDelegation(value: unknown, path: string): Delegation {
  const object = readObject(value, path, ['max_depth', 'allowed_delegates']);
  readCount(member(object, 'max_depth'), `${path}.max_depth`, 1, MAX_DEPTH);
  const delegates = member(object, 'allowed_delegates');
  if (delegates !== undefined) readList(delegates, `${path}.allowed_delegates`, MAX_DELEGATES, readDelegate);
  return object as unknown as Delegation;
}

function readDelegate(value: unknown, path: string): void {
  const object: JsonObject = readObject(value, path, ['sub', 'sub_profile']);
  const members = Object.keys(object);
  if (members.length === 0) throw badAuthority(path, 'must name sub or sub_profile');
  for (const name of members) readText(object[name], `${path}.${name}`);
}

export function delegationWithin(a: Delegation | undefined, b: Delegation | undefined): boolean {
  if (a === undefined) return true;
  if (b === undefined || a.max_depth > b.max_depth) return false;
  const allowed = b.allowed_delegates;
  if (allowed === undefined) return true;
  return a.allowed_delegates?.every((one) => allowed.some((other) => delegateWithin(one, other))) ?? false;
}

/** Every member that `b` asks for, `a` asks for with the same value. */
function delegateWithin(a: Delegate, b: Delegate): boolean {
  if (b.sub !== undefined && b.sub !== a.sub) return false;
  return b.sub_profile === undefined || b.sub_profile === a.sub_profile;
}

/** The greatest delegation within both; undefined means not delegable. */
export function intersectDelegation(
  a: Delegation | undefined,
  b: Delegation | undefined,
): Delegation | undefined {
  if (a === undefined || b === undefined) return undefined;
  if (delegationWithin(a, b)) return a;
  if (delegationWithin(b, a)) return b;
  const max_depth = Math.min(a.max_depth, b.max_depth);
  const ours = a.allowed_delegates ?? b.allowed_delegates;
  const theirs = b.allowed_delegates ?? a.allowed_delegates;
  if (ours === undefined || theirs === undefined) return { max_depth };
  const both = ours.flatMap((one) => theirs.flatMap((other) => joinDelegates(one, other)));
  const allowed_delegates = reduceDelegates(both);
  return allowed_delegates.length === 0 ? undefined : { max_depth, allowed_delegates };
}

/** One who matches both, or nobody. */
function joinDelegates(a: Delegate, b: Delegate): readonly Delegate[] {
  if (a.sub !== undefined && b.sub !== undefined && a.sub !== b.sub) return [];
  if (a.sub_profile !== undefined && b.sub_profile !== undefined && a.sub_profile !== b.sub_profile)
    return [];
  return [{ ...a, ...b }];
}

function reduceDelegates(delegates: readonly Delegate[]): readonly Delegate[] {
  return delegates.filter(
    (one, index) =>
      !delegates.some(
        (other, at) =>
          at !== index && delegateWithin(one, other) && (at < index || !delegateWithin(other, one)),
      ),
  );
}

export function normalDelegation(delegation: Delegation): Delegation {
  const { max_depth, allowed_delegates } = delegation;
  if (allowed_delegates === undefined) return { max_depth };
  const sorted = reduceDelegates(allowed_delegates)
    .map((one) => [canonicalize(one), one] as const)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, one]) => one);
  return { max_depth, allowed_delegates: sorted };
}

/**
 * True if this entry's authority may be exercised by `delegate` at `depth` (1 is a direct child). The profiles
 * are what the broker attested, space separated, never what the delegate says of itself.
 */
export function mayDelegate(
  delegation: Delegation | undefined,
  delegate: { readonly sub: string; readonly sub_profile?: string },
  depth: number,
): boolean {
  if (delegation === undefined || depth < 1 || depth > delegation.max_depth) return false;
  if (delegation.allowed_delegates === undefined) return true;
  const profiles = delegate.sub_profile?.split(' ') ?? [];
  return delegation.allowed_delegates.some(
    (one) =>
      (one.sub === undefined || one.sub === delegate.sub) &&
      (one.sub_profile === undefined || profiles.includes(one.sub_profile)),
  );
}
