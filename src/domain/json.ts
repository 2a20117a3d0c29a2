/**
 * JSON as the broker trusts it: one strict reader for what comes in, one canonical writer (RFC 8785) for what
 * is hashed. JSON.parse alone keeps the last of two equal keys, so that two readers of one text can disagree
 * about it; here a repeated key at any depth is a refusal. What is read here can always be canonicalized.
 */

import { malformed } from './denial.ts';
import { locate } from './json_locate.ts';

export type JsonValue = null | boolean | number | string | readonly JsonValue[] | JsonObject;
export interface JsonObject {
  readonly [member: string]: JsonValue;
}

export interface JsonLimits {
  /** Size of the text in UTF-8. Default 65,536. */
  readonly max_bytes?: number;
  /** Objects and arrays inside each other; a scalar alone is depth 0. Default 16. */
  readonly max_depth?: number;
  /** Object members plus array elements, over the whole text. Default 10,000. */
  readonly max_members?: number;
}

const DEFAULT_MAX_BYTES = 65_536;
const DEFAULT_MAX_DEPTH = 16;
const DEFAULT_MAX_MEMBERS = 10_000;
/** Deeper than any text that parseJson accepts by default, shallow enough to never exhaust the stack. */
const CANONICAL_MAX_DEPTH = 128;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COLON = 0x3a;
const COMMA = 0x2c;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;

/**
 * Reads one JSON text strictly (RFC 8259, I-JSON of RFC 7493).
 * Refuses: repeated keys at any depth (after unescaping), `__proto__` as a key, lone surrogates, numbers that
 * are not finite or are integers beyond 2^53 - 1, and whatever passes a limit.
 * @throws Denied `invalid_request`, whose detail names the position and never quotes a value
 */
export function parseJson(text: string, limits?: JsonLimits): JsonValue {
  const max_bytes = limits?.max_bytes ?? DEFAULT_MAX_BYTES;
  const max_depth = limits?.max_depth ?? DEFAULT_MAX_DEPTH;
  const max_members = limits?.max_members ?? DEFAULT_MAX_MEMBERS;
  // A UTF-16 unit is at most three bytes of UTF-8: most bodies need no count.
  if (text.length > max_bytes || (text.length * 3 > max_bytes && Buffer.byteLength(text) > max_bytes)) {
    throw malformed(`JSON text is larger than ${max_bytes} bytes`);
  }
  // Before JSON.parse builds anything: the shape of the text, outside of its strings.
  const keys = measure(text, max_depth, max_members);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // The engine's own message quotes the text, which may hold evidence: ours does not.
    throw malformed(locate(text) ?? 'not a JSON text');
  }
  // A repeated key makes the built value hold fewer members than the text has colons.
  const found = typeof value === 'object' && value !== null ? inspect(value as JsonValue) : scalar(value);
  if (found !== keys) throw malformed(locate(text) ?? 'a key is repeated');
  return value as JsonValue;
}

/** Counts the keys of a text, refusing one that is too deep or has too many members. */
function measure(text: string, max_depth: number, max_members: number): number {
  let depth = 0;
  let colons = 0;
  let items = 0;
  for (let at = 0; at < text.length; at++) {
    switch (text.charCodeAt(at)) {
      case QUOTE: {
        at = closingQuote(text, at);
        break;
      }
      case COLON:
        colons++;
        break;
      case COMMA:
        items++;
        break;
      case OPEN_BRACE:
      case OPEN_BRACKET:
        // The first member of a container has no comma before it.
        items++;
        depth++;
        if (depth > max_depth) throw malformed(`JSON nests deeper than ${max_depth} at position ${at}`);
        break;
      case CLOSE_BRACE:
      case CLOSE_BRACKET:
        depth--;
        break;
      default:
    }
    if (items > max_members) throw malformed(`JSON has more than ${max_members} members at position ${at}`);
  }
  return colons;
}

/** Position of the quote that ends the string begun at `open`, or the last position when there is none. */
function closingQuote(text: string, open: number): number {
  let end = open;
  for (;;) {
    end = text.indexOf('"', end + 1);
    if (end === -1) return text.length;
    let escapes = 0;
    while (text.charCodeAt(end - 1 - escapes) === BACKSLASH) escapes++;
    if (escapes % 2 === 0) return end;
  }
}

/** Counts members of a built value, refusing what JSON.parse lets through. Depth is bounded by `measure`. */
function inspect(value: JsonValue): number {
  if (typeof value !== 'object' || value === null) return scalar(value);
  let members = 0;
  if (Array.isArray(value)) {
    for (const element of value) members += inspect(element);
    return members;
  }
  const object = value as JsonObject;
  for (const key in object) {
    if (key === '__proto__') throw malformed('the key "__proto__" is not accepted');
    if (!key.isWellFormed()) throw malformed('a key holds a lone surrogate');
    members += 1 + inspect(object[key] as JsonValue);
  }
  return members;
}

function scalar(value: unknown): 0 {
  if (typeof value === 'string' && !value.isWellFormed()) throw malformed('a string holds a lone surrogate');
  if (typeof value === 'number' && !isExact(value)) {
    throw malformed('a number is too large to be exact; send it as a string');
  }
  return 0;
}

/** Finite, and not an integer that a double may have rounded: 1e400 and 2^53 + 1 are both refused. */
function isExact(value: number): boolean {
  return Number.isSafeInteger(value) || (Number.isFinite(value) && !Number.isInteger(value));
}

/**
 * The JSON Canonicalization Scheme (RFC 8785): members sorted by UTF-16 code units, numbers as ECMAScript
 * prints them, no white space. Anchors and fingerprints are taken over this text.
 * @throws Denied `invalid_request` for anything that is not JSON: NaN, Infinity, undefined, a hole, a lone
 * surrogate, a bigint, a function, an object of a class, a cycle
 */
export function canonicalize(value: unknown): string {
  return write(value, 0);
}

function write(value: unknown, depth: number): string {
  switch (typeof value) {
    case 'string':
      if (!value.isWellFormed()) throw malformed('a lone surrogate has no canonical form');
      return JSON.stringify(value);
    case 'number':
      if (!Number.isFinite(value)) throw malformed('a number that is not finite has no canonical form');
      return String(value === 0 ? 0 : value);
    case 'boolean':
      return value ? 'true' : 'false';
    case 'object':
      if (value === null) return 'null';
      if (depth >= CANONICAL_MAX_DEPTH) throw malformed('nests too deep for a canonical form');
      return Array.isArray(value) ? writeArray(value, depth) : writeObject(value, depth);
    default:
      throw malformed(`a value of type ${typeof value} has no canonical form`);
  }
}

function writeArray(value: readonly unknown[], depth: number): string {
  let text = '[';
  for (let index = 0; index < value.length; index++) {
    if (index > 0) text += ',';
    text += write(value[index], depth + 1);
  }
  return text + ']';
}

function writeObject(value: object, depth: number): string {
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) {
    throw malformed('an object of a class has no canonical form');
  }
  const object = value as Readonly<Record<string, unknown>>;
  let text = '{';
  for (const key of Object.keys(object).sort()) {
    if (text.length > 1) text += ',';
    text += write(key, depth) + ':' + write(object[key], depth + 1);
  }
  return text + '}';
}

/** True for a JSON object, not an array and not null. */
export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
