/**
 * Verified tokens, by the header that they came in.
 *
 * The key is 30 bits out of the signature, which only the broker chooses and which costs a few nanoseconds to read;
 * hashing a fresh kilobyte would cost microseconds. The whole header is compared before an entry counts, so a key
 * that meets another costs a verification, never a wrong answer. Only verified tokens enter, and a mission can push
 * out no more than its own: minting many tokens evicts nobody else's.
 */
import type { VerifiedToken } from './token.ts';

/** The last characters are left out: the final one has spare bits. */
const PRINT_AT = 12;
const PRINT_LENGTH = 5;
/** Oldest entries looked at to make room. */
const LOOKED_AT = 16;

/** 30 bits of the signature part. */
export function printOf(authorization: string): number {
  const from = authorization.length - PRINT_AT;
  let print = 0;
  for (let at = from; at < from + PRINT_LENGTH; at++)
    print = (print << 6) | (authorization.charCodeAt(at) & 0x3f);
  return print;
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
    const token = this.#tokens.get(printOf(authorization));
    return token !== undefined && token.authorization === authorization ? token : undefined;
  }

  add(token: VerifiedToken, now: number): void {
    const print = printOf(token.authorization);
    const there = this.#tokens.get(print);
    if (there !== undefined) this.#remove(print, there);
    const mission = token.claims.mission.id;
    const prints = this.#missions.get(mission) ?? [];
    const oldest = prints.length >= this.#limits.tokens_per_mission ? prints[0] : undefined;
    if (oldest !== undefined) this.#evict(oldest);
    if (this.#tokens.size >= this.#limits.tokens) this.#makeRoom(now);
    this.#tokens.set(print, token);
    // Looked up again: evicting the mission's last token forgets its list.
    const list = this.#missions.get(mission);
    if (list === undefined) this.#missions.set(mission, [print]);
    else list.push(print);
  }

  /** Forgets every token for which `keep` says no. */
  retain(keep: (token: VerifiedToken) => boolean): void {
    for (const [print, token] of this.#tokens) if (!keep(token)) this.#remove(print, token);
  }

  delete(token: VerifiedToken): void {
    const print = printOf(token.authorization);
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
    const mission = token.claims.mission.id;
    const prints = this.#missions.get(mission);
    if (prints === undefined) return;
    const at = prints.indexOf(print);
    if (at >= 0) prints.splice(at, 1);
    if (prints.length === 0) this.#missions.delete(mission);
  }
}
