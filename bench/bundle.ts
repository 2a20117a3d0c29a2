/**
 * What a bundle costs beyond its slowest provider, how long a revoked mission's database session and token live, and
 * what live leases weigh. A token, a PostgreSQL role, a secret of the Vault emulator and two sessions of moto (without
 * moto none, and the figure says so), by one call; broker, emulator and client share one process and its event loop.
 */
import { fork } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import Database from 'better-sqlite3';
import pg from 'pg';
import type { Provider } from '../src/providers/provider.ts';
import { pythonHas } from '../test/foreign/python.ts';
import { newKey } from '../test/support/broker.ts';
import { type BundleBroker, credentialOf, startBundle } from '../test/support/bundle.ts';
import { postgresBinaries } from '../test/support/postgres.ts';
import { openStream } from '../test/support/stream.ts';
import { print } from './support.ts';

const BUNDLES = Number(process.env['SORTIE_BENCH_BUNDLES'] ?? 200);
const REVOCATIONS = Number(process.env['SORTIE_BENCH_REVOCATIONS'] ?? 100);
const LEASES = Number(process.env['SORTIE_BENCH_LEASES'] ?? 100_000);
const WARM = 20;
/** Rounds of the keeper, one each second, that a broker is watched for. */
const WATCHED_MS = 8000;

function quantile(values: readonly number[], at: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * at))] ?? 0;
}

/** Lets each provider note how long its own part of the running bundle takes, counterpart included. */
function timed(bundle: BundleBroker): { readonly own: number[] } {
  const providers = bundle.broker.broker.ports.providers as Map<string, Provider>;
  const own: number[] = [];
  for (const [type, provider] of providers)
    providers.set(type, {
      ...provider,
      async issue(request, context) {
        const from = performance.now();
        const issued = await provider.issue(request, context);
        own.push(performance.now() - from);
        return issued;
      },
    });
  return { own };
}

/** From the request until the manifest is read; beside it the slowest provider of the very same bundle. */
async function bundles(bundle: BundleBroker): Promise<void> {
  const { own } = timed(bundle);
  const key = await newKey();
  const whole: number[] = [];
  const slowest: number[] = [];
  let credentials = 0;
  for (let round = 0; round < BUNDLES + WARM; round++) {
    own.length = 0;
    const from = performance.now();
    const { status, body } = await bundle.declare(key);
    const took = performance.now() - from;
    if (status !== 201) throw new Error(`a bundle was answered with ${status}`);
    credentials = body.credentials.length;
    if (round < WARM) continue;
    whole.push(took);
    slowest.push(Math.max(...own));
  }
  for (const [name, at] of [
    ['p50', 0.5],
    ['p99', 0.99],
  ] as const)
    print(
      `bundle_ms_${name}`,
      quantile(whole, at),
      'ms',
      quantile(whole, at) / quantile(slowest, at),
      `${name} of the slowest provider of each bundle; ${BUNDLES} bundles of ${credentials} credentials`,
    );
  const beyond = whole.map((took, at) => took - (slowest[at] ?? 0));
  print('bundle_beyond_slowest_provider_ms_p50', quantile(beyond, 0.5), 'ms');
}

/**
 * From the admin's request until the open session in PostgreSQL is dead, and a verifier that follows the feed has
 * heard to deny the token; introspection, asked at that moment, must say the same.
 */
async function revocations(bundle: BundleBroker): Promise<void> {
  const key = await newKey();
  const assertion = await bundle.broker.assertion();
  const feed = await openStream(`${bundle.broker.url}/revocations/stream`, {
    authorization: `Bearer ${assertion}`,
  });
  const heard = (id: string) => feed.of('entry').some(({ data }) => data['key'] === id);
  const whole: number[] = [];
  const session: number[] = [];
  const denied: number[] = [];
  const answers: number[] = [];
  for (let round = 0; round < REVOCATIONS + WARM; round++) {
    const { body } = await bundle.declare(key);
    const { host, port, database, user, password } = credentialOf(body, 'postgres_role').value as Record<
      string,
      never
    >;
    const token = String(credentialOf(body, 'jwt').value);
    const client = new pg.Client({ host, port, database, user, password });
    client.on('error', () => {});
    await client.connect();
    await client.query('SELECT 1');
    const from = performance.now();
    const dead = new Promise((resolve) => client.once('end', resolve)).then(() => performance.now() - from);
    const answered = bundle.broker
      .admin('POST', `/missions/${body.mission.id}/revoke`, { reason: 'bench' })
      .then(() => performance.now() - from);
    while (!heard(body.mission.id)) await new Promise((resolve) => setTimeout(resolve, 1));
    const denied_after = performance.now() - from;
    if ((await bundle.broker.introspect(token))['active'] !== false)
      throw new Error('the token of a revoked mission is still active');
    const dead_after = await dead;
    const answered_after = await answered;
    if (round < WARM) continue;
    denied.push(denied_after);
    answers.push(answered_after);
    session.push(dead_after);
    whole.push(Math.max(denied_after, dead_after));
  }
  feed.close();
  print('revoke_mission_ms_p50', quantile(whole, 0.5), 'ms');
  print('revoke_mission_ms_p99', quantile(whole, 0.99), 'ms');
  print('revoke_mission_token_denied_ms_p50', quantile(denied, 0.5), 'ms');
  print('revoke_mission_session_dead_ms_p50', quantile(session, 0.5), 'ms');
  print('revoke_mission_answered_ms_p50', quantile(answers, 0.5), 'ms');
}

