/**
 * An emulator of the Kubernetes API server, written from its public API reference: it is not Kubernetes. Secrets,
 * TokenRequest with a bound object, and TokenReview, which refuses a token whose bound object is gone.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';

interface Issued {
  readonly secret: string;
  readonly uid: string;
  readonly audiences: readonly string[];
  readonly expires: number;
}

export interface TokenRequestEmulator {
  readonly url: string;
  readonly token: string;
  /** Secrets that exist. */
  secrets(): readonly string[];
  /** What TokenReview answers now, for one audience. */
  authenticated(token: string, audience: string): boolean;
  /** The body of the last TokenRequest. */
  lastRequest(): Record<string, unknown> | null;
  /** The next TokenRequests are answered with this status; null takes it away. */
  fail(status: number | null): void;
  close(): Promise<void>;
}

export async function startTokenRequestEmulator(accounts: readonly string[]): Promise<TokenRequestEmulator> {
  const token = randomBytes(24).toString('base64url');
  const secrets = new Map<string, string>();
  const issued = new Map<string, Issued>();
  let last: Record<string, unknown> | null = null;
  let failing: number | null = null;

  function answer(method: string, path: string, body: Record<string, unknown>): [number, object] {
    const [, namespace = '', kind = '', name = '', sub = ''] =
      /^\/api\/v1\/namespaces\/([^/]+)\/([^/]+)(?:\/([^/]+))?(?:\/([^/]+))?$/.exec(path) ?? [];
    if (kind === 'secrets' && method === 'POST') {
      const metadata = body['metadata'] as { name: string };
      const key = `${namespace}/${metadata.name}`;
      if (secrets.has(key)) return [409, failure('AlreadyExists')];
      secrets.set(key, randomUUID());
      return [201, { kind: 'Secret', metadata: { ...metadata, namespace, uid: secrets.get(key) } }];
    }
    if (kind === 'secrets' && method === 'DELETE')
      return secrets.delete(`${namespace}/${name}`)
        ? [200, { kind: 'Status', status: 'Success' }]
        : [404, failure('NotFound')];
    if (kind === 'serviceaccounts' && sub === 'token' && method === 'POST') {
      last = body;
      if (failing !== null) return [failing, failure('InternalError')];
      if (!accounts.includes(`${namespace}/${name}`)) return [404, failure('NotFound')];
      const spec = body['spec'] as {
        audiences: string[];
        expirationSeconds: number;
        boundObjectRef: { name: string; uid: string };
      };
      if (spec.expirationSeconds < 600) return [422, failure('Invalid')];
      const secret = `${namespace}/${spec.boundObjectRef.name}`;
      if (secrets.get(secret) !== spec.boundObjectRef.uid) return [409, failure('Conflict')];
      const made = randomBytes(48).toString('base64url');
      const expires = Date.now() + spec.expirationSeconds * 1000;
      issued.set(made, { secret, uid: spec.boundObjectRef.uid, audiences: spec.audiences, expires });
      const status = {
        token: made,
        expirationTimestamp: new Date(expires).toISOString().replace(/\.\d+/, ''),
      };
      return [201, { kind: 'TokenRequest', spec, status }];
    }
    return [404, failure('NotFound')];
  }

  const server = createServer((request, response) => {
    void (async () => {
      let text = '';
      for await (const chunk of request.setEncoding('utf8')) text += chunk;
      const body = text === '' ? {} : (JSON.parse(text) as Record<string, unknown>);
      const [status, object] =
        request.headers.authorization === `Bearer ${token}`
          ? answer(request.method ?? 'GET', request.url ?? '/', body)
          : ([401, failure('Unauthorized')] as const);
      response.writeHead(status, { 'content-type': 'application/json' });
      response.end(JSON.stringify(object));
    })();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return {
    url: `http://127.0.0.1:${address.port}`,
    token,
    secrets: () => [...secrets.keys()],
    authenticated(presented, audience) {
      const found = issued.get(presented);
      if (found === undefined || found.expires <= Date.now()) return false;
      return found.audiences.includes(audience) && secrets.get(found.secret) === found.uid;
    },
    lastRequest: () => last,
    fail(status) {
      failing = status;
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function failure(reason: string): object {
  return { kind: 'Status', apiVersion: 'v1', status: 'Failure', reason };
}
