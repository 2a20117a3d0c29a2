/** The mark of `operations/restore.ts` in a file beside the database. Leave it out of backups. */
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import type { Mark, MarkKeeper } from '../ports.ts';

export function markFile(path: string): MarkKeeper {
  return {
    read() {
      let text: string;
      try {
        text = readFileSync(path, 'utf8');
      } catch (cause) {
        if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return null;
        throw new Error(
          `${path}: cannot be read; without it a restored backup cannot be told from a database`,
        );
      }
      const value = JSON.parse(text) as Mark;
      if (![value.epoch, value.feed_seq, value.audit_seq].every(Number.isSafeInteger))
        throw new Error(`${path}: is damaged; delete it to treat the database as restored from a backup`);
      return value;
    },
    write(mark) {
      // Never half written: a crash leaves the old one, which is merely behind.
      writeFileSync(`${path}.new`, JSON.stringify(mark), { mode: 0o600 });
      renameSync(`${path}.new`, path);
    },
  };
}
