/**
 * What many missions cost: the same exchanges on a store that already holds a million live ones, the memory and
 * disk of each, and how long the broker takes to be ready. `SORTIE_BENCH_MISSIONS` sets how many (default 1,000,000).
 */
import { spawn } from 'node:child_process';
import { rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { creations, freshRuns, measured } from './exchange-load.ts';
import { nonceOf, prepareBenchBroker, print, startBenchBroker } from './support.ts';

const MISSIONS = Number(process.env['SORTIE_BENCH_MISSIONS'] ?? 1_000_000);
const EXCHANGES = 1500;
const WARM = 1000;
const STARTS = 5;
/** Half of a status list, as the broker fills them. */
const SLOTS = 65_536;

type PreparedBroker = Awaited<ReturnType<typeof prepareBenchBroker>>;

/** Exchanges on what is there, and the broker's memory afterwards. */
async function exchanges(prepared: PreparedBroker) {
  const broker = await startBenchBroker(prepared);
  try {
    await measured(broker, creations(broker, await nonceOf(broker.url), freshRuns(WARM)));
    const { per_core } = await measured(
      broker,
      creations(broker, await nonceOf(broker.url), freshRuns(EXCHANGES)),
    );
    return { per_core, rss_bytes: (await broker.usage()).rss_bytes };
  } finally {
    await broker.stop();
  }
}

/** Multiplies a mission and its token that the broker made itself, each copy with its own ids, key and slot. */
function fill(path: string, count: number): void {
  const db = new Database(path);
  db.pragma('synchronous = off');
  db.pragma('cache_size = -400000');
  const columns = (table: string, own: Readonly<Record<string, string>>) => {
    const names = (db.pragma(`table_info(${table})`) as { name: string }[])
      .map(({ name }) => name)
      .filter((name) => name !== 'n');
    return { names: names.join(', '), values: names.map((name) => own[name] ?? `m.${name}`).join(', ') };
  };
  const mission = columns('missions', {
    id: "'msn_' || lower(hex(randomblob(11)))",
    instance: 'lower(hex(randomblob(16)))',
    jkt: 'randomblob(32)',
    status_list: `1000 + k.i / ${SLOTS}`,
    status_index: `k.i % ${SLOTS}`,
    creation_key: 'null',
    created_at: 'm.created_at + k.i / 1000.0',
    expires_at: 'm.expires_at + 3600 + k.i / 1000.0',
    attest_due_at: 'm.attest_due_at + 3600 + k.i / 1000.0',
  });
  db.transaction(() => {
    db.prepare(
      `with recursive k(i) as (select 1 union all select i + 1 from k where i < ?)
       insert into missions (${mission.names}) select ${mission.values} from missions m, k where m.n = (select min(n) from missions)`,
    ).run(count);
  })();
  db.pragma('wal_checkpoint(truncate)');
  db.close();
}

function bytesOnDisk(path: string): number {
  return statSync(path).size + (statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0);
}

/** Milliseconds from the command to its line that says it is ready. */
function startOnce(prepared: PreparedBroker): Promise<number> {
  return new Promise((resolve, reject) => {
    const started = performance.now();
    const child = spawn(
      process.execPath,
      ['bin/sortie.cjs', 'serve', '-c', join(prepared.folder, 'broker.yaml')],
      {
        stdio: ['ignore', 'pipe', 'ignore'],
      },
    );
    let ready = 0;
    child.stdout.on('data', (chunk: Buffer) => {
      if (ready > 0 || !chunk.includes('is ready')) return;
      ready = performance.now() - started;
      child.kill('SIGTERM');
    });
    child.once('exit', () => (ready > 0 ? resolve(ready) : reject(new Error('the broker did not start'))));
  });
}

const small = await prepareBenchBroker();
const large = await prepareBenchBroker();
try {
  const empty = await exchanges(small);
  const starts: number[] = [];
  for (let round = 0; round < STARTS; round++) starts.push(await startOnce(small));
  starts.sort((a, b) => a - b);
  print('start_ms', starts[Math.floor(STARTS / 2)] ?? 0, 'ms');

  // A first mission of the broker's own, to multiply.
  const seeded = await startBenchBroker(large);
  await measured(seeded, creations(seeded, await nonceOf(seeded.url), freshRuns(1)));
  await seeded.stop();
  const path = join(large.folder, 'sortie.db');
  const before = bytesOnDisk(path);
  fill(path, MISSIONS);
  print('disk_bytes_per_live_mission', (bytesOnDisk(path) - before) / MISSIONS, 'bytes');
  const full = await exchanges(large);
  print(
    'exchange_with_1m_missions',
    full.per_core,
    'exchanges/CPU-s',
    full.per_core / empty.per_core,
    `the same on an empty store; ${MISSIONS} live missions`,
  );
  print(
    'bytes_per_live_mission',
    Math.max(0, full.rss_bytes - empty.rss_bytes) / MISSIONS,
    "bytes of the broker's memory",
  );
  print('start_ms_with_1m_missions', await startOnce(large), 'ms');
} finally {
  for (const { folder } of [small, large]) rmSync(folder, { recursive: true, force: true });
}
