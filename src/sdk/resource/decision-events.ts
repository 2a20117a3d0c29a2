/**
 * Decisions on their way to the broker (`POST /events`, wire profile 3): off the call path, in batches at most 100 ms
 * old, denials at once, bounded. What is lost is counted and reported, never waited for.
 */
import { randomUUID } from 'node:crypto';
import type { JsonObject, JsonValue } from '../../domain/json.ts';
import { verdictReport } from '../../domain/verdict-report.ts';
import type { AnswerMeter } from './answer-meter.ts';
import type { BrokerClient } from './broker-client.ts';
import type { GuardedCall } from './call.ts';
import type { DecisionFacts, DecisionObserver, Verdict } from './guard.ts';
import { readAuthorization } from './stages/credential.ts';
import type { VerifiedToken } from './token.ts';

export interface DecisionEventsOptions {
  readonly client: BrokerClient;
  readonly instance_id: string;
  /** Which decisions are sent. Default `all`. */
  readonly what?: 'all' | 'denials';
  /** Of the bundle that calls are judged by now. */
  readonly bundle_version?: () => string | null;
  /** Events waiting at most; the oldest permits are lost first. Default 20,000. */
  readonly capacity?: number;
  /**
   * A keyed digest of a call's parameters, where the deployment has a key for it. Without one no digest is sent: an
   * unkeyed digest of an amount or an address can be guessed.
   */
  readonly digest?: (mission_id: string, parameters: JsonObject) => string;
}

const BATCH_MS = 100;
const BATCH_EVENTS = 1_000;
const CAPACITY = 20_000;
/** A batch that was not taken is tried again this often, with the next ones behind it. */
const TRIES = 3;
/** Evidence and tokens that wait, in characters; what comes on top goes without. A batch has a quarter of it. */
const HEAVY_CHARS = 4_194_304;
/** Destinations of one call that the broker is told. */
const DESTINATIONS = 64;

/** One decision on the wire. */
type DecisionEvent = Record<string, JsonValue>;

interface Waiting {
  readonly event: DecisionEvent;
  /** Which bundle judged it: a batch names one. */
  readonly bundle_version: string | null;
  /** Characters of what only some events carry. */
  readonly heavy: number;
  /** Counts the answer of a permitted call. */
  readonly meter: AnswerMeter | null;
}

export class DecisionEvents implements DecisionObserver {
  readonly #options: DecisionEventsOptions;
  readonly #capacity: number;
  #waiting: Waiting[] = [];
  #heavy = 0;
  #seq = 0;
  #lost = 0;
  #timer: NodeJS.Timeout | null = null;
  #soon = false;
  #sending: Promise<void> | null = null;
  #closed = false;

  constructor(options: DecisionEventsOptions) {
    this.#options = options;
    this.#capacity = options.capacity ?? CAPACITY;
  }

  /** Events lost since start, over all causes. */
  get lost(): number {
    return this.#lost;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  decided(call: GuardedCall, token: VerifiedToken | null, verdict: Verdict, facts: DecisionFacts): void {
    // Who presents no valid token belongs to no mission: nothing that the broker could file it under.
    if (token === null || this.#closed) return;
    if (verdict.permitted && this.#options.what === 'denials') return;
    if (this.#waiting.length >= this.#capacity) {
      this.#lost++;
      if (verdict.permitted) return;
      this.#heavy -= this.#waiting.shift()?.heavy ?? 0;
    }
    this.#push(this.#eventOf(call, token, verdict, facts), call, facts);
    if (verdict.permitted) this.#schedule();
    else this.#now();
  }

  /** Sends what waits, and nothing after. */
  async close(): Promise<void> {
    this.#closed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.#sending;
    await this.#send();
  }

  #eventOf(call: GuardedCall, token: VerifiedToken, verdict: Verdict, facts: DecisionFacts): DecisionEvent {
    const { claims, mission_id } = token;
    const event: DecisionEvent = {
      ts: facts.ts,
      jti: claims.jti,
      mission_id,
      seq: ++this.#seq,
      action: call.action,
      resource: call.resource,
      labels: facts.labels,
      decision: verdict.permitted ? 'permit' : 'deny',
      reason: verdict.permitted ? 'permitted' : verdict.code,
      outcome: verdict.permitted ? 'passed' : 'refused',
      latency_us: Math.round(facts.latency_us),
    };
    if (call.context.region !== undefined) event['region'] = call.context.region;
    if (call.egress_bytes !== undefined) event['bytes'] = call.egress_bytes;
    const digest = this.#digestOf(mission_id, call.parameters);
    if (digest !== null) event['parameters_digest'] = digest;
    // The broker believes a denial or an effect only with the call's own proof.
    const counts = !verdict.permitted || facts.labels.length > 0;
    if (counts && call.proof !== undefined) event['proof'] = call.proof;
    return event;
  }

  /** The verdict goes with its event; where it asks for more than the denial, so does the token that the proof names. */
  #push(event: DecisionEvent, call: GuardedCall, { verdict, destinations }: DecisionFacts): void {
    let heavy = 0;
    if (destinations !== undefined) event['destinations'] = destinations.slice(0, DESTINATIONS);
    if (verdict !== undefined) {
      const room = this.#heavy < HEAVY_CHARS;
      event['verdict'] = verdictReport(room ? verdict : { ...verdict, evidence: null });
      if (room) heavy += verdict.evidence?.length ?? 0;
    }
    const asks = verdict?.enforced === true && verdict.record.response !== 'none';
    if ((asks || destinations !== undefined) && event['proof'] !== undefined && this.#heavy < HEAVY_CHARS) {
      const presented = readAuthorization(call.authorization ?? '');
      if (presented?.scheme === 'DPoP') {
        event['access_token'] = presented.token;
        heavy += presented.token.length;
      }
    }
    this.#heavy += heavy;
    const meter = event['decision'] === 'permit' ? (call.meter ?? null) : null;
    this.#waiting.push({ event, bundle_version: this.#options.bundle_version?.() ?? null, heavy, meter });
  }

