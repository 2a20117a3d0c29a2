/** Missions as agents see them: declare, look, renew, complete (wire profile 2). */
import { z } from 'zod';
import { parseAuthoritySet } from '../../domain/authority/index.ts';
import { malformed } from '../../domain/denial.ts';
import { parseIntent } from '../../domain/intent.ts';
import { isJsonObject, type JsonValue } from '../../domain/json.ts';
import { readObject, readText } from '../../domain/reader.ts';
import { completeAttested, completeMission } from '../../operations/complete.ts';
import { declare, declareChild } from '../../operations/declare.ts';
import { EVIDENCE_TYPES } from '../../operations/exchange-request.ts';
import { readManifest } from '../../operations/read-manifest.ts';
import { MAX_RENEWED, renewCredentials } from '../../operations/renew-credentials.ts';
import type { Evidence, Ports } from '../../ports.ts';
import { header, type Incoming, json, type Route, readJsonValue } from '../route.ts';
import { detailsSchema, manifestSchema, problemSchema } from '../schemas.ts';

/** An intent of full length and a proposal of many entries fit; a flood does not. */
export const DECLARATION_BODY_MAX = 131_072;
/** An intent and a proposal of full length, signed. */
const GRANT_MAX = 131_072;
/** Longer than any id of this broker. */
const ID_MAX = 128;

const evidenceSchema = z.object({ type: z.enum(EVIDENCE_TYPES), token: z.string() });

const DECLARATION = [
  'evidence',
  'intent',
  'authorization_details',
  'template_id',
  'creation_request_id',
] as const;

/** A child mission: everything else is in the grant. */
const DELEGATED = ['evidence', 'delegation'] as const;

const delegated = z.object({
  evidence: evidenceSchema,
  delegation: z.string().describe('A grant that a parent mission reserved for the attested agent.'),
});

const declaration = z.object({
  evidence: evidenceSchema,
  intent: z.object({ goal: z.string(), resources: z.array(z.string()), expires_at: z.string() }).loose(),
  authorization_details: detailsSchema.optional(),
  template_id: z.string().optional(),
  creation_request_id: z.string().optional(),
});

const renewal = z.object({
  ids: z
    .array(z.string().min(1).max(ID_MAX))
    .max(MAX_RENEWED)
    .describe('Provider credentials of the manifest, each once; none only attests the mission again.'),
  evidence: evidenceSchema,
});

const completion = z
  .object({ evidence: evidenceSchema })
  .describe('Instead of a token, for a mission that has none.')
  .optional();

function readEvidence(value: JsonValue | undefined): Evidence {
  const evidence = readObject(value, 'evidence', ['type', 'token']);
  const type = EVIDENCE_TYPES.find((known) => known === evidence['type']);
  if (type === undefined) throw malformed(`evidence.type must be one of ${EVIDENCE_TYPES.join(', ')}`);
  return { type, token: readText(evidence['token'], 'evidence.token', 16_384) };
}

function readIds(value: JsonValue | undefined): readonly string[] {
  if (!Array.isArray(value) || value.length > MAX_RENEWED)
    throw malformed(`ids must be a list of at most ${MAX_RENEWED} credential ids`);
  const ids = value.map((id, at) => readText(id, `ids[${at}]`, ID_MAX));
  if (new Set(ids).size !== ids.length) throw malformed('ids must not name one twice');
  return ids;
}

