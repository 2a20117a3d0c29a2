/** One call, every credential, all or none: against a real PostgreSQL and the Vault emulator. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { LeaseRecord } from '../../src/ports.ts';
import {
  ERP,
  inAnHour,
  type KeyHolder,
  newKey,
  startBroker,
  TEMPLATE,
  type TestBroker,
} from '../support/broker.ts';
import { postgresBinaries, startPostgres, type TestPostgres } from '../support/postgres.ts';
import { startVaultEmulator, type VaultEmulator } from '../support/vault-emulator.ts';

const bin = postgresBinaries();
if (bin === null && process.env['CI'] === 'true')
  throw new Error('CI needs PostgreSQL: install the postgresql package');
if (bin === null)
  process.stderr.write('SKIPPED: provider bundles, because PostgreSQL is not installed here\n');

const VAULT_AUDIENCE = 'https://vault.example.com';
const POSTGRES_ENTRY = {
  type: 'postgres_role',
  server: 'warehouse',
  database: 'sales',
  grants: [{ schema: 'public', tables: ['orders'], privileges: ['SELECT'] }],
};
const VAULT_ENTRY = {
  type: 'vault_secret',
  server: 'main',
  role: 'reader',
  paths: ['database/creds/readonly'],
};

interface Credential {
  readonly id: string;
  readonly type: string;
  readonly audience: string;
  readonly expires_at: string;
  readonly residual_after_revoke_seconds: number;
  readonly residual_reason?: string;
  readonly value?: string | Record<string, unknown>;
}
interface Manifest {
  readonly mission: { readonly id: string; readonly expires_at: string };
  readonly credentials: readonly Credential[];
}

describe.skipIf(bin === null)('a bundle of provider credentials', () => {
  let database: TestPostgres;
  let vault: VaultEmulator;
  let broker: TestBroker;
  let url = '';
  let run = 0;
  const secrets = mkdtempSync(join(tmpdir(), 'sortie-secrets-'));

  beforeAll(async () => {
    database = await startPostgres(bin ?? '');
    await database.query('CREATE DATABASE sales');
    await database.query('CREATE TABLE orders (id int)', [], 'sales');
    await database.query('GRANT SELECT ON orders TO sortie_broker WITH GRANT OPTION', [], 'sales');
    const role = {
      policies: ['reader'],
      token_ttl: 60,
      token_max_ttl: 7200,
      bound_audiences: [VAULT_AUDIENCE],
    };
    vault = await startVaultEmulator({
      jwks: () => broker.broker.ports.tokens.jwks() as never,
      get issuer() {
        return url;
      },
      roles: { reader: role, 'sortie-broker': { ...role, policies: ['revoker'], token_ttl: 600 } },
      policies: {
        reader: { 'database/creds/readonly': ['read'] },
        revoker: { 'auth/token/revoke-accessor': ['update'] },
      },
    });
    writeFileSync(join(secrets, 'postgres'), database.broker.password, { mode: 0o600 });
    broker = await startBroker({
      template: {
        ceiling: [
          ...TEMPLATE.ceiling,
          { type: 'mission_resource_access', resource: VAULT_AUDIENCE, actions: ['login'] },
          POSTGRES_ENTRY,
          VAULT_ENTRY,
        ],
      },
      config: (base) => {
        url = base.issuer;
        return {
          audiences: [
            ...base.audiences,
            { resource: VAULT_AUDIENCE, name: 'Vault', reserved: true, actions: { login: {} } },
          ],
          providers: {
            postgres: [
              {
                name: 'warehouse',
                host: '127.0.0.1',
                port: database.port,
                user: database.broker.user,
                password: { from_file: join(secrets, 'postgres') },
                tls: 'off',
              },
            ],
            vault: [
              {
                name: 'main',
                url: vault.url,
                timeout: '1s',
                login: { jwt: { audience: VAULT_AUDIENCE, broker_role: 'sortie-broker' } },
              },
            ],
          },
        };
      },
    });
  }, 120_000);
  afterEach(() => vault.interfere(null));
  afterAll(async () => {
    await broker?.close();
    await vault?.close();
    await database?.close();
    rmSync(secrets, { recursive: true });
  });

  /** A new instance declares everything of its template. */
  async function declare(key: KeyHolder, more: Record<string, unknown> = {}, instance = `run-${++run}`) {
    const { status, body } = await broker.holder(key, 'POST', '/missions', {
      json: {
        evidence: {
          type: 'urn:ietf:params:oauth:token-type:jwt',
          token: await broker.evidence({ run: instance }),
        },
        intent: { goal: 'Reconcile', resources: [ERP], expires_at: inAnHour() },
        ...more,
      },
    });
    return { status, body: body as unknown as Manifest & Record<string, unknown>, instance };
  }

  const of = (manifest: Manifest, type: string) =>
    manifest.credentials.find((credential) => credential.type === type) as Credential;

  async function postgresWorks({ value }: Credential): Promise<boolean> {
    const { host, port, database: name, user, password } = value as Record<string, never>;
    const client = new pg.Client({ host, port, database: name, user, password });
    client.on('error', () => {});
    try {
      await client.connect();
      await client.query('SELECT * FROM orders');
      await client.end();
      return true;
    } catch {
      return false;
    }
  }

  function vaultWorks({ value }: Credential): boolean {
    const [secret] = (value as { secrets: { data: { username: string; password: string } }[] }).secrets;
    return secret !== undefined && vault.login(secret.data.username, secret.data.password);
  }

  const roles = async () =>
    Number(
      (await database.query("SELECT count(*) FROM pg_roles WHERE rolname ~ '^sortie_[0-9a-f]{40}$'"))[0]?.[
        'count'
      ],
    );

  /** What is not gone by itself: waits for the keeper, which works as soon as a mission changed. */
  async function settled(mission_id: string): Promise<readonly LeaseRecord[]> {
    for (let attempt = 0; ; attempt++) {
      const leases = await broker.broker.ports.store.leases(mission_id);
      if (leases.every(({ state }) => state === 'revoked' || state === 'expired') || attempt === 100)
        return leases;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  it('comes by one call, each part stated with its residual, and works', async () => {
    const key = await newKey();
    const { status, body } = await declare(key);
    expect(status).toBe(201);
    expect(body.credentials.map(({ type }) => type).sort()).toEqual(['jwt', 'postgres_role', 'vault_secret']);
    expect(await postgresWorks(of(body, 'postgres_role'))).toBe(true);
    expect(vaultWorks(of(body, 'vault_secret'))).toBe(true);
    for (const credential of body.credentials.filter(({ type }) => type !== 'jwt')) {
      expect(credential.residual_after_revoke_seconds).toBe(0);
      expect(credential.residual_reason).not.toBe('');
      expect(Date.parse(credential.expires_at)).toBeLessThanOrEqual(Date.parse(body.mission.expires_at));
    }
    await broker.admin('POST', `/missions/${body.mission.id}/revoke`, { reason: 'test over' });
    await settled(body.mission.id);
  });

  it('keeps no secret: not in the store, the audit, or the log', async () => {
    const { body } = await declare(await newKey());
    const { password } = of(body, 'postgres_role').value as { readonly password: string };
    const leases = await broker.broker.ports.store.leases(body.mission.id);
    const audit = await broker.broker.ports.store.auditRecords({ mission_id: body.mission.id, limit: 100 });
    const kept = JSON.stringify([leases, audit, broker.log]);
    expect(leases).toHaveLength(2);
    expect(kept).toContain('lease.live');
    expect(kept.includes(password)).toBe(false);
    await broker.admin('POST', `/missions/${body.mission.id}/revoke`, { reason: 'test over' });
    await settled(body.mission.id);
  });

  it.each(['revoke', 'suspend'])('ends with its mission (%s)', async (how) => {
    const { body } = await declare(await newKey());
    await broker.admin('POST', `/missions/${body.mission.id}/${how}`, { reason: 'incident' });
    const leases = await settled(body.mission.id);
    expect(leases.map(({ state }) => state)).toEqual(['revoked', 'revoked']);
    expect(await postgresWorks(of(body, 'postgres_role'))).toBe(false);
    expect(vaultWorks(of(body, 'vault_secret'))).toBe(false);
    expect(await roles()).toBe(0);
  });

  it('loses exactly what a containment takes away', async () => {
    const { body } = await declare(await newKey());
    const contained = await broker.admin('POST', `/missions/${body.mission.id}/contain`, {
      reason: 'no database',
      remove: [{ type: 'postgres_role' }],
    });
    expect(contained.status).toBe(200);
    for (let attempt = 0; attempt < 100 && (await postgresWorks(of(body, 'postgres_role'))); attempt++)
      await new Promise((resolve) => setTimeout(resolve, 50));
    expect(await postgresWorks(of(body, 'postgres_role'))).toBe(false);
    expect(vaultWorks(of(body, 'vault_secret'))).toBe(true);
    await broker.admin('POST', `/missions/${body.mission.id}/revoke`, { reason: 'test over' });
    await settled(body.mission.id);
  });

  it.each([
    ['before issue', 'auth/jwt/login'],
    ['during issue', 'database/creds'],
    ['while it is prolonged', 'auth/token/renew-self'],
  ])('is all or nothing when one provider fails %s', async (_when, path) => {
    const before = vault.alive();
    vault.interfere(path, (_request, response) => {
      response.statusCode = 500;
      response.end('{}');
    });
    const { status, body } = await declare(await newKey());
    expect(status).toBe(503);
    expect(JSON.stringify(body)).toContain('vault_secret');
    vault.interfere(null);
    expect(await roles()).toBe(0);
    expect(vault.alive()).toBe(before);
  });

  it('replaces the credentials of a repeated declaration', async () => {
    const key = await newKey();
    const more = {
      creation_request_id: crypto.randomUUID(),
      intent: { goal: 'Reconcile', resources: [ERP], expires_at: inAnHour() },
    };
    const first = await declare(key, more);
    const second = await declare(key, more, first.instance);
    expect(second.body.mission.id).toBe(first.body.mission.id);
    expect(await postgresWorks(of(first.body, 'postgres_role'))).toBe(false);
    expect(vaultWorks(of(first.body, 'vault_secret'))).toBe(false);
    expect(await postgresWorks(of(second.body, 'postgres_role'))).toBe(true);
    await broker.admin('POST', `/missions/${first.body.mission.id}/revoke`, { reason: 'test over' });
    await settled(first.body.mission.id);
  });

  it('tries a failed revocation again, and shows it until it succeeds', async () => {
    const { body } = await declare(await newKey());
    vault.interfere('auth/token/revoke-accessor', (_request, response) => {
      response.statusCode = 503;
      response.end('{}');
    });
    await broker.admin('POST', `/missions/${body.mission.id}/revoke`, { reason: 'incident' });
    let failing: LeaseRecord | undefined;
    for (let attempt = 0; attempt < 100 && failing === undefined; attempt++) {
      await new Promise((resolve) => setTimeout(resolve, 50));
      failing = (await broker.broker.ports.store.leases(body.mission.id)).find(
        ({ attempts }) => attempts > 0,
      );
    }
    expect(failing).toMatchObject({ type: 'vault_secret', state: 'revoking' });
    expect(failing?.last_error).toContain('unavailable');
    // The other one was not held up.
    expect(await postgresWorks(of(body, 'postgres_role'))).toBe(false);
    vault.interfere(null);
    expect((await settled(body.mission.id)).map(({ state }) => state)).toEqual(['revoked', 'revoked']);
    expect(vaultWorks(of(body, 'vault_secret'))).toBe(false);
  });

  it('finishes after a restart what was left pending', async () => {
    const { store, clock } = broker.broker.ports;
    const { body } = await declare(await newKey());
    const [live] = (await store.leases(body.mission.id)).filter(({ type }) => type === 'postgres_role');
    if (live === undefined) throw new Error('no lease');
    // As if the broker had died between making the role and recording that it is live.
    await store.atomically([
      {
        kind: 'update_lease',
        id: live.id,
        from: ['live'],
        set: { state: 'pending', next_at: clock.now() + 45 },
      },
    ]);
    await broker.restart();
    broker.clock.ahead += 60;
    for (let attempt = 0; attempt < 100 && (await postgresWorks(of(body, 'postgres_role'))); attempt++)
      await new Promise((resolve) => setTimeout(resolve, 100));
    expect(await postgresWorks(of(body, 'postgres_role'))).toBe(false);
    expect(vaultWorks(of(body, 'vault_secret'))).toBe(true);
    await broker.admin('POST', `/missions/${body.mission.id}/revoke`, { reason: 'test over' });
    await settled(body.mission.id);
  });

  it('never hands out the JWT that it logs in with', async () => {
    const key = await newKey();
    const { status, body } = await broker.token(key, {
      grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
      subject_token: await broker.evidence({ run: `run-${++run}` }),
      subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
      resource: VAULT_AUDIENCE,
      mission_intent: JSON.stringify({
        intent: { goal: 'Steal', resources: [VAULT_AUDIENCE], expires_at: inAnHour() },
      }),
    });
    expect(status).toBe(400);
    expect(body.error).toBe('invalid_target');
  });
});
