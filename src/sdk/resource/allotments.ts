/**
 * What a token may still spend in this process: its `limits`, divided over the verifier's processes (wire profile
 * 2.2). Kept apart from the token cache, because an evicted token must not come back with a full purse. A token
 * older than this process may have been spent before a crash: it brings nothing, and its holder renews.
 */
import type { JsonObject } from '../../domain/json.ts';
import type { DenialCode } from './denial.ts';

interface Purse {
  calls: number;
  bytes: number;
  readonly expires_at: number;
}

const KNOWN: ReadonlySet<string> = new Set(['max_calls', 'max_egress_volume']);

export class Allotments {
  readonly #started_at: () => number;
  readonly #processes: () => number;
  readonly #capacity: number;
  readonly #purses = new Map<string, Purse>();

  /** @param processes how many processes share each token's allotment. */
  constructor(started_at: () => number, processes: () => number, capacity: number) {
    this.#started_at = started_at;
    this.#processes = processes;
    this.#capacity = capacity;
  }

  /** Takes one call, and `bytes` where they are known. Null, or why not. */
  take(
    token: { readonly jti: string; readonly iat: number; readonly exp: number },
    limits: JsonObject,
    bytes: number,
    now: number,
  ): DenialCode | null {
    let purse = this.#purses.get(token.jti);
    if (purse === undefined) {
      const opened = this.#open(token, limits, now);
      if (typeof opened === 'string') return opened;
      purse = opened;
    }
    if (purse.calls < 1 || purse.bytes <= 0 || purse.bytes < bytes) return 'limit_exhausted';
    purse.calls--;
    purse.bytes -= bytes;
    return null;
  }

  /** Counts bytes that were known only afterwards. May overdraw once; the next call is refused. */
  charge(jti: string, bytes: number): void {
    const purse = this.#purses.get(jti);
    if (purse !== undefined) purse.bytes -= bytes;
  }

  #open(
    token: { readonly jti: string; readonly iat: number; readonly exp: number },
    limits: JsonObject,
    now: number,
  ): Purse | DenialCode {
    for (const name of Object.keys(limits)) if (!KNOWN.has(name)) return 'rules_unenforceable';
    const calls = this.#share(limits['max_calls']);
    const bytes = this.#share(limits['max_egress_volume']);
    if (calls === null || bytes === null) return 'rules_unenforceable';
    if (token.iat <= this.#started_at()) return 'limit_exhausted';
    if (this.#purses.size >= this.#capacity) {
      for (const [jti, purse] of this.#purses) if (purse.expires_at <= now) this.#purses.delete(jti);
      if (this.#purses.size >= this.#capacity) return 'limits_full';
    }
    const purse = { calls, bytes, expires_at: token.exp };
    this.#purses.set(token.jti, purse);
    return purse;
  }

  #share(limit: unknown): number | null {
    if (limit === undefined) return Number.POSITIVE_INFINITY;
    if (typeof limit !== 'number' || !Number.isSafeInteger(limit) || limit < 0) return null;
    return Math.floor(limit / this.#processes());
  }
}
