import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { PostgresRole } from '../../../src/domain/authority/types/postgres_role.ts';
import type { JsonObject } from '../../../src/domain/json.ts';
import { createPostgresRoles, roleNameOf } from '../../../src/providers/postgres/role.ts';
import type { Provider } from '../../../src/providers/provider.ts';
import { postgresFor, startPostgres, type TestPostgres } from '../../support/postgres.ts';
import { type Counterpart, conforms, issued, leaseRequest } from '../conformance.ts';

const bin = postgresFor('postgres_role');

const NASTY = 'a"; DROP TABLE orders; --';

describe.skipIf(bin === null)('postgres_role against PostgreSQL', () => {
  let server: TestPostgres;
  let provider: Provider<PostgresRole>;
  const entry = {
    type: 'postgres_role',
    server: 'warehouse',
    database: 'sales',
    grants: [
      { schema: 'public', tables: ['orders'], privileges: ['SELECT', 'INSERT'] },
      { schema: 'public', tables: [NASTY], privileges: ['SELECT'] },
    ],
  };

  beforeAll(async () => {
    server = await startPostgres(bin ?? '');
    await server.query('CREATE DATABASE sales');
    const sql = (text: string) => server.query(text, [], 'sales');
    await sql('CREATE TABLE orders (id int)');
    await sql('CREATE TABLE salaries (id int)');
    await sql(`CREATE TABLE ${pg.escapeIdentifier(NASTY)} (id int)`);
    await sql('CREATE SCHEMA closed CREATE TABLE ledger (id int) CREATE TABLE journal (id int)');
    await sql('GRANT SELECT, INSERT ON orders TO sortie_broker WITH GRANT OPTION');
    await sql(`GRANT SELECT ON ${pg.escapeIdentifier(NASTY)} TO sortie_broker WITH GRANT OPTION`);
    await sql('GRANT USAGE ON SCHEMA closed TO sortie_broker WITH GRANT OPTION');
    await sql('GRANT SELECT ON ALL TABLES IN SCHEMA closed TO sortie_broker WITH GRANT OPTION');
    provider = at(server.port);
  });
  afterAll(async () => {
    await provider.close();
    await server.close();
  });

  function at(port: number, password = server.broker.password): Provider<PostgresRole> {
    return createPostgresRoles({
      servers: [
        {
          name: 'warehouse',
          host: '127.0.0.1',
          port,
          user: server.broker.user,
          password,
          tls: null,
          timeout_ms: 1500,
        },
      ],
    });
  }

  async function login(deliver: JsonObject): Promise<pg.Client> {
    const { host, port, database, user, password } = deliver as Record<string, never>;
    const client = new pg.Client({ host, port, database, user, password });
    client.on('error', () => {});
    await client.connect();
    return client;
  }

  async function works(deliver: JsonObject): Promise<boolean> {
    try {
      const client = await login(deliver);
      await client.query('SELECT * FROM orders');
      await client.end();
      return true;
    } catch {
      return false;
    }
  }

  const alive = async () =>
    Number(
      (await server.query("SELECT count(*) FROM pg_roles WHERE rolname ~ '^sortie_[0-9a-f]{40}$'"))[0]?.[
        'count'
      ],
    );

  conforms<PostgresRole>(
    (): Counterpart<PostgresRole> => ({
      provider,
      entry,
      unconfigured: { ...entry, server: 'elsewhere' },
      broker_secrets: [server.broker.password],
      works,
      alive,
      at,
      secrets: (deliver) => [String(deliver['password'])],
      refused: () => ({
        provider: at(server.port, 'wrong-password-of-the-broker'),
        secret: 'wrong-password-of-the-broker',
      }),
      short_life_seconds: 3,
      leases_are_independent: true,
      enforces: true,
    }),
  );

  async function allowed(deliver: JsonObject, statements: readonly string[]): Promise<boolean[]> {
    const client = await login(deliver);
    const results: boolean[] = [];
    for (const statement of statements)
      results.push(
        await client.query(statement).then(
          () => true,
          () => false,
        ),
      );
    await client.end();
    return results;
  }

  it('grants exactly the privileges of the entry', async () => {
    const { deliver, revocation } = await issued(provider, leaseRequest<PostgresRole>(entry));
    const results = await allowed(deliver, [
      'SELECT * FROM orders',
      'INSERT INTO orders VALUES (1)',
      `SELECT * FROM ${pg.escapeIdentifier(NASTY)}`,
      'DELETE FROM orders',
      'UPDATE orders SET id = 2',
      `INSERT INTO ${pg.escapeIdentifier(NASTY)} VALUES (1)`,
      'SELECT * FROM salaries',
      'SELECT * FROM closed.ledger',
      'CREATE TABLE mine (id int)',
      'CREATE ROLE friend LOGIN',
      'SET ROLE sortie_broker',
      `GRANT SELECT ON orders TO PUBLIC`,
      `ALTER ROLE CURRENT_USER VALID UNTIL 'infinity'`,
    ]);
    // GRANT without the option only warns; nothing was granted, as the next assertion shows.
    expect(results).toEqual([
      true,
      true,
      true,
      false,
      false,
      false,
      false,
      false,
      false,
      false,
      false,
      true,
      false,
    ]);
    expect(
      await server.query("SELECT has_table_privilege('public', 'orders', 'SELECT') AS can", [], 'sales'),
    ).toEqual([{ can: false }]);
    await provider.revoke(revocation, 0);
  });

  it('grants all tables of a schema, with the way into it', async () => {
    const all = { ...entry, grants: [{ schema: 'closed', tables: ['*'], privileges: ['SELECT'] }] };
    const { deliver, revocation } = await issued(provider, leaseRequest<PostgresRole>(all));
    expect(
      await allowed(deliver, [
        'SELECT * FROM closed.ledger',
        'SELECT * FROM closed.journal',
        'SELECT * FROM orders',
      ]),
    ).toEqual([true, true, false]);
    await provider.revoke(revocation, 0);
    expect(await alive()).toBe(0);
  });

  it('refuses to issue what its own role may not pass on, and leaves no role', async () => {
    for (const grants of [
      [{ schema: 'public', tables: ['salaries'], privileges: ['SELECT'] }],
      [{ schema: 'public', tables: ['orders'], privileges: ['SELECT', 'DELETE'] }],
      [{ schema: 'public', tables: ['nowhere'], privileges: ['SELECT'] }],
      [{ schema: 'nowhere', tables: ['orders'], privileges: ['SELECT'] }],
    ])
      await expect(issued(provider, leaseRequest<PostgresRole>({ ...entry, grants }))).rejects.toMatchObject({
        code: 'misconfigured',
        retry: false,
      });
    await expect(
      issued(provider, leaseRequest<PostgresRole>({ ...entry, database: 'nowhere' })),
    ).rejects.toMatchObject({ code: 'misconfigured' });
    expect(await alive()).toBe(0);
  });

  it('ends sessions that are in the middle of something', async () => {
    const { deliver, revocation } = await issued(provider, leaseRequest<PostgresRole>(entry));
    const clients = await Promise.all([login(deliver), login(deliver)]);
    const endings = clients.map((client) =>
      client.query('SELECT pg_sleep(60)').then(
        () => 'slept',
        () => 'ended',
      ),
    );
    await provider.revoke(revocation, 0);
    expect(await Promise.all(endings)).toEqual(['ended', 'ended']);
    const [left] = await server.query(
      "SELECT count(*) FROM pg_stat_activity WHERE usename LIKE 'sortie\\_%' AND usename <> 'sortie_broker'",
    );
    expect(left?.['count']).toBe('0');
  });

  it('removes what the role made and passed on', async () => {
    const { deliver, revocation } = await issued(provider, leaseRequest<PostgresRole>(entry));
    await allowed(deliver, ['SELECT lo_create(0)', 'CREATE TEMP TABLE scratch (id int)']);
    await provider.revoke(revocation, 0);
    expect(await alive()).toBe(0);
  });

  it('keeps the login dead and says so while something elsewhere still holds the role', async () => {
    await server.query('CREATE DATABASE other');
    const { deliver, revocation } = await issued(provider, leaseRequest<PostgresRole>(entry));
    await allowed({ ...deliver, database: 'other' }, ['SELECT lo_create(4711)']);
    await expect(provider.revoke(revocation, 0)).rejects.toMatchObject({
      code: 'leftover',
      residual: { seconds: 0 },
    });
    expect(await works(deliver)).toBe(false);
    await server.query('SELECT lo_unlink(4711)', [], 'other');
    await provider.revoke(revocation, 0);
    expect(await alive()).toBe(0);
  });

  it('keeps to the connection limit', async () => {
    const limited = { ...entry, connection_limit: 1 };
    const { deliver, revocation } = await issued(provider, leaseRequest<PostgresRole>(limited));
    const first = await login(deliver);
    expect(await works(deliver)).toBe(false);
    await first.end();
    await provider.revoke(revocation, 0);
  });

  it('never sends a password to the server, whose log holds every statement', async () => {
    const { deliver, revocation } = await issued(provider, leaseRequest<PostgresRole>(entry));
    expect(await works(deliver)).toBe(true);
    await provider.revoke(revocation, 0);
    expect(server.log()).toContain(roleNameOf('').slice(0, 7));
    expect(server.log()).toContain('CREATE ROLE');
    expect(server.log().includes(String(deliver['password']))).toBe(false);
  });

  it('waits for an issue under way before it says that there is nothing to revoke', async () => {
    const request = leaseRequest<PostgresRole>(entry);
    const role = roleNameOf(request.lease_id);
    const slow = new pg.Client({
      host: '127.0.0.1',
      port: server.port,
      user: 'postgres',
      password: server.password,
      database: 'sales',
    });
    await slow.connect();
    // An issue whose client has given up, and whose transaction has not: it holds the lock and will commit.
    await slow.query('BEGIN');
    await slow.query("SELECT pg_advisory_xact_lock(hashtextextended('sortie:' || $1, 0))", [role]);
    await slow.query(`CREATE ROLE ${role} LOGIN`);
    await slow.query(`GRANT ${role} TO sortie_broker`);
    const revoking = provider.revoke(provider.plan(request, 0), 0);
    await slow.query('COMMIT');
    await revoking;
    await slow.end();
    expect(await alive()).toBe(0);
  });

  it('takes twenty at once, and leaves none', async () => {
    const all = await Promise.all(
      Array.from({ length: 20 }, () => issued(provider, leaseRequest<PostgresRole>(entry))),
    );
    expect(new Set(all.map(({ deliver }) => deliver['user'])).size).toBe(20);
    await Promise.all(all.map(({ revocation }) => provider.revoke(revocation, 0)));
    expect(await alive()).toBe(0);
  });
});
