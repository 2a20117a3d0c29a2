/** Tells the broker what this process spent of tokens that are over: off the call path, until it is taken, in order. */
import { randomUUID } from 'node:crypto';
import type { JsonObject } from '../../domain/json.ts';
import type { Statement } from '../../domain/settlement.ts';
import { type BrokerClient, BrokerRefused } from './broker-client.ts';
import type { GuardState } from './state.ts';

export interface SettlementOptions {
  readonly client: BrokerClient;
  readonly state: GuardState;
  /** Seconds since the epoch. */
  readonly now: () => number;
}

const TELL_MS = 10_000;
/** A token that has just ended may still be on its way through a handler. */
const OVER_SECONDS = 2;
const TIMEOUT_MS = 5_000;
/** In the past of no token: what a process that ends has to tell is told of all. */
const ALL = Number.MAX_SAFE_INTEGER;

export class Settlement {
  readonly #options: SettlementOptions;
  /** Never told to anybody else, and another one at each start: what a crash hides is spoken for by nobody. */
  readonly #run_id = randomUUID();
  readonly #timer: NodeJS.Timeout;
  #pending: Statement | null = null;
  #telling: Promise<void> | null = null;

  constructor(options: SettlementOptions) {
    this.#options = options;
    // Spread, so that a thousand processes that start together do not speak together.
    this.#timer = setInterval(() => void this.tell(), TELL_MS * (0.9 + 0.2 * Math.random()));
    this.#timer.unref();
  }

  /** Tells what is over by now. Never rejects; what is not taken is told again the next time. */
  tell(): Promise<void> {
    const { now, state } = this.#options;
    // By both clocks: of a token that the broker knew to be alive this process may not have heard yet.
    return this.#tellThrough(Math.floor(Math.min(now() - OVER_SECONDS, state.revocations.vouched_until)));
  }

  /** Ends counting for good and tells all. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#telling;
    await this.#tellThrough(ALL);
  }

  #tellThrough(through: number): Promise<void> {
    this.#telling ??= this.#send(through).finally(() => {
      this.#telling = null;
    });
    return this.#telling;
  }

  async #send(through: number): Promise<void> {
    const { client, state } = this.#options;
    if (state.bundle?.counting !== true) return;
    for (;;) {
      this.#pending ??= state.allotments.statement(
        this.#run_id,
        through,
        // What the broker said last, it said while this process ran.
        state.revocations.vouched_until,
      );
      if (this.#pending === null) return;
      try {
        await client.request('/settlements', {
          method: 'POST',
          json: this.#pending as unknown as JsonObject,
          timeout_ms: TIMEOUT_MS,
        });
      } catch (error) {
        // What the broker will never take is lost; everything else is said again, word for word.
        if (!(error instanceof BrokerRefused) || error.status !== 400) return;
      }
      state.allotments.told(this.#pending);
      this.#pending = null;
    }
  }
}
