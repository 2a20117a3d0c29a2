/** What every {@link Store} guarantees about histories of destinations. Called as the other conformance suites. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { LearnedDestination } from '../../src/behaviour/history.ts';
import { type HistoryScope, type Store, type Write, WriteConflict } from '../../src/ports.ts';
import type { StoreFactory } from './conformance.ts';
import { NOW } from './records.ts';

const SCOPE: HistoryScope = { template_id: 'weekly', agent: 'agents/a', audience: 'https://erp.example.com' };
const KEEP = { missions_seconds: 0, credentials_seconds: 0, audit_seconds: 0 };

function seen(at: number, missions = 1): LearnedDestination {
  return { first_seen: at, last_seen: at, missions, days: missions };
}

function save(
  version: number,
  learned: Record<string, LearnedDestination>,
  forgotten: readonly string[] = [],
  scope = SCOPE,
): Write {
  return { kind: 'save_history', scope, version, learned: Object.entries(learned), forgotten };
}

export function historyConformance(name: string, factory: StoreFactory): void {
  describe(`${name}: histories of destinations`, () => {
    let store: Store;
    beforeEach(async () => {
      store = await factory.open();
    });
    afterEach(() => factory.dispose());

    it('begin empty, and keep what is learned by scope and version', async () => {
      expect(await store.history(SCOPE)).toEqual({ version: 0, learned: new Map() });
      await store.atomically([save(1, { aa: seen(NOW), bb: seen(NOW) })]);
      await store.atomically([save(2, { aa: seen(NOW, 2) }, ['bb'])]);
      expect(await store.history(SCOPE)).toEqual({ version: 2, learned: new Map([['aa', seen(NOW, 2)]]) });
      for (const other of [
        { agent: 'agents/b' },
        { template_id: 'daily' },
        { audience: 'https://x.example' },
      ])
        expect((await store.history({ ...SCOPE, ...other })).version).toBe(0);
    });

    it('are changed by who saw them last, and by nobody else', async () => {
      await store.atomically([save(1, { aa: seen(NOW) })]);
      for (const version of [1, 3])
        await expect(store.atomically([save(version, { cc: seen(NOW) })])).rejects.toThrow(WriteConflict);
      await expect(
        store.atomically([save(2, { cc: seen(NOW) }, [], { ...SCOPE, agent: 'agents/b' })]),
      ).rejects.toMatchObject({ conflict: 'wrong_version' });
      expect([...(await store.history(SCOPE)).learned.keys()]).toEqual(['aa']);
    });

    it('are listed by template and agent', async () => {
      await store.atomically([save(1, { aa: seen(NOW) })]);
      await store.atomically([save(1, {}, [], { ...SCOPE, agent: 'agents/b' })]);
      expect(await store.histories({ template_id: 'weekly' })).toEqual([
        { ...SCOPE, version: 1, destinations: 1 },
        { ...SCOPE, agent: 'agents/b', version: 1, destinations: 0 },
      ]);
      expect(await store.histories({ agent: 'agents/b' })).toHaveLength(1);
      expect(await store.histories({ template_id: 'none' })).toEqual([]);
    });

    it('forget by themselves what was not seen for half a year', async () => {
      await store.atomically([save(1, { old: seen(NOW), young: seen(NOW + 100 * 86_400) })]);
      await store.prune(NOW + 181 * 86_400, KEEP);
      expect([...(await store.history(SCOPE)).learned.keys()]).toEqual(['young']);
    });
  });
}
