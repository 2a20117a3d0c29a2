/** What agents call to get and give back tokens (wire profile 2). */
import { z } from 'zod';
import { malformed } from '../../domain/denial.ts';
import { rfc3339 } from '../../domain/reader.ts';
import { reserveChild } from '../../operations/delegate.ts';
import { exchange } from '../../operations/exchange.ts';
import {
  ACCESS_TOKEN_TYPE,
  DELEGATION_TYPE,
  type DelegationAsk,
  EVIDENCE_TYPES,
  EXCHANGE_PARAMETERS,
  type ExchangeRequest,
  parseExchange,
} from '../../operations/exchange-request.ts';
import { revokeToken } from '../../operations/revoke-token.ts';
import type { Ports } from '../../ports.ts';
import { header, type Incoming, json, type Route, readForm } from '../route.ts';
import { detailsSchema, narrowedSchema, oauthErrorSchema } from '../schemas.ts';
import { DECLARATION_BODY_MAX, missionRoutes } from './missions.ts';

const tokenForm = z
  .object({
    grant_type: z.literal('urn:ietf:params:oauth:grant-type:token-exchange'),
    subject_token: z.string().describe('Evidence, or a token of this broker.'),
    subject_token_type: z.enum([ACCESS_TOKEN_TYPE, ...EVIDENCE_TYPES]),
    resource: z.string().describe('The audience of this token; exactly one.'),
    mission_intent: z.string().optional().describe('JSON {"intent": {...}}: creates a mission.'),
    mission_id: z.string().optional().describe('Renews a running mission.'),
    authorization_details: z.string().optional().describe('JSON: the proposal.'),
    template_id: z.string().optional(),
    creation_request_id: z.string().optional().describe('Makes a repeated creation harmless.'),
    narrowing: z.literal('refuse').optional(),
    requested_token_type: z.enum([ACCESS_TOKEN_TYPE, DELEGATION_TYPE]).optional(),
    child_actor: z
      .string()
      .optional()
      .describe('JSON {"sub"}: with a token and mission_intent, reserves a child mission.'),
    delegation: z
      .string()
      .optional()
      .describe('A grant from such a reservation, with the evidence of the child.'),
    client_id: z.string().optional().describe('May be left out; must be the attested agent.'),
  })
  .describe(`Parameters: ${EXCHANGE_PARAMETERS.join(', ')}. Each at most once.`);

const tokenAnswer = z.object({
  access_token: z.string(),
  issued_token_type: z.literal(ACCESS_TOKEN_TYPE),
  token_type: z.enum(['DPoP', 'Bearer']),
  expires_in: z.number().int(),
  authorization_details: detailsSchema,
  narrowed: narrowedSchema,
  mission_id: z.string(),
  mission_expires_at: z.string(),
});

const delegationAnswer = z.object({
  access_token: z.string().describe('A delegation grant: no token for any audience.'),
  issued_token_type: z.literal(DELEGATION_TYPE),
  token_type: z.literal('N_A'),
  expires_in: z.number().int(),
  mission_id: z.string().describe('The child mission, once its agent has activated it.'),
});

/** RFC 8693 section 2.2.1: what is issued is no access token, so its type is `N_A`. */
async function delegated(ports: Ports, request: ExchangeRequest, ask: DelegationAsk, incoming: Incoming) {
  const proof = await ports.proofs.verify(header(incoming, 'dpop'), {
    method: 'POST',
    url: `${ports.policy().issuer}/token`,
    now: ports.clock.now(),
  });
  const reserved = await reserveChild(ports, ask, request.proposal, request.template_id, proof);
  return json(200, {
    access_token: reserved.grant,
    issued_token_type: DELEGATION_TYPE,
    token_type: 'N_A',
    expires_in: reserved.expires_in,
    mission_id: reserved.mission_id,
  });
}

export function agentRoutes(ports: Ports): Route[] {
  const urlOf = (path: string) => `${ports.policy().issuer}${path}`;

  return [
    {
      method: 'POST',
      path: '/token',
      auth: { kind: 'agent' },
      errors: 'oauth',
      hot: true,
      max_body_bytes: DECLARATION_BODY_MAX,
      describe: {
        summary: 'Create a mission, renew it, or get a token for another audience of it (RFC 8693)',
        tag: 'agents',
        form: tokenForm,
        responses: {
          200: {
            description: 'A token bound to the key of the DPoP proof',
            schema: z.union([tokenAnswer, delegationAnswer]),
          },
          400: { description: 'Refused', schema: oauthErrorSchema },
          503: { description: 'Overloaded', schema: oauthErrorSchema },
        },
      },
      async handle(incoming) {
        const request = parseExchange(readForm(incoming));
        if (request.ask.kind === 'delegate') return delegated(ports, request, request.ask, incoming);
        const answer = await exchange(ports, request, {
          header: header(incoming, 'dpop'),
          url: urlOf('/token'),
        });
        const { claims } = answer.token;
        return json(200, {
          access_token: answer.token.access_token,
          issued_token_type: ACCESS_TOKEN_TYPE,
          token_type: answer.token.token_type,
          expires_in: claims.exp - claims.iat,
          authorization_details: claims.authorization_details,
          narrowed: answer.narrowed,
          mission_id: answer.mission.id,
          mission_expires_at: rfc3339(answer.mission.expires_at),
        });
      },
    },
    ...missionRoutes(ports),
    {
      method: 'POST',
      path: '/revoke',
      auth: { kind: 'agent' },
      errors: 'oauth',
      describe: {
        summary: 'Give back a token (RFC 7009), with a proof by its key',
        tag: 'agents',
        form: z.object({
          token: z.string(),
          token_type_hint: z.string().optional(),
          client_id: z.string().optional(),
        }),
        responses: {
          200: { description: 'Revoked, or nothing to revoke' },
          400: { description: 'Refused', schema: oauthErrorSchema },
        },
      },
      async handle(incoming) {
        const form = readForm(incoming);
        const token = form.get('token');
        if (token === undefined || token === '') throw malformed('token is required');
        await revokeToken(ports, token, { header: header(incoming, 'dpop'), url: urlOf('/revoke') });
        return { status: 200, headers: { 'cache-control': 'no-store' } };
      },
    },
  ];
}
