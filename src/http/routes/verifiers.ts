/** What verifiers call (wire profile 3). Each sees its own audience and nothing else. */
import { z } from 'zod';
import { Denied, malformed } from '../../domain/denial.ts';
import type { RevocationFeed } from '../../feed/feed.ts';
import type { SignedBundle } from '../../operations/bundle.ts';
import { introspect } from '../../operations/introspect.ts';
import { type MissionDigestKey, missionFacts } from '../../operations/mission-facts.ts';
import type { Ports, VerifierPolicy } from '../../ports.ts';
import { eventStream, header, type Incoming, json, type Route, readForm, readJson } from '../route.ts';
import { oauthErrorSchema, problemSchema } from '../schemas.ts';

/** RFC 9701. */
const INTROSPECTION_JWT = 'application/token-introspection+jwt';
const ASSERTION_TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';

const ackBody = z.strictObject({
  instance_id: z.string().min(1).max(128),
  epoch: z.number().int().min(0),
  seq: z.number().int().min(0),
});

const introspectForm = z.object({
  token: z.string(),
  token_type_hint: z.string().optional(),
  client_id: z.string().optional(),
  client_assertion_type: z.literal(ASSERTION_TYPE).optional(),
  client_assertion: z.string().optional(),
});

export function verifierOf(incoming: Incoming): VerifierPolicy {
  if (incoming.verifier === null) throw new Denied({ tag: 'invalid_client' });
  return incoming.verifier;
}

/** The assertion of a request: the Authorization header, or the RFC 7523 members of a form. */
export function assertionOf(authorization: string | undefined, form: string | null): string | undefined {
  if (authorization?.startsWith('Bearer ')) return authorization.slice(7);
  if (form === null) return undefined;
  const parameters = new URLSearchParams(form);
  if (parameters.getAll('client_assertion_type').join() !== ASSERTION_TYPE) return undefined;
  const assertions = parameters.getAll('client_assertion');
  return assertions.length === 1 ? assertions[0] : undefined;
}

/** Whether gzip is named and not refused; nothing finer is needed for one encoding. */
function acceptsGzip(accepted: string | undefined): boolean {
  for (const offer of accepted?.split(',') ?? []) {
    const [coding, quality] = offer.split(';', 2);
    if (coding?.trim().toLowerCase() === 'gzip') return quality?.replaceAll(' ', '') !== 'q=0';
  }
  return false;
}

