/**
 * Verified tokens, by the header that they came in.
 *
 * The key is 30 bits out of the signature, which only the broker chooses and which costs a few nanoseconds to read;
 * hashing a fresh kilobyte would cost microseconds. The whole header is compared before an entry counts, so a key
 * that meets another costs a verification, never a wrong answer. Only verified tokens enter, and a mission can push
 * out no more than its own: minting many tokens evicts nobody else's.
 */
import type { VerifiedToken } from './token.ts';

/** Where the two prints are read, from the end. The last characters are left out: the final one has spare bits. */
const FIRST_AT = 12;
const SECOND_AT = 20;
const PRINT_LENGTH = 5;
/** Oldest entries looked at to make room. */
const LOOKED_AT = 16;

/** 30 bits of the signature part. */
function printAt(authorization: string, before_end: number): number {
  const from = authorization.length - before_end;
  let print = 0;
  for (let at = from; at < from + PRINT_LENGTH; at++)
    print = (print << 6) | (authorization.charCodeAt(at) & 0x3f);
  return print;
}

/** Used where the first print is taken: two of 10,000 tokens share one every twentieth time. Negative: apart. */
function secondPrint(authorization: string): number {
  return ~printAt(authorization, SECOND_AT);
}

export interface TokenCacheLimits {
  /** Tokens held at most. */
  readonly tokens: number;
  /** Tokens of one mission held at most. */
  readonly tokens_per_mission: number;
}

export class TokenCache {
  readonly #limits: TokenCacheLimits;
  readonly #tokens = new Map<number, VerifiedToken>();
  /** Prints of each mission's tokens, oldest first. */
  readonly #missions = new Map<string, number[]>();

  constructor(limits: TokenCacheLimits) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#tokens.size;
  }

  /** The token that came in exactly this header before, or undefined. Its life is not judged here. */
  get(authorization: string): VerifiedToken | undefined {
    const token = this.#tokens.get(printAt(authorization, FIRST_AT));
    if (token === undefined || token.authorization === authorization) return token;
    const other = this.#tokens.get(secondPrint(authorization));
    return other?.authorization === authorization ? other : undefined;
  }

  add(token: VerifiedToken, now: number): void {
    const { mission_id } = token;
    const oldest = this.#missions.get(mission_id);
    if (oldest !== undefined && oldest.length >= this.#limits.tokens_per_mission) this.#evict(oldest[0] ?? 0);
    if (this.#tokens.size >= this.#limits.tokens) this.#makeRoom(now);
    const first = printAt(token.authorization, FIRST_AT);
    const print = this.#tokens.has(first) ? secondPrint(token.authorization) : first;
    this.#evict(print);
    this.#tokens.set(print, token);
    const prints = this.#missions.get(mission_id);
    if (prints === undefined) this.#missions.set(mission_id, [print]);
    else prints.push(print);
  }

  /** Forgets every token for which `keep` says no. */
  retain(keep: (token: VerifiedToken) => boolean): void {
    for (const [print, token] of this.#tokens) if (!keep(token)) this.#remove(print, token);
  }

  delete(token: VerifiedToken): void {
    const first = printAt(token.authorization, FIRST_AT);
    const print = this.#tokens.get(first) === token ? first : secondPrint(token.authorization);
    if (this.#tokens.get(print) === token) this.#remove(print, token);
  }

  /** Drops what has expired among the oldest entries; if nothing has, the oldest one. */
  #makeRoom(now: number): void {
    let oldest: number | undefined;
    let looked = 0;
    for (const [print, token] of this.#tokens) {
      oldest ??= print;
      if (token.claims.exp <= now) this.#remove(print, token);
      if (++looked === LOOKED_AT) break;
    }
    if (oldest !== undefined && this.#tokens.size >= this.#limits.tokens) this.#evict(oldest);
  }

  #evict(print: number): void {
    const token = this.#tokens.get(print);
    if (token !== undefined) this.#remove(print, token);
  }

  #remove(print: number, token: VerifiedToken): void {
    this.#tokens.delete(print);
    const prints = this.#missions.get(token.mission_id);
    if (prints === undefined) return;
    const at = prints.indexOf(print);
    if (at >= 0) prints.splice(at, 1);
    if (prints.length === 0) this.#missions.delete(token.mission_id);
  }
}
