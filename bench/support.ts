/** What several benchmarks share: figures as JSON lines, raw signatures, a broker in a process of its own. */
import { type ChildProcess, fork } from 'node:child_process';
import { generateKeyPairSync, type KeyObject, randomUUID, sign, verify } from 'node:crypto';
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { calculateJwkThumbprint, type JWK } from 'jose';
import { stringify } from 'yaml';
import { generateKek } from '../src/keys/seal.ts';
import { freePort } from '../test/support/free-port.ts';

export function print(figure: string, value: number, unit: string, ratio?: number, against?: string): void {
  process.stdout.write(
    `${JSON.stringify({
      figure,
      value: Number(value.toPrecision(4)),
      unit,
      ratio: ratio === undefined ? null : Number(ratio.toPrecision(3)),
      against: against ?? null,
    })}\n`,
  );
}

/** The same clock for every process of the machine. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

export interface RawKey {
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
  readonly jwk: JWK;
}

export function rawKey(): RawKey {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { privateKey, publicKey, jwk: publicKey.export({ format: 'jwk' }) as JWK };
}

export function jws(key: RawKey, header: object, claims: object): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const signed = `${part(header)}.${part(claims)}`;
  const signature = sign('sha256', Buffer.from(signed), { key: key.privateKey, dsaEncoding: 'ieee-p1363' });
  return `${signed}.${signature.toString('base64url')}`;
}

/** Operations per CPU-second of two ES256 verifications and one signature: what no exchange can beat. */
export function cryptoBound(): number {
  const key = rawKey();
  const input = Buffer.alloc(600, 0x61);
  const options = { key: key.privateKey, dsaEncoding: 'ieee-p1363' } as const;
  const signature = sign('sha256', input, options);
  const once = () => {
    sign('sha256', input, options);
    for (let round = 0; round < 2; round++)
      verify('sha256', input, { key: key.publicKey, dsaEncoding: 'ieee-p1363' }, signature);
  };
  for (let warm = 0; warm < 200; warm++) once();
  const before = process.cpuUsage();
  const rounds = 3000;
  for (let round = 0; round < rounds; round++) once();
  const used = process.cpuUsage(before);
  return rounds / ((used.user + used.system) / 1e6);
}

export const ERP = 'https://erp.example.com';
export const WORKLOADS = 'https://workloads.example.com';

export interface BenchBroker {
  readonly url: string;
  readonly folder: string;
  readonly workloads: RawKey;
  readonly verifier: RawKey;
  readonly child: ChildProcess;
  /** Microseconds of all threads of the broker's process since it started, and resident bytes. */
  usage(): Promise<{ readonly cpu_us: number; readonly rss_bytes: number }>;
  /** Begins to watch the broker's event loop. */
  watchLoop(): void;
  /** Longest time, milliseconds, that the event loop was held since then; watching ends. */
  heldLoop(): Promise<number>;
  stop(): Promise<void>;
}

/** Files of a broker that is not started: a store can be filled before {@link startBenchBroker}. */
export async function prepareBenchBroker(options: { readonly catalogue?: object } = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'sortie-bench-'));
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const workloads = rawKey();
  const verifier = rawKey();
  mkdirSync(join(folder, 'templates'));
  writeFileSync(join(folder, 'kek'), generateKek());
  writeFileSync(
    join(folder, 'templates', 'bench.yaml'),
    stringify({
      id: 'reconcile',
      version: '1',
      ceiling: [
        {
          type: 'mission_resource_access',
          resource: ERP,
          actions: ['invoices.*'],
          constraints: { max_amount: { amount: '500.00', currency: 'EUR' } },
        },
      ],
      token_ttl: '5m',
      lifetime: '1h',
    }),
  );
  if (options.catalogue !== undefined)
    writeFileSync(join(folder, 'catalogue.yaml'), stringify(options.catalogue));
  writeFileSync(
    join(folder, 'broker.yaml'),
    stringify({
      issuer: url,
      development: true,
      listen: { host: '127.0.0.1', port },
      store: { sqlite: { path: 'sortie.db' } },
      keys: { key_encryption_key: { from_file: 'kek' } },
      attesters: [
        {
          name: 'workloads',
          kind: 'oidc',
          issuer: WORKLOADS,
          jwks: { keys: [{ ...workloads.jwk, alg: 'ES256', kid: 'w1' }] },
          rules: [
            {
              name: 'by-sub',
              match: { sub: '*' },
              agent: 'agents/{sub}',
              instance: '{run}',
              tier: 'reusable',
            },
          ],
        },
      ],
      audiences: [
        {
          resource: ERP,
          name: 'ERP',
          actions: { 'invoices.read': { labels: ['read'] }, 'invoices.approve': { labels: ['effect'] } },
          ...(options.catalogue !== undefined && { catalogue: 'catalogue.yaml' }),
        },
      ],
      verifiers: [{ id: 'erp', audience: ERP, auth: { private_key_jwt: [verifier.jwk] } }],
      templates: { folder: 'templates' },
      dispatch: [{ agent: 'agents/*', template: 'reconcile' }],
      admin: { bootstrap_token_file: 'bootstrap-token' },
      overload: { concurrent_exchanges: 1000, concurrent_per_instance: 1000 },
      log: { level: 'error' },
    }),
  );
  return { folder, url, workloads, verifier };
}

