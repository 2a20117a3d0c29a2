/** The memory of templates never outlives a write to them. */
import { expect, test } from 'vitest';
import type { Store, TemplateRecord, Write } from '../../src/ports.ts';
import { withTemplateCache } from '../../src/store/template-cache.ts';

const versionOf = (record: TemplateRecord | null) => record?.version;

/** A store whose reads answer when a test says so, with what was true when they were asked. */
function slowStore() {
  let version = '1';
  let reads = 0;
  const waiting: (() => void)[] = [];
  const store = {
    atomically: async () => {
      version = '2';
      return { changed_missions: [], feed: [], audit: [] };
    },
    approvedTemplate: () => {
      reads++;
      const seen = { version } as TemplateRecord;
      return new Promise<TemplateRecord>((resolve) => waiting.push(() => resolve(seen)));
    },
  } as unknown as Store;
  return {
    store: withTemplateCache(store),
    answer: () => {
      for (const one of waiting.splice(0)) one();
    },
    get reads() {
      return reads;
    },
  };
}

const approval = [{ kind: 'approve_template' }] as unknown as readonly Write[];

test('a template is read once', async () => {
  const slow = slowStore();
  const first = slow.store.approvedTemplate('t');
  slow.answer();
  expect(versionOf(await first)).toBe('1');
  expect(versionOf(await slow.store.approvedTemplate('t'))).toBe('1');
  expect(slow.reads).toBe(1);
});

test('what was read before an approval and answered after it is not remembered', async () => {
  const slow = slowStore();
  const early = slow.store.approvedTemplate('t');
  await slow.store.atomically(approval);
  slow.answer();
  expect(versionOf(await early)).toBe('1');
  const later = slow.store.approvedTemplate('t');
  slow.answer();
  expect(versionOf(await later)).toBe('2');
});
