/**
 * The broker's side of the revocation feed (wire profile 3): what the store committed goes to every connected
 * verifier of the audiences it concerns, in order, within the same millisecond. Nothing here can be forgotten by
 * an operation, because it listens to commits and not to operations.
 */
import type { Clock, Store, StoredFeedEntry, VerifierPolicy } from '../ports.ts';
import { type Acknowledgement, Acknowledgements, type VerifierView } from './acknowledgements.ts';
import { AudienceFeed, type FeedSink } from './audience-feed.ts';
import { jsonOf } from './feed-log.ts';
import { SnapshotSource } from './snapshot.ts';

export type { Acknowledgement, VerifierView } from './acknowledgements.ts';
export type { FeedSink } from './audience-feed.ts';

const HEARTBEAT_MS = 1000;
const PAGE = 200;
const ACK_FLUSH_MS = 5000;

export interface RevocationFeedOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly max_token_seconds: () => number;
  /** The audience that a verifier is registered for now, or null. */
  readonly audience_of: (verifier_id: string) => string | null;
}

interface Audience {
  readonly feed: AudienceFeed;
  readonly snapshots: SnapshotSource;
}

export class RevocationFeed {
  readonly #options: RevocationFeedOptions;
  readonly #epoch: number;
  readonly #audiences = new Map<string, Audience>();
  readonly #acks: Acknowledgements;
  /** Last seq that concerned an audience. */
  readonly #heads = new Map<string, number>();
  readonly #timers: NodeJS.Timeout[];

  private constructor(options: RevocationFeedOptions, epoch: number, acks: Acknowledgements) {
    this.#options = options;
    this.#epoch = epoch;
    this.#acks = acks;
    options.store.onCommit((committed) => {
      if (committed.feed.length > 0) this.#publish(committed.feed);
    });
    this.#timers = [
      setInterval(() => this.#heartbeat(), HEARTBEAT_MS),
      setInterval(() => void acks.flush(options.store, options.clock.now()), ACK_FLUSH_MS),
    ];
  }

  static async open(options: RevocationFeedOptions): Promise<RevocationFeed> {
    const { epoch } = await options.store.feedHead();
    const acks = new Acknowledgements(await options.store.verifierInstances());
    const feed = new RevocationFeed(options, epoch, acks);
    for (const audience of feed.#audiencesKnown()) {
      const head = await headOf(options.store, audience, options.clock.now());
      feed.#heads.set(audience, Math.max(head, feed.#heads.get(audience) ?? 0));
    }
    return feed;
  }

  /** `FeedSnapshot` as JSON for one audience, as bytes that a thousand answers share; with `gzip`, compressed. */
  snapshot(audience: string, gzip = false): Promise<readonly Buffer[]> {
    const head = {
      epoch: this.#epoch,
      ts: this.#options.clock.now(),
      max_token_seconds: this.#options.max_token_seconds(),
    };
    return this.#audience(audience).snapshots.body(head, gzip);
  }

