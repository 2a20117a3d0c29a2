import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { describe, expect, it } from 'vitest';
import { startVaultEmulator } from '../../support/vault-emulator.ts';
import { pythonHas } from '../python.ts';

const run = promisify(execFile);

describe.skipIf(!pythonHas('the Vault emulator under hvac', 'hvac'))('the Vault emulator', () => {
  it('answers a client that others wrote as Vault does', async () => {
    const { privateKey, publicKey } = await generateKeyPair('ES256');
    const jwk = { ...(await exportJWK(publicKey)), kid: 'k1' };
    const role = { policies: ['reader'], token_ttl: 60, token_max_ttl: 7200, bound_audiences: ['vault'] };
    const vault = await startVaultEmulator({
      jwks: () => ({ keys: [jwk] }),
      issuer: 'https://sortie.example.com',
      roles: { reader: role },
      token_roles: { reader: role },
      policies: { reader: { 'database/creds/readonly': ['read'] } },
    });
    const jwt = await new SignJWT({ sub: 'k8s/payments/reconciler' })
      .setProtectedHeader({ alg: 'ES256', kid: 'k1' })
      .setIssuer('https://sortie.example.com')
      .setAudience('vault')
      .setExpirationTime('60s')
      .sign(privateKey);
    try {
      const { stdout } = await run(
        'python3',
        [join(import.meta.dirname, 'drive.py'), vault.url, jwt, vault.root_token],
        { timeout: 20_000 },
      );
      expect(JSON.parse(stdout)).toEqual({
        lease_duration: 60,
        renewable: true,
        authenticated: true,
        lookup_accessor_equal: true,
        renewed_to: 600,
        credential_members: ['password', 'username'],
        lease_looked_up: true,
        lease_renewed_to: 900,
        unwrapped: { username: 'u' },
        unwrap_twice: 'InvalidRequest',
        forbidden: 'Forbidden',
        looked_up: true,
        authenticated_after_revocation: false,
        revoke_twice: 'InvalidRequest',
        created_ttl: 60,
        bad_login: 'InvalidRequest',
      });
    } finally {
      await vault.close();
    }
  });
});
