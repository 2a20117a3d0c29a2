/** The load of the exchange benchmarks: fresh evidence, fresh proofs, fresh missions. */
import { randomUUID } from 'node:crypto';
import {
  type BenchBroker,
  ERP,
  jws,
  type Prepared,
  proofOf,
  type RawKey,
  rawKey,
  sendAll,
  WORKLOADS,
} from './support.ts';

const KEYS = 100;
const IN_FLIGHT = 64;
const FORM = { 'content-type': 'application/x-www-form-urlencoded' };
const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const JWT = 'urn:ietf:params:oauth:token-type:jwt';

/** One running copy of the agent: its key and the instance that its evidence names. */
export interface Run {
  readonly key: RawKey;
  readonly run: string;
}

const keys = Array.from({ length: KEYS }, rawKey);

export function freshRuns(count: number): Run[] {
  return Array.from({ length: count }, (_, index) => ({
    key: keys[index % KEYS] ?? rawKey(),
    run: randomUUID(),
  }));
}

function evidenceOf(broker: BenchBroker, run: string): string {
  const iat = Math.floor(Date.now() / 1000);
  return jws(
    broker.workloads,
    { alg: 'ES256', kid: 'w1', typ: 'JWT' },
    { iss: WORKLOADS, aud: broker.url, sub: 'reconciler', run, iat, exp: iat + 900, jti: randomUUID() },
  );
}

function tokenRequest(
  broker: BenchBroker,
  nonce: string,
  { key, run }: Run,
  asked: Record<string, string>,
): Prepared {
  return {
    path: '/token',
    headers: { ...FORM, dpop: proofOf(key, `${broker.url}/token`, nonce) },
    body: new URLSearchParams({
      grant_type: EXCHANGE,
      subject_token: evidenceOf(broker, run),
      subject_token_type: JWT,
      resource: ERP,
      ...asked,
    }).toString(),
  };
}

export function creations(broker: BenchBroker, nonce: string, runs: readonly Run[]): Prepared[] {
  const expires_at = new Date(Date.now() + 1_800_000).toISOString();
  return runs.map((run) =>
    tokenRequest(broker, nonce, run, {
      mission_intent: JSON.stringify({
        intent: { goal: `Reconcile the open invoices of supplier ${run.run}`, resources: [ERP], expires_at },
      }),
    }),
  );
}

/** @param bodies answers to {@link creations}, in order */
export function renewals(
  broker: BenchBroker,
  nonce: string,
  runs: readonly Run[],
  bodies: readonly string[],
): Prepared[] {
  return bodies.flatMap((body, index) => {
    const run = runs[index];
    const { mission_id } = JSON.parse(body) as { mission_id: string };
    return run ? [tokenRequest(broker, nonce, run, { mission_id })] : [];
  });
}

/** Sends everything and says what it cost the broker's process, all its threads together. */
export async function measured(broker: BenchBroker, prepared: readonly Prepared[]) {
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
