/** A broker whose missions get a token, a PostgreSQL role and a Vault secret by one call. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { JSONWebKeySet } from 'jose';
import pg from 'pg';
import { ERP, inAnHour, type KeyHolder, startBroker, TEMPLATE, type TestBroker } from './broker.ts';
import { startPostgres, type TestPostgres } from './postgres.ts';
import { startVaultEmulator, type VaultEmulator } from './vault-emulator.ts';

export const VAULT_AUDIENCE = 'https://vault.example.com';
export const POSTGRES_ENTRY = {
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

export interface BundleCredential {
  readonly id: string;
  readonly type: string;
  readonly audience: string;
  readonly expires_at: string;
  readonly residual_after_revoke_seconds: number;
  readonly residual_reason?: string;
  readonly value?: string | Record<string, unknown>;
}

export interface BundleManifest {
  readonly mission: { readonly id: string; readonly expires_at: string };
  readonly credentials: readonly BundleCredential[];
}

export interface BundleBroker {
  readonly broker: TestBroker;
  readonly database: TestPostgres;
  readonly vault: VaultEmulator;
  /** A new instance, unless one is named, declares everything of its template. */
  declare(
    key: KeyHolder,
    more?: Record<string, unknown>,
    instance?: string,
  ): Promise<{ readonly status: number; readonly body: BundleManifest; readonly instance: string }>;
  postgresWorks(credential: BundleCredential): Promise<boolean>;
  vaultWorks(credential: BundleCredential): boolean;
  /** Names of the roles of leases that are at the server now. */
  roles(): Promise<readonly string[]>;
  close(): Promise<void>;
}

export function credentialOf({ credentials }: BundleManifest, type: string): BundleCredential {
  const found = credentials.find((credential) => credential.type === type);
  if (found === undefined) throw new Error(`the bundle has no ${type}`);
  return found;
}

/** @param bin folder of PostgreSQL's programs */
export async function startBundle(bin: string): Promise<BundleBroker> {
  const secrets = mkdtempSync(join(tmpdir(), 'sortie-secrets-'));
  const database = await startPostgres(bin);
  await database.query('CREATE DATABASE sales');
  await database.query('CREATE TABLE orders (id int)', [], 'sales');
  await database.query('GRANT SELECT ON orders TO sortie_broker WITH GRANT OPTION', [], 'sales');
  writeFileSync(join(secrets, 'postgres'), database.broker.password, { mode: 0o600 });
  let url = '';
  let jwks: JSONWebKeySet = { keys: [] };
  const role = {
    policies: ['reader'],
    token_ttl: 60,
    token_max_ttl: 7200,
    bound_audiences: [VAULT_AUDIENCE],
  };
  const vault = await startVaultEmulator({
    jwks: () => jwks,
    get issuer() {
      return url;
    },
    roles: { reader: role, 'sortie-broker': { ...role, policies: ['revoker'], token_ttl: 600 } },
    policies: {
      reader: { 'database/creds/readonly': ['read'] },
      revoker: { 'auth/token/revoke-accessor': ['update'] },
    },
  });
  const broker = await startBroker({
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
  jwks = (await (await fetch(`${broker.url}/jwks`)).json()) as JSONWebKeySet;
  let run = 0;

  return {
    broker,
    database,
    vault,
    async declare(key, more = {}, instance = `bundle-${++run}`) {
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
      return { status, body: body as unknown as BundleManifest, instance };
    },
    async postgresWorks({ value }) {
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
    },
    vaultWorks({ value }) {
      const [secret] = (value as { secrets: { data: { username: string; password: string } }[] }).secrets;
      return secret !== undefined && vault.login(secret.data.username, secret.data.password);
    },
    async roles() {
      const rows = await database.query(
        "SELECT rolname FROM pg_roles WHERE rolname ~ '^sortie_[0-9a-f]{40}$'",
      );
      return rows.map(({ rolname }) => String(rolname)).sort();
    },
    async close() {
      await broker.close();
      await vault.close();
      await database.close();
      rmSync(secrets, { recursive: true });
    },
  };
}
