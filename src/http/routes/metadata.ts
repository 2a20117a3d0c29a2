/** What anyone may read: metadata, keys, status lists (RFC 8414, RFC 7517, Token Status List). */
import { z } from 'zod';
import { malformed } from '../../domain/denial.ts';
import { PROOF_ALGS } from '../../domain/dpop.ts';
import { ACCESS_TOKEN_TYPE, EVIDENCE_TYPES, TOKEN_EXCHANGE } from '../../operations/exchange-request.ts';
import type { Ports } from '../../ports.ts';
import type { Route } from '../route.ts';
import { oauthErrorSchema, problemSchema } from '../schemas.ts';

/** Key sets and metadata are small and public; a minute of caching spares the broker a restart's stampede. */
const CACHE = 'public, max-age=60';

export function metadataRoutes(ports: Ports, statusList: (id: string) => Promise<string>): Route[] {
  const metadata = () => {
    const { issuer } = ports.policy();
    return {
      issuer,
      // RFC 8414 does not ask for one where no grant uses it, but clients that others wrote (MCP) refuse metadata
      // without; it answers that there is no front channel.
      authorization_endpoint: `${issuer}/authorize`,
      token_endpoint: `${issuer}/token`,
      introspection_endpoint: `${issuer}/introspect`,
      revocation_endpoint: `${issuer}/revoke`,
      jwks_uri: `${issuer}/jwks`,
      missions_endpoint: `${issuer}/missions`,
      verifier_bundle_endpoint: `${issuer}/verifier/bundle`,
      revocation_feed_endpoint: `${issuer}/revocations`,
      grant_types_supported: [TOKEN_EXCHANGE],
      response_types_supported: [],
      subject_token_types_supported: [...EVIDENCE_TYPES, ACCESS_TOKEN_TYPE],
      token_endpoint_auth_methods_supported: ['none'],
      introspection_endpoint_auth_methods_supported: ['private_key_jwt'],
      introspection_endpoint_auth_signing_alg_values_supported: ['ES256', 'Ed25519', 'RS256'],
      revocation_endpoint_auth_methods_supported: ['none'],
      dpop_signing_alg_values_supported: PROOF_ALGS,
      authorization_details_types_supported: ['mission_resource_access'],
    };
  };
  const metadataRoute = (path: string): Route => ({
    method: 'GET',
    path,
    auth: { kind: 'public' },
    errors: 'problem',
    describe: {
      summary: 'Authorization server metadata (RFC 8414)',
      tag: 'metadata',
      responses: { 200: { description: 'Metadata', schema: z.looseObject({ issuer: z.string() }) } },
    },
    handle: () => ({ status: 200, headers: { 'cache-control': CACHE }, json: metadata() }),
  });
  return [
    metadataRoute('/.well-known/oauth-authorization-server'),
    // Providers that trust the broker as an OIDC issuer (AWS STS, Vault) look here for `jwks_uri`.
    metadataRoute('/.well-known/openid-configuration'),
    {
      method: 'GET',
      path: '/authorize',
      auth: { kind: 'public' },
      errors: 'oauth',
      describe: {
        summary: 'There is no front channel: agents attest at the token endpoint',
        tag: 'metadata',
        responses: { 400: { description: 'Always', schema: oauthErrorSchema } },
      },
      handle() {
        throw malformed('there is no front channel: present workload evidence at the token endpoint');
      },
    },
    {
      method: 'GET',
      path: '/jwks',
      auth: { kind: 'public' },
      errors: 'problem',
      describe: {
        summary: 'Public keys, next ones included',
        tag: 'metadata',
        responses: {
          200: { description: 'JWK Set', schema: z.object({ keys: z.array(z.looseObject({})) }) },
        },
      },
      handle: () => ({
        status: 200,
        headers: { 'content-type': 'application/jwk-set+json', 'cache-control': CACHE },
        text: JSON.stringify(ports.tokens.jwks()),
      }),
    },
    {
      method: 'GET',
      path: '/status-lists/{id}',
      auth: { kind: 'public' },
      errors: 'problem',
      describe: {
        summary: 'Token Status List, 2 bits a mission',
        tag: 'metadata',
        responses: {
          200: { description: 'Signed list', content_type: 'application/statuslist+jwt' },
          404: { description: 'No such list', schema: problemSchema },
        },
      },
      handle: async (incoming) => ({
        status: 200,
        headers: { 'content-type': 'application/statuslist+jwt', 'cache-control': 'public, max-age=15' },
        text: await statusList(incoming.params['id'] ?? ''),
      }),
    },
  ];
}