interface Usage {
  readonly cpu_us: number;
  readonly rss_bytes: number;
}

/** Memory and CPU of a broker in a process of its own that has nothing to do but its own rounds. */
async function watched(config: string): Promise<Usage> {
  const child = fork(fileURLToPath(new URL('./broker-process.ts', import.meta.url)), [config]);
  const told = <T>(name: string) =>
    new Promise<T>((resolve, reject) => {
      const listener = (message: { readonly name: string }) => {
        if (message.name !== name) return;
        child.off('message', listener);
        resolve(message as T);
      };
      child.on('message', listener);
      child.once('exit', (code) => reject(new Error(`the broker ended with ${code}`)));
    });
  const usage = () => {
    const answer = told<Usage>('usage');
    child.send({ name: 'usage' });
    return answer;
  };
  await told('ready');
  await new Promise((resolve) => setTimeout(resolve, 2000));
  const before = await usage();
  await new Promise((resolve) => setTimeout(resolve, WATCHED_MS));
  const after = await usage();
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  await gone;
  return { cpu_us: after.cpu_us - before.cpu_us, rss_bytes: after.rss_bytes };
}

/** Multiplies a mission of the broker's own and one live lease of it, each copy with its own ids. */
function fill(path: string, mission_id: string, type: string, count: number): void {
  const db = new Database(path);
  db.pragma('synchronous = off');
  const columns = (table: string, own: Readonly<Record<string, string>>) => {
    const names = (db.pragma(`table_info(${table})`) as { name: string }[])
      .map(({ name }) => name)
      .filter((name) => name !== 'n');
    return { names: names.join(', '), values: names.map((name) => own[name] ?? `r.${name}`).join(', ') };
  };
  const mission = columns('missions', {
    id: "'msn_bench_' || k.i",
    instance: "'bench-' || k.i",
    status_list: '1000 + k.i / 65536',
    status_index: 'k.i % 65536',
    creation_key: 'null',
    creation_request_id: 'null',
    attest_due_at: 'r.attest_due_at + 3600',
  });
  const lease = columns('leases', {
    id: "'lse_bench_' || k.i",
    credential_id: "'cred_bench_' || k.i",
    mission_id: "'msn_bench_' || k.i",
  });
  const numbers = 'with recursive k(i) as (select 1 union all select i + 1 from k where i < @count)';
  db.transaction(() => {
    db.prepare(
      `${numbers} insert into missions (${mission.names}) select ${mission.values} from missions r, k where r.id = @mission_id`,
    ).run({ count, mission_id });
    const { changes } = db
      .prepare(
        `${numbers} insert into leases (${lease.names}) select ${lease.values} from leases r, k
         where r.mission_id = @mission_id and r.type = @type and r.state = 1`,
      )
      .run({ count, mission_id, type });
    if (changes !== count) throw new Error('the lease to multiply is not live');
  })();
  db.pragma('wal_checkpoint(truncate)');
  db.close();
}

async function leases(bundle: BundleBroker): Promise<void> {
  const { body } = await bundle.declare(await newKey());
  await bundle.broker.broker.close();
  const { config_path, folder } = bundle.broker;
  const few = await watched(config_path);
  fill(join(folder, 'sortie.db'), body.mission.id, 'postgres_role', LEASES);
  const many = await watched(config_path);
  print(
    `bytes_per_live_lease_of_${LEASES}`,
    Math.max(0, many.rss_bytes - few.rss_bytes) / LEASES,
    "bytes of the broker's memory, each under a mission of its own",
    many.rss_bytes / few.rss_bytes,
    'memory of the same broker with a few',
  );
  print(
    `idle_cpu_percent_with_${LEASES}_live_leases`,
    many.cpu_us / (WATCHED_MS * 10),
    '%',
    many.cpu_us / few.cpu_us,
    'the same broker with a few',
  );
  await bundle.broker.restart();
  const { ports } = bundle.broker.broker;
  const from = performance.now();
  await ports.store.leasesDue('postgres_role', ports.clock.now(), 200);
  print(`leases_due_ms_with_${LEASES}_live`, performance.now() - from, 'ms');
}

const bin = postgresBinaries();
if (bin === null) {
  process.stderr.write('SKIPPED: bench bundle, because PostgreSQL is not installed here\n');
} else {
  const bundle = await startBundle(bin, { aws: pythonHas('the AWS part of bench bundle', 'moto.server') });
  try {
    await bundles(bundle);
    await revocations(bundle);
    await leases(bundle);
  } finally {
    await bundle.close();
  }
}
