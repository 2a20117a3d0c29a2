/** A broker whose missions get a token, a PostgreSQL role, a Vault secret and AWS sessions by one call. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { JSONWebKeySet } from 'jose';
import pg from 'pg';
import type { LeaseRecord } from '../../src/ports.ts';
import {
  ERP,
  inAnHour,
  type KeyHolder,
  startBroker,
  TEMPLATE,
  type TestBroker,
  type TestBrokerOptions,
} from './broker.ts';
import { AWS_AUDIENCE, awsEntry, type BundleAws, DATA_ROLE, startBundleAws, WEB_ROLE } from './bundle-aws.ts';
import { type FaultyProxy, startFaultyProxy } from './faulty-proxy.ts';
import { startPostgres, type TestPostgres } from './postgres.ts';
import { startVaultEmulator, type VaultEmulator } from './vault-emulator.ts';

export const VAULT_AUDIENCE = 'https://vault.example.com';
const JWT = 'urn:ietf:params:oauth:token-type:jwt';
export const TOKEN_ENTRY = {
  type: 'mission_resource_access',
  resource: ERP,
  actions: ['invoices.read'],
  constraints: { max_amount: { amount: '500.00', currency: 'EUR' } },
};
export const POSTGRES_ENTRY = {
  type: 'postgres_role',
  server: 'warehouse',
  database: 'sales',
  grants: [{ schema: 'public', tables: ['orders'], privileges: ['SELECT'] }],
};
export const VAULT_ENTRY = {
  type: 'vault_secret',
  server: 'main',
  role: 'reader',
  paths: ['database/creds/readonly'],
};
export const AWS_EU_ENTRY = awsEntry(DATA_ROLE, 'eu-central-1');
export const AWS_US_ENTRY = awsEntry(DATA_ROLE, 'us-east-1');
export const AWS_WEB_ENTRY = awsEntry(WEB_ROLE, 'eu-central-1');
/** One token, two AWS sessions, one Vault secret, one PostgreSQL role. */
export const FULL_BUNDLE = [TOKEN_ENTRY, AWS_EU_ENTRY, AWS_US_ENTRY, VAULT_ENTRY, POSTGRES_ENTRY];

export interface BundleCredential {
  readonly id: string;
  readonly type: string;
  readonly audience: string;
  readonly expires_at: string;
  readonly residual_after_revoke_seconds: number;
  readonly residual_reason?: string;
  readonly value?: string | Record<string, unknown>;
  readonly replaces?: string;
}

export interface BundleManifest {
  readonly mission: { readonly id: string; readonly state: string; readonly expires_at: string };
  readonly limits: { readonly derivations?: { readonly max: number; readonly left: number } };
  readonly credentials: readonly BundleCredential[];
}

export interface BundleAnswer {
  readonly status: number;
  readonly body: BundleManifest & { readonly detail?: string; readonly mission_error?: string };
}

export interface BundleBroker {
  readonly broker: TestBroker;
  readonly database: TestPostgres;
  readonly vault: VaultEmulator;
  /** Only with the option `aws`. */
  readonly aws: BundleAws;
  /** Only with the option `faults`: what the broker goes through to each counterpart. */
  readonly faults: Readonly<Record<'postgres' | 'vault' | 'sts', FaultyProxy>>;
  /** A new instance, unless one is named, declares everything of its template. */
  declare(
    key: KeyHolder,
    more?: Record<string, unknown>,
    instance?: string,
  ): Promise<BundleAnswer & { readonly instance: string }>;
  /** `POST /missions/{id}/credentials` with fresh evidence of that instance. */
  renew(
    key: KeyHolder,
    mission_id: string,
    ids: readonly string[],
    instance: string,
    more?: Record<string, unknown>,
  ): Promise<BundleAnswer>;
  postgresWorks(credential: BundleCredential): Promise<boolean>;
  vaultWorks(credential: BundleCredential): boolean;
  /** Names of the roles of leases that are at the server now. */
  roles(): Promise<readonly string[]>;
  leases(mission_id: string): Promise<readonly LeaseRecord[]>;
  /** Moves the clocks of broker and Vault; those of PostgreSQL and moto are the machine's. */
  advance(seconds: number): void;
  /** What is not gone by itself: waits for the keeper, which works as soon as a mission changed. */
  settled(mission_id: string): Promise<readonly LeaseRecord[]>;
  close(): Promise<void>;
}

export interface BundleOptions {
  /** With moto: costs seconds to start. */
  readonly aws?: boolean;
  /** Puts a proxy that can fail before each counterpart. */
  readonly faults?: boolean;
  /** For one request of a provider; as the configuration says it. Default 3 s: a loaded machine is slow. */
  readonly timeout?: string;
  /** Least life of an AWS session, where a test moves the broker's clock away from moto's. */
  readonly min_session?: string;
  readonly template?: Record<string, unknown>;
  readonly openStore?: TestBrokerOptions['openStore'];
}

export function credentialOf({ credentials }: BundleManifest, type: string): BundleCredential {
  const found = credentials.find((credential) => credential.type === type);
  if (found === undefined) throw new Error(`the bundle has no ${type}`);
  return found;
}

