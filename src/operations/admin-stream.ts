/** `GET /admin/v1/stream`: audit records and decisions as they become durable, for people who watch. */
import { Denied } from '../domain/denial.ts';
import type { Ports } from '../ports.ts';
import type { ReportedBatch, Reports } from './events.ts';

/** Where a stream is written; the part of an HTTP answer that this needs. */
export interface StreamWriter {
  write(chunk: string): boolean;
  cut(): void;
  onClose(listener: () => void): void;
  readonly buffered_bytes: number;
}

export interface AdminStream {
  /**
   * @param after_seq the audit record that the reader saw last; null for what comes from now on
   * @param still_allowed asked again and again: a token that was revoked must not go on watching
   * @throws Denied `overloaded`
   */
  open(writer: StreamWriter, after_seq: number | null, still_allowed: () => Promise<boolean>): void;
  /** Throws what {@link open} would throw, before the head of the answer is sent. */
  requireRoom(): void;
}

const READERS = 32;
const HEARTBEAT_MS = 5000;
/** Audit records of many commits go together: a reader is a person. */
const GATHER_MS = 50;
const RECORDS = 500;
/** Decisions of one batch that are shown live, denials first; the rest is counted. */
const SHOWN = 50;
/** A reader that does not read is cut before it costs memory. */
const BUFFERED_BYTES = 1024 * 1024;

interface Reader {
  readonly writer: StreamWriter;
  after_seq: number;
}

export function createAdminStream(ports: Ports, reports: Reports): AdminStream {
  const readers = new Set<Reader>();
  let listening = false;
  let gathering = false;
  let again = false;

  function tell(reader: Reader, event: string, told: unknown, id?: number): void {
    if (reader.writer.buffered_bytes > BUFFERED_BYTES) {
      reader.writer.cut();
      return;
    }
    reader.writer.write(
      `${id === undefined ? '' : `id: ${id}\n`}event: ${event}\ndata: ${JSON.stringify(told)}\n\n`,
    );
  }

  function listen(): void {
    if (listening) return;
    listening = true;
    ports.store.onCommit((committed) => {
      if (readers.size > 0 && committed.audit.length > 0) gather();
    });
    reports.onBatch((batch) => {
      if (readers.size === 0) return;
      const shown = shownOf(batch);
      for (const reader of readers) tell(reader, 'decisions', shown);
    });
  }

  function gather(): void {
    again = true;
    if (gathering) return;
    gathering = true;
    setTimeout(() => {
      again = false;
      void Promise.all([...readers].map(catchUp)).finally(() => {
        gathering = false;
        if (again) gather();
      });
    }, GATHER_MS);
  }

  async function catchUp(reader: Reader): Promise<void> {
    try {
      for (;;) {
        const records = await ports.store.auditRecords({ after_seq: reader.after_seq, limit: RECORDS });
        for (const record of records) {
          if (record.seq <= reader.after_seq) continue;
          reader.after_seq = record.seq;
          tell(reader, 'audit', record, record.seq);
        }
        if (records.length < RECORDS || !readers.has(reader)) return;
        await new Promise((turn) => setImmediate(turn));
      }
    } catch {
      // The store does not answer: the reader comes again with what it saw last.
      reader.writer.cut();
    }
  }

  async function start(reader: Reader, from: number | null): Promise<void> {
    if (from === null) {
      const [newest] = await ports.store.auditRecords({ limit: 1, newest_first: true });
      reader.after_seq = newest?.seq ?? 0;
    }
    readers.add(reader);
    tell(reader, 'heartbeat', { ts: ports.clock.now() });
    await catchUp(reader);
  }

  function requireRoom(): void {
    if (readers.size >= READERS)
      throw new Denied({ tag: 'overloaded', retry_after_seconds: 5 }, 'too many admin streams');
  }

  return {
    requireRoom,
    open(writer, after_seq, still_allowed) {
      listen();
      const reader: Reader = { writer, after_seq: after_seq ?? 0 };
      let closed = false;
      const beat = setInterval(() => {
        void still_allowed()
          .catch(() => false)
          .then((allowed) => {
            if (allowed) tell(reader, 'heartbeat', { ts: ports.clock.now() });
            else writer.cut();
          });
      }, HEARTBEAT_MS);
      beat.unref();
      writer.onClose(() => {
        clearInterval(beat);
        readers.delete(reader);
        closed = true;
      });
      void start(reader, after_seq)
        .catch(() => writer.cut())
        .finally(() => {
          // Gone before it began.
          if (closed) readers.delete(reader);
        });
    },
  };
}

function shownOf(batch: ReportedBatch) {
  const numbered = batch.decisions.map((decision, index) => ({
    id: `${batch.id}.${index}`,
    ...decision,
    ...(decision.verdict !== undefined && { verdict: { ...decision.verdict, evidence: null } }),
  }));
  const denials = numbered.filter(({ decision }) => decision === 'deny');
  const permits = numbered.filter(({ decision }) => decision === 'permit');
  const shown = [...denials, ...permits].slice(0, SHOWN);
  return {
    verifier: batch.verifier.id,
    audience: batch.verifier.audience,
    received_at: batch.received_at,
    count: numbered.length,
    denials: denials.length,
    decisions: shown,
    omitted: numbered.length - shown.length,
    observations: batch.observations.length,
  };
}
