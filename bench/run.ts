/**
 * `make bench`: every figure as one JSON line. Each part runs in a process of its own, one after the other, so that
 * "per core" means one part at a time; ratios compare figures of the same part. Names as arguments choose parts.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const PARTS = [
  'exchange',
  'scale',
  'check',
  'attest',
  'authority',
  'store',
  'feed',
  'events',
  'behaviour',
  'consequential',
  'provenance',
  'bundle',
];

const wanted = process.argv.slice(2);
const known = PARTS.filter((part) => existsSync(fileURLToPath(new URL(`./${part}.ts`, import.meta.url))));
const unknown = wanted.filter((part) => !known.includes(part));
if (unknown.length > 0) {
  process.stderr.write(`no such part: ${unknown.join(', ')}; there are ${known.join(', ')}\n`);
  process.exit(1);
}
let failed = 0;
for (const part of wanted.length > 0 ? wanted : known) {
  const file = fileURLToPath(new URL(`./${part}.ts`, import.meta.url));
  const { status } = spawnSync(process.execPath, ['--expose-gc', file], {
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  if (status !== 0) {
    process.stderr.write(`bench ${part} ended with ${status}\n`);
    failed++;
  }
}
process.exit(failed > 0 ? 1 : 0);
