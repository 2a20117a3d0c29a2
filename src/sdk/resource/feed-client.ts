/**
 * The verifier's end of the revocation feed: snapshot, then stream, for ever; it reconnects with jitter, resumes where
 * it was, and acknowledges what it enforces. It never decides anything: the revocation set's age and completeness do,
 * so that whatever fails in here ends in denials after the bound.
 */
import { MalformedFeed, readHeartbeat, readSnapshot, readStreamEntry } from '../../domain/feed-wire.ts';
import type { FeedOutcome } from '../../domain/revocation-set.ts';
import type { Alarm } from './alarm.ts';
import { type BrokerClient, BrokerRefused } from './broker-client.ts';
import type { BundleSource } from './bundle-source.ts';
import { EventReader, type ServerSentEvent } from './event-stream.ts';
import type { GuardState } from './state.ts';

export interface FeedClientOptions {
  readonly client: BrokerClient;
  readonly bundles: BundleSource;
  readonly state: GuardState;
  /** Names this process in acknowledgements. */
  readonly instance_id: string;
  /** Seconds since the epoch. */
  readonly now: () => number;
  readonly alarm: Alarm;
  /** After a change of what is denied. */
  readonly onChange: () => void;
  /** Longest pause before a new connection. Default 2,000. */
  readonly max_pause_ms?: number;
}

/** A million entries are about 200 bytes each. */
const MAX_SNAPSHOT_BYTES = 512 * 1_048_576;
const SNAPSHOT_TIMEOUT_MS = 60_000;
/** Heartbeats come each second: a stream that is silent for longer is dead, whatever TCP says. */
const SILENCE_MS = 5_000;
const FIRST_PAUSE_MS = 50;
const MAX_PAUSE_MS = 2_000;
/** Also without news, so that the broker sees who is there. */
const ACK_EVERY_MS = 10_000;
const ACK_SPACING_MS = 100;
/**
 * A thousand processes that acknowledge in the same millisecond would hold the broker's event loop for a tenth of a
 * second. Each waits up to this long, at random; what it says is enforced already.
 */
export const ACK_SPREAD_MS = 50;
const BUNDLE_EVERY_MS = 300_000;
const UNKNOWN_KEY_EVERY_MS = 2_000;
/** Gaps closer together than this are not healed at once. */
const HEAL_EVERY_MS = 5_000;

/** Thrown inside to leave the stream for a new snapshot. */
class Resync extends Error {}
class Gap extends Resync {}

export class FeedClient {
  readonly #options: FeedClientOptions;
  readonly #stop = new AbortController();
  readonly #timers: NodeJS.Timeout[] = [];
  #loop: Promise<void> | null = null;
  #failures = 0;
  #last_key_request = Number.NEGATIVE_INFINITY;
  #last_gap = Number.NEGATIVE_INFINITY;
  #acknowledging = false;
  #acknowledged = '';
  #ack_timer: NodeJS.Timeout | null = null;
  #last_ack = Number.NEGATIVE_INFINITY;
  #ready: (() => void) | null = null;
  readonly #whenReady: Promise<void>;

