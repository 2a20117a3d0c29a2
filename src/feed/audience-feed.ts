/** The streams of one audience: every reader gets every entry in order, one that does not read is cut. */
import type { StoredFeedEntry } from '../ports.ts';
import { FeedLog, type LoggedEntry } from './feed-log.ts';

/** A reader this far behind is cut; it resumes from where it was. */
const MAX_BUFFERED_BYTES = 1_048_576;
/** Entries that may come while a backlog is sent; with more, the reader is cut and resumes. */
const MAX_WAITING = 10_000;

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

export interface Reader {
  readonly verifier_id: string;
  readonly sink: FeedSink;
  /** Last seq announced on this stream: `prev` of the next entry. */
  last: number;
  /** Entries that were committed while the backlog is still being read. */
  waiting: LoggedEntry[] | null;
  gone: boolean;
}

export class AudienceFeed {
  readonly log = new FeedLog();
  readonly #epoch: number;
  readonly #readers = new Set<Reader>();
  /** The frames that were written last. */
  #shared: { readonly last: number; readonly newest: number; readonly text: string } | null = null;
  /** Open streams of each verifier. */
  readonly #connected = new Map<string, number>();

  constructor(epoch: number) {
    this.#epoch = epoch;
  }

  get size(): number {
    return this.#readers.size;
  }

  isConnected(verifier_id: string): boolean {
    return this.#connected.has(verifier_id);
  }

  /** A reader that first gets its backlog: what is published meanwhile waits. */
  join(verifier_id: string, sink: FeedSink, last: number): Reader {
    const reader: Reader = { verifier_id, sink, last, waiting: [], gone: false };
    this.#readers.add(reader);
    this.#connected.set(verifier_id, (this.#connected.get(verifier_id) ?? 0) + 1);
    sink.onClose(() => this.#leave(reader));
    return reader;
  }

  /** The backlog has been sent: what waited goes out, and the stream is live. */
  golive(reader: Reader, ts: number): void {
    const waiting = reader.waiting ?? [];
    reader.waiting = null;
    this.send(reader, waiting);
    this.#write(reader, heartbeat(this.#epoch, reader.last, ts));
  }

  /** Entries in order, in one write: a thousand readers that come back cost a thousand writes, however much they missed. */
  send(reader: Reader, entries: readonly LoggedEntry[]): void {
    const newest = entries.at(-1);
    // Committed before the snapshot that this reader holds, and told here only now.
    if (newest === undefined || newest.seq <= reader.last) return;
    this.#write(reader, this.#framesAfter(reader.last, entries));
    reader.last = newest.seq;
  }

  /** What was committed together goes out together. */
  publish(entries: readonly StoredFeedEntry[]): void {
    const logged = entries.map((entry) => this.log.add(entry));
    this.#shared = null;
    for (const reader of this.#readers) {
      if (reader.waiting === null) {
        this.send(reader, logged);
        continue;
      }
      for (const entry of logged) reader.waiting.push(entry);
      if (reader.waiting.length > MAX_WAITING) this.cut(reader);
    }
  }

  /** @param allowed whether the verifier is still registered for this audience; if not it is cut at once. */
  beat(ts: number, allowed: (verifier_id: string) => boolean): void {
    const texts = new Map<number, string>();
    for (const reader of [...this.#readers]) {
      if (!allowed(reader.verifier_id)) {
        this.cut(reader);
        continue;
      }
      if (reader.waiting !== null) continue;
      let text = texts.get(reader.last);
      if (text === undefined) {
        text = heartbeat(this.#epoch, reader.last, ts);
        texts.set(reader.last, text);
      }
      this.#write(reader, text);
    }
  }

  announceBundle(version: string): void {
    const text = `event: bundle\ndata: ${JSON.stringify({ version })}\n\n`;
    for (const reader of this.#readers) this.#write(reader, text);
  }

  end(): void {
    for (const reader of this.#readers) reader.sink.end();
  }

  cut(reader: Reader): void {
    this.#leave(reader);
    reader.sink.cut();
  }

  /** Nearly every reader saw the same entry last: one text serves them all. */
  #framesAfter(last: number, entries: readonly LoggedEntry[]): string {
    const newest = entries.at(-1)?.seq ?? last;
    if (this.#shared?.last === last && this.#shared.newest === newest) return this.#shared.text;
    let text = '';
    let prev = last;
    for (const { seq, json } of entries) {
      if (seq <= last) continue;
      text += `id: ${this.#epoch}.${seq}\nevent: entry\ndata: ${json.slice(0, -1)},"prev":${prev}}\n\n`;
      prev = seq;
    }
    this.#shared = { last, newest, text };
    return text;
  }

  /** A reader that does not read is cut rather than remembered: its backlog is in the store. */
  #write(reader: Reader, chunk: string): void {
    if (reader.gone) return;
    if (reader.sink.buffered_bytes > MAX_BUFFERED_BYTES) this.cut(reader);
    else reader.sink.write(chunk);
  }

  #leave(reader: Reader): void {
    if (reader.gone) return;
    reader.gone = true;
    this.#readers.delete(reader);
    const left = (this.#connected.get(reader.verifier_id) ?? 1) - 1;
    if (left === 0) this.#connected.delete(reader.verifier_id);
    else this.#connected.set(reader.verifier_id, left);
  }
}

function heartbeat(epoch: number, seq: number, ts: number): string {
  return `event: heartbeat\ndata: {"epoch":${epoch},"seq":${seq},"ts":${ts}}\n\n`;
}
