/** Sets the scene: a temporary folder with a configuration as an operator writes it, and five processes. */
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { type Child, Children } from './children.ts';

export interface Scene {
  readonly broker_url: string;
  readonly issuer_url: string;
  readonly erp_url: string;
  readonly mail_url: string;
  readonly config_file: string;
  readonly agent: Child;
  readonly erp: Child;
  readonly pids: readonly number[];
  /** Rejects when a process ends by itself. */
  readonly failed: Promise<never>;
  /** One admin request; the first makes the admin out of the bootstrap token. */
  admin(method: string, path: string, body?: unknown): Promise<AdminAnswer>;
  endBroker(): Promise<number | null>;
  /** Ends every process and removes the folder. */
  clear(): Promise<void>;
}

export interface AdminAnswer {
  readonly body: Record<string, unknown>;
  /** Milliseconds since the epoch, with a fraction. */
  readonly asked_at: number;
  readonly answered_at: number;
}

export async function setScene(cleanups: (() => Promise<void>)[]): Promise<Scene> {
  const folder = mkdtempSync(join(tmpdir(), 'sortie-demo-'));
  const children = new Children();
  const clear = async () => {
    await children.endAll();
    rmSync(folder, { recursive: true, force: true });
  };
  cleanups.push(clear);

  const [issuerPort, brokerPort, erpPort, mailPort] = await freePorts(4);
  const urlOf = (port: number | undefined) => `http://127.0.0.1:${port}`;
  const broker_url = urlOf(brokerPort);
  const issuer_url = urlOf(issuerPort);
  const erp_url = urlOf(erpPort);
  const mail_url = urlOf(mailPort);
  const keys = { erp: verifierKey(folder, 'erp'), mail: verifierKey(folder, 'mail') };
  const config_file = join(folder, 'broker.yaml');
  writeFileSync(
    config_file,
    stringify(
      configuration({ broker_url, brokerPort: brokerPort ?? 0, issuer_url, erp_url, mail_url, keys }),
    ),
  );
  // 32 random bytes in base64, as `sortie keys generate-kek` makes them.
  writeFileSync(join(folder, 'kek'), randomBytes(32).toString('base64'), { mode: 0o600 });
  mkdirSync(join(folder, 'templates'));
  writeFileSync(join(folder, 'templates', 'reconcile.yaml'), stringify(template(erp_url, mail_url)));

  const CLIENT_SECRET = randomBytes(24).toString('base64url');
  const common = { BROKER: broker_url };
  const [broker] = await Promise.all([
    children.start({
      name: 'broker',
      command: ['bin/sortie.cjs', 'serve', '--config', config_file],
      env: {},
      ready: 'is ready',
    }),
    children.start({
      name: 'issuer',
      command: ['demo/parts/issuer.ts'],
      env: { ...common, PORT: String(issuerPort), CLIENT_SECRET },
      ready: 'ready',
    }),
  ]);
  const [erp, , agent] = await Promise.all([
    children.start({
      name: 'erp',
      command: ['demo/parts/erp.ts'],
      env: { ...common, PORT: String(erpPort), VERIFIER_KEY_FILE: keys.erp.file },
      ready: 'ready',
    }),
    children.start({
      name: 'mail',
      command: ['demo/parts/mail.ts'],
      env: { ...common, PORT: String(mailPort), VERIFIER_KEY_FILE: keys.mail.file },
      ready: 'ready',
    }),
    children.start({
      name: 'agent',
      command: ['demo/parts/agent.ts'],
      env: { ...common, ISSUER: issuer_url, CLIENT_SECRET },
      ready: 'ready',
    }),
  ]);

  let admin_token: string | null = null;
  const admin: Scene['admin'] = async (method, path, body) => {
    admin_token ??= await firstAdmin(broker_url, join(folder, 'bootstrap-token'));
    return request(broker_url, admin_token, method, path, body);
  };
  return {
    broker_url,
    issuer_url,
    erp_url,
    mail_url,
    config_file,
    agent,
    erp,
    pids: children.pids,
    failed: children.failed,
    admin,
    endBroker: () => children.end(broker),
    clear,
  };
}

interface VerifierKey {
  readonly jwk: object;
  readonly file: string;
}