export function missionRoutes(ports: Ports): Route[] {
  const urlOf = (path: string) => `${ports.policy().issuer}${path}`;
  const holderOf = (incoming: Incoming) => ({
    authorization: incoming.headers.authorization,
    proof: header(incoming, 'dpop'),
    method: incoming.method,
    // Built from configuration and the routed path, never from a Host header (RFC 9449 section 11.1).
    url: urlOf(incoming.path),
  });

  return [
    {
      method: 'POST',
      path: '/missions',
      auth: { kind: 'agent' },
      errors: 'problem',
      hot: true,
      max_body_bytes: DECLARATION_BODY_MAX,
      describe: {
        summary: 'Declare once, get every credential',
        tag: 'agents',
        json: z.union([declaration, delegated]),
        responses: {
          201: { description: 'The manifest', schema: manifestSchema },
          400: { description: 'Refused', schema: problemSchema },
          403: { description: 'Not permitted', schema: problemSchema },
        },
      },
      async handle(incoming) {
        const value = readJsonValue(incoming);
        const at = { header: header(incoming, 'dpop'), url: urlOf('/missions') };
        if (isJsonObject(value) && Object.hasOwn(value, 'delegation')) {
          const { evidence, delegation } = readObject(value, 'the body', DELEGATED.map(String));
          const { manifest, narrowed } = await declareChild(
            ports,
            { evidence: readEvidence(evidence), delegation: readText(delegation, 'delegation', GRANT_MAX) },
            at,
          );
          return json(201, { ...manifest, narrowed });
        }
        const body = readObject(value, 'the body', DECLARATION.map(String));
        const optional = (name: 'template_id' | 'creation_request_id') =>
          body[name] === undefined ? null : readText(body[name], name, 128);
        const answer = await declare(
          ports,
          {
            evidence: readEvidence(body['evidence']),
            declared: parseIntent(body['intent']),
            proposal:
              body['authorization_details'] === undefined
                ? null
                : parseAuthoritySet(body['authorization_details'], 'authorization_details'),
            template_id: optional('template_id'),
            creation_request_id: optional('creation_request_id'),
          },
          at,
        );
        return json(201, { ...answer.manifest, narrowed: answer.narrowed });
      },
    },
    {
      method: 'GET',
      path: '/missions/{id}',
      auth: { kind: 'agent' },
      errors: 'problem',
      hot: true,
      describe: {
        summary: 'What this mission holds, without values',
        tag: 'agents',
        responses: {
          200: { description: 'The manifest', schema: manifestSchema },
          401: { description: 'No token', schema: problemSchema },
          404: { description: 'No such mission for this key', schema: problemSchema },
        },
      },
      handle: async (incoming) =>
        json(200, await readManifest(ports, holderOf(incoming), incoming.params['id'] ?? '')),
    },
    {
      method: 'POST',
      path: '/missions/{id}/credentials',
      auth: { kind: 'agent' },
      errors: 'problem',
      hot: true,
      describe: {
        summary: 'Renew provider credentials, with fresh evidence and a proof by the key of the mission',
        tag: 'agents',
        json: renewal,
        responses: {
          200: {
            description:
              'The manifest, with values for exactly the new credentials; `replaces` says which each is for',
            schema: manifestSchema,
          },
          400: { description: 'Refused', schema: problemSchema },
          403: { description: 'Not permitted', schema: problemSchema },
          404: { description: 'No such mission for this key', schema: problemSchema },
          409: {
            description: 'The mission is over, or another request renews these',
            schema: problemSchema,
          },
          503: { description: 'A provider failed: nothing changed', schema: problemSchema },
        },
      },
      async handle(incoming) {
        const body = readObject(readJsonValue(incoming), 'the body', ['ids', 'evidence']);
        const mission_id = incoming.params['id'] ?? '';
        const manifest = await renewCredentials(
          ports,
          { mission_id, ids: readIds(body['ids']), evidence: readEvidence(body['evidence']) },
          { header: header(incoming, 'dpop'), url: urlOf(incoming.path) },
        );
        return json(200, manifest);
      },
    },
    {
      method: 'POST',
      path: '/missions/{id}/complete',
      auth: { kind: 'agent' },
      errors: 'problem',
      describe: {
        summary: 'End a mission: its work is done. With a token of it, or with fresh evidence',
        tag: 'agents',
        json: completion,
        responses: {
          204: { description: 'Ended; every token of it and below it is refused' },
          404: { description: 'No such mission for this key', schema: problemSchema },
          409: { description: 'Already over', schema: problemSchema },
        },
      },
      async handle(incoming) {
        const mission_id = incoming.params['id'] ?? '';
        if (incoming.headers.authorization !== undefined || incoming.body.length === 0)
          await completeMission(ports, holderOf(incoming), mission_id);
        else {
          const body = readObject(readJsonValue(incoming), 'the body', ['evidence']);
          await completeAttested(
            ports,
            { mission_id, evidence: readEvidence(body['evidence']) },
            { header: header(incoming, 'dpop'), url: urlOf(incoming.path) },
          );
        }
        return { status: 204 };
      },
    },
  ];
}
