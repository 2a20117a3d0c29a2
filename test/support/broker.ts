/** A real broker on a temporary SQLite file and a free loopback port, with a local issuer of workload tokens. */
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type CryptoKey, calculateJwkThumbprint, exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose';
import { stringify } from 'yaml';
import { type Broker, type BrokerOptions, createBroker } from '../../src/broker.ts';
import { generateKek } from '../../src/keys/seal.ts';
import type { Clock } from '../../src/ports.ts';
import { systemClock } from '../../src/system.ts';
import { freePort } from './free-port.ts';

export const ERP = 'https://erp.example.com';
export const MAIL = 'https://mail.example.com';
const WORKLOAD_ISSUER = 'https://workloads.example.com';

export interface KeyHolder {
  readonly privateKey: CryptoKey;
  readonly jwk: JWK;
  readonly jkt: string;
}

export async function newKey(alg = 'ES256'): Promise<KeyHolder> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
  const jwk = await exportJWK(publicKey);
  return { privateKey, jwk, jkt: await calculateJwkThumbprint(jwk) };
}

/** A clock that a test can set ahead. */
export interface TestClock extends Clock {
  ahead: number;
}

export interface TestBroker {
  readonly broker: Broker;
  readonly url: string;
  readonly clock: TestClock;
  readonly config_path: string;
  readonly folder: string;
  readonly log: string[];
  /** Evidence of one workload: signed by the local issuer, `sub` names the agent, `run` the instance. */
  evidence(claims?: Record<string, unknown>, expires_in?: number): Promise<string>;
  /** A DPoP proof. */
  proof(key: KeyHolder, method: string, url: string, claims?: Record<string, unknown>): Promise<string>;
  /** `POST /token` with nonce retry. */
  token(
    key: KeyHolder,
    form: Record<string, string>,
  ): Promise<{ status: number; body: TokenBody; headers: Headers }>;
  admin(
    method: string,
    path: string,
    body?: unknown,
  ): Promise<{ status: number; body: Record<string, unknown> }>;
  /** A token of the admin API with another role, or of another person. */
  adminToken(role: 'viewer' | 'responder' | 'admin', name: string): Promise<string>;
  /** The admin API as somebody else. */
  as(
    token: string,
    method: string,
    path: string,
    body?: unknown,
  ): Promise<{ status: number; body: Record<string, unknown> }>;
  /** A holder's call with a token, a proof by `key` and nonce retry. */
  holder(
    key: KeyHolder,
    method: string,
    path: string,
    options?: { token?: string; json?: unknown; form?: Record<string, string> },
  ): Promise<{ status: number; body: Record<string, unknown>; headers: Headers }>;
  introspect(token: string, verifier?: 'erp' | 'mail'): Promise<Record<string, unknown>>;
  /** Signs a client assertion of a verifier. */
  assertion(verifier?: 'erp' | 'mail'): Promise<string>;
  readonly issuerKey: KeyHolder;
  readonly verifierKeys: Readonly<Record<'erp' | 'mail', KeyHolder>>;
  restart(): Promise<void>;
  close(): Promise<void>;
}

export interface TokenBody {
  access_token: string;
  token_type: string;
  expires_in: number;
  mission_id: string;
  authorization_details: Record<string, unknown>[];
  narrowed: { wanted: unknown; granted: unknown; reason: string; rule: string }[];
  error?: string;
  error_description?: string;
  mission_denial_reason?: string;
  mission_error?: string;
}

export const TEMPLATE = {
  id: 'invoices',
  version: '1',
  ceiling: [
    {
      type: 'mission_resource_access',
      resource: ERP,
      actions: ['invoices.*'],
      constraints: { max_amount: { amount: '500.00', currency: 'EUR' } },
    },
    { type: 'mission_resource_access', resource: ERP, actions: ['journal.write'] },
    {
      type: 'mission_resource_access',
      resource: MAIL,
      actions: ['messages.send'],
      constraints: { recipient_domain: 'example.com' },
    },
  ],
  token_ttl: '5m',
  lifetime: '1h',
  required_tier: 'reusable',
};

export function inAnHour(): string {
  return new Date(Date.now() + 3_600_000).toISOString();
}

