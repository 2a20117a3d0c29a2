/**
 * What a mission costs: `POST /token` against a broker in its own process, durable, over real sockets. Each
 * exchange has fresh evidence, a fresh proof and makes a fresh mission. "Per core" is per CPU-second of the
 * broker's process with all its threads.
 */
import { randomUUID } from 'node:crypto';
import { rmSync } from 'node:fs';
import {
  type BenchBroker,
  cryptoBound,
  ERP,
  jws,
  nonceOf,
  type Prepared,
  prepareBenchBroker,
  print,
  proofOf,
  type RawKey,
  rawKey,
  sendAll,
  startBenchBroker,
  WORKLOADS,
} from './support.ts';

const EXCHANGES = Number(process.env['SORTIE_BENCH_EXCHANGES'] ?? 3000);
const WARM = 500;
const KEYS = 100;
const IN_FLIGHT = 64;
const FORM = { 'content-type': 'application/x-www-form-urlencoded' };
const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const JWT = 'urn:ietf:params:oauth:token-type:jwt';

function evidenceOf(broker: BenchBroker, run: string): string {
  const iat = Math.floor(Date.now() / 1000);
  return jws(
    broker.workloads,
    { alg: 'ES256', kid: 'w1', typ: 'JWT' },
    { iss: WORKLOADS, aud: broker.url, sub: 'reconciler', run, iat, exp: iat + 900, jti: randomUUID() },
  );
}

interface Run {
  readonly key: RawKey;
  readonly run: string;
}

function creations(broker: BenchBroker, nonce: string, runs: readonly Run[]): Prepared[] {
  const expires_at = new Date(Date.now() + 1_800_000).toISOString();
  return runs.map(({ key, run }) => ({
    path: '/token',
    headers: { ...FORM, dpop: proofOf(key, `${broker.url}/token`, nonce) },
    body: new URLSearchParams({
      grant_type: EXCHANGE,
      subject_token: evidenceOf(broker, run),
      subject_token_type: JWT,
      resource: ERP,
      mission_intent: JSON.stringify({
        intent: { goal: `Reconcile the open invoices of supplier ${run}`, resources: [ERP], expires_at },
      }),
    }).toString(),
  }));
}

async function perCpuSecond(broker: BenchBroker, prepared: readonly Prepared[]) {
  const before = await broker.usage();
  const started = performance.now();
  const bodies = await sendAll(broker.url, prepared, IN_FLIGHT);
  const seconds = (performance.now() - started) / 1000;
  const after = await broker.usage();
  return {
    per_core: prepared.length / ((after.cpu_us - before.cpu_us) / 1e6),
    per_second: prepared.length / seconds,
    bodies,
  };
}

const prepared = await prepareBenchBroker();
const broker = await startBenchBroker(prepared);
try {
  const bound = cryptoBound();
  const against = 'two ES256 verifications and one signature';
  const keys = Array.from({ length: KEYS }, rawKey);
  const runs = (count: number): Run[] =>
    Array.from({ length: count }, (_, index) => ({ key: keys[index % KEYS] ?? rawKey(), run: randomUUID() }));

  await sendAll(broker.url, creations(broker, await nonceOf(broker.url), runs(WARM)), IN_FLIGHT);
  const measured = runs(EXCHANGES);
  const created = await perCpuSecond(broker, creations(broker, await nonceOf(broker.url), measured));
  print('exchange_per_core', created.per_core, 'exchanges/CPU-s', created.per_core / bound, against);
  print('exchange_per_second', created.per_second, 'exchanges/s');

  const nonce = await nonceOf(broker.url);
  const renewals = created.bodies.slice(0, EXCHANGES / 2).map((body, index): Prepared => {
    const { key, run } = measured[index] ?? { key: rawKey(), run: '' };
    return {
      path: '/token',
      headers: { ...FORM, dpop: proofOf(key, `${broker.url}/token`, nonce) },
      body: new URLSearchParams({
        grant_type: EXCHANGE,
        subject_token: evidenceOf(broker, run),
        subject_token_type: JWT,
        resource: ERP,
        mission_id: (JSON.parse(body) as { mission_id: string }).mission_id,
      }).toString(),
    };
  });
  const renewed = await perCpuSecond(broker, renewals);
  print('renew_per_core', renewed.per_core, 'renewals/CPU-s', renewed.per_core / bound, against);
} finally {
  await broker.stop();
  rmSync(prepared.folder, { recursive: true, force: true });
}
