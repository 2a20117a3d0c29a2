import { generateKeyPairSync } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { GithubInstallationToken } from '../../../src/domain/authority/types/github_installation_token.ts';
import type { JsonObject } from '../../../src/domain/json.ts';
import { createSeal, generateKek } from '../../../src/keys/seal.ts';
import { createGithubTokens } from '../../../src/providers/github/token.ts';
import type { Provider, Revocation } from '../../../src/providers/provider.ts';
import { type GithubEmulator, startGithubEmulator } from '../../support/github-emulator.ts';
import { type Counterpart, conforms, issued, leaseRequest } from '../conformance.ts';

const CREATE = 'POST /app/installations/7/access_tokens';
const REVOKE = 'DELETE /installation/token';
const entry = {
  type: 'github_installation_token',
  app: 'main',
  installation_id: 7,
  repositories: ['api', 'hello-world'],
  permissions: { contents: 'write', issues: 'read' },
};
const request = (more: object = {}, seconds?: number) =>
  leaseRequest<GithubInstallationToken>({ ...entry, ...more }, seconds);
const now = () => Date.now() / 1000;
const seal = createSeal(generateKek());

describe('github_installation_token against the GitHub emulator', () => {
  let github: GithubEmulator;
  let provider: Provider<GithubInstallationToken>;
  beforeAll(async () => {
    const installation = {
      repositories: [
        { id: 101, name: 'api' },
        { id: 102, name: 'Hello-World' },
        { id: 103, name: 'secrets' },
      ],
      permissions: { contents: 'admin', issues: 'write', metadata: 'read', administration: 'write' },
    } as const;
    github = await startGithubEmulator({ '7': installation, '8': installation });
    provider = at(github.url);
  });
  afterAll(() => github.close());
  afterEach(() => {
    github.tamper(null);
    for (const route of [CREATE, REVOKE]) github.fail(route, null);
  });

  function at(api_url: string, private_key = github.private_key): Provider<GithubInstallationToken> {
    return createGithubTokens({
      apps: [{ name: 'main', api_url, app_id: github.app_id, private_key, timeout_ms: 700 }],
      seal,
    });
  }
  const tokenOf = (deliver: JsonObject) => String(deliver['token']);
  const failed = async (work: Promise<unknown>) => {
    const cause: unknown = await work.then(
      () => null,
      (thrown: unknown) => thrown,
    );
    expect(JSON.stringify(cause) + String(cause)).not.toContain('ghs_');
    return cause;
  };

  conforms<GithubInstallationToken>((): Counterpart<GithubInstallationToken> => {
    const stranger = generateKeyPairSync('rsa', { modulusLength: 2048 })
      .privateKey.export({ type: 'pkcs8', format: 'pem' })
      .toString();
    return {
      provider,
      entry,
      unconfigured: { ...entry, app: 'elsewhere' },
      broker_secrets: [github.private_key, github.private_key.split('\n')[5] ?? ''],
      works: async (deliver) => github.permits(tokenOf(deliver), 'api', 'contents', 'write'),
      recorded: {
        lease_id: 'lse_conformance',
        sealed: seal.seal(Buffer.from('ghs_of_conformance'), 'github_installation_token/lse_conformance'),
      },
      secrets: (deliver) => [tokenOf(deliver)],
      alive: async () => github.alive(),
      at: (port) => at(`http://127.0.0.1:${port}`),
      refused: () => ({ provider: at(github.url, stranger), secret: stranger.split('\n')[5] ?? '' }),
      // GitHub gives an hour and nothing else: the end of a lease is its revocation.
      short_life_seconds: null,
      leases_are_independent: true,
      enforces: true,
    };
  });

  it('is for the repositories and permissions of its entry only', async () => {
    const { deliver, revocation } = await issued(provider, request());
    const token = tokenOf(deliver);
    expect(github.permits(token, 'Hello-World', 'issues', 'read')).toBe(true);
    expect(github.permits(token, 'Hello-World', 'issues', 'write')).toBe(false);
    expect(github.permits(token, 'secrets', 'contents', 'read')).toBe(false);
    expect(github.permits(token, 'api', 'administration', 'read')).toBe(false);
    await provider.revoke(revocation, now());
  });

  it('asks by id where the entry names ids', async () => {
    const { repositories: _names, ...rest } = entry;
    const { deliver, revocation } = await issued(
      provider,
      leaseRequest<GithubInstallationToken>({ ...rest, repository_ids: [103] }),
    );
    expect(github.permits(tokenOf(deliver), 'secrets', 'contents', 'write')).toBe(true);
    expect(github.asked.at(-1)?.body).toEqual({ repository_ids: [103], permissions: entry.permissions });
    await provider.revoke(revocation, now());
  });

  it('shows GitHub a JWT that is over within ten minutes of now', async () => {
    const { revocation } = await issued(provider, request());
    const { iat = 0, exp = 0 } = github.asked.at(-1)?.claims ?? {};
    expect(Math.abs(now() - 60 - iat)).toBeLessThan(30);
    expect(exp).toBeGreaterThan(now());
    expect(exp).toBeLessThanOrEqual(now() + 600);
    await provider.revoke(revocation, now());
  });

  it('promises no more than the mission, though GitHub gives an hour', async () => {
    const short = request({}, 120);
    const { expires_at, deliver, revocation } = await issued(provider, short);
    expect(expires_at).toBeLessThanOrEqual(short.not_after);
    // What ends it then is the broker.
    await provider.revoke(revocation, expires_at);
    expect(github.permits(tokenOf(deliver), 'api', 'contents', 'read')).toBe(false);
    const long = await issued(provider, request({}, 7200));
    expect(long.expires_at).toBeLessThanOrEqual(now() + 3600);
    await provider.revoke(long.revocation, now());
  });

  it.each<[string, (answer: Record<string, unknown>) => Record<string, unknown>]>([
    ['a higher level', (answer) => ({ ...answer, permissions: { contents: 'admin' } })],
    ['another permission', (answer) => ({ ...answer, permissions: { contents: 'read', secrets: 'read' } })],
    ['metadata to write', (answer) => ({ ...answer, permissions: { metadata: 'write' } })],
    ['a level that nobody knows', (answer) => ({ ...answer, permissions: { contents: 'own' } })],
    ['permissions that it does not tell', ({ permissions: _gone, ...answer }) => answer],
    ['every repository', (answer) => ({ ...answer, repository_selection: 'all' })],
    ['another repository', (answer) => ({ ...answer, repositories: [{ id: 103, name: 'secrets' }] })],
    ['repositories that it does not tell', ({ repositories: _gone, ...answer }) => answer],
    ['a longer life', (answer) => ({ ...answer, expires_at: new Date(Date.now() + 9e6).toISOString() })],
    ['no end', ({ expires_at: _gone, ...answer }) => answer],
  ])('revokes at once a token with %s, and fails', async (_name, change) => {
    const before = github.alive();
    github.tamper(change);
    expect(await failed(issued(provider, request()))).toMatchObject({
      code: 'unexpected_answer',
      retry: false,
    });
    expect(github.alive()).toBe(before);
  });

  it('has the token on record before it looks at it: what cannot be revoked at once is revoked later', async () => {
    const before = github.alive();
    github.tamper((answer) => ({ ...answer, repository_selection: 'all' }));
    github.fail(REVOKE, { status: 502 });
    const recorded: Revocation[] = [];
    const work = provider.issue(request(), { now: now(), record: async (one) => void recorded.push(one) });
    await failed(work);
    expect(github.alive()).toBe(before + 1);
    github.fail(REVOKE, null);
    await provider.revoke(recorded[0] ?? {}, now());
    expect(github.alive()).toBe(before);
  });

  it('takes no token that would break out of its header', async () => {
    github.tamper((answer) => ({ ...answer, token: 'ghs_a\r\nx-evil: 1' }));
    expect(await failed(issued(provider, request()))).toMatchObject({ code: 'unexpected_answer' });
    github.tamper((answer) => ({ ...answer, token: 'g'.repeat(5000) }));
    expect(await failed(issued(provider, request()))).toMatchObject({ code: 'unexpected_answer' });
  });

  it('says what remains where the crash was before the record', async () => {
    const plan = provider.plan(request(), now());
    const residual = await provider.revoke(plan, now());
    expect(residual.seconds).toBeGreaterThan(3500);
    expect(residual.why).toContain('never delivered');
    expect((await provider.revoke(plan, now() + 3700)).seconds).toBe(0);
  });

  it('says how long a token lives on that could not be revoked, and what would end it', async () => {
    const { revocation } = await issued(provider, request());
    github.fail(REVOKE, { status: 500 });
    expect(await failed(provider.revoke(revocation, now()))).toMatchObject({
      code: 'unavailable',
      retry: true,
      residual: { seconds: expect.any(Number) },
      alternative: { kind: 'suspend_installation' },
    });
    github.fail(REVOKE, null);
    await provider.revoke(revocation, now());
  });

  it('does not open what was sealed for another lease, or under another key', async () => {
    const { revocation } = await issued(provider, request());
    const moved = { ...revocation, lease_id: 'lse_of_another' };
    expect(await failed(provider.revoke(moved, now()))).toMatchObject({ code: 'misconfigured' });
    await provider.revoke(revocation, now());
  });

  it('never follows a redirect with the token or the JWT', async () => {
    const elsewhere = await startGithubEmulator({});
    try {
      const { revocation } = await issued(provider, request());
      for (const route of [CREATE, REVOKE])
        github.fail(route, { status: 307, headers: { location: `${elsewhere.url}/stolen` } });
      expect(await failed(issued(provider, request()))).toMatchObject({ code: 'unexpected_answer' });
      expect(await failed(provider.revoke(revocation, now()))).toMatchObject({ code: 'unexpected_answer' });
      github.fail(REVOKE, null);
      await provider.revoke(revocation, now());
    } finally {
      await elsewhere.close();
    }
  });

  it('cuts an answer that does not end, and quotes none that is no JSON', async () => {
    github.fail(CREATE, { status: 201, body: `{"token":"ghs_${'x'.repeat(2_000_000)}"}` });
    expect(await failed(issued(provider, request()))).toMatchObject({ code: 'unexpected_answer' });
    github.fail(CREATE, { status: 201, body: 'ghs_not_json' });
    expect(await failed(issued(provider, request()))).toMatchObject({ code: 'unexpected_answer' });
  });

  it('tells a spent rate limit from a refusal', async () => {
    github.fail(CREATE, { status: 403, headers: { 'x-ratelimit-remaining': '0' } });
    expect(await failed(issued(provider, request()))).toMatchObject({ code: 'unavailable', retry: true });
    github.fail(CREATE, { status: 403 });
    expect(await failed(issued(provider, request()))).toMatchObject({ code: 'refused', retry: false });
  });

  it('names what the installation lacks', async () => {
    expect(await failed(issued(provider, request({ repositories: ['gone'] })))).toMatchObject({
      code: 'misconfigured',
    });
    expect(await failed(issued(provider, request({ permissions: { issues: 'admin' } })))).toMatchObject({
      code: 'misconfigured',
    });
    expect(await failed(issued(provider, request({ installation_id: 9 })))).toMatchObject({
      code: 'misconfigured',
    });
  });

  it('takes no key that GitHub would not, and shows none', () => {
    const weak = generateKeyPairSync('rsa', { modulusLength: 1024 })
      .privateKey.export({ type: 'pkcs8', format: 'pem' })
      .toString();
    for (const key of [weak, 'not a key'])
      expect(() => at(github.url, key)).toThrow('providers.github main: private_key must be an RSA key');
  });

  it('goes on revoking where the installation is suspended: lifting that would wake the token', async () => {
    const { revocation, deliver } = await issued(provider, request({ installation_id: 8 }));
    const works = () => github.permits(tokenOf(deliver), 'api', 'contents', 'read');
    github.suspend('8', true);
    expect(works()).toBe(false);
    expect(await failed(issued(provider, request({ installation_id: 8 })))).toMatchObject({
      code: 'refused',
    });
    expect(await failed(provider.revoke(revocation, now()))).toMatchObject({ code: 'refused' });
    github.suspend('8', false);
    expect(works()).toBe(true);
    await provider.revoke(revocation, now());
    expect(works()).toBe(false);
  });
});
