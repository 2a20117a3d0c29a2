/** The admin API's view of the machinery: verifiers, keys, attestation. */
import { z } from 'zod';
import type { RevocationFeed } from '../../../feed/feed.ts';
import { EVIDENCE_TYPES } from '../../../operations/exchange-request.ts';
import type { Evidence } from '../../../ports.ts';
import { json, type Route, readJson } from '../../route.ts';
import { problemSchema, reasonSchema } from '../../schemas.ts';
import { actorOf } from './parts.ts';

const rotateBody = z.strictObject({
  emergency: z.boolean().default(false).describe('The old keys die now: every token they signed is refused.'),
});

const confirmBody = z.strictObject({ reason: reasonSchema });

const explainBody = z.strictObject({
  type: z.enum(EVIDENCE_TYPES).default('urn:ietf:params:oauth:token-type:jwt'),
  token: z.string().min(1).max(16_384).describe('Evidence; it is not stored.'),
});

export function adminOperationRoutes(parts: {
  readonly feed: RevocationFeed;
  readonly explainEvidence: (evidence: Evidence) => Promise<unknown>;
  readonly rotateKeys: (emergency: boolean, actor: string) => Promise<unknown>;
  readonly confirmRestore: (actor: string, reason: string) => Promise<void>;
}): Route[] {
  const refused = {
    401: { description: 'No live admin token', schema: problemSchema },
    403: { description: 'The role is not enough', schema: problemSchema },
  };
  return [
    {
      method: 'GET',
      path: '/admin/v1/verifiers',
      auth: { kind: 'admin', role: 'viewer' },
      errors: 'problem',
      describe: {
        summary: 'Verifier processes: acknowledged position, whether current, last seen',
        tag: 'admin',
        responses: {
          200: {
            description: 'Processes',
            schema: z.object({
              items: z.array(
                z.object({
                  verifier_id: z.string(),
                  instance_id: z.string(),
                  audience: z.string().nullable(),
                  epoch: z.number().int(),
                  seq: z.number().int(),
                  last_seen: z.number(),
                  connected: z.boolean(),
                  current: z.boolean(),
                }),
              ),
            }),
          },
          ...refused,
        },
      },
      handle: () => json(200, { items: parts.feed.verifiers() }),
    },
    {
      method: 'POST',
      path: '/admin/v1/keys/rotate',
      auth: { kind: 'admin', role: 'admin' },
      errors: 'problem',
      describe: {
        summary: 'Rotate the signing keys',
        tag: 'admin',
        json: rotateBody,
        responses: {
          200: {
            description: 'Key ids',
            schema: z.object({
              created: z.array(z.string()),
              revoked: z.array(z.string()),
              seq: z.number().int().nullable(),
            }),
          },
          ...refused,
        },
      },
      handle: async (incoming) =>
        json(200, await parts.rotateKeys(readJson(incoming, rotateBody).emergency, actorOf(incoming))),
    },
    {
      method: 'POST',
      path: '/admin/v1/restore/confirm',
      auth: { kind: 'admin', role: 'admin' },
      errors: 'problem',
      describe: {
        summary: 'The block list of a restored backup was looked at: issue again',
        tag: 'admin',
        json: confirmBody,
        responses: { 204: { description: 'Issuing again' }, ...refused },
      },
      async handle(incoming) {
        const { reason } = readJson(incoming, confirmBody);
        await parts.confirmRestore(actorOf(incoming), reason);
        return { status: 204 };
      },
    },
    {
      method: 'POST',
      path: '/admin/v1/attestations/explain',
      auth: { kind: 'admin', role: 'viewer' },
      errors: 'problem',
      describe: {
        summary: 'Which attester, rule, agent, instance and tier a piece of evidence yields, and why not',
        tag: 'admin',
        json: explainBody,
        responses: {
          200: { description: 'The explanation', schema: z.looseObject({ accepted: z.boolean() }) },
          ...refused,
        },
      },
      handle: async (incoming) => json(200, await parts.explainEvidence(readJson(incoming, explainBody))),
    },
  ];
}
