/**
 * Strict readers for closed objects. Each names the member at fault, so that a refusal teaches; none echoes a
 * value, which may be a secret in the wrong place.
 */
import { Denied, malformed } from './denial.ts';
import { isJsonObject, type JsonObject, type JsonValue } from './json.ts';

/** An object with only `members`. @throws Denied `invalid_request` */
export function readObject(value: JsonValue | undefined, at: string, members: readonly string[]): JsonObject {
  if (!isJsonObject(value)) throw malformed(`${at} must be an object`);
  for (const member of Object.keys(value)) {
    if (members.includes(member)) continue;
    if (member === 'evidence') throw new Denied({ tag: 'invalid_mission_intent_evidence' });
    throw malformed(`${at} has an unknown member ${JSON.stringify(member.slice(0, 64))}`);
  }
  return value;
}

export function readText(value: JsonValue | undefined, at: string, max_length: number): string {
  if (typeof value !== 'string' || value === '') throw malformed(`${at} must be a non-empty string`);
  if (value.length > max_length) throw malformed(`${at} is longer than ${max_length} characters`);
  return value;
}

export function readTexts(
  value: JsonValue | undefined,
  at: string,
  max_items: number,
  max_length: number,
): readonly string[] {
  if (!Array.isArray(value) || value.length === 0) throw malformed(`${at} must be a non-empty array`);
  if (value.length > max_items) throw malformed(`${at} has more than ${max_items} items`);
  return value.map((item: JsonValue, index) => readText(item, `${at}[${index}]`, max_length));
}

export function readCount(value: JsonValue | undefined, at: string): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 1)
    throw malformed(`${at} must be a whole number from 1`);
  return value;
}

/** An RFC 3339 instant, in seconds since the epoch. The offset is required: a local time is not an instant. */
export function readInstant(value: JsonValue | undefined, at: string): number {
  const text = readText(value, at, 40);
  const seconds = instant(text);
  if (seconds === null)
    throw malformed(`${at} must be an RFC 3339 time with an offset, such as 2026-12-31T23:59:59Z`);
  return seconds;
}

const RFC3339 = /^(\d{4})-(\d{2})-(\d{2})T(\d{2}):(\d{2}):(\d{2})(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})$/;

/** Null unless `text` is RFC 3339 and names a day that exists. */
export function instant(text: string): number | null {
  const match = RFC3339.exec(text);
  if (!match) return null;
  const [, year, month, day, hour, minute, second] = match.map(Number);
  const calendar = new Date(Date.UTC(year ?? 0, (month ?? 0) - 1, day ?? 0));
  // Date.parse rolls 30 February over into March; a day that does not exist is refused.
  if (calendar.getUTCMonth() + 1 !== month || calendar.getUTCDate() !== day) return null;
  if ((hour ?? 99) > 23 || (minute ?? 99) > 59 || (second ?? 99) > 59) return null;
  const parsed = Date.parse(text);
  return Number.isNaN(parsed) ? null : parsed / 1000;
}

/** RFC 3339 in UTC, whole seconds: how JSON answers print an instant. */
export function rfc3339(seconds: number): string {
  return `${new Date(Math.floor(seconds) * 1000).toISOString().slice(0, 19)}Z`;
}
