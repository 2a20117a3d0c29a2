/**
 * From an admin's request to the last verifier's first denial, over real sockets: the broker in its own process, the
 * verifiers in two others; idle, and with `/token` asked for ten times what it can do. How long the broker's event loop
 * is held by one entry for a thousand readers. And a thousand verifiers that come back at once with nothing.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parse, stringify } from 'yaml';
import { accessTokenHash } from '../src/domain/dpop.ts';
import type { JsonObject } from '../src/domain/json.ts';
import type { RevocableToken } from '../src/domain/revocation-set.ts';
import type { GuardedCall } from '../src/sdk/resource/call.ts';
import { openSqliteStore } from '../src/store/sqlite.ts';
import { creations } from './exchange-load.ts';
import type { ToReaders } from './feed/readers.ts';
import type { TokenLoad } from './feed/token-load.ts';
import {
  type BenchBroker,
  ERP,
  jws,
  nonceOf,
  monotonicMs as now,
  type Prepared,
  prepareBenchBroker,
  print,
  type RawKey,
  rawKey,
  sendAll,
  startBenchBroker,
} from './support.ts';

const SIZES = (process.env['SORTIE_BENCH_VERIFIERS'] ?? '1,100,1000').split(',').map(Number);
const ROUNDS = Number(process.env['SORTIE_BENCH_ROUNDS'] ?? 30);
const SATURATED_ROUNDS = Math.ceil(ROUNDS / 3);
const WARM_ROUNDS = 5;
const PAUSE_ROUNDS = 8;
const STORM_READERS = Number(process.env['SORTIE_BENCH_READERS'] ?? 1000);
const STORM_ENTRIES = 100_000;
const CALL_URL = `${ERP}/invoices/1`;
const READER_PROCESSES = 2;
/** What is offered, over what was measured. */
const OVERLOAD = 10;
const LOAD_SECONDS = 15;
const LOAD_REQUESTS = 5_000;
/** Twice what a broker works at once by default: the rest is shed. */
const LOAD_CONNECTIONS = 512;
/** Between two rounds: acknowledgements of the last one are not what is measured. */
const REST_MS = 150;

interface Held {
  readonly key: RawKey;
  readonly token: string;
  readonly mission_id: string;
}

async function creationsOf(broker: BenchBroker, keys: readonly RawKey[]): Promise<Prepared[]> {
  const runs = keys.map((key) => ({ key, run: randomUUID() }));
  return creations(broker, await nonceOf(broker.url), runs);
}

