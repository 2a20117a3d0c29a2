import { createHmac } from 'node:crypto';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  digestKey,
  EMPTY_MEMORY,
  keyedDigest,
  MemoryWriter,
  ORIGIN,
  recall,
  rememberedValues,
} from '../../src/behaviour/memory.ts';

test("digests are HMAC-SHA-256 under the mission's key", () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 1, maxLength: 100 }),
      fc.string({ maxLength: 300, unit: 'binary' }),
      (key, value) => {
        const well = value.isWellFormed() ? value : 'x';
        expect(keyedDigest(digestKey(key), well)).toBe(
          createHmac('sha256', key).update(well, 'utf8').digest('hex').slice(0, 12),
        );
      },
    ),
  );
});

test('remembers every value with the union of its origins and sources, and no other', () => {
  const entry = fc.record({
    digest: fc
      .integer({ min: 0, max: 400 })
      .map((n) => createHmac('sha256', 'k').update(String(n)).digest('hex').slice(0, 12)),
    origins: fc.integer({ min: 1, max: 511 }),
    vouched: fc.integer({ min: 0, max: 0xffff }),
    text: fc.integer({ min: 0, max: 0xffff }),
  });
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 300 }), (entries) => {
      const writer = new MemoryWriter(EMPTY_MEMORY);
      const model = new Map<string, { origins: number; vouched: number; text: number }>();
      for (const one of entries) {
        expect(writer.add(one.digest, one.origins, one.vouched, one.text)).toBe(true);
        const before = model.get(one.digest) ?? { origins: 0, vouched: 0, text: 0 };
        model.set(one.digest, {
          origins: before.origins | one.origins,
          vouched: before.vouched | one.vouched,
          text: before.text | one.text,
        });
      }
      const memory = writer.done();
      expect(memory.count).toBe(model.size);
      expect(new Map([...rememberedValues(memory)].map(({ digest, ...record }) => [digest, record]))).toEqual(
        model,
      );
      expect(recall(memory, 'ffffffffffff').origins).toBe(0);
      expect([...rememberedValues(EMPTY_MEMORY)]).toEqual([]);
    }),
  );
});

test('what is full is unknown: strangers fill at most half, and nothing is evicted', () => {
  const digest = (n: number): string =>
    createHmac('sha256', 'f').update(String(n)).digest('hex').slice(0, 12);
  const writer = new MemoryWriter(EMPTY_MEMORY, { max_values: 100 });
  const kept = Array.from({ length: 200 }, (_, i) => writer.add(digest(i), ORIGIN.text)).filter(
    Boolean,
  ).length;
  expect(kept).toBe(50);
  expect(writer.done().overflow).toBe(true);
  for (let i = 1000; i < 1050; i++) expect(writer.add(digest(i), ORIGIN.system)).toBe(true);
  expect(writer.add(digest(2000), ORIGIN.system)).toBe(false);
  expect(writer.recall(digest(2000)).origins).toBe(0);
  expect(writer.recall(digest(3)).origins).toBe(ORIGIN.text);
});
