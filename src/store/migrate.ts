/**
 * Brings a database file to the schema of this build, before anything reads it. Same table and files as
 * drizzle's own migrator, without loading its query builder: that takes longer than the rest of a start.
 */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type Database from 'better-sqlite3';
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
 * Applies what is missing, all or nothing.
 * @throws Error where the file holds a migration that this build does not know: it would misread the rows.
 */
export function applyMigrations(db: Database.Database, folder: string = migrationsFolder()): void {
  const known = readMigrationFiles({ migrationsFolder: folder });
  db.exec(`create table if not exists __drizzle_migrations
    (id integer primary key, hash text not null, created_at numeric)`);
  const applied = db.prepare<[], { hash: string }>('select hash from __drizzle_migrations order by id');
  const record = db.prepare<[string, number]>(
    'insert into __drizzle_migrations (hash, created_at) values (?, ?)',
  );
  db.transaction(() => {
    const done = applied.all().map(({ hash }) => hash);
    for (const [at, hash] of done.entries()) {
      if (known[at]?.hash === hash) continue;
      throw new Error(
        'the database was written by another version of Sortie; start that version, or restore',
      );
    }
    for (const { sql, hash, folderMillis } of known.slice(done.length)) {
      for (const statement of sql) db.exec(statement);
      record.run(hash, folderMillis);
    }
  }).immediate();
}
