/** psql, as it is, under a mission: a real PostgreSQL. */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { countRows } from '../../examples/warehouse.ts';
import { agentAt, evidenceOf } from '../sdk/agent/support.ts';
import { ERP } from '../support/broker.ts';
import { type BundleBroker, POSTGRES_ENTRY, startBundle } from '../support/bundle.ts';
import { postgresFor } from '../support/postgres.ts';
import { eventually, missionFile, node, type Place, startPlace } from './support.ts';

const bin = postgresFor('psql under exec');
const WAIT = { timeout: 20_000 };

describe.skipIf(bin === null)('a PostgreSQL login', () => {
  let bundle: BundleBroker;
  let place: Place;
  beforeAll(async () => {
    bundle = await startBundle(bin ?? '');
    place = startPlace(bundle.broker);
  });
  afterAll(async () => {
    place.close();
    await bundle.close();
  });
  const psql = join(bin ?? '', 'psql');
  const file = (max_ttl_seconds: number) =>
    missionFile(bundle.broker, {
      authorization_details: [
        { type: 'mission_resource_access', resource: ERP, actions: ['invoices.read'] },
        { ...POSTGRES_ENTRY, max_ttl_seconds },
      ],
      deliver: {
        postgres: [{ credential: 'warehouse/sales' }],
        environment: {
          DATABASE_URL: {
            credential: 'warehouse/sales',
            text: 'postgresql://{user|url}:{password|url}@{host}:{port}/{database}',
          },
        },
      },
    });

  test('reaches psql by its service file, and is dropped with the run', async () => {
    const run = await place.exec(
      file(600),
      [psql, '-Atc', 'SELECT current_user, (SELECT count(*) FROM orders)'],
      {
        // Nothing of whoever starts the run leads past it.
        env: { PGUSER: 'postgres', PGPASSWORD: 'standing', PGHOSTADDR: '192.0.2.1', PGSERVICE: 'other' },
      },
    );
    expect(await run.exited, run.said.err).toBe(0);
    expect(run.said.out).toMatch(/^sortie_[0-9a-f]{40}\|0\n$/);
    await expect.poll(() => bundle.roles(), WAIT).toEqual([]);
  });

  test('is used by the example, connection by connection', async () => {
    const agent = await agentAt(bundle.broker, { evidence: evidenceOf(bundle.broker, { run: 'example' }) });
    const mission = await agent.declare({ goal: 'Count', resources: [ERP], lifetime_seconds: 600 });
    expect(await countRows(mission, 'orders')).toBe(0);
    await mission.complete();
    await expect(countRows(mission, 'orders')).rejects.toThrow('mission_completed');
    agent.close();
  });

  test('reaches programs that want an address', async () => {
    const script = [psql, '"$DATABASE_URL"', '-Atc', '"SELECT current_user"'].join(' ');
    const run = await place.exec(file(600), [
      'sh',
      '-c',
      `unset PGSERVICE PGSERVICEFILE PGUSER PGPASSWORD; ${script}`,
    ]);
    expect(await run.exited, run.said.err).toBe(0);
    expect(run.said.out).toMatch(/^sortie_[0-9a-f]{40}\n$/);
  });

  test('is another one after its renewal, which psql follows', async () => {
    const run = await place.exec(file(4), [
      'sh',
      '-c',
      `first=
         for i in $(seq 200); do
           now=$(${psql} -Atc 'SELECT current_user' 2>/dev/null) || continue
           if [ -z "$first" ]; then first=$now; echo $now; fi
           if [ "$now" != "$first" ]; then echo $now; exit 0; fi
           sleep 0.05
         done
         exit 4`,
    ]);
    expect(await run.exited, run.said.err).toBe(0);
    expect(new Set(run.said.out.trim().split('\n')).size).toBe(2);
    const warnings = run.events().filter(({ event }) => event === 'warning');
    expect(warnings.map(({ message }) => message).join()).toContain('programs on libpq see the next login');
    await expect.poll(() => bundle.roles(), WAIT).toEqual([]);
  });

  test('is dropped, and its sessions are ended, when the command is killed in the middle', async () => {
    const run = await place.exec(file(600), [psql, '-c', 'SELECT pg_sleep(60)']);
    await eventually(() => run.events().some(({ event }) => event === 'started'), 'it runs', run);
    await expect
      .poll(
        async () =>
          (
            await bundle.database.query(
              "SELECT usename FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND usename LIKE 'sortie\\_%'",
            )
          ).length,
        WAIT,
      )
      .toBeGreaterThan(0);
    run.process.kill('SIGTERM');
    expect(await run.exited).toBe(143);
    await expect.poll(() => bundle.roles(), WAIT).toEqual([]);
    expect(place.left()).toEqual([]);
  });

  test('of a database that the mission has no login for is missed before the command runs', async () => {
    const run = await place.exec(
      { ...file(600), deliver: { postgres: [{ credential: 'warehouse/other' }] } },
      node('console.log("ran")'),
    );
    expect(await run.exited).toBe(125);
    expect(run.said.out).toBe('');
    expect(run.said.err).toContain(
      'holds no such postgres_role of warehouse/other; it holds: postgres_role warehouse/sales',
    );
    await expect.poll(() => bundle.roles(), WAIT).toEqual([]);
  });
});
