/** Response wrapping end to end: the provider delivers, and a client that others wrote unwraps. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { VaultSecret } from '../../../src/domain/authority/types/vault_secret.ts';
import type { Provider } from '../../../src/providers/provider.ts';
import { createVaultSecrets } from '../../../src/providers/vault/secret.ts';
import { issued, leaseRequest } from '../../providers/conformance.ts';
import { startVaultEmulator, type VaultEmulator } from '../../support/vault-emulator.ts';
import { pythonHas } from '../python.ts';

const run = promisify(execFile);

describe.skipIf(!pythonHas('wrapped secrets under hvac', 'hvac'))('a wrapped secret of a mission', () => {
  let vault: VaultEmulator;
  let provider: Provider<VaultSecret>;
  beforeAll(async () => {
    vault = await startVaultEmulator({
      jwks: () => ({ keys: [] }),
      issuer: 'https://sortie.example.com',
      roles: {},
      token_roles: { reader: { policies: ['reader'], token_ttl: 3600, token_max_ttl: 7200 } },
      policies: { reader: { 'database/creds/readonly': ['read'] } },
    });
    provider = createVaultSecrets({
      servers: [
        {
          name: 'main',
          url: vault.url,
          timeout_ms: 2000,
          login: { kind: 'token', token: vault.root_token },
        },
      ],
    });
  });
  afterAll(() => vault.close());

  const wrapped = () =>
    issued(
      provider,
      leaseRequest<VaultSecret>({
        type: 'vault_secret',
        server: 'main',
        role: 'reader',
        paths: ['database/creds/readonly'],
        wrap_ttl_seconds: 60,
      }),
    );
  const tokenIn = ({ deliver }: Awaited<ReturnType<typeof wrapped>>) => {
    const [secret] = deliver['secrets'] as unknown as readonly Record<string, string>[];
    expect(Object.keys(secret ?? {}).sort()).toEqual(['path', 'wrap_ttl_seconds', 'wrapping_token']);
    return secret?.['wrapping_token'] ?? '';
  };
  async function unwrap(token: string): Promise<{ data?: Record<string, string>; refused?: string }> {
    const script = join(import.meta.dirname, 'unwrap.py');
    const { stdout } = await run('python3', [script, vault.url, token], { timeout: 20_000 });
    return JSON.parse(stdout) as { data?: Record<string, string>; refused?: string };
  }

  it('is opened once by hvac, works at the database, and dies with the mission', async () => {
    const one = await wrapped();
    const token = tokenIn(one);
    const { data } = await unwrap(token);
    const works = () => vault.login(data?.['username'] ?? '', data?.['password'] ?? '');
    expect(works()).toBe(true);
    // Who comes second learns that somebody was there.
    expect(await unwrap(token)).toEqual({ refused: 'InvalidRequest' });
    await provider.revoke(one.revocation, Date.now() / 1000);
    expect(works()).toBe(false);
  });

  it('is worth nothing when it is opened after the mission', async () => {
    const one = await wrapped();
    await provider.revoke(one.revocation, Date.now() / 1000);
    const { data } = await unwrap(tokenIn(one));
    expect(data === undefined || vault.login(data['username'] ?? '', data['password'] ?? '')).not.toBe(true);
  });
});
