/**
 * `GET /revocations`, cheap for a thousand readers that restart at once: the bulk is read from the store, serialized
 * and compressed once and shared as bytes; what came since is added from the log. Built in small turns, so that it
 * never holds up a heartbeat.
 */
import { promisify } from 'node:util';
import { gzip, gzipSync } from 'node:zlib';
import type { Store } from '../ports.ts';
import { type FeedLog, jsonOf, type LoggedEntry } from './feed-log.ts';

interface Bulk {
  /** Every entry up to this seq that was in force then is in the bytes. */
  readonly seq: number;
  readonly entries: number;
  readonly plain: Buffer;
  readonly gzip: Buffer;
  readonly built_at: number;
}

/** What came after a bulk, and the end of the document. */
interface Closing {
  readonly bulk: Bulk;
  readonly seq: number;
  readonly plain: Buffer;
  readonly gzip: Buffer;
}

interface Head {
  readonly epoch: number;
  readonly ts: number;
  readonly max_token_seconds: number;
}

const PAGE = 500;
/** Rebuilt after this long, so that what has expired is not sent for ever. */
const BULK_SECONDS = 120;
const IDLE_SECONDS = 300;
/** So many newer entries are added to the bulk before it is built anew. */
const MIN_TAIL = 1_000;
const compress = promisify(gzip);

export class SnapshotSource {
  readonly #store: Store;
  readonly #audience: string;
  readonly #log: FeedLog;
  #building: Promise<Bulk> | null = null;
  #bulk: Bulk | null = null;
  #closing: Closing | null = null;
  #asked_at = 0;

  constructor(store: Store, audience: string, log: FeedLog) {
    this.#store = store;
    this.#audience = audience;
    this.#log = log;
  }

  /** Gives the memory back where nobody has asked for a while. */
  rest(now: number): void {
    if (now - this.#asked_at <= IDLE_SECONDS) return;
    this.#bulk = null;
    this.#closing = null;
  }

  /** Bytes in order, shared between answers, never to be written into. Compressed: gzip members in a row (RFC 1952). */
  async body(head: Head, compressed: boolean): Promise<readonly Buffer[]> {
    this.#asked_at = head.ts;
    const held = this.#bulk;
    const usable = held !== null && this.#isUsable(held, head.ts);
    const bulk = usable ? held : await this.#build(head.ts);
    const tail = this.#log.after(bulk.seq) ?? [];
    const seq = Math.max(bulk.seq, tail.at(-1)?.seq ?? 0);
    const opening = Buffer.from(JSON.stringify({ ...head, seq, entries: [] }).slice(0, -2));
    const closing = this.#close(bulk, tail, seq);
    return compressed ? [gzipSync(opening), bulk.gzip, closing.gzip] : [opening, bulk.plain, closing.plain];
  }

  #isUsable(bulk: Bulk, now: number): boolean {
    const tail = this.#log.after(bulk.seq);
    if (tail === null || tail.length > Math.max(MIN_TAIL, bulk.entries / 8)) return false;
    return now - bulk.built_at <= BULK_SECONDS;
  }

  /** The same for every answer until the next entry. */
  #close(bulk: Bulk, tail: readonly LoggedEntry[], seq: number): Closing {
    const last = this.#closing;
    if (last !== null && last.bulk === bulk && last.seq === seq) return last;
    const added = tail.map(({ json }) => json).join(',');
    const plain = Buffer.from(`${bulk.entries > 0 && added !== '' ? ',' : ''}${added}]}`);
    const closing = { bulk, seq, plain, gzip: gzipSync(plain, { level: 1 }) };
    this.#closing = closing;
    return closing;
  }

  /** One build at a time, for all who wait. */
  #build(now: number): Promise<Bulk> {
    this.#building ??= this.#read(now)
      .then((bulk) => {
        this.#bulk = bulk;
        return bulk;
      })
      .finally(() => {
        this.#building = null;
      });
    return this.#building;
  }

  async #read(now: number): Promise<Bulk> {
    // The head is read first: what is committed meanwhile is in the log.
    const { seq } = await this.#store.feedHead();
    this.#log.headIs(seq);
    const pieces: string[] = [];
    let entries = 0;
    for (let after = 0; ; ) {
      const page = await this.#store.feedAfter(this.#audience, after, now, PAGE);
      const told = page.filter((entry) => entry.seq <= seq);
      if (told.length > 0) pieces.push(told.map(jsonOf).join(','));
      entries += told.length;
      const last = page.at(-1);
      if (page.length < PAGE || last === undefined || last.seq > seq) break;
      after = last.seq;
      await new Promise((resolve) => setImmediate(resolve));
    }
    const plain = Buffer.from(pieces.join(','));
    return { seq, entries, plain, gzip: await compress(plain, { level: 3 }), built_at: now };
  }
}
