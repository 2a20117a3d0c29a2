/** Small readers for authority's wire form; each names the path that it refuses. */

import { Denied } from '../denial.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../json.ts';

/** A value of authority that this build refuses. The detail names the path and what is accepted there. */
export function badAuthority(path: string, problem: string): Denied {
  return new Denied({ tag: 'invalid_authorization_details', detail: `${path}: ${problem}` });
}

export function readObject(value: unknown, path: string, known?: readonly string[]): JsonObject {
  if (!isJsonObject(value)) throw badAuthority(path, 'must be an object');
  if (known !== undefined) {
    for (const member of Object.keys(value)) {
      if (!known.includes(member)) throw badAuthority(`${path}.${shown(member)}`, 'unknown member');
    }
  }
  return value;
}

/** The member itself, never one that the object inherits. */
export function member(object: JsonObject, name: string): JsonValue | undefined {
  return Object.hasOwn(object, name) ? object[name] : undefined;
}

/** A string of 1 to `max` characters with no control characters, spaces at its ends, or lone surrogates. */
export function readText(value: unknown, path: string, max = 256): string {
  if (typeof value !== 'string') throw badAuthority(path, 'must be a string');
  if (value.length === 0 || value.length > max) throw badAuthority(path, `must have 1 to ${max} characters`);
  if (!isPlainText(value))
    throw badAuthority(path, 'holds a control character, a stray space or a lone surrogate');
  return value;
}

export function isPlainText(value: string): boolean {
  if (value !== value.trim() || !value.isWellFormed()) return false;
  for (let at = 0; at < value.length; at++) {
    const unit = value.charCodeAt(at);
    if (unit < 0x20 || (unit >= 0x7f && unit < 0xa0)) return false;
  }
  return true;
}

/** A list of 1 to `max` distinct values. */
export function readList<T>(
  value: unknown,
  path: string,
  max: number,
  readOne: (element: unknown, path: string) => T,
): readonly T[] {
  if (!Array.isArray(value)) throw badAuthority(path, 'must be a list');
  if (value.length === 0) throw badAuthority(path, 'must not be empty');
  if (value.length > max) throw badAuthority(path, `must have at most ${max} elements`);
  return value.map((element, index) => readOne(element, `${path}[${index}]`));
}

/** As {@link readList} for strings, refusing one that is repeated. */
export function readTexts(value: unknown, path: string, max: number): readonly string[] {
  const texts = readList(value, path, max, (element, at) => readText(element, at));
  if (new Set(texts).size !== texts.length) throw badAuthority(path, 'holds a repeated value');
  return texts;
}

export function readCount(value: unknown, path: string, min: number, max: number): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max) {
    throw badAuthority(path, `must be a whole number from ${min} to ${max}`);
  }
  return value;
}

/** A key as it may be shown in a refusal: bounded, quotes and control characters escaped. */
export function shown(key: string): string {
  return JSON.stringify(key.slice(0, 64)).slice(1, -1);
}
