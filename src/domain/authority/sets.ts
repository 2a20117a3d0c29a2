/**
 * Authority sets as a whole: reading, comparing, narrowing. A set is a list of entries of which each stands
 * alone; `a` is within `b` when every entry of `a` is within one entry of `b`, never within their union.
 */

import { canonicalize } from '../json.ts';
import { entryType } from './entry_types.ts';
import type { AuthorityEntry, AuthoritySet, Narrowing, Refusal, RefusalCode } from './model.ts';
import { badAuthority, member, readObject } from './parse.ts';

export const MAX_ENTRIES = 128;
/** What an intersection may grow to, where entries overlap several of the other set. */
const MAX_GRANTED = 512;
/** Overlaps that are looked at: each is compared with the others of its entry, however few remain in the end. */
const MAX_OVERLAPS = 1024;

/**
 * Validates a whole `authorization_details` strictly and returns it as given, without defaults, for hashing.
 * An empty list is accepted: it is the set that grants nothing.
 * @param what names the value in refusals, such as `authorization_details` or `ceiling`
 * @throws Denied `invalid_authorization_details` naming the path
 */
export function parseAuthoritySet(value: unknown, what: string): AuthoritySet {
  if (!Array.isArray(value)) throw badAuthority(what, 'must be a list');
  if (value.length > MAX_ENTRIES) throw badAuthority(what, `must have at most ${MAX_ENTRIES} entries`);
  return value.map((element: unknown, index) => {
    const path = `${what}[${index}]`;
    const object = readObject(element, path);
    return entryType(member(object, 'type'), path).parse(object, path);
  });
}

export type Within = { readonly ok: true } | { readonly ok: false; readonly refusal: Refusal };

/** Whether `a` is no broader than `b`, entry by entry; if not, the first entry that is and why. */
export function within(a: AuthoritySet, b: AuthoritySet): Within {
  for (const [index, entry] of a.entries()) {
    const refusal = entryRefusal(entry, b);
    if (refusal !== null) return { ok: false, refusal: { ...refusal, entry: index } };
  }
  return { ok: true };
}

/** How far a comparison got before it failed: the nearest entry explains a refusal best. */
const NEARNESS: readonly RefusalCode[] = [
  'nothing_granted',
  'type_not_covered',
  'resource_not_covered',
  'action_not_covered',
  'constraint_contradiction',
  'constraint_missing',
  'constraint_broader',
  'delegation_broader',
];

export function nearness(code: RefusalCode): number {
  return NEARNESS.indexOf(code);
}

/** Null if one entry of `set` covers `entry`, else the refusal of the one that came nearest. */
function entryRefusal(entry: AuthorityEntry, set: AuthoritySet): Refusal | null {
  let nearest: Refusal = {
    code: set.length === 0 ? 'nothing_granted' : 'type_not_covered',
    value: entry.type,
  };
  for (const other of set) {
    if (other.type !== entry.type) continue;
    const refusal = entryType(entry.type, 'entry').within(entry, other);
    if (refusal === null) return null;
    if (nearness(refusal.code) > nearness(nearest.code)) nearest = refusal;
  }
  return nearest;
}

/**
 * The greatest set within both, with every cut reported. A wanted entry that one ceiling entry covers is
 * granted exactly as it was written. One that only overlaps is granted its greatest parts, one for each
 * ceiling entry that it overlaps, in the ceiling's order; a part within another part is left out.
 * @param name how `rule` calls the ceiling, such as `template reconcile`
 * @throws Denied if the overlaps make more than 512 entries, or if there are more than 1,024 of them
 */
