/**
 * The broker's side of the revocation feed (wire profile 3): what the store committed goes to every connected
 * verifier of the audiences it concerns, in order, within the same millisecond. Nothing here can be forgotten by
 * an operation, because it listens to commits and not to operations.
 */
import type { FeedSnapshot } from '../domain/revocation.ts';
import type { Clock, Store, StoredFeedEntry, VerifierInstance, VerifierPolicy } from '../ports.ts';

const HEARTBEAT_MS = 1000;
/** A reader this far behind is cut; it resumes from where it was. */
const MAX_BUFFERED_BYTES = 1_048_576;
/** Entries that may come while a backlog is sent; with more, the reader is cut and resumes. */
const MAX_WAITING = 10_000;
const PAGE = 500;
/** A thousand readers that restart at once share one snapshot. */
const SNAPSHOT_SHARED_MS = 200;
const ACK_FLUSH_MS = 5000;
const RECENT_SECONDS = 30;
/** A process that was silent for this long is gone; the store forgets it too. */
const FORGOTTEN_SECONDS = 86_400;

/** Where a stream is written to; the HTTP layer's response, or a test's list. */
export interface FeedSink {
  write(chunk: string): boolean;
  end(): void;
  /** Drops the connection and what is buffered for it. */
  cut(): void;
  /** Also where it is closed already. */
  onClose(listener: () => void): void;
  /** Resolves when the reader has taken what was written, or is gone. */
  drained(): Promise<void>;
  readonly buffered_bytes: number;
}

/** One verifier process, as an admin sees it. */
export interface VerifierView extends VerifierInstance {
  readonly audience: string | null;
  readonly connected: boolean;
  /** Whether it enforces everything that concerns it. */
  readonly current: boolean;
}

export interface Acknowledgement {
  readonly verifier_id: string;
  readonly instance_id: string;
  /** Seconds; null if it has not acknowledged (yet). */
  readonly acknowledged_at: number | null;
}

interface Reader {
  readonly audience: string;
  readonly verifier_id: string;
  readonly sink: FeedSink;
  /** Last seq announced on this stream: `prev` of the next entry. */
  last: number;
  /** Entries that were committed while the backlog is still being read. */
  waiting: StoredFeedEntry[] | null;
  gone: boolean;
}

export class RevocationFeed {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #max_token_seconds: () => number;
  readonly #epoch: number;
  readonly #audienceOf: (verifier_id: string) => string | null;
  readonly #readers = new Map<string, Set<Reader>>();
  readonly #snapshots = new Map<string, { readonly until: number; readonly text: Promise<string> }>();
  /** By `verifier instance`. */
  readonly #acks = new Map<string, VerifierInstance & { readonly at: number }>();
  readonly #dirty = new Set<string>();
  readonly #ackListeners = new Set<() => void>();
  /** Last seq that concerned an audience, since start. */
  readonly #heads = new Map<string, number>();
  readonly #timers: NodeJS.Timeout[];