export function verifierRoutes(
  ports: Ports,
  parts: {
    readonly feed: RevocationFeed;
    readonly bundle: (verifier: VerifierPolicy) => Promise<SignedBundle>;
    readonly missionDigestKey: MissionDigestKey;
  },
): Route[] {
  const refused = { 401: { description: 'Not a registered verifier', schema: problemSchema } };
  return [
    {
      method: 'POST',
      path: '/introspect',
      auth: { kind: 'verifier' },
      errors: 'oauth',
      hot: true,
      describe: {
        summary: 'What a token may do now (RFC 7662; RFC 9701 by Accept)',
        tag: 'verifiers',
        form: introspectForm,
        responses: {
          200: {
            description: 'Claims, or {"active": false}',
            schema: z.looseObject({ active: z.boolean() }),
          },
          401: { description: 'Not a registered verifier', schema: oauthErrorSchema },
        },
      },
      async handle(incoming) {
        const verifier = verifierOf(incoming);
        const token = readForm(incoming).get('token');
        if (token === undefined || token === '') throw malformed('token is required');
        const answer = await introspect(ports, verifier, token);
        if (!header(incoming, 'accept')?.includes(INTROSPECTION_JWT)) return json(200, answer);
        const signed = await ports.tokens.sign('token-introspection+jwt', 'ES256', {
          iss: ports.policy().issuer,
          // The client that asked (RFC 9701 section 5), as it authenticates here; not the audience of the token.
          aud: verifier.id,
          iat: Math.floor(ports.clock.now()),
          token_introspection: answer,
        });
        return {
          status: 200,
          headers: { 'content-type': INTROSPECTION_JWT, 'cache-control': 'no-store' },
          text: signed,
        };
      },
    },
    {
      method: 'GET',
      path: '/verifier/bundle',
      auth: { kind: 'verifier' },
      errors: 'problem',
      hot: true,
      describe: {
        summary: 'Keys, actions, labels and rules, versioned and signed',
        tag: 'verifiers',
        responses: {
          200: { description: 'A JWS, typ sortie-bundle+jwt', content_type: 'application/jwt' },
          304: { description: 'Unchanged' },
          ...refused,
        },
      },
      async handle(incoming) {
        const { version, jws } = await parts.bundle(verifierOf(incoming));
        const etag = `"${version}"`;
        if (header(incoming, 'if-none-match') === etag) return { status: 304, headers: { etag } };
        return {
          status: 200,
          headers: { 'content-type': 'application/jwt', etag, 'cache-control': 'private, no-cache' },
          text: jws,
        };
      },
    },
    {
      method: 'GET',
      path: '/verifier/missions/{id}',
      auth: { kind: 'verifier' },
      errors: 'problem',
      // Asked on the way of effects whose judgement depends on taint.
      hot: true,
      describe: {
        summary: 'What a guard needs of a mission to judge where values came from',
        tag: 'verifiers',
        responses: {
          200: {
            description: 'Of missions with a token for this audience only',
            schema: z.object({
              mission_id: z.string(),
              created_at: z.number(),
              expires_at: z.number(),
              goal: z.string(),
              constraints: z.array(z.string()),
              success_criteria: z.array(z.string()),
              needs: z.array(z.object({ actions: z.array(z.string()), why: z.string() })),
              tainted: z.boolean().describe('It, or a mission of its tree.'),
              marked: z.boolean().describe('It itself.'),
              born_tainted: z.boolean(),
              behaviour: z
                .object({ rules: z.looseObject({ version: z.string() }), values: z.array(z.looseObject({})) })
                .describe('What the template says: rules with their version, and what it vouches for here.'),
              history: z
                .object({ version: z.number().int(), key: z.string(), digests: z.array(z.string()) })
                .optional()
                .describe('What earlier missions used here, where the template turns it on.'),
              digest_key: z.string(),
              sources_for_others: z.array(z.object({ action: z.string(), field: z.string().optional() })),
            }),
          },
          404: { description: 'No such mission at this audience', schema: problemSchema },
          ...refused,
        },
      },
      async handle(incoming) {
        const id = incoming.params['id'] ?? '';
        return json(200, await missionFacts(ports, parts.missionDigestKey, verifierOf(incoming), id));
      },
    },
    {
      method: 'GET',
      path: '/revocations',
      auth: { kind: 'verifier' },
      errors: 'problem',
      hot: true,
      describe: {
        summary: 'Snapshot of the revocation feed for this audience',
        tag: 'verifiers',
        responses: {
          200: {
            description: 'Every entry in force',
            schema: z.object({
              epoch: z.number().int(),
              seq: z.number().int(),
              ts: z.number(),
              max_token_seconds: z.number().int(),
              entries: z.array(z.looseObject({ seq: z.number().int(), kind: z.string(), key: z.string() })),
            }),
          },
          ...refused,
        },
      },
      async handle(incoming) {
        const gzip = acceptsGzip(header(incoming, 'accept-encoding'));
        return {
          status: 200,
          headers: {
            'content-type': 'application/json',
            'cache-control': 'no-store',
            vary: 'accept-encoding',
            ...(gzip && { 'content-encoding': 'gzip' }),
          },
          chunks: await parts.feed.snapshot(verifierOf(incoming).audience, gzip),
        };
      },
    },
    {
      method: 'GET',
      path: '/revocations/stream',
      auth: { kind: 'verifier' },
      errors: 'problem',
      hot: true,
      describe: {
        summary: 'Server-sent events: entry, heartbeat, bundle; Last-Event-ID resumes',
        tag: 'verifiers',
        responses: { 200: { description: 'The stream', content_type: 'text/event-stream' }, ...refused },
      },
      handle(incoming) {
        const verifier = verifierOf(incoming);
        const last = header(incoming, 'last-event-id');
        // The head is sent by then: a fault of the store can only end the stream, and the reader tries again.
        return eventStream(
          (sink) => void parts.feed.open(verifier, last ?? null, sink).catch(() => sink.cut()),
        );
      },
    },
    {
      method: 'POST',
      path: '/revocations/ack',
      auth: { kind: 'verifier' },
      errors: 'problem',
      hot: true,
      describe: {
        summary: 'One process says up to where it enforces the feed',
        tag: 'verifiers',
        json: ackBody,
        responses: { 204: { description: 'Noted' }, ...refused },
      },
      async handle(incoming) {
        await parts.feed.acknowledge(verifierOf(incoming), readJson(incoming, ackBody));
        return { status: 204 };
      },
    },
  ];
}
