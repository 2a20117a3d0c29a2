/**
 * From an admin's request to the last verifier's first denial, over real sockets: a broker in its own process, N guards
 * with a connection each in this one. And a thousand guards that come back at once.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { readFileSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { accessTokenHash } from '../src/domain/dpop.ts';
import type { JsonObject } from '../src/domain/json.ts';
import type { GuardedCall } from '../src/sdk/resource/call.ts';
import { createGuard, type RunningGuard } from '../src/sdk/resource/create-guard.ts';
import { openSqliteStore } from '../src/store/sqlite.ts';
import {
  type BenchBroker,
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

const SIZES = (process.env['SORTIE_BENCH_VERIFIERS'] ?? '1,100,1000').split(',').map(Number);
const ROUNDS = Number(process.env['SORTIE_BENCH_ROUNDS'] ?? 40);
const STORM_READERS = Number(process.env['SORTIE_BENCH_READERS'] ?? 1000);
const STORM_ENTRIES = 100_000;
const CALL_URL = `${ERP}/invoices/1`;

interface Held {
  readonly key: RawKey;
  readonly token: string;
  readonly mission_id: string;
}

async function missions(broker: BenchBroker, count: number): Promise<Held[]> {
  const nonce = await nonceOf(broker.url);
  const expires_at = new Date(Date.now() + 1_800_000).toISOString();
  const keys = Array.from({ length: count }, rawKey);
  const prepared = keys.map((key): Prepared => {
    const iat = Math.floor(Date.now() / 1000);
    const run = randomUUID();
    const evidence = jws(
      broker.workloads,
      { alg: 'ES256', kid: 'w1', typ: 'JWT' },
      { iss: WORKLOADS, aud: broker.url, sub: 'reconciler', run, iat, exp: iat + 900, jti: randomUUID() },
    );
    return {
      path: '/token',
      headers: {
        'content-type': 'application/x-www-form-urlencoded',
        dpop: proofOf(key, `${broker.url}/token`, nonce),
      },
      body: new URLSearchParams({
        grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
        subject_token: evidence,
        subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
        resource: ERP,
        mission_intent: JSON.stringify({ intent: { goal: 'Measure', resources: [ERP], expires_at } }),
      }).toString(),
    };
  });
  const bodies = await sendAll(broker.url, prepared, 16);
  return bodies.map((text, index) => {
    const { access_token, mission_id } = JSON.parse(text) as { access_token: string; mission_id: string };
    return { key: keys[index] ?? rawKey(), token: access_token, mission_id };
  });
}

async function adminOf(broker: BenchBroker): Promise<(path: string, body: object) => Promise<JsonObject>> {
  const post = async (token: string, path: string, body: object): Promise<JsonObject> => {
    const response = await fetch(`${broker.url}/admin/v1${path}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    if (!response.ok) throw new Error(`${path} answered ${response.status}`);
    return (await response.json()) as JsonObject;
  };
  const bootstrap = readFileSync(join(broker.folder, 'bootstrap-token'), 'utf8').trim();
  const issued = await post(bootstrap, '/tokens', { name: 'bench', role: 'admin' });
  return (path, body) => post(String(issued['token']), path, body);
}

function guardOf(broker: BenchBroker): RunningGuard {
  return createGuard({
    issuer: broker.url,
    audience: ERP,
    verifier: {
      id: 'erp',
      private_key_jwk: broker.verifier.privateKey.export({ format: 'jwk' }) as JsonObject,
    },
    events: 'none',
  });
}

async function guardsOf(broker: BenchBroker, count: number): Promise<RunningGuard[]> {
  const guards: RunningGuard[] = [];
  for (let made = 0; made < count; made += 100) {
    const batch = Array.from({ length: Math.min(100, count - made) }, () => guardOf(broker));
    await Promise.all(batch.map(({ ready }) => ready));
    guards.push(...batch);
  }
  await streaming(guards);
  return guards;
}

/** Until each has had a heartbeat of its own stream: a snapshot alone says nothing about the next entry. */
async function streaming(guards: readonly RunningGuard[]): Promise<void> {
  const seen = guards.map(() => 0);
  for (let turn = 0; turn < 1_000; turn++) {
    for (const [index, guard] of guards.entries())
      if (guard.health().revocation_age_seconds < 0.5) seen[index] = (seen[index] ?? 0) + 1;
    if (turn > 30 && seen.every((times) => times > 2)) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error('guards never became ready');
}

async function callOf(held: Held): Promise<GuardedCall> {
  const iat = Math.floor(Date.now() / 1000);
  const proof = jws(
    held.key,
    { typ: 'dpop+jwt', alg: 'ES256', jwk: held.key.jwk },
    { jti: randomUUID(), htm: 'GET', htu: CALL_URL, iat, ath: accessTokenHash(held.token) },
  );
  return {
    authorization: `DPoP ${held.token}`,
    proof,
    method: 'GET',
    url: CALL_URL,
    action: 'invoices.read',
    resource: ERP,
    parameters: {},
    context: { amount: { amount: '20.00', currency: 'EUR' } },
  };
}

const percentile = (sorted: readonly number[], part: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;

/** Milliseconds from the admin's request being sent to the last guard refusing, once for each mission. */
async function revokeToDeny(
  guards: readonly RunningGuard[],
  victims: readonly Held[],
  admin: (path: string, body: object) => Promise<JsonObject>,
): Promise<number[]> {
  const times: number[] = [];
  for (const victim of victims) {
    const call = await callOf(victim);
    let left = guards.length;
    let last = 0;
    const refused = new Promise<void>((resolve) => {
      for (const { guard } of guards) {
        const verdict = guard.check(call);
        if (!verdict.permitted) throw new Error(verdict.code);
        guard.watch(verdict, () => {
          last = performance.now();
          if (--left === 0) resolve();
        });
      }
    });
    const sent = performance.now();
    const answered = admin('/revocations', {
      selector: { kind: 'mission', key: victim.mission_id },
      reason: 'bench',
    });
    await refused;
    times.push(last - sent);
    const again = guards.at(-1)?.guard.check(await callOf(victim));
    if (again === undefined || again.permitted) throw new Error('permitted after revocation');
    await answered;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return times.sort((a, b) => a - b);
}

/** Entries in force, put into the store before the broker starts. */
async function fill(folder: string, count: number): Promise<void> {
  const store = await openSqliteStore({ path: join(folder, 'sortie.db') });
  const ts = Date.now() / 1000;
  for (let done = 0; done < count; done += 5_000)
    await store.atomically(
      Array.from({ length: 5_000 }, () => ({
        kind: 'append_feed',
        to: 'all',
        entry: {
          ts,
          kind: 'mission',
          key: `msn_${randomBytes(16).toString('base64url')}`,
          effect: 'deny',
          not_after: ts + 3600,
          reason_code: 'admin_revoked',
        },
      })),
    );
  await store.close();
}

/** One verifier that comes back: snapshot to its last byte, then the stream to its first heartbeat. */
function comeBack(url: string, authorization: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const headers = { authorization, 'accept-encoding': 'gzip' };
    request(`${url}/revocations`, { headers, agent: false }, (response) => {
      let bytes = 0;
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
      });
      response.on('error', reject);
      response.on('end', () => {
        const resume = { authorization, 'last-event-id': `1.${STORM_ENTRIES}` };
        const stream = request(`${url}/revocations/stream`, { headers: resume, agent: false }, (opened) => {
          opened.once('data', () => {
            resolve(bytes);
            stream.destroy();
          });
        });
        stream.on('error', () => {});
        stream.end();
      });
    })
      .on('error', reject)
      .end();
  });
}