/** A mission intent over the ERP (and mail). */
export function intent(overrides: Record<string, unknown> = {}): string {
  return JSON.stringify({
    intent: { goal: 'Reconcile Q3 invoices', resources: [ERP, MAIL], expires_at: inAnHour(), ...overrides },
  });
}

/** What a plain creation sends. */
export function creation(subject_token: string, more: Record<string, string> = {}): Record<string, string> {
  return {
    grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
    subject_token,
    subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
    resource: ERP,
    mission_intent: intent(),
    ...more,
  };
}

/** What the configuration is before a test's own part. */
export type BaseConfig = Record<string, unknown> & {
  readonly issuer: string;
  readonly attesters: readonly [Record<string, unknown>, ...Record<string, unknown>[]];
  readonly audiences: readonly Record<string, unknown>[];
};

export interface TestBrokerOptions {
  readonly template?: Record<string, unknown>;
  readonly templates?: readonly Record<string, unknown>[];
  /** Merged over the configuration. */
  readonly config?: Record<string, unknown> | ((base: BaseConfig) => Record<string, unknown>);
  readonly openStore?: BrokerOptions['openStore'];
}

function readBody(text: string): Record<string, unknown> {
  return text === '' ? {} : (JSON.parse(text) as Record<string, unknown>);
}