  /**
   * Opens a stream. With `last_event_id` (`<epoch>.<seq>`) it goes on from there; without, or from another
   * epoch, it starts at the head and the reader takes a snapshot.
   */
  async open(verifier: VerifierPolicy, last_event_id: string | null, sink: FeedSink): Promise<void> {
    const { store, clock } = this.#options;
    const { feed } = this.#audience(verifier.audience);
    const claimed = readEventId(last_event_id, this.#epoch);
    const recent = claimed === null ? null : feed.log.after(claimed);
    if (claimed !== null && recent !== null && claimed <= feed.log.head) {
      // Away for a moment, or just back from a snapshot: everything that it missed is at hand.
      const reader = feed.join(verifier.id, sink, claimed);
      feed.send(reader, recent);
      feed.golive(reader, clock.now());
      return;
    }
    const head = await store.feedHead();
    const resume = claimed !== null && claimed <= head.seq ? claimed : head.seq;
    const reader = feed.join(verifier.id, sink, resume);
    while (!reader.gone) {
      const page = await store.feedAfter(verifier.audience, reader.last, clock.now(), PAGE);
      feed.send(
        reader,
        page.map((entry) => ({ seq: entry.seq, json: jsonOf(entry) })),
      );
      if (page.length < PAGE) break;
      await sink.drained();
    }
    feed.golive(reader, clock.now());
  }

  /** A process says up to where it enforces. */
  async acknowledge(
    verifier: VerifierPolicy,
    ack: { readonly instance_id: string; readonly epoch: number; readonly seq: number },
  ): Promise<void> {
    this.#acks.note({ verifier_id: verifier.id, ...ack, last_seen: this.#options.clock.now() });
  }

  /** Every known verifier process. */
  verifiers(): readonly VerifierView[] {
    return [...this.#acks.all()].map(({ at: _at, ...instance }) => {
      const audience = this.#options.audience_of(instance.verifier_id);
      const head = audience === null ? 0 : (this.#heads.get(audience) ?? 0);
      return {
        ...instance,
        audience,
        connected: this.#isConnected(audience, instance.verifier_id),
        current: instance.epoch === this.#epoch && instance.seq >= head,
      };
    });
  }

  /**
   * Who enforces `seq`: answers as soon as every recently seen process of the audiences has acknowledged, and
   * after `max_ms` in any case.
   * @param audiences null for all
   */
  acknowledgements(
    seq: number,
    audiences: readonly string[] | null,
    max_ms: number,
  ): Promise<readonly Acknowledgement[]> {
    return this.#acks.enforced(
      { epoch: this.#epoch, seq },
      ({ verifier_id }) => {
        const audience = this.#options.audience_of(verifier_id);
        if (audience === null || (audiences !== null && !audiences.includes(audience))) return false;
        return this.#isConnected(audience, verifier_id);
      },
      this.#options.clock.now(),
      max_ms,
    );
  }

  /** Tells the readers of an audience that its bundle changed. */
  announceBundle(audience: string, version: string): void {
    this.#audiences.get(audience)?.feed.announceBundle(version);
  }

  /** Audiences that somebody reads now. */
  audiencesRead(): readonly string[] {
    return [...this.#audiences].filter(([, { feed }]) => feed.size > 0).map(([audience]) => audience);
  }

  async close(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer);
    for (const { feed } of this.#audiences.values()) feed.end();
    await this.#acks.flush(this.#options.store, this.#options.clock.now());
  }

  #audience(resource: string): Audience {
    const known = this.#audiences.get(resource);
    if (known !== undefined) return known;
    const feed = new AudienceFeed(this.#epoch);
    const made = { feed, snapshots: new SnapshotSource(this.#options.store, resource, feed.log) };
    this.#audiences.set(resource, made);
    return made;
  }

  #publish(entries: readonly StoredFeedEntry[]): void {
    for (const [audience, { feed }] of this.#audiences) {
      const concerning = entries.filter(({ audiences }) => audiences?.includes(audience) ?? true);
      if (concerning.length > 0) feed.publish(concerning);
    }
    for (const entry of entries)
      for (const audience of entry.audiences ?? this.#audiencesKnown()) this.#heads.set(audience, entry.seq);
  }

  #isConnected(audience: string | null, verifier_id: string): boolean {
    return audience !== null && (this.#audiences.get(audience)?.feed.isConnected(verifier_id) ?? false);
  }

  /** Audiences that somebody reads or has acknowledged for. */
  #audiencesKnown(): ReadonlySet<string> {
    const known = new Set(this.#audiences.keys());
    for (const { verifier_id } of this.#acks.all()) {
      const audience = this.#options.audience_of(verifier_id);
      if (audience !== null) known.add(audience);
    }
    return known;
  }

  #heartbeat(): void {
    const now = this.#options.clock.now();
    for (const [audience, { feed, snapshots }] of this.#audiences) {
      // A verifier that a reload took out, or moved to another audience, stops at once.
      feed.beat(now, (verifier_id) => this.#options.audience_of(verifier_id) === audience);
      snapshots.rest(now);
    }
  }
}

/** Last seq that concerns an audience: a restarted broker must not call those current who missed one. */
async function headOf(store: Store, audience: string, now: number): Promise<number> {
  for (let head = 0; ; ) {
    const page = await store.feedAfter(audience, head, now, PAGE);
    head = page.at(-1)?.seq ?? head;
    if (page.length < PAGE) return head;
  }
}

/** The seq that a reader says it saw last; null where it says none, or one of another epoch. */
function readEventId(text: string | null, epoch: number): number | null {
  const [of_epoch, seq, ...rest] = text?.split('.') ?? [];
  if (rest.length > 0 || !isCount(of_epoch) || !isCount(seq) || Number(of_epoch) !== epoch) return null;
  return Number(seq);
}

function isCount(text: string | undefined): text is string {
  return text !== undefined && /^\d{1,15}$/.test(text);
}