export async function startBenchBroker(
  prepared: Awaited<ReturnType<typeof prepareBenchBroker>>,
): Promise<BenchBroker> {
  const child = fork(fileURLToPath(new URL('./broker-process.ts', import.meta.url)), [
    join(prepared.folder, 'broker.yaml'),
  ]);
  const answer = <T>(name: string) =>
    new Promise<T>((resolve, reject) => {
      const listener = (message: { name: string }) => {
        if (message.name !== name) return;
        child.off('message', listener);
        child.off('exit', died);
        resolve(message as T);
      };
      const died = (code: number | null) => reject(new Error(`the broker ended with ${code}`));
      child.on('message', listener);
      child.once('exit', died);
    });
  await answer('ready');
  return {
    ...prepared,
    child,
    usage() {
      const told = answer<{ cpu_us: number; rss_bytes: number }>('usage');
      child.send({ name: 'usage' });
      return told;
    },
    watchLoop: () => void child.send({ name: 'watch_loop' }),
    async heldLoop() {
      const told = answer<{ longest_ms: number }>('held_loop');
      child.send({ name: 'held_loop' });
      return (await told).longest_ms;
    },
    stop: () =>
      new Promise((resolve) => {
        child.once('exit', () => resolve());
        child.kill('SIGTERM');
      }),
  };
}

export interface Prepared {
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** Sends prepared requests over kept connections and answers the bodies, in order. */
export async function sendAll(
  url: string,
  prepared: readonly Prepared[],
  in_flight: number,
): Promise<string[]> {
  const agent = new Agent({ keepAlive: true, maxSockets: in_flight });
  const bodies: string[] = new Array(prepared.length);
  let next = 0;
  const one = (index: number, { path, headers, body }: Prepared) =>
    new Promise<void>((resolve, reject) => {
      const sent = request(
        `${url}${path}`,
        { method: 'POST', agent, headers: { ...headers, 'content-length': Buffer.byteLength(body) } },
        (response) => {
          let text = '';
          response.setEncoding('utf8');
          response.on('data', (chunk: string) => {
            text += chunk;
          });
          response.on('end', () => {
            if (response.statusCode !== 200) reject(new Error(`${response.statusCode} ${text}`));
            bodies[index] = text;
            resolve();
          });
        },
      );
      sent.on('error', reject);
      sent.end(body);
    });
  const worker = async () => {
    for (;;) {
      const index = next++;
      const request_ = prepared[index];
      if (!request_) return;
      await one(index, request_);
    }
  };
  await Promise.all(Array.from({ length: in_flight }, worker));
  agent.destroy();
  return bodies;
}

/** A server nonce, which every proof needs. */
export async function nonceOf(url: string): Promise<string> {
  const response = await fetch(`${url}/token`, { method: 'POST', body: new URLSearchParams() });
  await response.arrayBuffer();
  return response.headers.get('dpop-nonce') ?? '';
}

export function proofOf(key: RawKey, url: string, nonce: string): string {
  return jws(
    key,
    { typ: 'dpop+jwt', alg: 'ES256', jwk: key.jwk },
    { jti: randomUUID(), htm: 'POST', htu: url, iat: Math.floor(Date.now() / 1000), nonce },
  );
}

export async function thumbprintOf(key: RawKey): Promise<string> {
  return calculateJwkThumbprint(key.jwk);
}
