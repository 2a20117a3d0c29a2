import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createSeal, generateKek } from '../../src/keys/seal.ts';
import { startBroker } from '../support/broker.ts';

test('a broker with another key-encryption key does not start, and says what to look for', async () => {
  const sortie = await startBroker();
  await sortie.broker.close();
  writeFileSync(join(sortie.folder, 'kek'), generateKek());
  await expect(sortie.restart()).rejects.toThrow(/sealed under another key-encryption key/);
  await sortie.close();
});

test('a sealed value opens only for its purpose, under its key, unchanged', () => {
  const seal = createSeal(generateKek());
  const sealed = seal.seal(Buffer.from('secret'), 'a');
  expect(seal.open(sealed, 'a').toString()).toBe('secret');
  expect(() => seal.open(sealed, 'b')).toThrow();
  expect(() => createSeal(generateKek()).open(sealed, 'a')).toThrow();
  const changed = Buffer.from(sealed, 'base64url');
  changed[changed.length - 1] = (changed.at(-1) ?? 0) ^ 1;
  expect(() => seal.open(changed.toString('base64url'), 'a')).toThrow();
});

test.each(['', 'short', Buffer.alloc(31).toString('base64'), Buffer.alloc(33).toString('base64')])(
  'a key-encryption key of the wrong size is refused without showing it',
  (encoded) => {
    expect(() => createSeal(encoded)).toThrow(/must be 32 bytes/);
  },
);
