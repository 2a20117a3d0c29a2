import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { AttesterConfigInput } from '../../src/attesters/config.ts';
import type { AttestationRegistry } from '../../src/attesters/registry.ts';
import { attestation, BROKER, JKT, jwt, NOW, refusalOf } from './support/evidence.ts';
import { makeKey, signWith, type TestKey } from './support/issuer.ts';
import { type KubernetesEmulator, startKubernetesEmulator } from './support/kubernetes-emulator.ts';

const ISSUER = 'https://kubernetes.default.svc.cluster.local';
let folder: string;
let key: TestKey;
let cluster: KubernetesEmulator;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'k8s-'));
  await writeFile(join(folder, 'token'), 'broker-token\n');
  key = await makeKey('k8s', 'RS256');
  cluster = await startKubernetesEmulator();
});
afterAll(async () => {
  await cluster.close();
  await rm(folder, { recursive: true });
});
beforeEach(() => {
  cluster.bend = null;
  cluster.fail = null;
  cluster.pods.clear();
  cluster.pods.set('payments/reconciler-1', { uid: 'pod-1', serviceAccountName: 'reconciler' });
  cluster.reviews.length = 0;
});

const registry = (over: object = {}, rule: object = {}, live: object = {}): AttestationRegistry =>
  attestation([
    {
      kind: 'kubernetes',
      name: 'k8s',
      issuer: ISSUER,
      jwks: { keys: [key.jwk] },
      allow_private_addresses: true,
      timeout_ms: 300,
      live: { api_server: cluster.url, token_file: join(folder, 'token'), ...live },
      rules: [{ name: 'all', match: { namespace: 'payments' }, ...rule }],
      ...over,
    } as AttesterConfigInput,
  ]);
const token = (over: Record<string, unknown> = {}) =>
  signWith(key, {
    iss: ISSUER,
    aud: [BROKER],
    iat: NOW,
    exp: NOW + 3_600,
    sub: 'system:serviceaccount:payments:reconciler',
    'kubernetes.io': {
      namespace: 'payments',
      serviceaccount: { name: 'reconciler', uid: 'sa-1' },
      pod: { name: 'reconciler-1', uid: 'pod-1' },
    },
    ...over,
  });
const appraise = async (by: AttestationRegistry, text?: string) =>
  by.appraise(jwt(text ?? (await token())), { jkt: JKT, now: NOW });

describe('a service account token, reviewed live', () => {
  it('is of tier live, and bound where its audience names the key', async () => {
    expect(await appraise(registry())).toMatchObject({
      tier: 'live',
      agent: 'k8s/payments/reconciler',
      instance: 'k8s/pod-1',
    });
    const audience = `${BROKER}#jkt=${JKT}`;
    expect(await appraise(registry(), await token({ aud: [audience] }))).toMatchObject({ tier: 'bound' });
    expect(cluster.reviews.map((review) => [review.audiences, review.authorization])).toEqual([
      [[BROKER], 'Bearer broker-token'],
      [[audience], 'Bearer broker-token'],
    ]);
  });

  it('ends with its pod', async () => {
    cluster.pods.clear();
    expect(await refusalOf(appraise(registry()))).toContain('does not know this token');
  });

  it.each([
    ['another pod of the same name', { uid: 'pod-2', serviceAccountName: 'reconciler' }],
    ['a pod that is being deleted', { uid: 'pod-1', serviceAccountName: 'reconciler', deleting: true }],
    ['a pod of another service account', { uid: 'pod-1', serviceAccountName: 'other' }],
    ['a pod that has finished', { uid: 'pod-1', serviceAccountName: 'reconciler', phase: 'Succeeded' }],
  ])('refuses %s', async (_name, pod) => {
    cluster.pods.set('payments/reconciler-1', pod);
    cluster.bend = () => ({
      authenticated: true,
      audiences: [BROKER],
      user: {
        username: 'system:serviceaccount:payments:reconciler',
        uid: 'sa-1',
        extra: { 'authentication.kubernetes.io/pod-uid': ['pod-1'] },
      },
    });
    expect(await refusalOf(appraise(registry()))).toContain('platform_refused');
  });

  it.each([
    ['no audience in the answer: an API server that ignores audiences', { audiences: undefined }],
    ['another audience in the answer', { audiences: ['https://kubernetes.default.svc'] }],
    ['not authenticated', { authenticated: false }],
    ['an answer that is only truthy', { authenticated: 'true' }],
    ['another user', { user: { username: 'system:serviceaccount:payments:admin' } }],
    ['no user', { user: undefined }],
  ])('refuses %s', async (_name, over) => {
    cluster.bend = (status) => ({ ...status, ...over });
    expect(await refusalOf(appraise(registry()))).toContain('platform_refused');
  });

  it('never shows a stranger’s text to the API server', async () => {
    const mallory = await makeKey('k8s', 'RS256');
    const claims = { iss: ISSUER, aud: [BROKER], iat: NOW, exp: NOW + 60, sub: 'x' };
    expect(await refusalOf(appraise(registry(), await signWith(mallory, claims)))).toContain('bad_signature');
    expect(cluster.reviews).toEqual([]);
  });

  it('when the API server cannot be asked, is admitted only by a rule that names the lower tier', async () => {
    for (const fail of [500, 503, 401, 403, 429]) {
      cluster.fail = fail;
      expect(await refusalOf(appraise(registry()))).toContain('no_rule_matched');
      expect(await refusalOf(appraise(registry({}, { tier: 'live' })))).toContain('no_rule_matched');
      expect((await appraise(registry({}, { tier: 'reusable' }))).tier).toBe('reusable');
      const bound = await token({ aud: [`${BROKER}#jkt=${JKT}`] });
      expect((await appraise(registry({}, { tier: 'reusable' }), bound)).tier).toBe('reusable');
    }
    cluster.fail = null;
    const dead = registry({}, { tier: 'reusable' }, { api_server: 'http://127.0.0.1:1' });
    expect((await appraise(dead)).tier).toBe('reusable');
  });

  it('when the API server says no, nothing stands in', async () => {
    cluster.pods.clear();
    expect(await refusalOf(appraise(registry({}, { tier: 'reusable' })))).toContain('platform_refused');
  });

  it('puts no claim into an address that is not a Kubernetes name', async () => {
    const bound = {
      namespace: 'payments',
      serviceaccount: { name: 'reconciler', uid: 'sa-1' },
      pod: { name: '../../secrets/x', uid: 'pod-1' },
    };
    cluster.bend = () => ({
      authenticated: true,
      audiences: [BROKER],
      user: {
        username: 'system:serviceaccount:payments:reconciler',
        uid: 'sa-1',
        extra: { 'authentication.kubernetes.io/pod-uid': ['pod-1'] },
      },
    });
    expect(await refusalOf(appraise(registry(), await token({ 'kubernetes.io': bound })))).toContain(
      'not a Kubernetes name',
    );
  });
});
