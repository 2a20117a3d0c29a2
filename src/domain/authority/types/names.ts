/** Members of provider entries that name one thing and must be equal, or list things and must be fewer. */

import type { JsonObject, JsonValue } from '../../json.ts';
import type { Refusal } from '../model.ts';
import { badAuthority, member, readText } from '../parse.ts';

/** The configured name of a server: letters, digits, dot, dash and underscore. */
export function readName(value: unknown, path: string): string {
  const name = readText(value, path, 64);
  for (const character of name) {
    if (!/^[A-Za-z0-9._-]$/.test(character))
      throw badAuthority(path, 'must have only letters, digits, ".", "-" and "_"');
  }
  return name;
}

/** The first of `names` that the two do not have the same, as a refusal. */
export function differingName(a: JsonObject, b: JsonObject, names: readonly string[]): Refusal | null {
  for (const name of names) {
    const [wanted, allowed] = [member(a, name), member(b, name)];
    if (wanted !== allowed)
      return {
        code: 'resource_not_covered',
        key: name,
        ...optional('value', wanted),
        ...optional('allowed', allowed),
      };
  }
  return null;
}

/** A list of texts in which `a` may only have what `b` has. */
export function listRefusal(a: JsonObject, b: JsonObject, name: string): Refusal | null {
  const allowed = textsOf(b, name);
  if (allowed === null) return null;
  const wanted = textsOf(a, name);
  if (wanted === null) return { code: 'member_broader', key: name, allowed };
  const beyond = wanted.find((text) => !allowed.includes(text));
  return beyond === undefined ? null : { code: 'member_broader', key: name, value: beyond, allowed };
}

/** What both lists have, sorted; absent (null) means everything. */
export function commonTexts(a: JsonObject, b: JsonObject, name: string): readonly string[] | null {
  const [left, right] = [textsOf(a, name), textsOf(b, name)];
  if (left === null || right === null) return sorted(left ?? right);
  return sorted(left.filter((text) => right.includes(text)));
}

function sorted(texts: readonly string[] | null): readonly string[] | null {
  return texts === null ? null : [...new Set(texts)].sort();
}

function textsOf(object: JsonObject, name: string): readonly string[] | null {
  const value = member(object, name);
  return Array.isArray(value) ? (value as readonly string[]) : null;
}

function optional(name: string, value: JsonValue | undefined): JsonObject {
  return value === undefined ? {} : { [name]: value };
}