  /** A digest that cannot be made keeps no event from being sent. */
  #digestOf(mission_id: string, parameters: JsonObject): string | null {
    try {
      return this.#options.digest?.(mission_id, parameters) ?? null;
    } catch {
      return null;
    }
  }

  #schedule(): void {
    if (this.#timer !== null || this.#soon) return;
    if (this.#waiting.length >= BATCH_EVENTS) {
      this.#now();
      return;
    }
    this.#timer = setTimeout(() => this.#now(), BATCH_MS);
    this.#timer.unref();
  }

  /** After this turn: denials of one burst travel together, and the call that caused one does not wait. */
  #now(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#soon) return;
    this.#soon = true;
    setImmediate(() => {
      this.#soon = false;
      this.#sending ??= this.#send().finally(() => {
        this.#sending = null;
        if (this.#waiting.length > 0) this.#schedule();
      });
    });
  }

  async #send(): Promise<void> {
    while (this.#waiting.length > 0) {
      const taken = this.#take();
      const batch = {
        batch_id: randomUUID(),
        instance_id: this.#options.instance_id,
        lost: this.#lost,
        ...(taken.bundle_version !== null && { bundle_version: taken.bundle_version }),
        events: taken.events,
      };
      if (!(await this.#deliver(batch))) this.#lost += taken.events.length;
    }
  }

  /** The longest run that fits one batch and was judged by one bundle. */
  #take(): { readonly events: DecisionEvent[]; readonly bundle_version: string | null } {
    const bundle_version = this.#waiting[0]?.bundle_version ?? null;
    const events: DecisionEvent[] = [];
    let heavy = 0;
    for (const waiting of this.#waiting) {
      const full = events.length === BATCH_EVENTS || heavy + waiting.heavy > HEAVY_CHARS / 4;
      if (waiting.bundle_version !== bundle_version || (full && events.length > 0)) break;
      // Known once the answer has ended; one that is still open when its event leaves is told of without.
      if (waiting.meter?.ended === true) waiting.event['bytes'] = waiting.meter.bytes;
      events.push(waiting.event);
      heavy += waiting.heavy;
    }
    this.#waiting = this.#waiting.slice(events.length);
    this.#heavy -= heavy;
    return { events, bundle_version };
  }

  async #deliver(json: JsonValue): Promise<boolean> {
    for (let attempt = 1; attempt <= TRIES; attempt++) {
      try {
        await this.#options.client.request('/events', { method: 'POST', json, timeout_ms: 5_000 });
        return true;
      } catch {
        if (this.#closed || attempt === TRIES) return false;
        await new Promise((resolve) => setTimeout(resolve, BATCH_MS * 2 ** attempt * Math.random()));
      }
    }
    return false;
  }
}

/** Tells several observers of each decision; one that throws keeps nothing from the others. */
export function observers(...all: readonly (DecisionObserver | null)[]): DecisionObserver | null {
  const present = all.filter((observer) => observer !== null);
  const [only] = present;
  if (only === undefined) return null;
  if (present.length === 1) return only;
  return {
    decided(call, token, verdict, facts) {
      for (const observer of present) {
        try {
          observer.decided(call, token, verdict, facts);
        } catch {
          // The guard swallows it too.
        }
      }
    },
  };
}
