/**
 * The broker's synchronous word on one consequential call: `POST /access/v1/evaluation` over a kept loopback
 * connection to a broker in its own process, one question at a time, each with a fresh proof, its destination judged
 * for a tainted mission, recorded durably before the answer. The figure is what a guarded call waits. Beside it stands
 * what the disk takes for as many bytes alone: no answer that is on disk can come before.
 */
import { createHash, randomUUID } from 'node:crypto';
import { closeSync, fdatasyncSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import {
  ERP,
  jws,
  nonceOf,
  type Prepared,
  prepareBenchBroker,
  print,
  proofOf,
  rawKey,
  sendAll,
  startBenchBroker,
  WORKLOADS,
} from './support.ts';

const CALLS = Number(process.env['SORTIE_BENCH_CONSEQUENTIAL_CALLS'] ?? 2000);
/** Until both processes run compiled code: the first thousand calls of a broker's life are not what a mission meets. */
const WARM = 1500;
const AIM_P99_MS = 5;

/** What the disk is asked for by one recorded decision, about. */
const RECORD_BYTES = 28_672;
const ACCOUNT = 'DE89370400440532013000';

const prepared = await prepareBenchBroker({
  catalogue: {
    audience: ERP,
    version: '1',
    actions: {
      'invoices.read': { labels: ['read'] },
      'invoices.approve': {
        labels: ['effect', 'external', 'consequential'],
        sinks: [{ parameter: 'account', kind: 'account' }],
        returns: { default: 'system' },
      },
    },
  },
});
const broker = await startBenchBroker(prepared);
try {
  const key = rawKey();
  const iat = Math.floor(Date.now() / 1000);
  const evidence = jws(
    broker.workloads,
    { alg: 'ES256', kid: 'w1', typ: 'JWT' },
    {
      iss: WORKLOADS,
      aud: broker.url,
      sub: 'reconciler',
      run: 'one',
      iat,
      exp: iat + 900,
      jti: randomUUID(),
    },
  );
  const [created = ''] = await sendAll(
    broker.url,
    [
      {
        path: '/token',
        headers: {
          'content-type': 'application/x-www-form-urlencoded',
          dpop: proofOf(key, `${broker.url}/token`, await nonceOf(broker.url)),
        },
        body: new URLSearchParams({
          grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
          subject_token: evidence,
          subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
          resource: ERP,
          mission_intent: JSON.stringify({
            intent: {
              goal: `Approve the open invoices to ${ACCOUNT}`,
              resources: [ERP],
              expires_at: new Date(Date.now() + 1_800_000).toISOString(),
            },
          }),
        }).toString(),
      },
    ],
    1,
  );
  const { access_token, mission_id } = JSON.parse(created) as { access_token: string; mission_id: string };
  const ath = createHash('sha256').update(access_token).digest('base64url');
  const assertion = jws(
    broker.verifier,
    { alg: 'ES256', typ: 'client-authentication+jwt' },
    { iss: 'erp', sub: 'erp', aud: broker.url, iat, exp: iat + 280, jti: randomUUID() },
  );
  const ask = (n: number) => {
    const url = `${ERP}/invoices/${n}/approval`;
    const dpop = jws(
      key,
      { typ: 'dpop+jwt', alg: 'ES256', jwk: key.jwk },
      { jti: randomUUID(), htm: 'POST', htu: url, iat: Math.floor(Date.now() / 1000), ath },
    );
    return {
      path: '/access/v1/evaluation',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${assertion}` },
      body: JSON.stringify({
        subject: { type: 'mission', id: mission_id },
        action: { name: 'invoices.approve' },
        resource: { type: 'resource', id: ERP },
        context: {
          access_token,
          dpop,
          method: 'POST',
          url,
          parameters: { account: ACCOUNT },
          behaviour: { mode: 'enforce', answers_inspected: true },
          amount: { amount: '20.00', currency: 'EUR' },
        },
      }),
    };
  };
  const { jti } = JSON.parse(Buffer.from(access_token.split('.')[1] ?? '', 'base64url').toString()) as {
    jti: string;
  };
  await sendAll(
    broker.url,
    [
      {
        path: '/observations',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${assertion}` },
        body: JSON.stringify({ mission_id, jti, seq: 1, origin: 'text', field: '*', digests: [] }),
      },
    ],
    1,
  );
  // Each question waits for the one before.
  await timed(broker.url, WARM, ask);
  const before = await broker.usage();
  const { waits, permitted } = await timed(broker.url, CALLS, (n) => ask(WARM + n));
  const spent = (await broker.usage()).cpu_us - before.cpu_us;
  waits.sort((a, b) => a - b);
  const at = (share: number) => waits[Math.floor(waits.length * share)] ?? Number.NaN;
  if (permitted !== CALLS) throw new Error(`${CALLS - permitted} of ${CALLS} were not permitted`);
  print('consequential check, p50', at(0.5), 'ms', at(0.5) / AIM_P99_MS, 'aim for p99: 5 ms');
  print('consequential check, processor time of the broker, all threads', spent / CALLS / 1000, 'ms');
  const disk = diskWaits(prepared.folder);
  const floor = (share: number) => disk[Math.floor(disk.length * share)] ?? Number.NaN;
  print('durable write of as much alone, p50', floor(0.5), 'ms');
  print('durable write of as much alone, p99', floor(0.99), 'ms');
  print('consequential check, p99', at(0.99), 'ms', at(0.99) / AIM_P99_MS, 'aim: 5 ms');
} finally {
  await broker.stop();
  rmSync(prepared.folder, { recursive: true, force: true });
}

/** Sorted, milliseconds. */
function diskWaits(folder: string): number[] {
  const file = openSync(join(folder, 'floor'), 'w');
  const bytes = Buffer.alloc(RECORD_BYTES);
  const waits: number[] = [];
  for (let n = 0; n < CALLS; n++) {
    const began = performance.now();
    writeSync(file, bytes, 0, bytes.length, (n % 512) * RECORD_BYTES);
    fdatasyncSync(file);
    waits.push(performance.now() - began);
  }
  closeSync(file);
  return waits.sort((a, b) => a - b);
}

async function timed(
  url: string,
  calls: number,
  question: (n: number) => Prepared,
): Promise<{ waits: number[]; permitted: number }> {
  const waits: number[] = [];
  let permitted = 0;
  for (let n = 0; n < calls; n++) {
    // Signed just before: a proof is fresh for a minute, and a loaded machine takes longer for all of them.
    const { path, headers, body } = question(n);
    const began = performance.now();
    const response = await fetch(url + path, { method: 'POST', headers, body });
    const answer = (await response.json()) as { decision?: boolean };
    waits.push(performance.now() - began);
    if (answer.decision === true) permitted++;
  }
  return { waits, permitted };
}
