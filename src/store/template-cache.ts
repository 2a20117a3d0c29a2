/**
 * Templates from memory. Every creation needs one and they change a few times a year, while each commit of the
 * writer makes the reading connection drop its pages: without this, the template costs as much as the signature.
 */
import type { Store, TemplateRecord, Write } from '../ports.ts';

const KEPT = 1000;

/** All template writes pass through the returned store; only one process writes a database. */
export function withTemplateCache(store: Store): Store {
  const approved = new Map<string, TemplateRecord | null>();
  const byHash = new Map<string, TemplateRecord>();
  /** Which templates the memory is of: what was read before a write must not be remembered after it. */
  let generation = 0;
  const concerns = (write: Write) => write.kind === 'insert_template' || write.kind === 'approve_template';
  return {
    ...store,
    async atomically(writes) {
      if (!writes.some(concerns)) return store.atomically(writes);
      try {
        return await store.atomically(writes);
      } finally {
        generation++;
        approved.clear();
        byHash.clear();
      }
    },
    async approvedTemplate(id) {
      const known = approved.get(id);
      if (known !== undefined) return known;
      const read = generation;
      const record = await store.approvedTemplate(id);
      if (read !== generation) return record;
      if (approved.size >= KEPT) approved.clear();
      approved.set(id, record);
      return record;
    },
    async template(id, hash) {
      if (hash === undefined) return store.template(id);
      const key = `${id} ${hash}`;
      const known = byHash.get(key);
      if (known !== undefined) return known;
      const read = generation;
      const record = await store.template(id, hash);
      if (record === null || read !== generation) return record;
      if (byHash.size >= KEPT) byHash.clear();
      byHash.set(key, record);
      return record;
    },
  };
}
