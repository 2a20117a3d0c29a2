/** `sortie template ...` on templates that include from a catalogue: what is shown is what would be hashed. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { runCli } from '../../src/cli/program.ts';

const ERP = 'https://erp.example.com';
let folder = '';
let config = '';

function configuration(name: string, actions: Record<string, { labels: string[] }>): string {
  const path = join(folder, name);
  writeFileSync(
    path,
    stringify({
      issuer: 'https://sortie.example.com',
      listen: { host: '127.0.0.1', port: 8480 },
      store: { sqlite: { path: 'sortie.db' } },
      keys: { key_encryption_key: { from_file: 'kek' } },
      attesters: [{ name: 'laptops', kind: 'enrolled' }],
      audiences: [{ resource: ERP, name: 'ERP', actions }],
      admin: { bootstrap_token_file: 'bootstrap-token' },
    }),
  );
  return path;
}

function template(name: string, actions: unknown[], resource = ERP): string {
  const path = join(folder, 'templates', name);
  const ceiling = [{ type: 'mission_resource_access', resource, actions }];
  writeFileSync(path, stringify({ id: 'reader', version: '1', ceiling, lifetime: '1h' }));
  return path;
}

async function sortie(...argv: string[]): Promise<{ code: number; out: string; err: string }> {
  let out = '';
  let err = '';
  const code = await runCli(['node', 'sortie', 'template', ...argv], {
    env: {},
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
    stdin: async () => '',
    onSignal: () => {},
  });
  return { code, out, err };
}

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sortie-cli-'));
  mkdirSync(join(folder, 'templates'));
  config = configuration('broker.yaml', {
    'invoices.read': { labels: ['read'] },
    'invoices.pay': { labels: ['effect'] },
  });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test('explain says the actions that an include stands for', async () => {
  const file = template('reads.yaml', [{ include: { label: 'read' } }]);
  const { code, out } = await sortie('explain', file, '-c', config);
  expect([code, out]).toEqual([0, expect.stringContaining(`Allows invoices.read at ${ERP}`)]);
  expect(out).not.toContain('pay');
});

test('an include without the configuration is refused with file and way out', async () => {
  const file = template('reads.yaml', [{ include: { label: 'read' } }]);
  for (const argv of [
    ['explain', file],
    ['lint', file],
    ['diff', file, file],
    ['hash', file, '--issuer', ERP],
  ]) {
    const { code, err } = await sortie(...argv);
    expect([code, err]).toEqual([1, expect.stringContaining('needs the configuration with the audiences')]);
    expect(err).toContain(file);
  }
});

test('diff compares what is meant: an include and its actions written out allow the same', async () => {
  const by_label = template('label.yaml', [{ include: { label: 'read' } }]);
  const written = template('written.yaml', ['invoices.read']);
  const family = template('family.yaml', [{ include: { family: 'invoices.*' } }]);
  expect(await sortie('diff', by_label, written, '-c', config)).toMatchObject({
    code: 0,
    out: 'both allow the same\n',
  });
  const wider = await sortie('diff', by_label, family, '-c', config);
  expect([wider.code, wider.out]).toEqual([1, expect.stringContaining('widens')]);
});

test('the hash covers the resolved ceiling: an action that the audience gains changes it', async () => {
  const by_label = template('label.yaml', [{ include: { label: 'read' } }]);
  const written = template('written.yaml', ['invoices.read']);
  const hash = async (file: string, of: string) =>
    (await sortie('hash', file, '--issuer', 'https://sortie.example.com', '-c', of)).out;
  expect(await hash(by_label, config)).toContain('sha-256:');
  expect(await hash(by_label, config)).toBe(await hash(written, config));
  const grown = configuration('grown.yaml', {
    'invoices.read': { labels: ['read'] },
    'salaries.read': { labels: ['read'] },
  });
  expect(await hash(by_label, grown)).not.toBe(await hash(by_label, config));
  expect(await hash(written, grown)).toBe(await hash(written, config));
});

test('lint judges the resolved ceiling, and an include of nothing is an error', async () => {
  const fine = await sortie('lint', template('label.yaml', [{ include: { label: 'read' } }]), '-c', config);
  expect([fine.code, fine.out]).toEqual([0, expect.stringContaining('0 finding(s)')]);
  const misspelt = await sortie('lint', template('bad.yaml', [{ include: { label: 'raed' } }]), '-c', config);
  expect([misspelt.code, misspelt.err]).toEqual([
    1,
    expect.stringContaining('names no action of its audience'),
  ]);
  const stranger = template('other.yaml', [{ include: { label: 'read' } }], 'https://other.example');
  expect((await sortie('lint', stranger, '-c', config)).err).toContain('one registered audience');
});
