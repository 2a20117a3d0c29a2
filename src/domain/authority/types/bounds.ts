/**
 * Optional upper bounds of provider entries, such as `max_ttl_seconds`. As with constraint keys, one that the
 * ceiling has must be present and no greater; one that it lacks may be added.
 */

import type { JsonObject } from '../../json.ts';
import type { Refusal } from '../model.ts';
import { member, readCount } from '../parse.ts';

/** Member name to the least and greatest value that it may have. */
export type BoundRanges = Readonly<Record<string, readonly [min: number, max: number]>>;

/** Every provider entry may shorten the life of what it hands out. */
export const TTL_BOUND = { max_ttl_seconds: [1, 604_800] } as const satisfies BoundRanges;

/** @throws Denied naming the path */
export function readBounds(object: JsonObject, path: string, ranges: BoundRanges): void {
  for (const [name, [min, max]] of Object.entries(ranges)) {
    const value = member(object, name);
    if (value !== undefined) readCount(value, `${path}.${name}`, min, max);
  }
}

export function boundsRefusal(a: JsonObject, b: JsonObject, ranges: BoundRanges): Refusal | null {
  for (const name of Object.keys(ranges)) {
    const [wanted, allowed] = [boundOf(a, name), boundOf(b, name)];
    if (allowed === null) continue;
    if (wanted === null) return { code: 'member_broader', key: name, allowed };
    if (wanted > allowed) return { code: 'member_broader', key: name, value: wanted, allowed };
  }
  return null;
}

/** The tighter of each. */
export function tightestBounds(a: JsonObject, b: JsonObject, ranges: BoundRanges): Record<string, number> {
  const bounds: Record<string, number> = {};
  for (const name of Object.keys(ranges)) {
    const tightest = Math.min(boundOf(a, name) ?? Infinity, boundOf(b, name) ?? Infinity);
    if (tightest !== Infinity) bounds[name] = tightest;
  }
  return bounds;
}

function boundOf(object: JsonObject, name: string): number | null {
  const value = member(object, name);
  return typeof value === 'number' ? value : null;
}