/** @param bin folder of PostgreSQL's programs */
export async function startBundle(bin: string, options: BundleOptions = {}): Promise<BundleBroker> {
  const secrets = mkdtempSync(join(tmpdir(), 'sortie-secrets-'));
  const aws = options.aws === true ? await startBundleAws() : null;
  const database = await startPostgres(bin);
  await database.query('CREATE DATABASE sales');
  await database.query('CREATE TABLE orders (id int)', [], 'sales');
  await database.query('GRANT SELECT ON orders TO sortie_broker WITH GRANT OPTION', [], 'sales');
  writeFileSync(join(secrets, 'postgres'), database.broker.password, { mode: 0o600 });
  writeFileSync(join(secrets, 'aws'), 'of-the-broker-at-aws', { mode: 0o600 });
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
  const ports = { postgres: database.port, vault: vault.port, sts: aws?.port ?? 1 };
  const faults = options.faults === true ? await startProxies(ports) : null;
  const life = options.min_session !== undefined && {
    min_session: options.min_session,
    max_session: options.min_session,
  };
  const through = (name: keyof typeof ports) => faults?.[name].port ?? ports[name];
  async function closeCounterparts(): Promise<void> {
    for (const proxy of Object.values(faults ?? {})) await proxy.close();
    await vault.close();
    await database.close();
    await aws?.close();
    rmSync(secrets, { recursive: true });
  }
  const broker = await startBroker({
    template: {
      ceiling: [
        ...TEMPLATE.ceiling,
        { type: 'mission_resource_access', resource: VAULT_AUDIENCE, actions: ['login'] },
        POSTGRES_ENTRY,
        VAULT_ENTRY,
        ...(aws === null ? [] : [AWS_EU_ENTRY, AWS_US_ENTRY, AWS_WEB_ENTRY]),
      ],
      ...options.template,
    },
    ...(options.openStore && { openStore: options.openStore }),
    config: (base) => {
      url = base.issuer;
      return {
        audiences: [
          ...base.audiences,
          { resource: VAULT_AUDIENCE, name: 'Vault', reserved: true, actions: { login: {} } },
          { resource: AWS_AUDIENCE, name: 'AWS', reserved: true, actions: { login: {} } },
        ],
        providers: {
          postgres: [
            {
              name: 'warehouse',
              host: '127.0.0.1',
              port: through('postgres'),
              user: database.broker.user,
              password: { from_file: join(secrets, 'postgres') },
              tls: 'off',
              timeout: options.timeout ?? '3s',
            },
          ],
          vault: [
            {
              name: 'main',
              url: `http://127.0.0.1:${through('vault')}`,
              timeout: options.timeout ?? '3s',
              login: { jwt: { audience: VAULT_AUDIENCE, broker_role: 'sortie-broker' } },
            },
          ],
          ...(aws !== null && {
            aws: {
              region: 'eu-central-1',
              sts_endpoint: `http://127.0.0.1:${through('sts')}`,
              iam_endpoint: `http://127.0.0.1:${aws.port}`,
              credentials: {
                access_key_id: { from_file: join(secrets, 'aws') },
                secret_access_key: { from_file: join(secrets, 'aws') },
              },
              roles: [
                { arn: DATA_ROLE, ...life },
                { arn: WEB_ROLE, web_identity: { audience: AWS_AUDIENCE }, ...life },
              ],
              timeout: options.timeout ?? '3s',
            },
          }),
        },
      };
    },
  }).catch(async (cause: unknown) => {
    await closeCounterparts();
    throw cause;
  });
  jwks = (await (await fetch(`${broker.url}/jwks`)).json()) as JSONWebKeySet;
  let run = 0;
  const evidence = async (instance: string) => ({
    type: JWT,
    token: await broker.evidence({ run: instance }),
  });
  const leases = (mission_id: string) => broker.broker.ports.store.leases(mission_id);

  return {
    broker,
    database,
    vault,
    get aws() {
      if (aws === null) throw new Error('this bundle has no AWS');
      return aws;
    },
    get faults() {
      if (faults === null) throw new Error('this bundle has no proxies');
      return faults;
    },
    async declare(key, more = {}, instance = `bundle-${++run}`) {
      const { status, body } = await broker.holder(key, 'POST', '/missions', {
        json: {
          evidence: await evidence(instance),
          intent: { goal: 'Reconcile', resources: [ERP], expires_at: inAnHour() },
          ...(aws !== null && { authorization_details: FULL_BUNDLE }),
          ...more,
        },
      });
      return { status, body: body as unknown as BundleAnswer['body'], instance };
    },
    async renew(key, mission_id, ids, instance, more = {}) {
      const { status, body } = await broker.holder(key, 'POST', `/missions/${mission_id}/credentials`, {
        json: { ids, evidence: await evidence(instance), ...more },
      });
      return { status, body: body as unknown as BundleAnswer['body'] };
    },
    async postgresWorks({ value }) {
      const { database: name, user, password } = value as Record<string, never>;
      // Past the proxy: the counterpart itself says what lives.
      const client = new pg.Client({
        host: '127.0.0.1',
        port: database.port,
        database: name,
        user,
        password,
      });
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
    leases,
    advance(seconds) {
      broker.clock.ahead += seconds;
      vault.advance(seconds);
    },
    async settled(mission_id) {
      for (let attempt = 0; ; attempt++) {
        const all = await leases(mission_id);
        if (all.every(({ state }) => state === 'revoked' || state === 'expired') || attempt === 400)
          return all;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    },
    async close() {
      await broker.close();
      await closeCounterparts();
    },
  };
}

async function startProxies<Name extends string>(
  ports: Readonly<Record<Name, number>>,
): Promise<Record<Name, FaultyProxy>> {
  const entries = Object.entries(ports) as [Name, number][];
  const proxies = await Promise.all(
    entries.map(async ([name, port]) => [name, await startFaultyProxy(port)] as const),
  );
  return Object.fromEntries(proxies) as Record<Name, FaultyProxy>;
}
