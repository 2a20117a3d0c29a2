/** Appends to the audit chain: the writer alone knows the head, so that the chain has no forks. */
import { chain, GENESIS_HASH } from '../../domain/audit.ts';
import { canonicalize } from '../../domain/json.ts';
import type { AuditRecord } from '../../ports.ts';
import { packDigest } from '../packing.ts';
import type { SegmentRow } from '../rows.ts';
import { Conflicted, type Connection, exactlyOne, type Handlers, type Mirror } from './context.ts';

type Kinds = 'append_audit' | 'close_audit_segment' | 'seal_audit_segment';

interface Head {
  readonly seq: number;
  readonly hash: string;
  /** The open segment; it has no row before its first record. */
  readonly segment: number;
  readonly first_seq: number;
  readonly previous_hash: string;
}

export interface AuditWrites extends Mirror {
  readonly handlers: Handlers<Kinds>;
  /** Before a batch commits: writes the open segment's bounds, once for all its records. */
  flush(): void;
}

export function auditWrites(db: Connection, segment_records: number): AuditWrites {
  const insert = db.prepare(
    `insert into audit_records (seq, segment, ts, event, actor, mission_id, details, hash)
     values (@seq, @segment, @ts, @event, @actor, @mission_id, @details, @hash)`,
  );
  const last = db.prepare<[], SegmentRow>('select * from audit_segments order by segment desc limit 1');
  const save = db.prepare(
    `insert into audit_segments (segment, first_seq, last_seq, previous_hash, head_hash, closed_at)
     values (@segment, @first_seq, @last_seq, @previous_hash, @head_hash, @closed_at)
     on conflict (segment) do update set last_seq = excluded.last_seq, head_hash = excluded.head_hash,
       closed_at = excluded.closed_at`,
  );
  const seal = db.prepare<{ segment: number; sealed_at: number; seal: string }>(
    `update audit_segments set sealed_at = @sealed_at, seal = @seal
     where segment = @segment and closed_at is not null and sealed_at is null`,
  );

  function read(): Head {
    const row = last.get();
    if (row === undefined) {
      return { seq: 0, hash: GENESIS_HASH, segment: 1, first_seq: 1, previous_hash: GENESIS_HASH };
    }
    const { last_seq: seq, head_hash: hash } = row;
    if (row.closed_at === null) {
      return { seq, hash, segment: row.segment, first_seq: row.first_seq, previous_hash: row.previous_hash };
    }
    return { seq, hash, segment: row.segment + 1, first_seq: seq + 1, previous_hash: hash };
  }

  let head = read();
  let marked = head;
  let saved = head;

  function write(closed_at: number | null): void {
    save.run({
      segment: head.segment,
      first_seq: head.first_seq,
      last_seq: head.seq,
      previous_hash: head.previous_hash,
      head_hash: head.hash,
      closed_at,
    });
  }

  function close(at: number): void {
    write(at);
    head = {
      ...head,
      segment: head.segment + 1,
      first_seq: head.seq + 1,
      previous_hash: head.hash,
    };
  }

  function append(record: AuditRecord): { seq: number; hash: string } {
    const { ts, event, actor, mission_id, details } = record;
    const chained = { seq: head.seq + 1, segment: head.segment, ts, event, actor, mission_id, details };
    const hash = chain(head.hash, chained);
    insert.run({ ...chained, details: canonicalize(details), hash: packDigest(hash) });
    head = { ...head, seq: chained.seq, hash };
    if (head.seq - head.first_seq + 1 >= segment_records) close(ts);
    return { seq: chained.seq, hash };
  }

  return {
    handlers: {
      append_audit: ({ record }, effects) => {
        effects.audit.push(append(record));
      },
      close_audit_segment: ({ at }) => {
        if (head.seq < head.first_seq) throw new Conflicted('wrong_state');
        close(at);
      },
      seal_audit_segment: ({ segment, sealed_at, seal: jws }) => {
        exactlyOne(seal.run({ segment, sealed_at, seal: jws }).changes, 'wrong_state');
      },
    },
    flush: () => {
      if (head !== saved && head.seq >= head.first_seq) write(null);
      saved = head;
    },
    mark: () => {
      marked = head;
    },
    undo: () => {
      head = marked;
    },
    reload: () => {
      head = read();
      marked = head;
      saved = head;
    },
  };
}
