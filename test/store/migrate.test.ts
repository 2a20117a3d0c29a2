import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { applyMigrations, migrationsFolder } from '../../src/store/migrate.ts';
import { openSqliteStore } from '../../src/store/sqlite.ts';

describe('migrations', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'sortie-migrate-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  /** A copy of migrations/ with one more, as a later build would have. */
  function laterBuild(statement: string): string {
    const copy = join(folder, 'migrations');
    cpSync(migrationsFolder(), copy, { recursive: true });
    const journalPath = join(copy, 'meta', '_journal.json');
    const journal = JSON.parse(readFileSync(journalPath, 'utf8')) as {
      entries: { tag: string; when: number }[];
    };
    const last = journal.entries.at(-1);
    journal.entries.push({ ...last, tag: '9999_later', when: (last?.when ?? 0) + 1 });
    writeFileSync(journalPath, JSON.stringify(journal));
    writeFileSync(join(copy, '9999_later.sql'), statement);
    return copy;
  }

  it('run before the first read, from any working directory', async () => {
    const before = process.cwd();
    process.chdir(folder);
    try {
      const store = await openSqliteStore({ path: join(folder, 'a.db') });
      expect(await store.missions({ limit: 1 })).toEqual({ items: [], next_cursor: null });
      await store.close();
    } finally {
      process.chdir(before);
    }
  });

  it('are applied once, and a later one alone on top', () => {
    const db = new Database(join(folder, 'a.db'));
    applyMigrations(db);
    db.prepare("insert into meta (key, value) values ('kept', 'yes')").run();
    applyMigrations(db);
    applyMigrations(db, laterBuild('alter table meta add column later text;'));
    expect(db.prepare("select value, later from meta where key = 'kept'").get()).toEqual({
      value: 'yes',
      later: null,
    });
    db.close();
  });

  it('are all or nothing', () => {
    const db = new Database(join(folder, 'a.db'));
    applyMigrations(db);
    const broken = laterBuild('create table halfway (x);\n--> statement-breakpoint\nnot a statement;');
    expect(() => applyMigrations(db, broken)).toThrow();
    expect(db.prepare("select 1 from sqlite_master where name = 'halfway'").get()).toBeUndefined();
    db.close();
  });

  it('refuse a database that a later build wrote', async () => {
    const path = join(folder, 'a.db');
    const db = new Database(path);
    applyMigrations(db, laterBuild('alter table meta add column later text;'));
    db.close();
    await expect(openSqliteStore({ path })).rejects.toThrow('another version of Sortie');
  });

  it('match the schema that they were generated from', () => {
    // Every table of the newest snapshot exists as described: a schema edit without `npm run migrations` fails.
    const meta = join(migrationsFolder(), 'meta');
    const newest =
      readdirSync(meta)
        .filter((name) => name.endsWith('_snapshot.json'))
        .sort()
        .at(-1) ?? '';
    const snapshot = JSON.parse(readFileSync(join(meta, newest), 'utf8')) as {
      tables: Record<string, { columns: Record<string, unknown> }>;
    };
    const db = new Database(':memory:');
    applyMigrations(db);
    for (const [table, { columns }] of Object.entries(snapshot.tables)) {
      const found = db.pragma(`table_info(${table})`) as { name: string }[];
      expect(
        found.map(({ name }) => name),
        table,
      ).toEqual(Object.keys(columns));
    }
    db.close();
  });
});