  constructor(options: FeedClientOptions) {
    this.#options = options;
    this.#whenReady = new Promise((resolve) => {
      this.#ready = resolve;
    });
  }

  /** Resolves once a bundle and a snapshot are held. */
  get ready(): Promise<void> {
    return this.#whenReady;
  }

  start(): void {
    if (this.#loop !== null) return;
    this.#loop = this.#run();
    const acknowledge = setInterval(() => void this.#acknowledge(true), ACK_EVERY_MS);
    const refresh = setInterval(() => this.#refreshBundle(), BUNDLE_EVERY_MS);
    this.#timers.push(acknowledge, refresh);
    for (const timer of this.#timers) timer.unref();
  }

  async close(): Promise<void> {
    this.#stop.abort();
    for (const timer of this.#timers) clearInterval(timer);
    if (this.#ack_timer !== null) clearTimeout(this.#ack_timer);
    await this.#loop;
  }

  /** A token named a key that is not held: fetch the bundle soon, however many tokens do. */
  keyWanted(): void {
    const now = performance.now();
    if (now - this.#last_key_request < UNKNOWN_KEY_EVERY_MS) return;
    this.#last_key_request = now;
    this.#refreshBundle();
  }

  async #run(): Promise<void> {
    const { state, bundles, alarm } = this.#options;
    while (!this.#stop.signal.aborted) {
      try {
        if (state.bundle === null) await bundles.refresh();
        if (state.bundle === null) throw new Resync('bundle');
        if (!state.revocations.complete) await this.#snapshot();
        await this.#stream();
      } catch (error) {
        if (this.#stop.signal.aborted) return;
        if (error instanceof MalformedFeed) {
          state.revocations.doubt();
          alarm('feed_malformed', error.message);
        }
        if (error instanceof BrokerRefused && error.status === 401) alarm('not_registered', error.message);
        // A gap is healed at once, unless it comes again and again; whatever else failed is given time.
        const at = performance.now();
        const healed = error instanceof Gap && at - this.#last_gap > HEAL_EVERY_MS;
        if (error instanceof Gap) this.#last_gap = at;
        if (healed) continue;
      }
      await this.#pause();
    }
  }

  /** Full jitter: a thousand verifiers that lost the broker together do not come back together. */
  #pause(): Promise<void> {
    const most = Math.min(this.#options.max_pause_ms ?? MAX_PAUSE_MS, FIRST_PAUSE_MS * 2 ** this.#failures++);
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#stop.signal.removeEventListener('abort', done);
        resolve();
      };
      const timer = setTimeout(done, Math.random() * most);
      this.#stop.signal.addEventListener('abort', done);
      if (this.#stop.signal.aborted) done();
    });
  }

  async #snapshot(): Promise<void> {
    const { client, state, now } = this.#options;
    const text = await client.text('/revocations', MAX_SNAPSHOT_BYTES, {
      timeout_ms: SNAPSHOT_TIMEOUT_MS,
      signal: this.#stop.signal,
    });
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      throw new MalformedFeed('snapshot');
    }
    this.#judge(state.revocations.load(readSnapshot(value), now()));
    this.#changed();
    this.#ready?.();
  }

  async #stream(): Promise<void> {
    const { client, state } = this.#options;
    const { epoch, seq } = state.revocations;
    const silence = new AbortController();
    const watchdog = setTimeout(() => silence.abort(), SILENCE_MS);
    const events = new EventReader((event) => this.#handle(event));
    try {
      const headers = { accept: 'text/event-stream', 'last-event-id': `${epoch}.${seq}` };
      const signal = AbortSignal.any([this.#stop.signal, silence.signal]);
      await client.stream('/revocations/stream', headers, signal, (chunk) => {
        watchdog.refresh();
        events.push(chunk);
      });
    } finally {
      clearTimeout(watchdog);
      // Leaves no half-read answer behind when a handler threw.
      silence.abort();
    }
  }

  #handle(event: ServerSentEvent): void {
    const { state, now } = this.#options;
    switch (event.event) {
      case 'entry': {
        const entry = readStreamEntry(parse(event.data));
        const [epoch, seq, ...more] = event.id.split('.');
        if (more.length > 0 || Number(seq) !== entry.seq || !Number.isSafeInteger(Number(epoch)))
          throw new MalformedFeed('id');
        const outcome = state.revocations.apply(Number(epoch), entry, now());
        this.#judge(outcome);
        if (outcome === 'applied') this.#changed();
        return;
      }
      case 'heartbeat':
        this.#judge(state.revocations.heartbeat(readHeartbeat(parse(event.data)), now()));
        this.#failures = 0;
        if (this.#acknowledged !== `${state.revocations.epoch}.${state.revocations.seq}`)
          this.#acknowledgeSoon();
        return;
      case 'bundle':
        this.#refreshBundle();
        return;
      default:
    }
  }

  #judge(outcome: FeedOutcome): void {
    const { alarm, state } = this.#options;
    const { epoch, seq } = state.revocations;
    if (outcome === 'rollback') {
      alarm('feed_rollback', `older than epoch ${epoch} seq ${seq}`);
      throw new Resync('rollback');
    }
    if (outcome === 'gap') {
      alarm('gap', `after epoch ${epoch} seq ${seq}`);
      throw new Gap('gap');
    }
  }

  /** Enforced from here on: first cut what is open, then say so. */
  #changed(): void {
    this.#options.onChange();
    this.#acknowledgeSoon();
  }

  /** Soon after a silence; in a burst ten times a second, each time for all that came. */
  #acknowledgeSoon(): void {
    if (this.#ack_timer !== null) return;
    const wait = Math.max(ACK_SPREAD_MS * Math.random(), this.#last_ack + ACK_SPACING_MS - performance.now());
    this.#ack_timer = setTimeout(() => {
      this.#ack_timer = null;
      void this.#acknowledge(false);
    }, wait);
    this.#ack_timer.unref();
  }

  /** One acknowledgement under way at a time; the next one says the newest position. */
  async #acknowledge(always: boolean): Promise<void> {
    const { client, state, instance_id } = this.#options;
    if (this.#acknowledging || !state.revocations.complete || this.#stop.signal.aborted) return;
    this.#acknowledging = true;
    this.#last_ack = performance.now();
    try {
      for (let said = always ? '' : this.#acknowledged; ; said = this.#acknowledged) {
        const { epoch, seq } = state.revocations;
        const position = `${epoch}.${seq}`;
        if (position === said) break;
        await client.request('/revocations/ack', {
          method: 'POST',
          json: { instance_id, epoch, seq },
          signal: this.#stop.signal,
        });
        this.#acknowledged = position;
      }
    } catch {
      // Said again with the next heartbeat.
    } finally {
      this.#acknowledging = false;
    }
  }

  #refreshBundle(): void {
    this.#options.bundles.refresh().catch(() => {
      // The bundle in force stays; the next announcement, period or unknown key tries again.
    });
  }
}

function parse(data: string): unknown {
  try {
    return JSON.parse(data);
  } catch {
    throw new MalformedFeed('event');
  }
}