/** A verifier's key: the private part in a file of its own server, the public part in the broker's configuration. */
function verifierKey(folder: string, name: string): VerifierKey {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const file = join(folder, `${name}.key.json`);
  writeFileSync(file, JSON.stringify(privateKey.export({ format: 'jwk' })), { mode: 0o600 });
  return { jwk: publicKey.export({ format: 'jwk' }), file };
}

function configuration(parts: {
  readonly broker_url: string;
  readonly brokerPort: number;
  readonly issuer_url: string;
  readonly erp_url: string;
  readonly mail_url: string;
  readonly keys: { readonly erp: VerifierKey; readonly mail: VerifierKey };
}) {
  return {
    issuer: parts.broker_url,
    development: true,
    listen: { host: '127.0.0.1', port: parts.brokerPort },
    store: { sqlite: { path: 'sortie.db' } },
    keys: { key_encryption_key: { from_file: 'kek' } },
    attesters: [
      {
        name: 'platform',
        kind: 'oidc',
        issuer: parts.issuer_url,
        // This vendor hands its workloads JWT access tokens (RFC 9068).
        typ: ['at+jwt'],
        allow_private_addresses: true,
        rules: [
          {
            name: 'workloads',
            match: { sub: '*' },
            agent: 'platform/{sub}',
            instance: '{run}',
            tier: 'reusable',
          },
        ],
      },
    ],
    audiences: [
      {
        resource: parts.erp_url,
        name: 'ERP',
        actions: {
          'invoices.read': { labels: ['read'] },
          'invoices.approve': { labels: ['effect'] },
          'payroll.export': { labels: ['sensitive'] },
        },
      },
      {
        resource: parts.mail_url,
        name: 'Mail',
        actions: { 'messages.send': { labels: ['effect', 'external'] } },
      },
    ],
    verifiers: [
      { id: 'erp', audience: parts.erp_url, auth: { private_key_jwt: [parts.keys.erp.jwk] } },
      { id: 'mail', audience: parts.mail_url, auth: { private_key_jwt: [parts.keys.mail.jwk] } },
    ],
    templates: { folder: 'templates' },
    dispatch: [{ agent: 'platform/*', template: 'reconcile' }],
    admin: { bootstrap_token_file: 'bootstrap-token' },
    log: { level: 'error' },
  };
}

function template(erp: string, mail: string) {
  const type = 'mission_resource_access';
  return {
    id: 'reconcile',
    version: '1',
    description: 'Reconcile supplier invoices and tell the supplier about it.',
    ceiling: [
      { type, resource: erp, actions: ['invoices.read'] },
      {
        type,
        resource: erp,
        actions: ['invoices.approve'],
        constraints: { max_amount: { amount: '500.00', currency: 'EUR' } },
      },
      { type, resource: mail, actions: ['messages.send'], constraints: { recipient_domain: 'example.com' } },
    ],
    token_ttl: '5m',
    lifetime: '30m',
  };
}

async function firstAdmin(broker_url: string, file: string): Promise<string> {
  const bootstrap = readFileSync(file, 'utf8').trim();
  const { body } = await request(broker_url, bootstrap, 'POST', '/tokens', { name: 'alice', role: 'admin' });
  return String(body['token']);
}

async function request(
  broker_url: string,
  token: string,
  method: string,
  path: string,
  body?: unknown,
): Promise<AdminAnswer> {
  const asked_at = performance.timeOrigin + performance.now();
  const response = await fetch(`${broker_url}/admin/v1${path}`, {
    method,
    headers: {
      authorization: `Bearer ${token}`,
      ...(body !== undefined && { 'content-type': 'application/json' }),
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
    signal: AbortSignal.timeout(10_000),
  });
  const text = await response.text();
  const answered_at = performance.timeOrigin + performance.now();
  if (!response.ok) throw new Error(`the broker answered ${response.status} to ${method} ${path}: ${text}`);
  return { body: JSON.parse(text === '' ? '{}' : text) as Record<string, unknown>, asked_at, answered_at };
}

/** Ports that were free a moment ago, all different. */
async function freePorts(count: number): Promise<number[]> {
  const probes = await Promise.all(
    Array.from({ length: count }, async () => {
      const probe = createServer();
      await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve));
      return probe;
    }),
  );
  return Promise.all(
    probes.map(async (probe) => {
      const address = probe.address();
      await new Promise((resolve) => probe.close(resolve));
      if (address === null || typeof address === 'string') throw new Error('no port');
      return address.port;
    }),
  );
}
