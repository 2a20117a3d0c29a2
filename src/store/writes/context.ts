/** What the parts of the writer share while a group of writes is applied. */
import type Database from 'better-sqlite3';
import type { Committed, Conflict, StoredFeedEntry, Write } from '../../ports.ts';

export type Connection = Database.Database;

/** A write did not touch the rows it said; the engine adds which one and undoes its group. */
export class Conflicted extends Error {
  readonly conflict: Conflict;

  constructor(conflict: Conflict) {
    super(conflict);
    this.conflict = conflict;
  }
}

/** {@link Committed} while it grows. */
export interface Effects {
  readonly changed_missions: string[];
  readonly feed: StoredFeedEntry[];
  readonly audit: { seq: number; hash: string }[];
}

export function noEffects(): Effects & Committed {
  return { changed_missions: [], feed: [], audit: [] };
}

export type WriteOf<K extends Write['kind']> = Extract<Write, { kind: K }>;

/** One function a kind of write. Whatever it throws undoes its whole group. */
export type Handlers<K extends Write['kind']> = {
  readonly [Kind in K]: (write: WriteOf<Kind>, effects: Effects) => void;
};

/** State that mirrors the database in memory and must follow a rollback. */
export interface Mirror {
  /** Before a group: remember. */
  mark(): void;
  /** The group was undone: go back to the mark. */
  undo(): void;
  /** The batch was undone, or rows went away behind it: forget and read again. */
  reload(): void;
}

/** Runs `insert`, naming the conflict where the row is already there. */
export function insertOnce(insert: () => void, conflict: Conflict = 'duplicate'): void {
  try {
    insert();
  } catch (error) {
    if (isUniqueViolation(error)) throw new Conflicted(conflict);
    throw error;
  }
}

export function isUniqueViolation(error: unknown): error is Error & { code: string } {
  const code = sqliteCode(error);
  return code === 'SQLITE_CONSTRAINT_UNIQUE' || code === 'SQLITE_CONSTRAINT_PRIMARYKEY';
}

/** `SQLITE_...`, or null where SQLite did not throw it. */
export function sqliteCode(error: unknown): string | null {
  if (!(error instanceof Error) || !('code' in error) || typeof error.code !== 'string') return null;
  return error.code.startsWith('SQLITE_') ? error.code : null;
}

/** @throws Conflicted unless exactly one row was touched. */
export function exactlyOne(changes: number, conflict: Conflict): void {
  if (changes !== 1) throw new Conflicted(conflict);
}
