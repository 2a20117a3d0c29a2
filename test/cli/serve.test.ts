import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createBroker } from '../../src/broker.ts';
import { generateKek } from '../../src/keys/seal.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sortie-cli-'));
  cpSync('config/templates', join(folder, 'templates'), { recursive: true });
  const text = readFileSync('config/broker.dev.yaml', 'utf8')
    .replaceAll('../var', 'var')
    .replaceAll('8480', '0');
  writeFileSync(join(folder, 'broker.yaml'), text.replace('http://127.0.0.1:0', 'http://127.0.0.1:8480'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const sortie = (...argv: string[]) =>
  spawnSync(process.execPath, ['bin/sortie.cjs', ...argv], { encoding: 'utf8', timeout: 30_000 });

test('a start that fails ends with one line and exit code 1, and leaves nothing running', async () => {
  const config = join(folder, 'broker.yaml');
  // Makes the key files and a database, then ends.
  spawnSync(process.execPath, ['bin/sortie.cjs', 'serve', '-c', config, '--development-keys'], {
    timeout: 4000,
  });
  const broker = await createBroker({ config, env: {}, log: { write: () => undefined } });
  await broker.close();
  writeFileSync(join(folder, 'var', 'kek'), generateKek());
  const { status, signal, stderr } = sortie('serve', '-c', config);
  expect({ status, signal }).toEqual({ status: 1, signal: null });
  expect(stderr).toMatch(/^sortie: signing key .* sealed under another key-encryption key/m);
});

test('development key files are for their owner only, and are never made outside development', () => {
  const config = join(folder, 'broker.yaml');
  spawnSync(process.execPath, ['bin/sortie.cjs', 'serve', '-c', config, '--development-keys'], {
    timeout: 4000,
  });
  for (const file of ['kek', 'erp.key.json', 'bootstrap-token', 'sortie.db'])
    expect(statSync(join(folder, 'var', file)).mode & 0o077).toBe(0);
  rmSync(join(folder, 'var'), { recursive: true });
  writeFileSync(config, readFileSync(config, 'utf8').replace('development: true', 'development: false'));
  const { status, stderr } = sortie('serve', '-c', config, '--development-keys');
  expect(status).toBe(1);
  expect(stderr).toContain('cannot be read');
});

test('a faulty configuration is told by file, line, key and suggestion', () => {
  const config = join(folder, 'broker.yaml');
  writeFileSync(config, readFileSync(config, 'utf8').replace('audiences:', 'audience:'));
  const { status, stderr } = sortie('config', 'check', '-c', config);
  expect(status).toBe(1);
  expect(stderr).toMatch(/broker\.yaml:\d+:\d+: unknown key "audience"; did you mean "audiences"\?/);
});