export async function startBroker(options: TestBrokerOptions = {}): Promise<TestBroker> {
  const folder = mkdtempSync(join(tmpdir(), 'sortie-test-'));
  const issuer = await newKey();
  const verifierKeys = { erp: await newKey(), mail: await newKey() };
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const templates = options.templates ?? [{ ...TEMPLATE, ...options.template }];
  writeFileSync(join(folder, 'kek'), generateKek());
  mkdirSync(join(folder, 'templates'));
  for (const template of templates)
    writeFileSync(
      join(folder, 'templates', `${String(template['id'])}-${String(template['version'])}.yaml`),
      stringify(template),
    );
  const config_path = join(folder, 'broker.yaml');
  const base = {
    issuer: url,
    development: true,
    listen: { host: '127.0.0.1', port },
    store: { sqlite: { path: 'sortie.db' } },
    keys: { key_encryption_key: { from_file: 'kek' } },
    attesters: [
      {
        name: 'workloads',
        kind: 'oidc',
        issuer: WORKLOAD_ISSUER,
        jwks: { keys: [{ ...issuer.jwk, alg: 'ES256', kid: 'w1' }] },
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
      { name: 'laptops', kind: 'enrolled' },
    ],
    audiences: [
      {
        resource: ERP,
        name: 'ERP',
        actions: {
          'invoices.read': { labels: ['read'] },
          'invoices.approve': { labels: ['effect'] },
          'journal.write': { labels: ['effect'] },
        },
      },
      { resource: MAIL, name: 'Mail', actions: { 'messages.send': { labels: ['effect', 'external'] } } },
    ],
    verifiers: [
      { id: 'erp', audience: ERP, auth: { private_key_jwt: [verifierKeys.erp.jwk] } },
      { id: 'mail', audience: MAIL, auth: { private_key_jwt: [verifierKeys.mail.jwk] } },
    ],
    templates: { folder: 'templates' },
    dispatch: [{ agent: 'agents/*', template: 'invoices' }],
    admin: { bootstrap_token_file: 'bootstrap-token' },
  } as unknown as BaseConfig;
  const own = typeof options.config === 'function' ? options.config(base) : options.config;
  writeFileSync(config_path, stringify({ ...base, ...own }));
  const clock: TestClock = { ahead: 0, now: () => systemClock.now() + clock.ahead };
  const log: string[] = [];
  const open = async () => {
    const opened = await createBroker({
      config: config_path,
      env: {},
      clock,
      log: { write: (line) => void log.push(line) },
      ...(options.openStore && { openStore: options.openStore }),
    });
    await opened.listen();
    return opened;
  };
  let broker = await open();
  let adminToken: Promise<string> | null = null;
  let nonce: string | null = null;

  const self: TestBroker = {
    get broker() {
      return broker;
    },
    url,
    clock,
    config_path,
    folder,
    log,
    evidence: (claims = {}, expires_in = 600) => {
      const iat = Math.floor(clock.now());
      return new SignJWT({
        iss: WORKLOAD_ISSUER,
        aud: url,
        sub: 'reconciler',
        run: 'run-1',
        jti: crypto.randomUUID(),
        iat,
        exp: iat + expires_in,
        ...claims,
      })
        .setProtectedHeader({ alg: 'ES256', kid: 'w1' })
        .sign(issuer.privateKey);
    },
    proof: (key, method, target, claims = {}) =>
      new SignJWT({
        jti: crypto.randomUUID(),
        htm: method,
        htu: target,
        iat: Math.floor(clock.now()),
        ...(nonce !== null && { nonce }),
        ...claims,
      })
        .setProtectedHeader({ alg: 'ES256', typ: 'dpop+jwt', jwk: key.jwk })
        .sign(key.privateKey),
    async token(key, form) {
      for (let attempt = 0; ; attempt++) {
        const response = await fetch(`${url}/token`, {
          method: 'POST',
          headers: { dpop: await self.proof(key, 'POST', `${url}/token`) },
          body: new URLSearchParams(form),
        });
        nonce = response.headers.get('dpop-nonce') ?? nonce;
        const body = (await response.json()) as TokenBody;
        if (body.error === 'use_dpop_nonce' && attempt === 0) continue;
        return { status: response.status, body, headers: response.headers };
      }
    },
    async admin(method, path, body) {
      // One promise: the bootstrap token works once, however many ask first.
      adminToken ??= (async () => {
        const bootstrap = readFileSync(join(folder, 'bootstrap-token'), 'utf8').trim();
        const issued = await self.as(bootstrap, 'POST', '/tokens', { name: 'alice', role: 'admin' });
        return String(issued.body['token']);
      })();
      return self.as(await adminToken, method, path, body);
    },
    async adminToken(role, name) {
      const issued = await self.admin('POST', '/tokens', { name, role });
      return String(issued.body['token']);
    },
    async as(token, method, path, body) {
      const response = await fetch(`${url}/admin/v1${path}`, {
        method,
        headers: {
          authorization: `Bearer ${token}`,
          ...(body !== undefined && { 'content-type': 'application/json' }),
        },
        ...(body !== undefined && { body: JSON.stringify(body) }),
      });
      return { status: response.status, body: readBody(await response.text()) };
    },
    async holder(key, method, path, { token, json, form } = {}) {
      for (let attempt = 0; ; attempt++) {
        const ath =
          token === undefined ? {} : { ath: createHash('sha256').update(token).digest('base64url') };
        const response = await fetch(`${url}${path}`, {
          method,
          headers: {
            dpop: await self.proof(key, method, `${url}${path}`, ath),
            ...(token !== undefined && { authorization: `DPoP ${token}` }),
            ...(json !== undefined && { 'content-type': 'application/json' }),
          },
          ...(json !== undefined && { body: JSON.stringify(json) }),
          ...(form !== undefined && { body: new URLSearchParams(form) }),
        });
        nonce = response.headers.get('dpop-nonce') ?? nonce;
        const body = readBody(await response.text());
        const again = body['error'] === 'use_dpop_nonce' || String(body['type']).endsWith('use_dpop_nonce');
        if (again && attempt === 0) continue;
        return { status: response.status, body, headers: response.headers };
      }
    },
    async introspect(token, verifier = 'erp') {
      const response = await fetch(`${url}/introspect`, {
        method: 'POST',
        headers: { authorization: `Bearer ${await self.assertion(verifier)}` },
        body: new URLSearchParams({ token }),
      });
      return (await response.json()) as Record<string, unknown>;
    },
    issuerKey: issuer,
    verifierKeys,
    assertion: (verifier = 'erp') => {
      const iat = Math.floor(clock.now());
      return new SignJWT({ jti: crypto.randomUUID() })
        .setProtectedHeader({ alg: 'ES256', typ: 'client-authentication+jwt' })
        .setIssuer(verifier)
        .setSubject(verifier)
        .setAudience(url)
        .setIssuedAt(iat)
        .setExpirationTime(iat + 240)
        .sign(verifierKeys[verifier].privateKey);
    },
    async restart() {
      await broker.close();
      broker = await open();
    },
    async close() {
      await broker.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
  return self;
}
