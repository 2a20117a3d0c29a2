/**
 * The write side of the store: one connection, one transaction a batch, one savepoint a group. Lives in the
 * writer thread; knows nothing of threads itself.
 */
import { closeSync, openSync } from 'node:fs';
import Database from 'better-sqlite3';
import type { Committed, Conflict, RetentionPolicy, Write } from '../ports.ts';
import { applyMigrations } from './migrate.ts';
import { pruning } from './prune.ts';
import { allowanceWrites } from './writes/allowances.ts';
import { auditWrites } from './writes/audit.ts';
import { Conflicted, type Effects, type Handlers, noEffects, sqliteCode } from './writes/context.ts';
import { feedWrites } from './writes/feed.ts';
import { historyWrites } from './writes/history.ts';
import { interned } from './writes/interned.ts';
import { leaseWrites } from './writes/leases.ts';
import { missionWrites } from './writes/missions.ts';
import { onceWrites } from './writes/once.ts';
import { recordWrites } from './writes/records.ts';
import { reportWrites } from './writes/reports.ts';

export interface EngineOptions {
  readonly path: string;
  /** Audit records in a segment before it is closed. */
  readonly segment_records: number;
  /** Largest size of the database file in pages of 4096 bytes; 0 for what the disk holds. */
  readonly max_pages: number;
}

/** What became of one group. An `error` is text: it crosses a thread. */
export type GroupResult =
  | { readonly committed: Committed }
  | { readonly conflict: Conflict; readonly index: number }
  | { readonly error: string; readonly code: string | null };

export interface Engine {
  apply(groups: readonly (readonly Write[])[]): GroupResult[];
  prune(now: number, keep: RetentionPolicy): { removed: number };
  close(): void;
}

/** Memory for pages, in KiB: bounded whatever the file holds. */
const CACHE_KIB = 65_536;
/** Pages of log before they are copied home: large, because random keys rewrite the same pages. */
const CHECKPOINT_PAGES = 4000;
/** The log file is cut back to this after a burst. */
const LOG_BYTES = 64 * 1024 * 1024;
const BUSY_TIMEOUT_MILLISECONDS = 5000;

/** Faults of one group's values. Every other SQLite error is the storage's, and the whole batch fails with it. */
const GROUP_FAULTS = /^SQLITE_(CONSTRAINT|TOOBIG|MISMATCH|RANGE|ERROR)/;

export function openEngine(options: EngineOptions): Engine {
  // Whoever may read the file reads every mission, and the sealed signing keys: its owner only. SQLite gives the
  // log files the same mode.
  closeSync(openSync(options.path, 'a', 0o600));
  const db = new Database(options.path, { timeout: BUSY_TIMEOUT_MILLISECONDS });
  db.pragma('journal_mode = WAL');
  db.pragma('synchronous = FULL');
  db.pragma('foreign_keys = ON');
  // Every savepoint keeps the pages that it may have to give back: in memory, not in a file of their own.
  db.pragma('temp_store = MEMORY');
  db.pragma(`cache_size = -${CACHE_KIB}`);
  db.pragma(`wal_autocheckpoint = ${CHECKPOINT_PAGES}`);
  db.pragma(`journal_size_limit = ${LOG_BYTES}`);
  applyMigrations(db);
  // A file that cannot be written must not look like a broker that works.
  db.prepare("insert into meta (key, value) values ('epoch', '1') on conflict do nothing").run();
  if (options.max_pages > 0) db.pragma(`max_page_count = ${options.max_pages}`);

  const names = interned(db);
  const audit = auditWrites(db, options.segment_records);
  const mirrors = [names, audit];
  const handlers: Handlers<Write['kind']> = {
    ...missionWrites(db, names),
    ...feedWrites(db, names),
    ...audit.handlers,
    ...onceWrites(db),
    ...recordWrites(db),
    ...reportWrites(db),
    ...leaseWrites(db),
    ...allowanceWrites(db, names),
    ...historyWrites(db),
  };
  const begin = db.prepare('begin immediate');
  const commit = db.prepare('commit');
  const rollback = db.prepare('rollback');
  const savepoint = db.prepare('savepoint one_group');
  const release = db.prepare('release one_group');
  const undo = db.prepare('rollback to one_group');
  const prune = pruning(db);
  const dataVersion = db.prepare<[], { data_version: number }>('pragma data_version');

  function applyOne<W extends Write>(write: W, effects: Effects): void {
    const handler = handlers[write.kind] as (write: W, effects: Effects) => void;
    handler(write, effects);
  }

  /** Returns what became of the group; throws only where the storage failed. */
  function applyGroup(writes: readonly Write[]): GroupResult {
    const effects = noEffects();
    savepoint.run();
    for (const mirror of mirrors) mirror.mark();
    for (const [index, write] of writes.entries()) {
      try {
        applyOne(write, effects);
      } catch (error) {
        const code = sqliteCode(error);
        // SQLite ends the transaction by itself on some faults: then nothing of the batch is left to save.
        if (!db.inTransaction || (code !== null && !GROUP_FAULTS.test(code))) throw error;
        undo.run();
        release.run();
        for (const mirror of mirrors) mirror.undo();
        if (error instanceof Conflicted) return { conflict: error.conflict, index };
        return { error: textOf(error), code };
      }
    }
    release.run();
    return { committed: effects };
  }

  /** Whether memory and rows may differ: set where a transaction was undone, until both were read again. */
  let stale = false;
  /** Changes when another process wrote, such as a `sortie` command beside the running broker. */
  let seen = dataVersion.get()?.data_version;

  function inTransaction<T>(work: () => T): T {
    begin.run();
    try {
      const version = dataVersion.get()?.data_version;
      if (stale || version !== seen) for (const mirror of mirrors) mirror.reload();
      stale = false;
      seen = version;
      const result = work();
      commit.run();
      return result;
    } catch (error) {
      stale = true;
      if (db.inTransaction) rollback.run();
      throw error;
    }
  }

  return {
    apply(groups) {
      try {
        return inTransaction(() => {
          const results = groups.map(applyGroup);
          audit.flush();
          return results;
        });
      } catch (error) {
        return groups.map(() => ({ error: textOf(error), code: sqliteCode(error) }));
      }
    },
    prune(now, keep) {
      return inTransaction(() => {
        const removed = prune(now, keep);
        // Grounds may have gone: their remembered row numbers with them.
        stale = true;
        return { removed };
      });
    },
    close() {
      db.close();
    },
  };
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
