/** A real gateway in front of an API that only records what reaches it, judged by a real broker. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { creation, ERP, type KeyHolder, newKey, startBroker, type TestBroker } from '../support/broker.ts';
import { freePort } from '../support/free-port.ts';

export const SECRET = randomBytes(24).toString('base64url');

/** What reached the API. */
export interface Reached {
  readonly method: string;
  readonly target: string;
  readonly headers: IncomingHttpHeaders;
}

export interface Answer {
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
}

export interface Scene {
  readonly sortie: TestBroker;
  readonly base_url: string;
  readonly reached: Reached[];
  readonly key: KeyHolder;
  /** A DPoP token for the ERP. */
  token(over?: Record<string, string>): Promise<string>;
  /** Sends bytes as they are: targets and headers that a client library would tidy up. */
  send(method: string, target: string, headers?: readonly string[]): Promise<Answer>;
  /** The two headers of a good call. */
  signed(token: string, method: string, path: string, over?: Record<string, unknown>): Promise<string[]>;
  stop(): Promise<void>;
}

export function hasBinary(name: string): boolean {
  try {
    execFileSync('which', [name], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** True where the suite runs. Without its counterpart it is skipped, loudly; in CI it fails instead. */
export function counterpart(name: string): boolean {
  if (hasBinary(name) || process.env['CI'] === 'true') return true;
  process.stderr.write(`SKIPPED: ${name} is not installed; gateway tests against it did not run\n`);
  return false;
}

export interface GatewayPlan {
  readonly kind: 'nginx' | 'caddy' | 'traefik' | 'envoy';
  /** Starts the gateway on `port` in front of `api`, asking `broker` (host:port each). */
  start(folder: string, at: { port: number; api: string; broker: string }): ChildProcess | null;
}

const ROUTES = [
  { methods: ['GET'], path: '/invoices/{id}', action: 'invoices.read', resource: '/invoices/{id}' },
  { methods: ['POST'], path: '/invoices/{id}/approval', action: 'invoices.approve' },
  { methods: ['GET'], path: '/reports', action: 'journal.write', parameters: { account: 'query.account' } },
];

const TEMPLATE = {
  ceiling: [
    {
      type: 'mission_resource_access',
      resource: ERP,
      resource_match: 'prefix',
      actions: ['invoices.read'],
    },
    {
      type: 'mission_resource_access',
      resource: ERP,
      actions: ['journal.write'],
      constraints: { parameters: { account: { one_of: ['acct_1'] } } },
    },
  ],
};

export async function startScene(plan: GatewayPlan): Promise<Scene> {
  const folder = mkdtempSync(join(tmpdir(), 'sortie-gateway-'));
  const port = await freePort();
  const base_url = `http://127.0.0.1:${port}`;
  writeFileSync(join(folder, 'secret'), `${SECRET}\n`);
  const gateway = {
    id: 'edge',
    kind: plan.kind,
    audience: ERP,
    secret: { from_file: join(folder, 'secret') },
    base_url,
    routes: ROUTES,
  };
  const sortie = await startBroker({ template: TEMPLATE, config: { gateways: [gateway] } });
  const reached: Reached[] = [];
  const api: Server = createServer((request, response) => {
    reached.push({ method: request.method ?? '', target: request.url ?? '', headers: request.headers });
    request.resume();
    response.end('the API');
  });
  await new Promise<void>((resolve) => api.listen(0, '127.0.0.1', resolve));
  const address = api.address();
  const api_port = typeof address === 'object' && address ? address.port : 0;
  mkdirSync(join(folder, 'run'));
  const child = plan.start(folder, {
    port,
    api: `127.0.0.1:${api_port}`,
    broker: new URL(sortie.url).host,
  });
  if (child) await listening(port, child, folder);
  const key = await newKey();

  return {
    sortie,
    base_url,
    reached,
    key,
    async token(over = {}) {
      const { status, body } = await sortie.token(
        key,
        creation(await sortie.evidence({ run: randomUUID() }), over),
      );
      if (status !== 200) throw new Error(`no token: ${JSON.stringify(body)}`);
      return body.access_token;
    },
    send: (method, target, headers = []) => sendRaw(port, method, target, headers),
    async signed(token, method, path, over = {}) {
      const proof = await sortie.proof(key, method, `${base_url}${path}`, {
        ath: createHash('sha256').update(token).digest('base64url'),
        nonce: undefined,
        ...over,
      });
      return [`Authorization: DPoP ${token}`, `DPoP: ${proof}`];
    },
    async stop() {
      if (child) await ended(child);
      api.closeAllConnections();
      await new Promise((resolve) => api.close(resolve));
      await sortie.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** The documented configuration with this test's addresses instead of the documented ones. */
export function documented(file: string, changes: Readonly<Record<string, string>>): string {
  let text = readFileSync(join('docs/gateways', file), 'utf8');
  for (const [from, to] of Object.entries(changes)) {
    if (!text.includes(from)) throw new Error(`${file} has no ${from}`);
    text = text.replaceAll(from, to);
  }
  return text;
}

export function run(
  command: string,
  args: readonly string[],
  env: Record<string, string> = {},
): ChildProcess {
  return spawn(command, [...args], { stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, ...env } });
}

async function listening(port: number, child: ChildProcess, folder: string): Promise<void> {
  let said = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    said = (said + chunk.toString('utf8')).slice(-4000);
  });
  for (let attempt = 0; attempt < 200; attempt++) {
    if (child.exitCode !== null) throw new Error(`the gateway in ${folder} ended: ${said}`);
    const open = await new Promise<boolean>((resolve) => {
      const socket = connect(port, '127.0.0.1', () => {
        socket.destroy();
        resolve(true);
      });
      socket.on('error', () => resolve(false));
    });
    if (open) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`the gateway does not listen: ${said}`);
}

function ended(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    if (child.exitCode !== null) {
      resolve();
      return;
    }
    child.once('exit', () => resolve());
    child.kill('SIGTERM');
  });
}

function sendRaw(port: number, method: string, target: string, headers: readonly string[]): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1');
    const lines = [
      `${method} ${target} HTTP/1.1`,
      `Host: 127.0.0.1:${port}`,
      'Connection: close',
      ...headers,
    ];
    let text = '';
    socket.setEncoding('latin1');
    socket.on('data', (chunk: string) => {
      text += chunk;
    });
    socket.on('error', reject);
    socket.on('close', () => {
      const [head = '', ...rest] = text.split('\r\n\r\n');
      const [status_line = '', ...fields] = head.split('\r\n');
      resolve({
        status: Number(status_line.split(' ')[1]),
        headers: new Map(
          fields.map((field): [string, string] => {
            const colon = field.indexOf(':');
            return [field.slice(0, colon).toLowerCase(), field.slice(colon + 1).trim()];
          }),
        ),
        body: rest.join('\r\n\r\n'),
      });
    });
    socket.write(`${lines.join('\r\n')}\r\n\r\n`);
  });
}
