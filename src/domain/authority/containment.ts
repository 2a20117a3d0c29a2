/**
 * Containment: an admin's removal-only overlay on a live mission. The granted set never changes (its anchor is
 * in every token); what is in force is computed from it and the overlay, everywhere by the same function.
 * Where a removal cannot be written exactly, more is removed, never less.
 */

import { Denied, malformed } from '../denial.ts';
import { canonicalize, isJsonObject, type JsonObject, type JsonValue } from '../json.ts';
import { actionsOverlap, isFamily, isLiteralAction } from './actions.ts';
import { entryType } from './entry_types.ts';
import { instantMicros } from './instant.ts';
import { type AuthorityEntry, type AuthoritySet, isResourceAccess } from './model.ts';
import { canBePrefix, normalResource, type Scope, scopesOverlap } from './resource.ts';
import { scopeOf } from './resource_access.ts';

/** What is taken away. */
export type Removal =
  /** Every entry at this resource, below it, or with a prefix that reaches it. */
  | { readonly audience: string }
  /** One action or family, everywhere or at one resource. */
  | { readonly action: string; readonly resource?: string }
  /** One entry, by its place in the set as granted. */
  | { readonly entry: number }
  /** Every entry of a type, such as `aws_session`. */
  | { readonly type: string };

export interface Containment {
  /** Chosen by who asks; a repeated one changes nothing. */
  readonly event_id: string;
  /** RFC 3339. */
  readonly at: string;
  readonly actor: string;
  readonly reason: string;
  readonly remove?: readonly Removal[];
  /** RFC 3339; shortens the mission, never lengthens it. */
  readonly expires_at?: string;
}

const SHAPES: readonly (readonly string[])[] = [
  ['audience'],
  ['action'],
  ['action', 'resource'],
  ['entry'],
  ['type'],
];
const MAX_REMOVALS = 64;

/**
 * Reads the removal part of an admin's request.
 * @throws Denied `invalid_request` for an unknown shape, a bad value, or nothing to do
 */
export function parseRemovals(value: unknown, path: string): readonly Removal[] {
  if (!Array.isArray(value) || value.length === 0) throw malformed(`${path} must be a non-empty list`);
  if (value.length > MAX_REMOVALS) throw malformed(`${path} must have at most ${MAX_REMOVALS} elements`);
  return value.map((element: unknown, index) => readRemoval(element, `${path}[${index}]`));
}

function readRemoval(value: unknown, path: string): Removal {
  if (!isJsonObject(value)) throw malformed(`${path} must be an object`);
  const members = Object.keys(value).sort().join();
  if (!SHAPES.some((shape) => shape.join() === members)) {
    throw malformed(`${path} must be {audience}, {action}, {action, resource}, {entry} or {type}`);
  }
  const { audience, action, resource, entry, type } = value as { [name: string]: JsonValue | undefined };
  for (const named of [audience, resource]) {
    if (named !== undefined && (typeof named !== 'string' || normalResource(named) === null)) {
      throw malformed(`${path} names a resource that is not an absolute URI in an accepted form`);
    }
  }
  if (
    action !== undefined &&
    (typeof action !== 'string' || !(isLiteralAction(action) || isFamily(action)))
  ) {
    throw malformed(`${path}.action must be an action or a family`);
  }
  if (entry !== undefined && (!Number.isInteger(entry) || (entry as number) < 0)) {
    throw malformed(`${path}.entry must be the place of an entry, counted from 0`);
  }
  if (type !== undefined) entryType(type, path);
  return value as unknown as Removal;
}

/**
 * The overlay with one more containment. One whose `event_id` is there already changes nothing.
 * @throws Denied `conflict` for a known `event_id` with other content; `invalid_request` for a containment
 * that would do nothing or that names an entry that was never granted
 */
