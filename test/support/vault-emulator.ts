/**
 * An emulator of HashiCorp Vault / OpenBao, written from their public API documents: it is not Vault, and what
 * it shows is that our calls and our reading of the answers match those documents. Covers the JWT auth method,
 * token roles, renewal, accessors, dynamic database credentials, leases, a KV store and response wrapping.
 * `test/foreign/vault` drives it with python's hvac, so that it is not only what we imagine.
 */
import { randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createLocalJWKSet, type JSONWebKeySet, jwtVerify } from 'jose';

interface Token {
  readonly token: string;
  readonly accessor: string;
  readonly policies: readonly string[];
  readonly meta: Readonly<Record<string, string>>;
  readonly created: number;
  readonly max_ttl: number;
  readonly leases: Set<string>;
  expires: number;
}
interface Lease {
  readonly id: string;
  readonly token: Token;
  readonly username: string;
  readonly password: string;
  readonly max: number;
  expires: number;
}
export interface EmulatedRole {
  readonly policies: readonly string[];
  readonly token_ttl: number;
  readonly token_max_ttl: number;
  readonly token_type?: 'service' | 'batch';
  /** For JWT roles. */
  readonly bound_audiences?: readonly string[];
}
/** Path to capabilities; a trailing `*` is a prefix, as in Vault's policies. */
export type EmulatedPolicy = Readonly<Record<string, readonly string[]>>;

export interface VaultEmulator {
  readonly url: string;
  readonly port: number;
  readonly root_token: string;
  /** Every header set that was ever received, for looking for tokens that went astray. */
  readonly requests: { readonly method: string; readonly path: string; readonly token: string }[];
  /** Tokens that live now, the root token aside. */
  alive(): number;
  /** Leases that live now, whoever reads them. */
  leases(): number;
  /** Whether a database login of a lease works now. */
  login(username: string, password: string): boolean;
  /** Moves the clock. */
  advance(seconds: number): void;
  /** The next request to a path that starts so is answered by this; null takes it away. */
  interfere(
    prefix: string | null,
    answer?: (request: IncomingMessage, response: ServerResponse) => void,
  ): void;
  revokeEverything(): void;
  close(): Promise<void>;
}

