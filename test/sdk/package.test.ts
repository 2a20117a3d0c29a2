import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sortie-sdk-'));
  execFileSync(process.execPath, ['tools/pack-sdk.ts', folder], { stdio: 'pipe' });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test.each(['resource', 'agent'])('@sortie/%s installs with jose alone and loads', (name) => {
  const tarball = readdirSync(folder).find((file) => file.startsWith(`sortie-${name}-`));
  const place = join(folder, name);
  mkdirSync(place);
  writeFileSync(join(place, 'package.json'), '{"name":"empty","private":true,"type":"module"}');
  execFileSync(
    'npm',
    ['install', '--prefer-offline', '--no-audit', '--no-fund', resolve(folder, tarball ?? '')],
    {
      cwd: place,
      stdio: 'pipe',
    },
  );
  const installed = readdirSync(join(place, 'node_modules')).filter((entry) => !entry.startsWith('.'));
  expect(installed.sort()).toEqual(['@sortie', 'jose']);
  const loaded = execFileSync(
    process.execPath,
    ['--input-type=module', '-e', `console.log(Object.keys(await import('@sortie/${name}')).sort().join())`],
    { cwd: place, encoding: 'utf8' },
  );
  expect(loaded).toContain(name === 'resource' ? 'createGuard' : 'connect');
});
