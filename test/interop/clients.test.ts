/** Clients that others wrote drive the broker over plain HTTP on loopback, with their switches for that. */
import * as oauth from 'oauth4webapi';
import * as openid from 'openid-client';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ERP, intent, type KeyHolder, startBroker, type TestBroker } from '../support/broker.ts';

let sortie: TestBroker;
beforeAll(async () => {
  sortie = await startBroker();
});
afterAll(() => sortie.close());

const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const parameters = async (run: string) => ({
  subject_token: await sortie.evidence({ run }),
  subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
  resource: ERP,
  mission_intent: intent(),
});

function verifierKey() {
  return sortie.verifierKeys.erp.privateKey as oauth.CryptoKey;
}

describe('oauth4webapi', () => {
  const insecure = { [oauth.allowInsecureRequests]: true };
  let as: oauth.AuthorizationServer;
  const client: oauth.Client = { client_id: 'agents/reconciler' };

  beforeAll(async () => {
    const issuer = new URL(sortie.url);
    const response = await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...insecure });
    as = await oauth.processDiscoveryResponse(issuer, response);
  });

  test('discovers what the broker can do', () => {
    expect(as).toMatchObject({
      issuer: sortie.url,
      token_endpoint: `${sortie.url}/token`,
      grant_types_supported: [TOKEN_EXCHANGE],
      dpop_signing_alg_values_supported: expect.arrayContaining(['ES256', 'Ed25519']),
    });
  });

  test('also as an OpenID provider’s metadata, as AWS and Vault look for it', async () => {
    const response = await fetch(`${sortie.url}/.well-known/openid-configuration`);
    expect(await response.json()).toMatchObject({ issuer: sortie.url, jwks_uri: `${sortie.url}/jwks` });
  });

  test('exchanges with DPoP and nonce retry, introspects plain and signed, gives back', async () => {
    const DPoP = oauth.DPoP(client, await oauth.generateKeyPair('ES256', { extractable: true }));
    const form = await parameters('oauth4webapi');
    const ask = async () =>
      oauth.processGenericTokenEndpointResponse(
        as,
        client,
        await oauth.genericTokenEndpointRequest(as, client, oauth.None(), TOKEN_EXCHANGE, form, {
          DPoP,
          ...insecure,
        }),
        { recognizedTokenTypes: {} },
      );
    const answer = await ask().catch((error: unknown) => {
      expect(oauth.isDPoPNonceError(error)).toBe(true);
      return ask();
    });
    expect(answer.token_type).toBe('dpop');
    expect(answer['mission_id']).toMatch(/^msn_/);
    expect(answer.authorization_details?.length).toBeGreaterThan(0);

    const verifier: oauth.Client = { client_id: 'erp' };
    const auth = oauth.PrivateKeyJwt(verifierKey());
    const introspect = async () =>
      oauth.processIntrospectionResponse(
        as,
        verifier,
        await oauth.introspectionRequest(as, verifier, auth, answer.access_token, insecure),
      );
    expect(await introspect()).toMatchObject({ active: true, aud: ERP, iss: sortie.url });

    const signed = { ...verifier, introspection_signed_response_alg: 'ES256' };
    const response = await oauth.introspectionRequest(as, signed, auth, answer.access_token, insecure);
    const claims = await oauth.processIntrospectionResponse(as, signed, response);
    expect(claims).toMatchObject({ active: true, aud: ERP });
    await oauth.validateApplicationLevelSignature(as, response, insecure);

    // These clients know no proofs at the revocation endpoint: the header is made by hand.
    const headers = { dpop: await proofOf(DPoP, `${sortie.url}/revoke`) };
    await oauth.processRevocationResponse(
      await oauth.revocationRequest(as, client, oauth.None(), answer.access_token, { headers, ...insecure }),
    );
    expect(await introspect()).toMatchObject({ active: false });
  });

  test('reads refusals as OAuth errors', async () => {
    const form = { ...(await parameters('refused')), resource: 'https://elsewhere.example.com' };
    const DPoP = oauth.DPoP(client, await oauth.generateKeyPair('ES256'));
    const response = await oauth.genericTokenEndpointRequest(as, client, oauth.None(), TOKEN_EXCHANGE, form, {
      DPoP,
      ...insecure,
    });
    await expect(oauth.processGenericTokenEndpointResponse(as, client, response)).rejects.toMatchObject({
      error: 'invalid_target',
    });
  });
});

/** A proof by the handle's own key, caught on its way out. */
async function proofOf(DPoP: oauth.DPoPHandle, url: string): Promise<string> {
  let proof = '';
  await oauth.protectedResourceRequest('none', 'POST', new URL(url), undefined, null, {
    DPoP,
    [oauth.allowInsecureRequests]: true,
    [oauth.customFetch]: async (_url: string, options: { headers: Record<string, string> }) => {
      proof = new Headers(options.headers).get('dpop') ?? '';
      return new Response(null, { status: 200 });
    },
  } as Parameters<typeof oauth.protectedResourceRequest>[5]);
  return proof;
}

describe('openid-client', () => {
  test('discovers, exchanges with DPoP and its own nonce retry, introspects, gives back', async () => {
    const execute = [openid.allowInsecureRequests];
    const config = await openid.discovery(
      new URL(sortie.url),
      'agents/reconciler',
      undefined,
      openid.None(),
      { algorithm: 'oauth2', execute },
    );
    const keys = await openid.randomDPoPKeyPair('ES256', { extractable: true });
    const DPoP = openid.getDPoPHandle(config, keys);
    const answer = await openid.genericGrantRequest(
      config,
      TOKEN_EXCHANGE,
      await parameters('openid-client'),
      { DPoP },
    );
    expect(answer.token_type).toBe('dpop');
    expect(answer['mission_id']).toMatch(/^msn_/);

    const verifier = await openid.discovery(
      new URL(sortie.url),
      'erp',
      undefined,
      openid.PrivateKeyJwt(verifierKey()),
      { algorithm: 'oauth2', execute },
    );
    expect(await openid.tokenIntrospection(verifier, answer.access_token)).toMatchObject({ active: true });
    // The next token of the mission, by the same library.
    const { mission_intent: _, ...again } = await parameters('openid-client');
    const renewed = await openid.genericGrantRequest(
      config,
      TOKEN_EXCHANGE,
      { ...again, mission_id: String(answer['mission_id']) },
      { DPoP },
    );
    expect(renewed['mission_id']).toBe(answer['mission_id']);

    const { kty, crv, x, y } = await crypto.subtle.exportKey('jwk', keys.publicKey);
    const jwk = { kty, crv, x, y };
    const holder = { privateKey: keys.privateKey, jwk, jkt: '' } as unknown as KeyHolder;
    config[openid.customFetch] = async (url, options) =>
      fetch(url, {
        method: 'POST',
        body: options.body as string,
        headers: { ...options.headers, dpop: await sortie.proof(holder, 'POST', `${sortie.url}/revoke`) },
      });
    // Any request first brings the harness a nonce.
    await sortie.token(holder, {});
    await openid.tokenRevocation(config, answer.access_token);
    expect(await openid.tokenIntrospection(verifier, answer.access_token)).toMatchObject({ active: false });
    expect(await openid.tokenIntrospection(verifier, renewed.access_token)).toMatchObject({ active: true });
  });
});