  private constructor(options: {
    readonly store: Store;
    readonly clock: Clock;
    readonly epoch: number;
    readonly max_token_seconds: () => number;
    readonly audience_of: (verifier_id: string) => string | null;
  }) {
    this.#store = options.store;
    this.#clock = options.clock;
    this.#epoch = options.epoch;
    this.#max_token_seconds = options.max_token_seconds;
    this.#audienceOf = options.audience_of;
    this.#store.onCommit((committed) => {
      for (const entry of committed.feed) this.#publish(entry);
    });
    this.#timers = [
      setInterval(() => this.#heartbeat(), HEARTBEAT_MS),
      setInterval(() => void this.#flush(), ACK_FLUSH_MS),
    ];
  }

  static async open(options: {
    readonly store: Store;
    readonly clock: Clock;
    readonly max_token_seconds: () => number;
    readonly audience_of: (verifier_id: string) => string | null;
  }): Promise<RevocationFeed> {
    const { epoch } = await options.store.feedHead();
    const feed = new RevocationFeed({ ...options, epoch });
    for (const instance of await options.store.verifierInstances())
      feed.#acks.set(keyOf(instance), { ...instance, at: instance.last_seen });
    for (const audience of feed.#audiencesKnown())
      feed.#heads.set(audience, await headOf(options.store, audience, options.clock.now()));
    return feed;
  }

  /** JSON of a {@link FeedSnapshot} for one audience. */
  snapshot(audience: string): Promise<string> {
    const now = performance.now();
    const shared = this.#snapshots.get(audience);
    if (shared && shared.until > now) return shared.text;
    const text = this.#buildSnapshot(audience);
    text.catch(() => this.#snapshots.delete(audience));
    this.#snapshots.set(audience, { until: now + SNAPSHOT_SHARED_MS, text });
    return text;
  }

  async #buildSnapshot(audience: string): Promise<string> {
    const ts = this.#clock.now();
    // The head is read first: what commits meanwhile comes again on the stream, and applying it twice is harmless.
    const { seq } = await this.#store.feedHead();
    const entries: Omit<StoredFeedEntry, 'audiences'>[] = [];
    for (let after = 0; ; ) {
      const page = await this.#store.feedAfter(audience, after, ts, PAGE);
      for (const { audiences: _audiences, ...entry } of page) if (entry.seq <= seq) entries.push(entry);
      const last = page.at(-1);
      if (page.length < PAGE || !last || last.seq > seq) break;
      after = last.seq;
    }
    const snapshot: FeedSnapshot = {
      epoch: this.#epoch,
      seq,
      ts,
      max_token_seconds: this.#max_token_seconds(),
      entries,
    };
    return JSON.stringify(snapshot);
  }

  /**
   * Opens a stream. With `last_event_id` (`<epoch>.<seq>`) it goes on from there; without, or from another
   * epoch, it starts at the head and the reader takes a snapshot.
   */
  async open(verifier: VerifierPolicy, last_event_id: string | null, sink: FeedSink): Promise<void> {
    const head = await this.#store.feedHead();
    const resume = readEventId(last_event_id, this.#epoch, head.seq);
    const reader: Reader = {
      audience: verifier.audience,
      verifier_id: verifier.id,
      sink,
      last: resume ?? head.seq,
      waiting: [],
      gone: false,
    };
    const readers = this.#readers.get(verifier.audience) ?? new Set();
    this.#readers.set(verifier.audience, readers);
    readers.add(reader);
    sink.onClose(() => {
      reader.gone = true;
      readers.delete(reader);
    });
    while (!reader.gone) {
      const page = await this.#store.feedAfter(reader.audience, reader.last, this.#clock.now(), PAGE);
      for (const entry of page) this.#send(reader, entry);
      if (page.length < PAGE) break;
      await sink.drained();
    }
    const waiting = reader.waiting ?? [];
    reader.waiting = null;
    for (const entry of waiting) if (entry.seq > reader.last) this.#send(reader, entry);
    this.#beat(reader, this.#clock.now());
  }

  /** A process says up to where it enforces. Kept in memory and written now and then: it says so again after a restart. */
  async acknowledge(
    verifier: VerifierPolicy,
    ack: { readonly instance_id: string; readonly epoch: number; readonly seq: number },
  ): Promise<void> {
    const at = this.#clock.now();
    const instance = { verifier_id: verifier.id, ...ack, last_seen: at };
    const key = keyOf(instance);
    const known = this.#acks.get(key);
    const advanced = !known || ack.epoch > known.epoch || (ack.epoch === known.epoch && ack.seq > known.seq);
    this.#acks.set(key, {
      ...instance,
      ...(known && !advanced && { epoch: known.epoch, seq: known.seq }),
      at: advanced || !known ? at : known.at,
    });
    this.#dirty.add(key);
    for (const listener of this.#ackListeners) listener();
  }

  /** Every known verifier process. */
  verifiers(): readonly VerifierView[] {
    return [...this.#acks.values()].map(({ at: _at, ...instance }) => {
      const audience = this.#audienceOf(instance.verifier_id);
      const head = audience === null ? 0 : (this.#heads.get(audience) ?? 0);
      return {
        ...instance,
        audience,
        connected: [...(this.#readers.get(audience ?? '') ?? [])].some(
          (reader) => reader.verifier_id === instance.verifier_id,
        ),
        current: instance.epoch === this.#epoch && instance.seq >= head,
      };
    });
  }

  /**
   * Who enforces `seq`: answers as soon as every recently seen process of the audiences has acknowledged, and
   * after `max_ms` in any case.
   * @param audiences null for all
   */
  async acknowledgements(
    seq: number,
    audiences: readonly string[] | null,
    max_ms: number,
  ): Promise<readonly Acknowledgement[]> {
    // Guards acknowledge every ten seconds, news or not: one that is silent for longer has been replaced.
    const seen_after = this.#clock.now() - RECENT_SECONDS;
    const concerned = () =>
      this.verifiers().filter(
        (view) =>
          view.connected &&
          view.last_seen > seen_after &&
          (audiences === null || (view.audience !== null && audiences.includes(view.audience))),
      );
    const enforced = (view: VerifierInstance) => view.epoch === this.#epoch && view.seq >= seq;
    const deadline = performance.now() + max_ms;
    while (!concerned().every(enforced) && performance.now() < deadline) await this.#nextAck(deadline);
    return concerned().map((view) => ({
      verifier_id: view.verifier_id,
      instance_id: view.instance_id,
      acknowledged_at: enforced(view) ? (this.#acks.get(keyOf(view))?.at ?? null) : null,
    }));
  }

  #nextAck(deadline: number): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.#ackListeners.delete(done);
        resolve();
      };
      const timer = setTimeout(done, Math.max(1, deadline - performance.now()));
      this.#ackListeners.add(done);
    });
  }

  /** Tells the readers of an audience that its bundle changed. */
  announceBundle(audience: string, version: string): void {
    for (const reader of this.#readers.get(audience) ?? [])
      this.#write(reader, `event: bundle\ndata: ${JSON.stringify({ version })}\n\n`);
  }

  /** Audiences that somebody reads now. */
  audiencesRead(): readonly string[] {
    return [...this.#readers].filter(([, readers]) => readers.size > 0).map(([audience]) => audience);
  }

  async close(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer);
    for (const readers of this.#readers.values()) for (const reader of readers) reader.sink.end();
    await this.#flush();
  }

  #publish(entry: StoredFeedEntry): void {
    for (const [audience, readers] of this.#readers) {
      if (entry.audiences !== null && !entry.audiences.includes(audience)) continue;
      for (const reader of readers) {
        if (!reader.waiting) this.#send(reader, entry);
        else if (reader.waiting.push(entry) > MAX_WAITING) this.#cut(reader);
      }
    }
    for (const audience of entry.audiences ?? this.#audiencesKnown()) this.#heads.set(audience, entry.seq);
    // A snapshot from before this entry would tell a new reader less than the stream already said.
    for (const audience of entry.audiences ?? [...this.#snapshots.keys()]) this.#snapshots.delete(audience);
  }

  /** Audiences that somebody reads or has acknowledged for. */
  #audiencesKnown(): ReadonlySet<string> {
    const acknowledged = [...this.#acks.values()].map(({ verifier_id }) => this.#audienceOf(verifier_id));
    return new Set([...this.#readers.keys(), ...acknowledged.filter((audience) => audience !== null)]);
  }

  #send(reader: Reader, entry: StoredFeedEntry): void {
    const { audiences: _audiences, ...told } = entry;
    const wire = JSON.stringify({ ...told, prev: reader.last });
    reader.last = entry.seq;
    this.#write(reader, `id: ${this.#epoch}.${entry.seq}\nevent: entry\ndata: ${wire}\n\n`);
  }

  #heartbeat(): void {
    const now = this.#clock.now();
    for (const readers of this.#readers.values())
      for (const reader of [...readers]) {
        // A verifier that a reload took out, or moved to another audience, stops at once.
        if (this.#audienceOf(reader.verifier_id) !== reader.audience) this.#cut(reader);
        else if (reader.waiting === null) this.#beat(reader, now);
      }
  }

  #beat(reader: Reader, ts: number): void {
    this.#write(
      reader,
      `event: heartbeat\ndata: ${JSON.stringify({ epoch: this.#epoch, seq: reader.last, ts })}\n\n`,
    );
  }

  /** A reader that does not read is cut rather than remembered: its backlog is in the store. */
  #write(reader: Reader, chunk: string): void {
    if (reader.gone) return;
    if (reader.sink.buffered_bytes > MAX_BUFFERED_BYTES) this.#cut(reader);
    else reader.sink.write(chunk);
  }

  #cut(reader: Reader): void {
    reader.gone = true;
    this.#readers.get(reader.audience)?.delete(reader);
    reader.sink.cut();
  }

  async #flush(): Promise<void> {
    const silent_before = this.#clock.now() - FORGOTTEN_SECONDS;
    for (const [key, ack] of this.#acks) if (ack.last_seen < silent_before) this.#acks.delete(key);
    const writes = [...this.#dirty].flatMap((key) => {
      const ack = this.#acks.get(key);
      if (!ack) return [];
      const { at: _at, ...instance } = ack;
      return [{ kind: 'acknowledge', instance } as const];
    });
    this.#dirty.clear();
    // Losing one is harmless: the process acknowledges again.
    if (writes.length > 0) await this.#store.atomically(writes).catch(() => undefined);
  }
}

function keyOf(instance: { readonly verifier_id: string; readonly instance_id: string }): string {
  return `${instance.verifier_id} ${instance.instance_id}`;
}

/** Last seq that concerns an audience: a restarted broker must not call those current who missed one. */
async function headOf(store: Store, audience: string, now: number): Promise<number> {
  for (let head = 0; ; ) {
    const page = await store.feedAfter(audience, head, now, PAGE);
    head = page.at(-1)?.seq ?? head;
    if (page.length < PAGE) return head;
  }
}

/** The seq to go on from; null where the reader has to take a snapshot. */
function readEventId(text: string | null, epoch: number, head: number): number | null {
  const [of_epoch, seq, ...rest] = text?.split('.') ?? [];
  if (rest.length > 0 || !isCount(of_epoch) || !isCount(seq) || Number(of_epoch) !== epoch) return null;
  return Number(seq) <= head ? Number(seq) : null;
}

function isCount(text: string | undefined): text is string {
  return text !== undefined && /^\d{1,15}$/.test(text);
}