export function applyContainment(
  granted: AuthoritySet,
  overlay: readonly Containment[],
  next: Containment,
): { readonly overlay: readonly Containment[]; readonly changed: boolean } {
  const same = overlay.find(({ event_id }) => event_id === next.event_id);
  if (same !== undefined) {
    if (effectOf(same) === effectOf(next)) return { overlay, changed: false };
    throw new Denied({ tag: 'conflict', detail: 'event_id was used for another containment' });
  }
  if (next.remove === undefined && next.expires_at === undefined) {
    throw malformed('a containment removes something or shortens the end');
  }
  if (next.expires_at !== undefined && Number.isNaN(instantMicros(next.expires_at))) {
    throw malformed('expires_at must be an RFC 3339 date-time');
  }
  for (const removal of next.remove ?? []) {
    if ('entry' in removal && removal.entry >= granted.length) {
      throw malformed(`there is no entry ${removal.entry}; ${granted.length} were granted`);
    }
  }
  return { overlay: [...overlay, next], changed: true };
}

/** What a containment does, without who asked and when. */
function effectOf({ remove, expires_at }: Containment): string {
  return canonicalize([(remove ?? []) as unknown as JsonValue, expires_at ?? null]);
}

/** The set in force: `granted` without everything that any containment removes. Always within `granted`. */
export function effective(granted: AuthoritySet, overlay: readonly Containment[]): AuthoritySet {
  const removals = overlay.flatMap(({ remove }) => remove ?? []);
  if (removals.length === 0) return granted;
  return granted.flatMap((entry, index) => {
    let left: AuthorityEntry | null = entry;
    for (const removal of removals) {
      left = left === null ? null : without(left, index, removal);
    }
    return left === null ? [] : [left];
  });
}

/** The end in force, seconds since the epoch: the earliest of the mission's own and every containment's. */
export function effectiveEnd(expires_at_seconds: number, overlay: readonly Containment[]): number {
  return overlay.reduce((end, { expires_at }) => {
    if (expires_at === undefined) return end;
    const micros = instantMicros(expires_at);
    // An end that cannot be read ends the mission now: it was meant to shorten.
    return Number.isNaN(micros) ? 0 : Math.min(end, Math.floor(micros / 1_000_000));
  }, expires_at_seconds);
}

function without(entry: AuthorityEntry, index: number, removal: Removal): AuthorityEntry | null {
  if ('entry' in removal) return removal.entry === index ? null : entry;
  if ('type' in removal) return removal.type === entry.type ? null : entry;
  if ('audience' in removal) return reaches(entry, removal.audience) ? null : entry;
  if (!isResourceAccess(entry)) return entry;
  if (removal.resource !== undefined && !reaches(entry, removal.resource)) return entry;
  // A family that holds the action goes whole: what is left of it could not be written down.
  const actions = entry.actions.filter((action) => !actionsOverlap(action, removal.action));
  if (actions.length === entry.actions.length) return entry;
  return actions.length === 0 ? null : { ...entry, actions };
}

/** True if the entry says anything about the resource or what lies below it. */
function reaches(entry: AuthorityEntry, resource: string): boolean {
  const target = normalResource(resource);
  const scope = isResourceAccess(entry) ? scopeOf(entry) : providerScope(entry);
  if (scope === null) return false;
  // A removal that cannot be read removes: it was meant to.
  if (target === null) return true;
  return scopesOverlap(scope, { resource: target, match: canBePrefix(target) ? 'prefix' : 'exact' });
}

function providerScope(entry: AuthorityEntry): Scope | null {
  const resource = entryType(entry.type, 'entry').resourceOf?.(entry) ?? null;
  const normal = resource === null ? null : normalResource(resource);
  return normal === null ? null : { resource: normal, match: 'exact' };
}

/** A containment as it is shown in a manifest or an introspection: what is gone, not who asked. */
export function shownContainment({ event_id, at, remove, expires_at }: Containment): JsonObject {
  return {
    event_id,
    at,
    ...(remove === undefined ? {} : { remove: remove as unknown as JsonValue }),
    ...(expires_at === undefined ? {} : { expires_at }),
  };
}
