/**
 * What a bundle costs beyond its slowest provider, how long a revoked mission's database session lives, and what
 * live leases weigh. A token, a PostgreSQL role and a secret of the Vault emulator, by one call.
 */
import { randomUUID } from 'node:crypto';
import pg from 'pg';
import type { LeaseRecord } from '../src/ports.ts';
import type { Provider } from '../src/providers/provider.ts';
import { newKey } from '../test/support/broker.ts';
import { type BundleBroker, credentialOf, startBundle } from '../test/support/bundle.ts';
import { postgresBinaries } from '../test/support/postgres.ts';
import { print } from './support.ts';

const BUNDLES = Number(process.env['SORTIE_BENCH_BUNDLES'] ?? 100);
const REVOCATIONS = 20;
const LEASES = Number(process.env['SORTIE_BENCH_LEASES'] ?? 100_000);
const WARM = 10;

function quantile(values: readonly number[], at: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * at))] ?? 0;
}

/** The providers, each noting how long its own part takes. */
function timed(bundle: BundleBroker): ReadonlyMap<string, number[]> {
  const providers = bundle.broker.broker.ports.providers as Map<string, Provider>;
  const times = new Map<string, number[]>();
  for (const [type, provider] of providers) {
    const own: number[] = [];
    times.set(type, own);
    providers.set(type, {
      ...provider,
      async issue(request, context) {
        const from = performance.now();
        const issued = await provider.issue(request, context);
        own.push(performance.now() - from);
        return issued;
      },
    });
  }
  return times;
}

async function bundles(bundle: BundleBroker): Promise<void> {
  const times = timed(bundle);
  const key = await newKey();
  const taken: number[] = [];
  for (let round = 0; round < BUNDLES + WARM; round++) {
    const from = performance.now();
    const { status } = await bundle.declare(key);
    if (status !== 201) throw new Error(`a bundle was answered with ${status}`);
    taken.push(performance.now() - from);
  }
  const measured = taken.slice(WARM);
  const slowest = Math.max(...[...times.values()].map((own) => quantile(own.slice(WARM), 0.5)));
  print(
    'bundle_ms_p50',
    quantile(measured, 0.5),
    'ms',
    quantile(measured, 0.5) / slowest,
    'slowest provider p50',
  );
  print(
    'bundle_ms_p99',
    quantile(measured, 0.99),
    'ms',
    quantile(measured, 0.99) / slowest,
    'slowest provider p50',
  );
}

/** From the admin's request until the session in PostgreSQL is dead and the token inactive. */
async function revocations(bundle: BundleBroker): Promise<void> {
  const key = await newKey();
  const taken: number[] = [];
  for (let round = 0; round < REVOCATIONS; round++) {
    const { body } = await bundle.declare(key);
    const { host, port, database, user, password } = credentialOf(body, 'postgres_role').value as Record<
      string,
      never
    >;
    const token = String(credentialOf(body, 'jwt').value);
    const client = new pg.Client({ host, port, database, user, password });
    client.on('error', () => {});
    await client.connect();
    const dead = new Promise((resolve) => client.once('end', resolve));
    const from = performance.now();
    await bundle.broker.admin('POST', `/missions/${body.mission.id}/revoke`, { reason: 'bench' });
    const denied = (await bundle.broker.introspect(token))['active'] === false;
    if (!denied) throw new Error('the token of a revoked mission is still active');
    await dead;
    taken.push(performance.now() - from);
  }
  print('revoke_mission_ms_p50', quantile(taken, 0.5), 'ms');
  print('revoke_mission_ms_p99', quantile(taken, 0.99), 'ms');
}

async function leases(bundle: BundleBroker): Promise<void> {
  const { ports } = bundle.broker.broker;
  const { body } = await bundle.declare(await newKey());
  const [model] = await ports.store.leases(body.mission.id);
  if (model === undefined) throw new Error('no lease');
  const lease = (): LeaseRecord => ({ ...model, id: `lse_${randomUUID()}`, next_at: model.expires_at });
  global.gc?.();
  const before = process.memoryUsage().heapUsed;
  for (let done = 0; done < LEASES; done += 1000)
    await ports.store.atomically(
      Array.from({ length: 1000 }, () => ({ kind: 'insert_lease', lease: lease() }) as const),
    );
  // The keeper looked at them all this while.
  global.gc?.();
  const grown = Math.max(0, process.memoryUsage().heapUsed - before);
  print(`heap_bytes_per_live_lease_of_${LEASES}`, grown / LEASES, 'bytes');
  const from = performance.now();
  await ports.store.leasesDue(model.type, ports.clock.now(), 200);
  print(`leases_due_ms_with_${LEASES}_live`, performance.now() - from, 'ms');
}

const bin = postgresBinaries();
if (bin === null) {
  process.stderr.write('SKIPPED: bench bundle, because PostgreSQL is not installed here\n');
} else {
  const bundle = await startBundle(bin);
  try {
    await bundles(bundle);
    await revocations(bundle);
    await leases(bundle);
  } finally {
    await bundle.close();
  }
}
