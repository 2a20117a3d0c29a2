/**
 * What one mission holds and has to renew: one item for each key, renewed ahead of its end, one renewal at a time for
 * each key. A timer renews what is in use and keeps the mission attested; what nobody uses is left to lapse.
 */
import { MissionDenied } from './errors.ts';

export interface Perishable {
  readonly id: string;
  /** Seconds, by this machine's clock: not used from here on. */
  readonly usable_until: number;
  /** Seconds, by this machine's clock: renewed from here on. */
  readonly renew_at: number;
}

export interface KeptOptions<Item extends Perishable> {
  readonly keyOf: (item: Item) => string;
  /** Makes the next item of a key, with fresh evidence. */
  readonly renew: (key: string) => Promise<Item>;
  /** The next item is in hand. */
  readonly renewed?: (item: Item) => void;
  /** A renewal ahead of the end failed; it is tried again where that may help. */
  readonly failed: (key: string, cause: unknown) => void;
  /** Seconds. */
  readonly now: () => number;
  readonly random: () => number;
  /** When the mission has to be attested again at the latest, and when it ends; seconds. */
  readonly deadlines: () => { readonly attest_at: number; readonly end_at: number };
  readonly ended: () => void;
  /** A key whose renewal attests and makes nothing else anew; without it, any key's renewal has to. */
  readonly attest_key?: string;
}

/** After a renewal in the background failed; whoever needs the token asks at once all the same. */
const RETRY_MIN_SECONDS = 1;
const RETRY_MAX_SECONDS = 30;
/** Refusals of the moment: too often, or overtaken by another request. */
const PASSING: readonly string[] = ['dispatch_rate', 'conflict'];
/** A suspended laptop wakes with a late timer: the clock is looked at this often. */
const LOOK_EVERY_MS = 30_000;
const SHORTEST_WAIT_MS = 20;

export class Kept<Item extends Perishable> {
  readonly #options: KeptOptions<Item>;
  readonly #held = new Map<string, Item>();
  readonly #flights = new Map<string, Promise<Item>>();
  /** Keys whose item was used since it was made. */
  readonly #used = new Set<string>();
  readonly #failures = new Map<string, { count: number; not_before: number }>();
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: KeptOptions<Item>) {
    this.#options = options;
  }

  put(item: Item): void {
    if (this.#closed) return;
    const key = this.#options.keyOf(item);
    this.#held.set(key, item);
    this.#failures.delete(key);
    this.#used.delete(key);
    this.#schedule();
  }

  /** Everything that still works. */
  *working(): Generator<Item> {
    const now = this.#options.now();
    for (const item of this.#held.values()) if (now < item.usable_until) yield item;
  }

  /** Forgets an item that no longer works, whatever its own end says; whoever uses it gets the next. */
  lose(key: string): void {
    this.#held.delete(key);
    this.#failures.delete(key);
    this.#schedule();
  }

  /** What was refused may be granted now: the mission is active again. */
  retry(): void {
    this.#failures.clear();
    this.#schedule();
  }

  /**
   * An item that works now.
   * @param refused one that its counterpart asked to have renewed: it is not given out again
   */
  async get(key: string, refused?: Item): Promise<Item> {
    const held = this.#held.get(key);
    const now = this.#options.now();
    if (held === undefined || held.id === refused?.id || now >= held.usable_until) {
      const renewed = await this.#renew(key);
      this.#use(key);
      return renewed;
    }
    this.#use(key);
    if (now >= held.renew_at) this.#renewBehind(key);
    return held;
  }

  /** As {@link get}, without asking for the next one ahead of the end. */
  async peek(key: string): Promise<Item> {
    const held = this.#held.get(key);
    return held !== undefined && this.#options.now() < held.usable_until ? held : this.#renew(key);
  }

  /** Forgets everything and stops the timer. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#held.clear();
    this.#used.clear();
  }

  #use(key: string): void {
    if (this.#closed || this.#used.has(key)) return;
    this.#used.add(key);
    this.#schedule();
  }

  #renew(key: string): Promise<Item> {
    const flying = this.#flights.get(key);
    if (flying !== undefined) return flying;
    const flight = this.#options.renew(key).then(
      (item) => {
        this.#flights.delete(key);
        this.put(item);
        this.#options.renewed?.(item);
        return item;
      },
      (cause: unknown) => {
        this.#flights.delete(key);
        throw cause;
      },
    );
    this.#flights.set(key, flight);
    return flight;
  }

  /** What is in hand still works: a failure is for whoever needs the next one. */
  #renewBehind(key: string): void {
    const failed = this.#failures.get(key);
    if (failed !== undefined && this.#options.now() < failed.not_before) return;
    this.#renew(key).catch((cause: unknown) => {
      const count = (failed?.count ?? 0) + 1;
      const wait = Math.min(RETRY_MAX_SECONDS, RETRY_MIN_SECONDS * 2 ** (count - 1));
      // What the broker refused once is refused again: only a caller who needs it asks.
      const not_before =
        cause instanceof MissionDenied && !PASSING.includes(cause.code)
          ? Number.POSITIVE_INFINITY
          : this.#options.now() + wait * (0.5 + this.#options.random() / 2);
      this.#failures.set(key, { count, not_before });
      this.#options.failed(key, cause);
      this.#schedule();
    });
  }

  /** Key and time of the next renewal that is wanted; null if none is. */
  #next(): { readonly key: string; readonly at: number } | null {
    const { attest_at } = this.#options.deadlines();
    let next: { key: string; at: number } | null = null;
    const consider = (key: string, due: number): void => {
      if (this.#flights.has(key)) return;
      const at = Math.max(due, this.#failures.get(key)?.not_before ?? 0);
      if (next === null || at < next.at) next = { key, at };
    };
    for (const key of this.#used) consider(key, this.#held.get(key)?.renew_at ?? 0);
    // Any renewal attests; one that is due anyway serves.
    const { attest_key } = this.#options;
    for (const key of attest_key === undefined ? this.#held.keys() : [attest_key]) consider(key, attest_at);
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
    if (next !== null && now >= next.at && !this.#flights.has(next.key)) this.#renewBehind(next.key);
    this.#schedule();
  }
}
