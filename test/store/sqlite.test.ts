import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Store } from '../../src/ports.ts';
import { openSqliteStore } from '../../src/store/sqlite.ts';
import { allowanceConformance } from './allowances-conformance.ts';
import { type StoreFactory, storeConformance } from './conformance.ts';
import { historyConformance } from './history-conformance.ts';
import { reportConformance } from './reports-conformance.ts';

function sqliteFactory(): StoreFactory {
  const open = new Map<Store, { path: string; segment_records: number }>();
  const folders: string[] = [];

  async function start(options: { path: string; segment_records: number }): Promise<Store> {
    const store = await openSqliteStore(options);
    open.set(store, options);
    return store;
  }

  return {
    open: async (options = {}) => {
      const folder = mkdtempSync(join(tmpdir(), 'sortie-store-'));
      folders.push(folder);
      return start({ path: join(folder, 'sortie.db'), segment_records: options.segment_records ?? 4096 });
    },
    reopen: async (store) => {
      const options = open.get(store);
      if (options === undefined) throw new Error('not a store of this factory');
      open.delete(store);
      await store.close();
      return start(options);
    },
    dispose: async () => {
      for (const store of open.keys()) await store.close();
      open.clear();
      for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
    },
  };
}

storeConformance('SQLite', sqliteFactory());
reportConformance('SQLite', sqliteFactory());
allowanceConformance('SQLite', sqliteFactory());
historyConformance('SQLite', sqliteFactory());
