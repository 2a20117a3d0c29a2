/**
 * An emulator of the part of GitHub's REST API that gives out installation tokens, written from its public
 * documentation: it is not GitHub. App JWTs are really verified, tokens really cut and really revoked.
 */
import { createPublicKey, generateKeyPairSync, randomBytes, verify } from 'node:crypto';
import { createServer } from 'node:http';

type Level = 'read' | 'write' | 'admin';
const LEVELS = ['read', 'write', 'admin'];

export interface Installation {
  readonly repositories: readonly { readonly id: number; readonly name: string }[];
  readonly permissions: Readonly<Record<string, Level>>;
}

interface Token {
  readonly installation: string;
  readonly repositories: readonly string[];
  readonly permissions: Readonly<Record<string, string>>;
  readonly expires: number;
}

export interface GithubEmulator {
  readonly url: string;
  readonly app_id: string;
  /** Of the app, PEM. */
  readonly private_key: string;
  /** Whether a token may do this to a repository now. */
  permits(token: string, repository: string, permission: string, level: Level): boolean;
  /** How many tokens work. */
  alive(): number;
  /** Bodies of requests for tokens, and claims of the JWTs that they came with. */
  readonly asked: readonly {
    readonly body: Record<string, unknown>;
    readonly claims: Record<string, number>;
  }[];
  /** Statuses and headers that requests get, by `METHOD path`, until taken away with null. */
  fail(
    route: string,
    answer: { status: number; headers?: Record<string, string>; body?: string } | null,
  ): void;
  /** Changes each answer with a token before it is sent. */
  tamper(change: ((answer: Record<string, unknown>) => Record<string, unknown>) | null): void;
  /** As a person does in the settings, or the app by its API: no token of the installation works. */
  suspend(installation: string, suspended: boolean): void;
  close(): Promise<void>;
}

export async function startGithubEmulator(
  installations: Readonly<Record<string, Installation>>,
): Promise<GithubEmulator> {
  const app_id = 'Iv23liEmulated';
  const pair = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const private_key = pair.privateKey.export({ type: 'pkcs1', format: 'pem' }).toString();
  const tokens = new Map<string, Token>();
  const suspended = new Set<string>();
  const failing = new Map<string, { status: number; headers?: Record<string, string>; body?: string }>();
  const asked: { body: Record<string, unknown>; claims: Record<string, number> }[] = [];
  let tampering: ((answer: Record<string, unknown>) => Record<string, unknown>) | null = null;
  const now = () => Date.now() / 1000;

  function claimsOf(jwt: string): Record<string, number> | null {
    const [header = '', payload = '', signature = ''] = jwt.split('.');
    const key = createPublicKey(pair.publicKey.export({ type: 'spki', format: 'pem' }));
    if (!verify('sha256', Buffer.from(`${header}.${payload}`), key, Buffer.from(signature, 'base64url')))
      return null;
    const read = (part: string) => JSON.parse(Buffer.from(part, 'base64url').toString());
    const { alg } = read(header);
    const claims = read(payload);
    const timely = claims.iat <= now() && claims.exp > now() && claims.exp <= now() + 600;
    return alg === 'RS256' && claims.iss === app_id && timely ? claims : null;
  }

  function create(id: string, body: Record<string, unknown>): [number, Record<string, unknown>] {
    const installation = installations[id];
    if (installation === undefined) return [404, { message: 'Not Found' }];
    if (suspended.has(id)) return [403, { message: 'This installation has been suspended' }];
    const names = body['repositories'] as string[] | undefined;
    const ids = body['repository_ids'] as number[] | undefined;
    // GitHub compares names without case.
    const named = installation.repositories.filter(
      ({ id: one, name }) =>
        (names === undefined && ids === undefined) ||
        names?.some((wanted) => wanted.toLowerCase() === name.toLowerCase()) ||
        ids?.includes(one),
    );
    if (named.length < (names?.length ?? 0) + (ids?.length ?? 0))
      return [422, { message: 'There is at least one repository that does not exist or is not accessible' }];
    const permissions = (body['permissions'] ?? installation.permissions) as Record<string, string>;
    for (const [name, level] of Object.entries(permissions))
      if (LEVELS.indexOf(level) > LEVELS.indexOf(installation.permissions[name] ?? 'none'))
        return [422, { message: 'The permissions requested are not granted to this installation.' }];
    const token = `ghs_${randomBytes(27).toString('base64url').replaceAll('-', 'A')}`;
    const expires = Math.floor(now()) + 3600;
    const granted = { ...permissions, metadata: 'read' };
    tokens.set(token, {
      installation: id,
      repositories: named.map(({ name }) => name),
      permissions: granted,
      expires,
    });
    return [
      201,
      {
        token,
        expires_at: new Date(expires * 1000).toISOString().replace(/\.\d+/, ''),
        permissions: granted,
        repository_selection: names === undefined && ids === undefined ? 'all' : 'selected',
        repositories: named.map((one) => ({ ...one, full_name: `acme/${one.name}`, private: true })),
      },
    ];
  }

  const works = (presented: string): Token | null => {
    const token = tokens.get(presented);
    return token !== undefined && token.expires > now() && !suspended.has(token.installation) ? token : null;
  };

  const server = createServer((request, response) => {
    void (async () => {
      let text = '';
      for await (const chunk of request.setEncoding('utf8')) text += chunk;
      const reply = (status: number, body?: object | string, headers: Record<string, string> = {}) => {
        response.writeHead(status, { 'content-type': 'application/json', ...headers });
        response.end(typeof body === 'string' ? body : body === undefined ? undefined : JSON.stringify(body));
      };
      const path = request.url ?? '/';
      const bearer = request.headers.authorization?.replace(/^Bearer /, '') ?? '';
      const failure = failing.get(`${request.method} ${path}`);
      if (failure !== undefined) return reply(failure.status, failure.body, failure.headers);
      if (request.headers['user-agent'] === undefined) return reply(403, { message: 'User-Agent required' });
      const [, id] = /^\/app\/installations\/([0-9]+)\/access_tokens$/.exec(path) ?? [];
      if (id !== undefined && request.method === 'POST') {
        const claims = claimsOf(bearer);
        if (claims === null) return reply(401, { message: 'A JSON web token could not be decoded' });
        const body = JSON.parse(text) as Record<string, unknown>;
        asked.push({ body, claims });
        const [status, answer] = create(id, body);
        return reply(status, status === 201 && tampering !== null ? tampering(answer) : answer);
      }
      if (path === '/installation/token' && request.method === 'DELETE') {
        if (suspended.has(tokens.get(bearer)?.installation ?? ''))
          return reply(403, { message: 'This installation has been suspended' });
        if (works(bearer) === null) return reply(401, { message: 'Bad credentials' });
        tokens.delete(bearer);
        return reply(204);
      }
      return reply(404, { message: 'Not Found' });
    })();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return {
    url: `http://127.0.0.1:${address.port}`,
    app_id,
    private_key,
    permits(presented, repository, permission, level) {
      const token = works(presented);
      return (
        token?.repositories.includes(repository) === true &&
        LEVELS.indexOf(level) <= LEVELS.indexOf(token.permissions[permission] ?? 'none')
      );
    },
    alive: () => [...tokens.keys()].filter((token) => works(token) !== null).length,
    asked,
    fail(route, answer) {
      if (answer === null) failing.delete(route);
      else failing.set(route, answer);
    },
    tamper(change) {
      tampering = change;
    },
    suspend(installation, now_suspended) {
      if (now_suspended) suspended.add(installation);
      else suspended.delete(installation);
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
