/**
 * What a reported decision costs: `POST /events` against a broker in its own process, over real sockets, durable
 * before each answer. Batches of 1,000 decisions over 1,000 tokens in rotation; "per core" is per CPU-second of the
 * broker's process with all its threads. Beside it: denials, each with the proof of its call to verify.
 */
import { createHash, randomUUID } from 'node:crypto';
import { rmSync } from 'node:fs';
import { creations } from './exchange-load.ts';
import {
  type BenchBroker,
  ERP,
  jws,
  nonceOf,
  type Prepared,
  prepareBenchBroker,
  print,
  type RawKey,
  rawKey,
  sendAll,
  startBenchBroker,
} from './support.ts';

const BATCHES = Number(process.env['SORTIE_BENCH_EVENT_BATCHES'] ?? 200);
const TOKENS = Number(process.env['SORTIE_BENCH_EVENT_TOKENS'] ?? 1000);
const BATCH = 1000;
const PROVEN_BATCH = 100;
const PROVEN_BATCHES = 9;
const IN_FLIGHT = 8;

interface Minted {
  readonly key: RawKey;
  readonly access_token: string;
  readonly jti: string;
  readonly mission_id: string;
}

function minted(body: string, key: RawKey): Minted {
  const { access_token, mission_id } = JSON.parse(body) as { access_token: string; mission_id: string };
  const claims = JSON.parse(Buffer.from(access_token.split('.')[1] ?? '', 'base64url').toString()) as {
    jti: string;
  };
  return { key, access_token, mission_id, jti: claims.jti };
}

function assertionOf(broker: BenchBroker): string {
  const iat = Math.floor(Date.now() / 1000);
  return jws(
    broker.verifier,
    { alg: 'ES256', typ: 'client-authentication+jwt' },
    { iss: 'erp', sub: 'erp', aud: broker.url, iat, exp: iat + 280, jti: randomUUID() },
  );
}

function batchOf(events: readonly unknown[], assertion: string): Prepared {
  return {
    path: '/events',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${assertion}` },
    body: JSON.stringify({ batch_id: randomUUID(), instance_id: 'bench', lost: 0, events }),
  };
}

let seq = 0;
function permitOf(token: Minted): Record<string, unknown> {
  seq++;
  return {
    ts: Date.now() / 1000,
    jti: token.jti,
    mission_id: token.mission_id,
    seq,
    action: 'invoices.read',
    resource: `${ERP}/invoices/${seq % 5000}`,
    labels: ['read'],
    decision: 'permit',
    reason: 'permitted',
    outcome: 'passed',
    latency_us: seq % 300,
  };
}

function denialOf(token: Minted): Record<string, unknown> {
  const url = `${ERP}/invoices/${seq}`;
  const proof = jws(
    token.key,
    { typ: 'dpop+jwt', alg: 'ES256', jwk: token.key.jwk },
    {
      jti: randomUUID(),
      htm: 'POST',
      htu: url,
      iat: Math.floor(Date.now() / 1000),
      ath: createHash('sha256').update(token.access_token).digest('base64url'),
    },
  );
  return {
    ...permitOf(token),
    action: 'invoices.approve',
    labels: ['effect'],
    decision: 'deny',
    reason: 'action_not_covered',
    outcome: 'refused',
    proof,
  };
}

async function measure(broker: BenchBroker, prepared: readonly Prepared[], events: number) {
  const before = await broker.usage();
  const started = performance.now();
  const bodies = await sendAll(broker.url, prepared, IN_FLIGHT);
  const seconds = (performance.now() - started) / 1000;
  const after = await broker.usage();
  return {
    bodies,
    per_core: events / ((after.cpu_us - before.cpu_us) / 1e6),
    per_second: events / seconds,
    rss_bytes: after.rss_bytes,
  };
}

function sum(bodies: readonly string[], member: 'accepted' | 'proven'): number {
  return bodies.reduce(
    (total, body) => total + ((JSON.parse(body) as Record<string, number>)[member] ?? 0),
    0,
  );
}

const prepared = await prepareBenchBroker();
const broker = await startBenchBroker(prepared);
try {
  const keys = Array.from({ length: 20 }, rawKey);
  const nonce = await nonceOf(broker.url);
  const keyAt = (index: number) => keys[index % keys.length] ?? rawKey();
  const created = await sendAll(
    broker.url,
    creations(
      broker,
      nonce,
      Array.from({ length: TOKENS }, (_, index) => ({ key: keyAt(index), run: randomUUID() })),
    ),
    64,
  );
  const tokens = created.map((body, index) => minted(body, keyAt(index)));
  const tokenAt = (index: number): Minted => {
    const token = tokens[index % tokens.length];
    if (!token) throw new Error('no token');
    return token;
  };
  const assertion = assertionOf(broker);
  const permits = (batches: number) =>
    Array.from({ length: batches }, (_, batch) =>
      batchOf(
        Array.from({ length: BATCH }, (_, index) => permitOf(tokenAt(batch * BATCH + index))),
        assertion,
      ),
    );

  await sendAll(broker.url, permits(20), IN_FLIGHT);
  const read = await measure(broker, permits(BATCHES), BATCHES * BATCH);
  if (sum(read.bodies, 'accepted') !== BATCHES * BATCH) throw new Error('events were dropped');
  print('events_per_core', read.per_core, 'events/CPU-s', read.per_core / 50_000, 'an aim of 50,000');
  print('events_per_second', read.per_second, 'events/s');
  print('events_rss', read.rss_bytes / 1e6, 'MB');

  // Few missions a batch, as one agent in a loop makes them: the index has less to do.
  const loops = Array.from({ length: BATCHES }, (_, batch) =>
    batchOf(
      Array.from({ length: BATCH }, (_, index) => permitOf(tokenAt(batch + (index % 10)))),
      assertion,
    ),
  );
  const looped = await measure(broker, loops, BATCHES * BATCH);
  print(
    'events_per_core_10_missions',
    looped.per_core,
    'events/CPU-s',
    looped.per_core / 50_000,
    'an aim of 50,000',
  );

  const denials = Array.from({ length: PROVEN_BATCHES }, (_, batch) =>
    batchOf(
      Array.from({ length: PROVEN_BATCH }, (_, index) => denialOf(tokenAt(batch * PROVEN_BATCH + index))),
      assertion,
    ),
  );
  const proven = await measure(broker, denials, PROVEN_BATCH * PROVEN_BATCHES);
  if (sum(proven.bodies, 'proven') === 0) throw new Error('no denial was proven');
  print('proven_denials_per_core', proven.per_core, 'events/CPU-s');
} finally {
  await broker.stop();
  rmSync(prepared.folder, { recursive: true, force: true });
}