export async function startVaultEmulator(options: {
  readonly jwks: () => JSONWebKeySet;
  readonly issuer: string;
  readonly roles: Readonly<Record<string, EmulatedRole>>;
  readonly token_roles?: Readonly<Record<string, EmulatedRole>>;
  readonly policies: Readonly<Record<string, EmulatedPolicy>>;
  /** Default and maximum life of database credentials. */
  readonly database?: { readonly ttl: number; readonly max_ttl: number };
  readonly root_token?: string;
  readonly port?: number;
}): Promise<VaultEmulator> {
  const tokens = new Map<string, Token>();
  const leases = new Map<string, Lease>();
  const wrapped = new Map<string, { readonly body: unknown; readonly expires: number }>();
  const requests: { method: string; path: string; token: string }[] = [];
  const root_token = options.root_token ?? `hvs.${randomBytes(18).toString('base64url')}`;
  const database = options.database ?? { ttl: 3600, max_ttl: 86_400 };
  let ahead = 0;
  let interference: {
    prefix: string;
    answer: (request: IncomingMessage, response: ServerResponse) => void;
  } | null = null;
  const now = () => Date.now() / 1000 + ahead;

  function create(role: EmulatedRole, meta: Record<string, string>, ttl?: number): Token {
    const token: Token = {
      token: `${role.token_type === 'batch' ? 'hvb' : 'hvs'}.${randomBytes(24).toString('base64url')}`,
      accessor: role.token_type === 'batch' ? '' : randomBytes(12).toString('base64url'),
      policies: ['default', ...role.policies],
      meta,
      created: now(),
      max_ttl: role.token_max_ttl,
      leases: new Set(),
      expires: now() + Math.min(ttl ?? role.token_ttl, role.token_max_ttl),
    };
    tokens.set(token.token, token);
    return token;
  }

  function sweep(): void {
    for (const token of tokens.values()) if (token.expires <= now()) drop(token);
    for (const lease of leases.values()) if (lease.expires <= now()) leases.delete(lease.id);
  }

  /** A token takes its leases along. */
  function drop(token: Token): void {
    for (const lease of token.leases) leases.delete(lease);
    tokens.delete(token.token);
  }

  const auth = (token: Token) => ({
    auth: {
      client_token: token.token,
      accessor: token.accessor,
      policies: token.policies,
      token_policies: token.policies,
      metadata: token.meta,
      lease_duration: Math.round(token.expires - now()),
      renewable: token.accessor !== '',
      entity_id: '',
      token_type: token.accessor === '' ? 'batch' : 'service',
      orphan: true,
    },
  });

  function permits(token: Token | 'root', path: string, capability: string): boolean {
    if (token === 'root') return true;
    const grants: EmulatedPolicy[] = [
      DEFAULT_POLICY,
      ...token.policies.map((name) => options.policies[name] ?? {}),
    ];
    return grants.some((policy) =>
      Object.entries(policy).some(
        ([pattern, capabilities]) =>
          capabilities.includes(capability) &&
          (pattern.endsWith('*') ? path.startsWith(pattern.slice(0, -1)) : path === pattern),
      ),
    );
  }

  async function login(body: Record<string, unknown>): Promise<Answer> {
    const role = options.roles[String(body['role'])];
    if (role === undefined) return error(400, `role "${String(body['role'])}" could not be found`);
    try {
      const { payload } = await jwtVerify(String(body['jwt']), createLocalJWKSet(options.jwks()), {
        issuer: options.issuer,
        audience: [...(role.bound_audiences ?? [])],
        requiredClaims: ['exp'],
        currentDate: new Date(now() * 1000),
      });
      return ok(auth(create(role, { role: String(body['role']), sub: String(payload.sub) })));
    } catch {
      return error(400, 'error validating token: invalid audience (aud) claim or signature');
    }
  }

  function renew(token: Token, body: Record<string, unknown>): Answer {
    const increment = seconds(body['increment']) ?? 3600;
    token.expires = Math.min(now() + increment, token.created + token.max_ttl);
    return ok(auth(token));
  }

  function credentials(token: Token | 'root', role: string): Answer {
    if (token === 'root') return error(400, 'use a token that is not root');
    const lease: Lease = {
      id: `database/creds/${role}/${randomBytes(12).toString('base64url')}`,
      token,
      username: `v-jwt-${role}-${randomBytes(8).toString('hex')}`,
      password: randomBytes(12).toString('base64url'),
      max: now() + database.max_ttl,
      expires: now() + database.ttl,
    };
    leases.set(lease.id, lease);
    token.leases.add(lease.id);
    return ok({
      lease_id: lease.id,
      lease_duration: Math.round(lease.expires - now()),
      renewable: true,
      data: { username: lease.username, password: lease.password },
    });
  }

  function renewLease(token: Token | 'root', body: Record<string, unknown>): Answer {
    const lease = leases.get(String(body['lease_id']));
    if (lease === undefined) return error(400, 'lease not found');
    if (token !== 'root' && lease.token !== token) return error(403, 'permission denied');
    lease.expires = Math.min(now() + (seconds(body['increment']) ?? database.ttl), lease.max);
    return ok({ lease_id: lease.id, lease_duration: Math.round(lease.expires - now()), renewable: true });
  }

  function wrap(inner: object, ttl: number, path: string): Answer {
    const token = `hvs.wrap.${randomBytes(18).toString('base64url')}`;
    wrapped.set(token, { body: inner, expires: now() + ttl });
    return ok({
      wrap_info: {
        token,
        accessor: randomBytes(12).toString('base64url'),
        ttl,
        creation_time: new Date(now() * 1000).toISOString(),
        creation_path: path,
      },
    });
  }

  function unwrap(presented: string): Answer {
    const found = wrapped.get(presented);
    wrapped.delete(presented);
    if (found === undefined || found.expires <= now())
      return error(400, 'wrapping token is not valid or does not exist');
    return ok(found.body as object);
  }

  async function answer(
    method: string,
    path: string,
    presented: string,
    body: Record<string, unknown>,
  ): Promise<Answer> {
    sweep();
    if (path.startsWith('auth/jwt/login')) return login(body);
    if (path === 'sys/wrapping/unwrap') return unwrap(String(body['token'] ?? presented));
    const token: Token | 'root' | undefined = presented === root_token ? 'root' : tokens.get(presented);
    if (token === undefined) return error(403, 'permission denied');
    const capability = method === 'GET' ? 'read' : method === 'LIST' ? 'list' : 'update';
    if (!permits(token, path, capability)) return error(403, '1 error occurred:\n\t* permission denied\n\n');
    if (path.startsWith('auth/token/')) return tokenPath(path.slice(11), token, body);
    if (path.startsWith('database/creds/') && method === 'GET') return credentials(token, path.slice(15));
    if (path.startsWith('secret/data/') && method === 'GET')
      return ok({
        lease_id: '',
        lease_duration: 0,
        renewable: false,
        data: { data: { value: 'static' }, metadata: {} },
      });
    if (path === 'sys/leases/renew') return renewLease(token, body);
    if (path === 'sys/leases/lookup') {
      const lease = leases.get(String(body['lease_id']));
      if (lease === undefined) return error(400, 'invalid lease');
      return ok({ data: { id: lease.id, ttl: Math.round(lease.expires - now()), renewable: true } });
    }
    if (path === 'sys/wrapping/wrap') return wrap({ data: body }, 300, path);
    return error(404);
  }

  function tokenPath(operation: string, token: Token | 'root', body: Record<string, unknown>): Answer {
    const named = [...tokens.values()].find(
      (one) => one.accessor !== '' && one.accessor === body['accessor'],
    );
    const lookup = (one: Token) =>
      ok({
        data: {
          accessor: one.accessor,
          ttl: Math.round(one.expires - now()),
          policies: one.policies,
          meta: one.meta,
          renewable: true,
          type: 'service',
        },
      });
    if (operation.startsWith('create/')) {
      const role = options.token_roles?.[operation.slice(7)];
      if (role === undefined) return error(400, `unknown role ${operation.slice(7)}`);
      const meta = (body['meta'] ?? {}) as Record<string, string>;
      return ok(auth(create(role, meta, seconds(body['ttl']) ?? undefined)));
    }
    if (operation === 'revoke-accessor' || operation === 'lookup-accessor') {
      if (named === undefined) return error(operation === 'revoke-accessor' ? 400 : 403, 'invalid accessor');
      if (operation === 'lookup-accessor') return lookup(named);
      drop(named);
      return { status: 204, body: null };
    }
    if (token === 'root') return error(400, 'not for the root token');
    if (operation === 'renew-self') return renew(token, body);
    if (operation === 'lookup-self') return lookup(token);
    if (operation === 'revoke-self') {
      drop(token);
      return { status: 204, body: null };
    }
    return error(404);
  }

  const server = createServer((request, response) => {
    void handle(request, response);
  });

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://emulator');
    const path = url.pathname.replace(/^\/v1\//, '');
    const presented = String(request.headers['x-vault-token'] ?? '');
    const method = url.searchParams.get('list') === 'true' ? 'LIST' : (request.method ?? 'GET');
    requests.push({ method, path, token: presented });
    if (interference !== null && path.startsWith(interference.prefix)) {
      interference.answer(request, response);
      return;
    }
    let text = '';
    for await (const chunk of request.setEncoding('utf8')) text += chunk;
    let { status, body } = await answer(
      method,
      path,
      presented,
      text === '' ? {} : (JSON.parse(text) as Record<string, unknown>),
    );
    const ttl = seconds(request.headers['x-vault-wrap-ttl']);
    if (ttl !== null && status === 200) {
      // sys/wrapping/wrap wraps what it was given; any other path wraps its own answer.
      const inner = path === 'sys/wrapping/wrap' ? { data: JSON.parse(text) as object } : (body as object);
      ({ status, body } = wrap(inner, ttl, path));
    }
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(
      body === null ? undefined : JSON.stringify({ request_id: randomBytes(8).toString('hex'), ...body }),
    );
  }

  await new Promise<void>((resolve) => server.listen(options.port ?? 0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return {
    url: `http://127.0.0.1:${address.port}`,
    port: address.port,
    root_token,
    requests,
    alive() {
      sweep();
      return [...tokens.values()].filter((token) => token.meta['role'] !== 'sortie-broker').length;
    },
    leases() {
      sweep();
      return leases.size;
    },
    login(username, password) {
      sweep();
      return [...leases.values()].some((lease) => lease.username === username && lease.password === password);
    },
    advance(by) {
      ahead += by;
    },
    interfere(prefix, reply) {
      interference = prefix === null || reply === undefined ? null : { prefix, answer: reply };
    },
    revokeEverything() {
      for (const token of tokens.values()) drop(token);
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** What Vault's `default` policy lets every token do. */
const DEFAULT_POLICY: EmulatedPolicy = {
  'auth/token/lookup-self': ['read'],
  'auth/token/renew-self': ['update'],
  'auth/token/revoke-self': ['update'],
  'sys/leases/renew': ['update'],
  'sys/leases/lookup': ['update'],
  'sys/wrapping/wrap': ['update'],
};

interface Answer {
  readonly status: number;
  readonly body: object | null;
}

function ok(body: object): Answer {
  return { status: 200, body };
}

function error(status: number, ...errors: string[]): Answer {
  return { status, body: { errors } };
}

/** `60`, `"60"` or `"60s"`. */
function seconds(value: unknown): number | null {
  if (typeof value === 'number') return value;
  if (typeof value !== 'string' || value === '') return null;
  const number = Number(value.endsWith('s') ? value.slice(0, -1) : value);
  return Number.isFinite(number) ? number : null;
}
