/**
 * What a mission costs: `POST /token` against a broker in its own process, durable, over real sockets. Each
 * exchange has fresh evidence, a fresh proof and makes a fresh mission. "Per core" is per CPU-second of the
 * broker's process with all its threads.
 */
import { rmSync } from 'node:fs';
import { creations, freshRuns, measured, renewals } from './exchange-load.ts';
import { cryptoBound, nonceOf, prepareBenchBroker, print, startBenchBroker } from './support.ts';

const EXCHANGES = Number(process.env['SORTIE_BENCH_EXCHANGES'] ?? 3000);
const WARM = 1000;

const prepared = await prepareBenchBroker();
const broker = await startBenchBroker(prepared);
try {
  const bound = cryptoBound();
  const against = 'two ES256 verifications and one signature (node:crypto, ieee-p1363)';
  await measured(broker, creations(broker, await nonceOf(broker.url), freshRuns(WARM)));
  const runs = freshRuns(EXCHANGES);
  const created = await measured(broker, creations(broker, await nonceOf(broker.url), runs));
  print('exchange_per_core', created.per_core, 'exchanges/CPU-s', created.per_core / bound, against);
  print('exchange_per_second', created.per_second, 'exchanges/s');
  const nonce = await nonceOf(broker.url);
  const renewed = await measured(
    broker,
    renewals(broker, nonce, runs, created.bodies.slice(0, EXCHANGES / 2)),
  );
  print('renew_per_core', renewed.per_core, 'renewals/CPU-s', renewed.per_core / bound, against);
} finally {
  await broker.stop();
  rmSync(prepared.folder, { recursive: true, force: true });
}
