/**
 * What a token may still spend in this process: its `limits`, divided over the processes of its audience (wire profile
 * 2.2). Kept apart from the token cache, because an evicted token must not come back with a full purse. A token older
 * than this process may have been spent before a crash: it brings nothing, and its holder renews. Of tokens that are
 * over it tells what was spent, once, and never spends of them again.
 */
import type { JsonObject } from '../../domain/json.ts';
import { STATEMENT_TOKENS, type Statement } from '../../domain/settlement.ts';
import type { DenialCode } from './denial.ts';

/** The claims that an allotment hangs on. */
export interface AllottedToken {
  readonly jti: string;
  readonly iat: number;
  readonly exp: number;
  readonly limits?: JsonObject | undefined;
}

interface Purse {
  /** This process's parts; infinite where the token has no such limit. */
  readonly calls: number;
  readonly bytes: number;
  readonly expires_at: number;
  spent_calls: number;
  /** May pass its part by what was counted when it was already gone. */
  spent_bytes: number;
}

const KNOWN: ReadonlySet<string> = new Set(['max_calls', 'max_egress_volume', 'max_budget', 'processes']);

export class Allotments {
  readonly #started_at: () => number;
  readonly #processes: () => number;
  readonly #capacity: number;
  readonly #purses = new Map<string, Purse>();
  /** Ends of tokens up to which everything was told, or can be told no more. */
  #told = 0;
  /** Nothing is spent of tokens that end until here. */
  #over = 0;

  /** @param processes how many processes share each token's allotment, where it does not say so itself. */
  constructor(started_at: () => number, processes: () => number, capacity: number) {
    this.#started_at = started_at;
    this.#processes = processes;
    this.#capacity = capacity;
  }

  /** Takes one call, and `bytes` where they are known. Null, or why not. */
  take(token: AllottedToken, bytes: number, now: number): DenialCode | null {
    const purse = this.#purseOf(token, now);
    if (typeof purse === 'string') return purse;
    const left = purse.bytes - purse.spent_bytes;
    if (purse.spent_calls >= purse.calls || left <= 0 || left < bytes) return 'limit_exhausted';
    purse.spent_calls++;
    purse.spent_bytes += bytes;
    return null;
  }

  /** Bytes that may still be sent under the token. */
  bytesLeft(token: AllottedToken, now: number): number {
    const purse = this.#purseOf(token, now);
    return typeof purse === 'string' ? 0 : Math.max(0, purse.bytes - purse.spent_bytes);
  }

  /** Takes bytes before they are sent. False: they must not be, and nothing is taken. */
  spend(token: AllottedToken, bytes: number, now: number): boolean {
    const purse = this.#purseOf(token, now);
    if (typeof purse === 'string' || purse.bytes - purse.spent_bytes < bytes) return false;
    purse.spent_bytes += bytes;
    return true;
  }

  /** Counts bytes that were known only afterwards. May pass the end once; the next call is refused. */
  charge(jti: string, bytes: number): void {
    const purse = this.#purses.get(jti);
    if (purse !== undefined) purse.spent_bytes += bytes;
  }

  /**
   * What was spent of all tokens that end until `through`, none of which this process spends of any more. Null where
   * that was told already.
   * @param alive_at the newest time of the broker that this process has heard
   */
  statement(run_id: string, through: number, alive_at: number): Statement | null {
    const since = this.#started_at();
    if (!Number.isFinite(since) || !Number.isFinite(alive_at)) return null;
    this.#over = Math.max(this.#over, through);
    const over = [...this.#purses]
      .filter(([, { expires_at }]) => expires_at > this.#told && expires_at <= through)
      .sort(([, a], [, b]) => a.expires_at - b.expires_at);
    const [, first_too_many] = over[STATEMENT_TOKENS] ?? [];
    let until = through;
    if (first_too_many !== undefined) {
      const fitting = over.filter(([, { expires_at }]) => expires_at < first_too_many.expires_at);
      const last = fitting.at(-1)?.[1];
      if (last === undefined) {
        // More tokens end in one second than one statement holds: of these nothing is told, and nothing comes back.
        this.#forget(first_too_many.expires_at);
        return this.statement(run_id, through, alive_at);
      }
      until = last.expires_at;
    }
    if (until <= this.#told) return null;
    const spent = over
      .filter(([, { expires_at }]) => expires_at <= until)
      .map(([jti, { spent_calls: max_calls, spent_bytes: max_egress_volume }]) => ({
        jti,
        max_calls,
        max_egress_volume,
      }));
    return { run_id, since, alive_at, from: this.#told, through: until, spent };
  }

  /** The broker has the statement, or will never take it. */
  told(statement: Statement): void {
    this.#forget(statement.through);
  }

  #forget(through: number): void {
    this.#told = Math.max(this.#told, through);
    for (const [jti, { expires_at }] of this.#purses) if (expires_at <= through) this.#purses.delete(jti);
  }

  #purseOf(token: AllottedToken, now: number): Purse | DenialCode {
    // Somebody may have been told that nothing more is spent of it.
    if (token.exp <= this.#over) return 'limit_exhausted';
    return this.#purses.get(token.jti) ?? this.#open(token, now);
  }

  #open(token: AllottedToken, now: number): Purse | DenialCode {
    const limits = token.limits ?? {};
    for (const name of Object.keys(limits)) if (!KNOWN.has(name)) return 'rules_unenforceable';
    const { max_calls, max_egress_volume, processes = 1 } = limits;
    if (typeof processes !== 'number' || !Number.isSafeInteger(processes) || processes < 1)
      return 'rules_unenforceable';
    // As the token was divided, and never by fewer than there are.
    const parts = Math.max(processes, this.#processes());
    const calls = partOf(max_calls, parts);
    const bytes = partOf(max_egress_volume, parts);
    if (calls === null || bytes === null) return 'rules_unenforceable';
    const purse = { calls, bytes, expires_at: token.exp, spent_calls: 0, spent_bytes: 0 };
    // Nothing of it is counted here.
    if (calls === Number.POSITIVE_INFINITY && bytes === Number.POSITIVE_INFINITY) return purse;
    if (token.iat <= this.#started_at()) return 'limit_exhausted';
    if (this.#purses.size >= this.#capacity) {
      // What is forgotten before it was told is never told.
      for (const [jti, purse] of this.#purses)
        if (purse.expires_at <= now) {
          this.#told = Math.max(this.#told, purse.expires_at);
          this.#over = Math.max(this.#over, purse.expires_at);
          this.#purses.delete(jti);
        }
      if (this.#purses.size >= this.#capacity) return 'limits_full';
    }
    this.#purses.set(token.jti, purse);
    return purse;
  }
}

function partOf(limit: unknown, processes: number): number | null {
  if (limit === undefined) return Number.POSITIVE_INFINITY;
  if (typeof limit !== 'number' || !Number.isSafeInteger(limit) || limit < 0) return null;
  return Math.floor(limit / processes);
}