export function intersect(
  wanted: AuthoritySet,
  ceiling: AuthoritySet,
  name = 'ceiling',
): { readonly granted: AuthoritySet; readonly narrowed: readonly Narrowing[] } {
  const granted: AuthorityEntry[] = [];
  const narrowed: Narrowing[] = [];
  const seen = new Set<string>();
  let overlaps = 0;
  for (const entry of wanted) {
    const found = overlapping(entry, ceiling);
    overlaps += found.parts.length;
    if (overlaps > MAX_OVERLAPS)
      throw badAuthority('authorization_details', 'overlaps the ceiling in too many ways');
    const { parts, cuts } = greatestOf(entry, found, name);
    narrowed.push(...cuts);
    for (const part of parts) {
      const text = canonicalize(part);
      if (seen.has(text)) continue;
      seen.add(text);
      granted.push(part);
      if (granted.length > MAX_GRANTED) {
        throw badAuthority('authorization_details', 'overlaps the ceiling in too many ways');
      }
    }
  }
  return { granted, narrowed };
}

interface Part {
  readonly entry: AuthorityEntry;
  readonly at: number;
  readonly cut: Refusal;
}

interface Overlaps {
  /** Covered whole by one ceiling entry: whatever else overlaps it is within it. */
  readonly covered: boolean;
  readonly parts: readonly Part[];
  readonly nearest: Refusal;
  /** Of the ceiling; -1 for none. */
  readonly nearest_at: number;
}

function overlapping(entry: AuthorityEntry, ceiling: AuthoritySet): Overlaps {
  const type = entryType(entry.type, 'entry');
  const cuts: (Refusal | null)[] = ceiling.map((other) =>
    other.type === entry.type ? type.within(entry, other) : { code: 'type_not_covered', value: entry.type },
  );
  const parts: Part[] = [];
  let nearest: Refusal = { code: ceiling.length === 0 ? 'nothing_granted' : 'type_not_covered' };
  let nearest_at = -1;
  if (cuts.includes(null)) return { covered: true, parts, nearest, nearest_at };
  for (const [at, other] of ceiling.entries()) {
    const cut = cuts[at];
    if (other.type !== entry.type || cut === undefined || cut === null) continue;
    const met = type.within(other, entry) === null ? { entry: other } : type.intersect(entry, other);
    if ('entry' in met) parts.push({ entry: met.entry, at, cut });
    else if (nearness(met.refusal.code) > nearness(nearest.code)) {
      nearest = met.refusal;
      nearest_at = at;
    }
  }
  return { covered: false, parts, nearest, nearest_at };
}

function greatestOf(
  entry: AuthorityEntry,
  { covered, parts, nearest, nearest_at }: Overlaps,
  name: string,
): { readonly parts: AuthoritySet; readonly cuts: readonly Narrowing[] } {
  if (covered) return { parts: [entry], cuts: [] };
  const type = entryType(entry.type, 'entry');
  const greatest = parts.filter(
    (part, index) =>
      !parts.some(
        (other, at) =>
          at !== index &&
          type.within(part.entry, other.entry) === null &&
          (at < index || type.within(other.entry, part.entry) !== null),
      ),
  );
  if (greatest.length === 0) {
    const rule = nearest_at === -1 ? name : ruleName(name, nearest_at, nearest);
    return { parts: [], cuts: [{ wanted: entry, granted: null, reason: nearest.code, rule }] };
  }
  return {
    parts: greatest.map((part) => part.entry),
    cuts: greatest.map(({ entry: part, at, cut }) => ({
      wanted: entry,
      granted: part,
      reason: cut.code,
      rule: ruleName(name, at, cut),
    })),
  };
}

function ruleName(name: string, at: number, { code, key }: Refusal): string {
  if (key === undefined) return `${name}[${at}]`;
  return `${name}[${at}].${code.startsWith('constraint_') ? 'constraints.' : ''}${key}`;
}

/**
 * The normal form: entries in normal form, none within another, sorted by canonical text. Two sets within each
 * other have the same one. For comparing only; anchors hash sets as granted.
 */
export function normalize(set: AuthoritySet): AuthoritySet {
  const entries = set
    .map((entry) => entryType(entry.type, 'entry').normalize(entry))
    .map((entry) => [canonicalize(entry), entry] as const)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .filter(([text], at, all) => all[at - 1]?.[0] !== text)
    .map(([, entry]) => entry);
  return entries.filter((entry, index) => {
    const type = entryType(entry.type, 'entry');
    return !entries.some(
      (other, at) => at !== index && other.type === entry.type && type.within(entry, other) === null,
    );
  });
}
