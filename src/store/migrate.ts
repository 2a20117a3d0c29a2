/** Brings a database file to the schema of this build, before anything reads it. */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type Database from 'better-sqlite3';
import { drizzle } from 'drizzle-orm/better-sqlite3';
import { migrate } from 'drizzle-orm/better-sqlite3/migrator';
import { readMigrationFiles } from 'drizzle-orm/migrator';

/** migrations/ beside the source or above the compiled output, whatever the working directory. */
export function migrationsFolder(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  for (;;) {
    const candidate = join(folder, 'migrations');
    if (existsSync(join(candidate, 'meta', '_journal.json'))) return candidate;
    const above = dirname(folder);
    if (above === folder) throw new Error('the migrations folder is missing from this installation');
    folder = above;
  }
}

/**
 * Applies what is missing in one transaction.
 * @throws Error where a newer build wrote the file: an older one would misread it.
 */
export function applyMigrations(db: Database.Database): void {
  const migrationsFolderPath = migrationsFolder();
  const known = readMigrationFiles({ migrationsFolder: migrationsFolderPath });
  const applied = lastApplied(db);
  const newest = known.at(-1)?.folderMillis ?? 0;
  if (applied > newest) {
    throw new Error('the database was written by a newer version of Sortie; start that version, or restore');
  }
  if (applied < newest) migrate(drizzle(db), { migrationsFolder: migrationsFolderPath });
}

function lastApplied(db: Database.Database): number {
  const table = db
    .prepare("select 1 from sqlite_master where type = 'table' and name = '__drizzle_migrations'")
    .get();
  if (table === undefined) return 0;
  const row = db
    .prepare<[], { last: number | null }>('select max(created_at) as last from __drizzle_migrations')
    .get();
  return row?.last ?? 0;
}
