import { exportJWK, generateKeyPair, type JSONWebKeySet, SignJWT } from 'jose';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { VaultSecret } from '../../../src/domain/authority/types/vault_secret.ts';
import type { JsonObject } from '../../../src/domain/json.ts';
import type { Provider } from '../../../src/providers/provider.ts';
import { createVaultSecrets, type VaultServer } from '../../../src/providers/vault/secret.ts';
import { startVaultEmulator, type VaultEmulator } from '../../support/vault-emulator.ts';
import { type Counterpart, conforms, issued, leaseRequest } from '../conformance.ts';

const ISSUER = 'https://sortie.example.com';
const AUDIENCE = 'https://vault.example.com';
const entry = { type: 'vault_secret', server: 'main', role: 'reader', paths: ['database/creds/readonly'] };
const request = (more: JsonObject = {}, seconds?: number) =>
  leaseRequest<VaultSecret>({ ...entry, ...more }, seconds);

describe('vault_secret against the Vault emulator', () => {
  let vault: VaultEmulator;
  let jwks: JSONWebKeySet;
  let sign: (claims: JsonObject) => Promise<string>;
  let provider: Provider<VaultSecret>;

  beforeAll(async () => {
    const { privateKey, publicKey } = await generateKeyPair('ES256');
    jwks = { keys: [{ ...(await exportJWK(publicKey)), kid: 'k1', alg: 'ES256' }] };
    sign = (claims) =>
      new SignJWT(claims).setProtectedHeader({ alg: 'ES256', kid: 'k1', typ: 'JWT' }).sign(privateKey);
    const role = { policies: ['reader'], token_ttl: 60, token_max_ttl: 7200, bound_audiences: [AUDIENCE] };
    vault = await startVaultEmulator({
      jwks: () => jwks,
      issuer: ISSUER,
      roles: {
        reader: role,
        'sortie-broker': { ...role, policies: ['revoker'], token_ttl: 600 },
        'long-lived': { ...role, token_ttl: 3600 },
        batch: { ...role, token_type: 'batch' },
        brief: { ...role, token_max_ttl: 300 },
      },
      token_roles: { reader: { policies: ['reader'], token_ttl: 3600, token_max_ttl: 7200 } },
      policies: {
        reader: { 'database/creds/readonly': ['read'], 'secret/data/*': ['read'] },
        revoker: { 'auth/token/revoke-accessor': ['update'] },
      },
    });
    provider = vaultAt(vault.url);
  });
  afterEach(() => vault.interfere(null));
  afterAll(() => vault.close());

  function vaultAt(url: string, login: Partial<VaultServer['login']> = {}): Provider<VaultSecret> {
    return createVaultSecrets({
      servers: [
        {
          name: 'main',
          url,
          timeout_ms: 700,
          login: {
            kind: 'jwt',
            mount: 'jwt',
            audience: AUDIENCE,
            broker_role: 'sortie-broker',
            issuer: ISSUER,
            sign,
            ...login,
          } as VaultServer['login'],
        },
      ],
    });
  }

  interface Secret {
    readonly path: string;
    readonly data?: { readonly username: string; readonly password: string };
    readonly wrapping_token?: string;
  }
  const secretsOf = (deliver: JsonObject) => deliver['secrets'] as unknown as readonly Secret[];
  const works = async (deliver: JsonObject) =>
    secretsOf(deliver).every(({ data }) => data !== undefined && vault.login(data.username, data.password));

  conforms<VaultSecret>(
    (): Counterpart<VaultSecret> => ({
      provider,
      entry,
      unconfigured: { ...entry, server: 'elsewhere' },
      broker_secrets: [vault.root_token],
      recorded: { accessor: 'of-a-token' },
      works,
      secrets: (deliver) => secretsOf(deliver).map(({ data }) => data?.password ?? ''),
      alive: async () => vault.alive(),
      at: (port) => vaultAt(`http://127.0.0.1:${port}`),
      refused: () => ({
        provider: vaultAt(vault.url, { kind: 'token', token: 'hvs.wrong-token-of-the-broker' }),
        secret: 'hvs.wrong-token-of-the-broker',
      }),
      short_life_seconds: 2,
      leases_are_independent: true,
      enforces: true,
    }),
  );

  describe('with a token of the broker instead of JWT logins', () => {
    conforms<VaultSecret>(
      (): Counterpart<VaultSecret> => ({
        provider: vaultAt(vault.url, { kind: 'token', token: vault.root_token }),
        entry,
        unconfigured: { ...entry, server: 'elsewhere' },
        broker_secrets: [vault.root_token],
        recorded: { accessor: 'of-a-token' },
        works,
        secrets: (deliver) => secretsOf(deliver).map(({ data }) => data?.password ?? ''),
        alive: async () => vault.alive(),
        at: (port) => vaultAt(`http://127.0.0.1:${port}`, { kind: 'token', token: vault.root_token }),
        short_life_seconds: 2,
        leases_are_independent: true,
        enforces: true,
      }),
    );
  });

  it('records the accessor while the token still has only its probation', async () => {
    const one = request();
    let seen: { readonly alive: number; readonly secrets_read: boolean } | null = null;
    const from = vault.requests.length;
    const { revocation } = await provider.issue(one, {
      now: Date.now() / 1000,
      async record(recorded) {
        expect(typeof recorded['accessor']).toBe('string');
        const paths = vault.requests.slice(from).map(({ path }) => path);
        seen = { alive: vault.alive(), secrets_read: paths.some((path) => path.startsWith('database/')) };
        expect(paths.some((path) => path.includes('renew'))).toBe(false);
      },
    });
    expect(seen).toEqual({ alive: 1, secrets_read: false });
    await provider.revoke(revocation, Date.now() / 1000);
  });

  it('leaves a token that nobody recorded to die within a minute', async () => {
    const dying = new Error('the broker was killed');
    // A killed broker does not even revoke: its next request never arrives.
    vault.interfere('auth/token/revoke-self', (_request, response) => response.destroy());
    const one = request();
    const plan = provider.plan(one, Date.now() / 1000);
    await expect(
      provider.issue(one, { now: Date.now() / 1000, record: () => Promise.reject(dying) }),
    ).rejects.toBe(dying);
    expect(vault.alive()).toBe(1);
    const residual = await provider.revoke(plan, Date.now() / 1000);
    expect(residual.seconds).toBeGreaterThan(0);
    expect(residual.seconds).toBeLessThanOrEqual(120);
    vault.advance(61);
    expect(vault.alive()).toBe(0);
    vault.advance(-61);
  });

  it('wraps on request, and what was wrapped dies with the mission too', async () => {
    const { deliver, revocation } = await issued(provider, request({ wrap_ttl_seconds: 60 }));
    const [secret] = secretsOf(deliver);
    expect(secret?.data).toBeUndefined();
    const unwrap = () =>
      fetch(`${vault.url}/v1/sys/wrapping/unwrap`, {
        method: 'POST',
        headers: { 'x-vault-token': secret?.wrapping_token ?? '' },
      });
    const first = await unwrap();
    const { data } = (await first.json()) as { data: { username: string; password: string } };
    expect(vault.login(data.username, data.password)).toBe(true);
    expect((await unwrap()).status).toBe(400);
    await provider.revoke(revocation, Date.now() / 1000);
    expect(vault.login(data.username, data.password)).toBe(false);
  });

  it('never delivers a stored value: it could not be revoked', async () => {
    await expect(issued(provider, request({ paths: ['secret/data/app'] }))).rejects.toMatchObject({
      code: 'misconfigured',
    });
    expect(vault.alive()).toBe(0);
  });

  it.each(['long-lived', 'batch'])('refuses a role (%s) whose tokens have no probation', async (role) => {
    await expect(issued(provider, request({ role }))).rejects.toMatchObject({ code: 'misconfigured' });
  });

  it('reports the earlier end where Vault gives less than the mission', async () => {
    const { expires_at, revocation } = await issued(provider, request({ role: 'brief' }, 1200));
    // The token ends after 300 s, whatever was asked for, and its secrets with it.
    expect(expires_at).toBeLessThanOrEqual(Date.now() / 1000 + 301);
    await provider.revoke(revocation, Date.now() / 1000);
  });

  it('leaves nothing when one of several paths is refused', async () => {
    vault.revokeEverything();
    await expect(
      issued(provider, request({ paths: ['database/creds/readonly', 'database/creds/forbidden'] })),
    ).rejects.toMatchObject({ code: 'refused' });
    expect(vault.alive()).toBe(0);
  });

  it('never follows a redirect, which would take the token to another host', async () => {
    const elsewhere = await startVaultEmulator({ jwks: () => jwks, issuer: ISSUER, roles: {}, policies: {} });
    vault.interfere('database/', (_request, response) => {
      response.writeHead(307, { location: `${elsewhere.url}/v1/database/creds/readonly` });
      response.end();
    });
    await expect(issued(provider, request())).rejects.toMatchObject({ code: 'unexpected_answer' });
    expect(elsewhere.requests).toEqual([]);
    await elsewhere.close();
  });

  it.each([
    ['garbage', '<html>'],
    ['a list', '[]'],
    ['no lease', '{"data":{}}'],
    ['too much', `{"data":"${'x'.repeat(2_000_000)}"}`],
  ])('refuses an answer that is %s', async (_name, body) => {
    vault.interfere('database/', (_request, response) => response.end(body));
    const fault = await issued(provider, request()).then(
      () => null,
      (cause: unknown) => cause,
    );
    expect(fault).toMatchObject({ name: 'ProviderFault', retry: false });
    expect(vault.alive()).toBe(0);
  });

  it('keeps tokens out of its errors', async () => {
    vault.interfere('database/', (incoming, response) => {
      response.statusCode = 500;
      response.end(JSON.stringify({ errors: [`token ${String(incoming.headers['x-vault-token'])} failed`] }));
    });
    const from = vault.requests.length;
    const fault: unknown = await issued(provider, request()).catch((cause: unknown) => cause);
    const tokens = vault.requests
      .slice(from)
      .map(({ token }) => token)
      .filter((token) => token !== '');
    expect(tokens.length).toBeGreaterThan(0);
    const shown = `${String(fault)} ${(fault as Error).stack ?? ''} ${JSON.stringify(fault)}`;
    for (const token of tokens) expect(shown.includes(token)).toBe(false);
    expect(fault).toMatchObject({ code: 'unavailable', retry: true });
  });

  it('logs in again when its own token was taken away', async () => {
    const first = await issued(provider, request());
    await provider.revoke(first.revocation, Date.now() / 1000);
    vault.revokeEverything();
    const second = await issued(provider, request());
    await provider.revoke(second.revocation, Date.now() / 1000);
    expect(vault.alive()).toBe(0);
  });

  it('takes nothing from the environment', async () => {
    const before = { ...process.env };
    Object.assign(process.env, {
      VAULT_ADDR: 'http://127.0.0.1:1',
      VAULT_TOKEN: 'hvs.environment',
      VAULT_PREFIX: '/elsewhere',
      VAULT_NAMESPACE: 'other',
    });
    try {
      const from = vault.requests.length;
      const { revocation } = await issued(vaultAt(vault.url), request());
      await provider.revoke(revocation, Date.now() / 1000);
      expect(vault.requests.slice(from).some(({ token }) => token === 'hvs.environment')).toBe(false);
    } finally {
      process.env = before;
    }
  });
});
