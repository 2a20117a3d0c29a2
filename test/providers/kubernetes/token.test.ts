import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { KubernetesToken } from '../../../src/domain/authority/types/kubernetes_token.ts';
import { createKubernetesTokens } from '../../../src/providers/kubernetes/token.ts';
import type { Provider } from '../../../src/providers/provider.ts';
import {
  startTokenRequestEmulator,
  type TokenRequestEmulator,
} from '../../support/token-request-emulator.ts';
import { type Counterpart, conforms, issued, leaseRequest } from '../conformance.ts';

const AUDIENCE = 'https://kubernetes.default.svc';
const entry = {
  type: 'kubernetes_token',
  cluster: 'a',
  namespace: 'jobs',
  service_account: 'migrator',
  audiences: [AUDIENCE],
};
const request = (more: object = {}, seconds?: number) =>
  leaseRequest<KubernetesToken>({ ...entry, ...more }, seconds);

describe('kubernetes_token against the TokenRequest emulator', () => {
  let kubernetes: TokenRequestEmulator;
  let provider: Provider<KubernetesToken>;
  beforeAll(async () => {
    kubernetes = await startTokenRequestEmulator(['jobs/migrator']);
    provider = at(kubernetes.url);
  });
  afterAll(() => kubernetes.close());

  function at(url: string, token = kubernetes.token): Provider<KubernetesToken> {
    return createKubernetesTokens({ clusters: [{ name: 'a', url, token: () => token, timeout_ms: 700 }] });
  }

  conforms<KubernetesToken>(
    (): Counterpart<KubernetesToken> => ({
      provider,
      entry,
      unconfigured: { ...entry, cluster: 'elsewhere' },
      broker_secrets: [kubernetes.token],
      works: async (deliver) => kubernetes.authenticated(String(deliver['token']), AUDIENCE),
      secrets: (deliver) => [String(deliver['token'])],
      alive: async () => kubernetes.secrets().length,
      at: (port) => at(`http://127.0.0.1:${port}`),
      refused: () => ({
        provider: at(kubernetes.url, 'wrong-token-of-the-broker'),
        secret: 'wrong-token-of-the-broker',
      }),
      // The API knows nothing shorter than ten minutes: the end of a lease is the deletion of its Secret.
      short_life_seconds: null,
      leases_are_independent: true,
      enforces: true,
    }),
  );

  it('is for the audiences of its entry only', async () => {
    const { deliver, revocation } = await issued(provider, request());
    expect(kubernetes.authenticated(String(deliver['token']), 'https://vault.example.com')).toBe(false);
    await provider.revoke(revocation, 0);
  });

  it('promises no more than the mission, though the API gives no less than ten minutes', async () => {
    const one = request({}, 120);
    const { expires_at, revocation } = await issued(provider, one);
    expect(expires_at).toBeLessThanOrEqual(one.not_after);
    expect(kubernetes.lastRequest()).toMatchObject({ spec: { expirationSeconds: 600 } });
    await provider.revoke(revocation, 0);
  });

  it('leaves no Secret when the token is refused', async () => {
    await expect(issued(provider, request({ service_account: 'nobody' }))).rejects.toMatchObject({
      code: 'misconfigured',
    });
    kubernetes.fail(500);
    await expect(issued(provider, request())).rejects.toMatchObject({ code: 'unavailable', retry: true });
    kubernetes.fail(null);
    expect(kubernetes.secrets()).toEqual([]);
  });
});
