/** Parts of a credential's value as text: one member, a text with several in it, or all of it as JSON. */
import type { JsonObject, JsonValue } from '../domain/json.ts';

/** The value has no such part. Names the member, never a value. */
export class NoSuchPart extends Error {}

export interface Part {
  readonly member?: string | undefined;
  readonly text?: string | undefined;
}

/** @param value plain: as `reveal` gives it. @throws NoSuchPart */
export function partOf(value: JsonObject, { member, text }: Part): string {
  if (text !== undefined) return filled(value, text);
  return member === undefined ? JSON.stringify(value) : shown(memberOf(value, member));
}

/** @param path names and places, such as `secrets.0.data.username` */
function memberOf(value: JsonObject, path: string): JsonValue {
  let found: JsonValue | undefined = value;
  for (const step of path.split('.')) {
    if (Array.isArray(found))
      found = isPlace(step) ? (found[Number(step)] as JsonValue | undefined) : undefined;
    else if (found !== null && typeof found === 'object' && Object.hasOwn(found, step))
      found = (found as JsonObject)[step];
    else found = undefined;
    if (found === undefined || found === null)
      throw new NoSuchPart(`the value has no ${path}; it has ${Object.keys(value).join(', ')}`);
  }
  return found;
}

function shown(value: JsonValue): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** `{member}` and `{member|url}`; `{{` and `}}` are braces. */
function filled(value: JsonObject, text: string): string {
  let out = '';
  for (let at = 0; at < text.length; at++) {
    const unit = text.charAt(at);
    if (unit !== '{' && unit !== '}') {
      out += unit;
      continue;
    }
    if (text.charAt(at + 1) === unit) {
      out += unit;
      at += 1;
      continue;
    }
    const end = unit === '{' ? text.indexOf('}', at) : -1;
    if (end === -1) throw new NoSuchPart(`a brace at ${at + 1} of text has no other half: write it twice`);
    const [path = '', form, ...more] = text.slice(at + 1, end).split('|');
    if (more.length > 0 || (form !== undefined && form !== 'url'))
      throw new NoSuchPart(`{${text.slice(at + 1, end)}}: a member, or a member|url`);
    const part = shown(memberOf(value, path));
    out += form === 'url' ? encodeURIComponent(part) : part;
    at = end;
  }
  return out;
}

function isPlace(step: string): boolean {
  return step.length > 0 && step.length < 6 && [...step].every((digit) => digit >= '0' && digit <= '9');
}
