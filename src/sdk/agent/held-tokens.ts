/**
 * The tokens of one mission: cached by audience, renewed ahead of their end, one renewal at a time for each audience.
 * A timer renews what is in use and keeps the mission attested; a token that nobody uses is left to lapse.
 */
import { MissionDenied } from './errors.ts';

export interface HeldToken {
  readonly id: string;
  readonly audience: string;
  readonly value: string;
  readonly token_type: 'DPoP' | 'Bearer';
  /** Of the mission when it was minted. */
  readonly version: number;
  /** Seconds, by this machine's clock: not used from here on. */
  readonly usable_until: number;
  /** Seconds, by this machine's clock: renewed from here on. */
  readonly renew_at: number;
}

export interface HeldTokensOptions {
  /** Mints the next token of an audience, with fresh evidence. */
  readonly renew: (audience: string) => Promise<HeldToken>;
  /** Seconds. */
  readonly now: () => number;
  readonly random: () => number;
  /** When the mission has to be attested again at the latest, and when it ends; seconds. */
  readonly deadlines: () => { readonly attest_at: number; readonly end_at: number };
  readonly ended: () => void;
}

/** After a renewal in the background failed; whoever needs the token asks at once all the same. */
const RETRY_MIN_SECONDS = 1;
const RETRY_MAX_SECONDS = 30;
/** A suspended laptop wakes with a late timer: the clock is looked at this often. */
const LOOK_EVERY_MS = 30_000;
const SHORTEST_WAIT_MS = 20;

export class HeldTokens {
  readonly #options: HeldTokensOptions;
  readonly #held = new Map<string, HeldToken>();
  readonly #flights = new Map<string, Promise<HeldToken>>();
  /** Audiences whose token was used since it was minted. */
  readonly #used = new Set<string>();
  readonly #failures = new Map<string, { count: number; not_before: number }>();
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: HeldTokensOptions) {
    this.#options = options;
  }

  put(token: HeldToken): void {
    if (this.#closed) return;
    this.#held.set(token.audience, token);
    this.#failures.delete(token.audience);
    this.#used.delete(token.audience);
    this.#schedule();
  }

  /** Any token that still works, to speak about the mission with. */
  live(): HeldToken | null {
    const now = this.#options.now();
    for (const token of this.#held.values())
      if (token.token_type === 'DPoP' && now < token.usable_until) return token;
    return null;
  }

  /** Token ids by audience. */
  ids(): ReadonlyMap<string, string> {
    return new Map([...this.#held].map(([audience, { id }]) => [audience, id]));
  }

  /**
   * A token that works now.
   * @param refused a token that its audience asked to have renewed: it is not given out again
   */
  async get(audience: string, refused?: HeldToken): Promise<HeldToken> {
    const held = this.#held.get(audience);
    const now = this.#options.now();
    if (held === undefined || held.id === refused?.id || now >= held.usable_until) {
      const renewed = await this.#renew(audience);
      this.#use(audience);
      return renewed;
    }
    this.#use(audience);
    if (now >= held.renew_at) this.#renewBehind(audience);
    return held;
  }

  /** Forgets every token and stops the timer. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#held.clear();
    this.#used.clear();
  }

  #use(audience: string): void {
    if (this.#closed || this.#used.has(audience)) return;
    this.#used.add(audience);
    this.#schedule();
  }

  #renew(audience: string): Promise<HeldToken> {
    const flying = this.#flights.get(audience);
    if (flying !== undefined) return flying;
    const flight = this.#options.renew(audience).then(
      (token) => {
        this.#flights.delete(audience);
        this.put(token);
        return token;
      },
      (cause: unknown) => {
        this.#flights.delete(audience);
        throw cause;
      },
    );
    this.#flights.set(audience, flight);
    return flight;
  }

  /** The token in hand still works: a failure is for whoever needs the next one. */
  #renewBehind(audience: string): void {
    const failed = this.#failures.get(audience);
    if (failed !== undefined && this.#options.now() < failed.not_before) return;
    this.#renew(audience).catch((cause: unknown) => {
      const count = (failed?.count ?? 0) + 1;
      const wait = Math.min(RETRY_MAX_SECONDS, RETRY_MIN_SECONDS * 2 ** (count - 1));
      // What the broker refused once is refused again: only a caller who needs it asks.
      const not_before =
        cause instanceof MissionDenied
          ? Number.POSITIVE_INFINITY
          : this.#options.now() + wait * (0.5 + this.#options.random() / 2);
      this.#failures.set(audience, { count, not_before });
      this.#schedule();
    });
  }

  /** Audience and time of the next renewal that is wanted; null if none is. */
  #next(): { readonly audience: string; readonly at: number } | null {
    const { attest_at } = this.#options.deadlines();
    let next: { audience: string; at: number } | null = null;
    const consider = (audience: string, due: number): void => {
      if (this.#flights.has(audience)) return;
      const at = Math.max(due, this.#failures.get(audience)?.not_before ?? 0);
      if (next === null || at < next.at) next = { audience, at };
    };
    for (const audience of this.#used) consider(audience, this.#held.get(audience)?.renew_at ?? 0);
    // Any renewal attests; one that is due anyway serves.
    for (const audience of this.#held.keys()) consider(audience, attest_at);
    return next;
  }

  #schedule(): void {
    if (this.#closed) return;
    clearTimeout(this.#timer);
    const due = Math.min(this.#next()?.at ?? Number.POSITIVE_INFINITY, this.#options.deadlines().end_at);
    const wait_ms = (due - this.#options.now()) * 1000;
    this.#timer = setTimeout(
      () => this.#wake(),
      Math.min(LOOK_EVERY_MS, Math.max(SHORTEST_WAIT_MS, wait_ms)),
    );
    // An agent that is done is not kept alive by its mission.
    this.#timer.unref();
  }

  #wake(): void {
    const now = this.#options.now();
    if (now >= this.#options.deadlines().end_at) {
      this.#options.ended();
      return;
    }
    const next = this.#next();
    if (next !== null && now >= next.at && !this.#flights.has(next.audience))
      this.#renewBehind(next.audience);
    this.#schedule();
  }
}
