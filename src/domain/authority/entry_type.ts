/**
 * The port that a type of authority entry implements: `mission_resource_access` here, and one file each for
 * what providers hand out. A new type is one file and one line in `entry_types.ts`.
 */

import type { JsonObject } from '../json.ts';
import type { AuthorityEntry, Refusal } from './model.ts';

export interface EntryType<E extends AuthorityEntry> {
  readonly type: string;
  /** Validates strictly and returns the value as given: nothing added, nothing rewritten. @throws Denied */
  parse(value: JsonObject, path: string): E;
  /** Null if `a` is no broader than `b`, else why not. Reflexive and transitive. */
  within(a: E, b: E): Refusal | null;
  /** The greatest entry within both, or why there is none. Only asked when neither is within the other. */
  intersect(a: E, b: E): { readonly entry: E } | { readonly refusal: Refusal };
  /** Entries within each other have one normal form; it parses, and is within what it came from and back. */
  normalize(entry: E): E;
  /** The resource, if the entry has one, so that an audience can be removed from it. */
  resourceOf?(entry: E): string | null;
  /** One plain sentence for an admin: what it allows. */
  describe?(entry: E): string;
}