async function missions(broker: BenchBroker, count: number): Promise<Held[]> {
  const keys = Array.from({ length: count }, rawKey);
  const prepared = await creationsOf(broker, keys);
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

class Readers {
  readonly #children: readonly ChildProcess[];

  constructor() {
    this.#children = Array.from({ length: READER_PROCESSES }, () =>
      fork(fileURLToPath(new URL('./feed/readers.ts', import.meta.url))),
    );
  }

  /** Tells each of those that have something to do, and answers what they say. */
  async ask<T>(messages: readonly ToReaders[], name: string): Promise<T[]> {
    return Promise.all(
      messages.map(async (message, index) => {
        const child = this.#children[index];
        if (child === undefined) throw new Error('more messages than processes');
        const answered = told<T>(child, name);
        child.send(message);
        return answered;
      }),
    );
  }

  /** What each says next. */
  next<T>(count: number, name: string): Promise<T[]> {
    return Promise.all(this.#children.slice(0, count).map((child) => told<T>(child, name)));
  }

  close(): void {
    for (const child of this.#children) child.disconnect();
  }
}

function told<T>(child: ChildProcess, name: string): Promise<T> {
  return new Promise((resolve, reject) => {
    const died = (code: number | null): void =>
      reject(new Error(`a process of the bench ended with ${code}`));
    const listener = (message: { readonly name: string }): void => {
      if (message.name !== name) return;
      child.off('message', listener);
      child.off('exit', died);
      resolve(message as T);
    };
    child.on('message', listener);
    child.once('exit', died);
  });
}

/** As even as can be; none where nothing is left. */
function shares(count: number): number[] {
  const share = Math.ceil(count / READER_PROCESSES);
  return Array.from({ length: READER_PROCESSES }, (_, index) =>
    Math.max(0, Math.min(share, count - index * share)),
  ).filter((size) => size > 0);
}

function assertionOf(broker: BenchBroker): string {
  const iat = Math.floor(Date.now() / 1000);
  const claims = { iss: 'erp', sub: 'erp', aud: broker.url, iat, exp: iat + 290, jti: randomUUID() };
  return `Bearer ${jws(broker.verifier, { typ: 'client-authentication+jwt', alg: 'ES256' }, claims)}`;
}

function tokenOf(token: string): RevocableToken {
  const [header = '', payload = ''] = token.split('.');
  const read = (part: string): object => JSON.parse(Buffer.from(part, 'base64url').toString()) as object;
  return { ...read(header), ...read(payload) } as RevocableToken;
}

/** Milliseconds from the admin's request being sent to the last verifier's denial, once for each mission. */
async function revokeToDeny(
  readers: Readers,
  parts: number,
  victims: readonly Held[],
  admin: (path: string, body: object) => Promise<JsonObject>,
): Promise<number[]> {
  const times: number[] = [];
  for (const { mission_id, ...victim } of victims) {
    const token = tokenOf(victim.token);
    const messages = await Promise.all(
      Array.from({ length: parts }, async () => {
        const call = await callOf({ mission_id, ...victim });
        return { name: 'watch', call, token } as const;
      }),
    );
    await readers.ask(messages, 'watching');
    const refused = readers.next<{ readonly last: number }>(parts, 'denied');
    const sent = now();
    const answered = admin('/revocations', {
      selector: { kind: 'mission', key: mission_id },
      reason: 'bench',
    });
    times.push(Math.max(...(await refused).map(({ last }) => last)) - sent);
    await answered;
    await new Promise((resolve) => setTimeout(resolve, REST_MS));
  }
  return times.sort((a, b) => a - b);
}

function report(name: string, times: readonly number[]): void {
  const [what, size] = name.split('@');
  print(`${what}_ms_p50_${size}`, percentile(times, 0.5), 'ms');
  print(`${what}_ms_p99_${size}`, percentile(times, 0.99), 'ms');
}

/** With the limits that a broker has by default: {@link prepareBenchBroker} lifts them. */
async function prepareLimited(): Promise<Awaited<ReturnType<typeof prepareBenchBroker>>> {
  const prepared = await prepareBenchBroker();
  const path = join(prepared.folder, 'broker.yaml');
  const config = parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
  delete config['overload'];
  writeFileSync(path, stringify(config));
  return prepared;
}

async function joined(broker: BenchBroker, size: number, acknowledge = true): Promise<[Readers, number]> {
  const readers = new Readers();
  const counts = shares(size);
  const authorization = assertionOf(broker);
  const private_key_jwk = broker.verifier.privateKey.export({ format: 'jwk' }) as JsonObject;
  const { url } = broker;
  await readers.ask(
    counts.map((count) => ({
      name: 'join',
      url,
      audience: ERP,
      private_key_jwk,
      authorization,
      count,
      acknowledge,
    })),
    'joined',
  );
  return [readers, counts.length];
}

async function withBroker(
  prepared: Awaited<ReturnType<typeof prepareBenchBroker>>,
  run: (broker: BenchBroker) => Promise<void>,
): Promise<void> {
  const broker = await startBenchBroker(prepared);
  try {
    await run(broker);
  } finally {
    await broker.stop();
    rmSync(broker.folder, { recursive: true, force: true });
  }
}

async function latency(size: number): Promise<void> {
  await withBroker(await prepareLimited(), async (broker) => {
    const admin = await adminOf(broker);
    const [readers, parts] = await joined(broker, size);
    // Every agent has room for its own, not for all of them at once.
    const started = performance.now();
    const victims = await missions(broker, WARM_ROUNDS + ROUNDS + SATURATED_ROUNDS);
    const capacity = victims.length / ((performance.now() - started) / 1000);
    await revokeToDeny(readers, parts, victims.slice(0, WARM_ROUNDS), admin);
    const rounds = victims.slice(WARM_ROUNDS, WARM_ROUNDS + ROUNDS);
    report(`revoke_to_deny@${size}`, await revokeToDeny(readers, parts, rounds, admin));
    if (size === Math.max(...SIZES))
      print('broker_rss_with_verifiers', (await broker.usage()).rss_bytes / 1_048_576, 'MiB');
    await saturated(broker, capacity, async () => {
      const left = victims.slice(WARM_ROUNDS + ROUNDS);
      report(`revoke_to_deny_saturated@${size}`, await revokeToDeny(readers, parts, left, admin));
    });
    readers.close();
  });
}

async function saturated(broker: BenchBroker, capacity: number, run: () => Promise<void>): Promise<void> {
  const child = fork(fileURLToPath(new URL('./feed/token-load.ts', import.meta.url)));
  const load: TokenLoad = {
    name: 'load',
    url: broker.url,
    prepared: await creationsOf(broker, Array.from({ length: LOAD_REQUESTS }, rawKey)),
    per_second: capacity * OVERLOAD,
    seconds: LOAD_SECONDS,
    connections: LOAD_CONNECTIONS,
  };
  const loaded = told<Record<string, number>>(child, 'loaded');
  child.send(load);
  await new Promise((resolve) => setTimeout(resolve, 500));
  await run();
  child.send({ name: 'enough' });
  const { offered = 0, permitted = 0, shed = 0, failed = 0, unsent = 0, dry = 0 } = await loaded;
  if (dry > 0) process.stderr.write('the load ran dry: the figures of saturation are too good\n');
  child.disconnect();
  process.stderr.write(
    `offered ${Math.round(capacity * OVERLOAD)}/s: ${offered}, permitted ${permitted}, shed ${shed}, failed ${failed}, unsent ${unsent}\n`,
  );
}

/** The broker's event loop while one entry goes to every reader, with and without their acknowledgements. */
async function pauses(): Promise<void> {
  const size = Math.max(...SIZES);
  for (const acknowledge of [false, true])
    await withBroker(await prepareBenchBroker(), async (broker) => {
      const admin = await adminOf(broker);
      const [readers, parts] = await joined(broker, size, acknowledge);
      const held: number[] = [];
      const victims = await missions(broker, PAUSE_ROUNDS);
      const before = await broker.usage();
      for (const victim of victims) {
        broker.watchLoop();
        await new Promise((resolve) => setTimeout(resolve, 20));
        await revokeToDeny(readers, parts, [victim], admin);
        held.push(await broker.heldLoop());
      }
      const used_us = (await broker.usage()).cpu_us - before.cpu_us;
      held.sort((a, b) => a - b);
      const what = acknowledge ? 'feed_loop_held_acknowledged' : 'feed_loop_held';
      print(`${what}_ms_p50_${size}`, percentile(held, 0.5), 'ms');
      print(`${what}_ms_max_${size}`, percentile(held, 1), 'ms');
      print(`${what}_cpu_us_per_reader`, used_us / victims.length / size, 'us');
      readers.close();
    });
}

async function storm(): Promise<void> {
  const prepared = await prepareBenchBroker();
  await fill(prepared.folder, STORM_ENTRIES);
  await withBroker(prepared, async (broker) => {
    const readers = new Readers();
    const authorization = assertionOf(broker);
    let peak = 0;
    let asking = false;
    const watch = setInterval(() => {
      if (asking) return;
      asking = true;
      void broker.usage().then(({ rss_bytes }) => {
        peak = Math.max(peak, rss_bytes);
        asking = false;
      });
    }, 250);
    const before = await broker.usage();
    const started = now();
    const last_event_id = `1.${STORM_ENTRIES}`;
    const fresh = await readers.ask<{ readonly at: number; readonly bytes: number }>(
      shares(STORM_READERS).map((count) => ({
        name: 'storm',
        url: broker.url,
        authorization,
        count,
        last_event_id,
      })),
      'fresh',
    );
    clearInterval(watch);
    const took = (Math.max(...fresh.map(({ at }) => at)) - started) / 1000;
    const bytes = fresh.reduce((sum, one) => sum + one.bytes, 0);
    const { cpu_us } = await broker.usage();
    print('feed_reconnect_storm_s', took, 's');
    print('feed_reconnect_storm_broker_cpu', (cpu_us - before.cpu_us) / 1e6, 'CPU-s');
    print('feed_reconnect_storm_wire', bytes / 1_048_576 / took, 'MiB/s');
    print('feed_reconnect_storm_broker_peak', peak / 1_048_576, 'MiB');
    print('wire_bytes_per_entry_gzip', bytes / STORM_READERS / STORM_ENTRIES, 'bytes');
    const plain = await fetch(`${broker.url}/revocations`, {
      headers: { authorization, 'accept-encoding': 'identity' },
    });
    print('wire_bytes_per_entry', (await plain.arrayBuffer()).byteLength / STORM_ENTRIES, 'bytes');
    readers.close();
  });
}

for (const size of SIZES) await latency(size);
await pauses();
await storm();