async function storm(): Promise<void> {
  const prepared = await prepareBenchBroker();
  await fill(prepared.folder, STORM_ENTRIES);
  const broker = await startBenchBroker(prepared);
  try {
    const iat = Math.floor(Date.now() / 1000);
    const assertion = jws(
      broker.verifier,
      { typ: 'client-authentication+jwt', alg: 'ES256' },
      { iss: 'erp', sub: 'erp', aud: broker.url, iat, exp: iat + 240, jti: randomUUID() },
    );
    let peak = 0;
    const watch = setInterval(() => {
      void broker.usage().then(({ rss_bytes }) => {
        peak = Math.max(peak, rss_bytes);
      });
    }, 250);
    const started = performance.now();
    const sizes = await Promise.all(
      Array.from({ length: STORM_READERS }, () => comeBack(broker.url, `Bearer ${assertion}`)),
    );
    print('feed_reconnect_storm_s', (performance.now() - started) / 1000, 's');
    clearInterval(watch);
    print('feed_reconnect_storm_broker_peak', peak / 1_048_576, 'MiB');
    print('wire_bytes_per_entry_gzip', (sizes[0] ?? 0) / STORM_ENTRIES, 'bytes');
    const plain = await fetch(`${broker.url}/revocations`, {
      headers: { authorization: `Bearer ${assertion}`, 'accept-encoding': 'identity' },
    });
    print('wire_bytes_per_entry', (await plain.arrayBuffer()).byteLength / STORM_ENTRIES, 'bytes');
  } finally {
    await broker.stop();
    rmSync(broker.folder, { recursive: true, force: true });
  }
}

async function latency(): Promise<void> {
  const broker = await startBenchBroker(await prepareBenchBroker());
  try {
    const admin = await adminOf(broker);
    for (const size of SIZES) {
      const guards = await guardsOf(broker, size);
      const victims = await missions(broker, ROUNDS);
      await revokeToDeny(guards, victims.slice(0, 5), admin);
      const times = await revokeToDeny(guards, victims.slice(5), admin);
      print(`revoke_to_deny_ms_p50_${size}`, percentile(times, 0.5), 'ms');
      print(`revoke_to_deny_ms_p99_${size}`, percentile(times, 0.99), 'ms');
      if (size === Math.max(...SIZES)) {
        const { rss_bytes } = await broker.usage();
        print('broker_rss_with_verifiers', rss_bytes / 1_048_576, 'MiB');
      }
      await Promise.all(guards.map((guard) => guard.close()));
    }
  } finally {
    await broker.stop();
    rmSync(broker.folder, { recursive: true, force: true });
  }
}

await latency();
await storm();
