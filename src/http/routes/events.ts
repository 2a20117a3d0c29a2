/** What verifiers report: decisions and observations (wire profile 3). Off everybody's call path, cheap a piece. */
import { z } from 'zod';
import { malformed } from '../../domain/denial.ts';
import type { JsonValue } from '../../domain/json.ts';
import { type Accepted, BATCH_ITEMS, type Reports } from '../../operations/events.ts';
import type { VerifierPolicy } from '../../ports.ts';
import { type Incoming, json, type Route } from '../route.ts';
import { problemSchema } from '../schemas.ts';
import { verifierOf } from './verifiers.ts';

/** A full batch of denials, each with the proof of its call. */
const MAX_BODY_BYTES = 4 * 1024 * 1024;

const envelope = {
  batch_id: z.string().min(1).max(128).describe('Sent again, the batch is not counted twice.'),
  instance_id: z.string().min(1).max(128).optional().describe('The process that reports.'),
  lost: z.number().int().min(0).optional().describe('Events lost before they were sent, since its start.'),
  bundle_version: z.string().max(128).optional().describe('Of the bundle that it judged by.'),
};

const eventSchema = z.looseObject({
  ts: z.number(),
  jti: z.string(),
  mission_id: z.string(),
  seq: z.number().int().min(0),
  action: z.string(),
  resource: z.string(),
  labels: z.array(z.string()).optional(),
  decision: z.enum(['permit', 'deny']),
  reason: z.string(),
  outcome: z.string().optional(),
  latency_us: z.number(),
  parameters_digest: z.string().optional().describe('hmac-sha-256: only; a plain digest could be guessed.'),
  region: z.string().optional(),
  bytes: z.number().int().optional(),
  proof: z
    .string()
    .optional()
    .describe("The call's DPoP proof: without it a denial or effect is for display."),
  access_token: z
    .string()
    .optional()
    .describe(
      'The token of the call, where its verdict asks for a response; checked with the proof, never kept.',
    ),
  verdict: z
    .looseObject({
      rule: z.string().nullable(),
      decision: z.enum(['permit', 'deny']),
      response: z.enum(['none', 'contain', 'suspend', 'revoke']),
      enforced: z.boolean(),
      evidence: z.string().optional(),
    })
    .optional()
    .describe('What the behaviour rules found: classes, origins and versions, never a value.'),
  destinations: z
    .array(z.string())
    .max(64)
    .optional()
    .describe(
      "Of a permitted effect: digests of its proven destinations under the key of its template's history.",
    ),
});

const observationSchema = z.looseObject({
  mission_id: z.string(),
  jti: z.string(),
  seq: z.number().int().min(0),
  origin: z.string(),
  field: z.string(),
  digests: z.array(z.string()),
});

const acceptedSchema = z.object({
  accepted: z.number().int(),
  dropped: z.object({ foreign: z.number().int(), malformed: z.number().int() }),
  proven: z.number().int(),
  repeated: z.boolean(),
});
const observedSchema = acceptedSchema.extend({
  unsettled: z
    .array(
      z.object({
        mission_id: z.string(),
        digests: z.array(z.string()),
        repeated: z
          .array(z.string())
          .describe('Here only the text of a declared step still counts: it held them before the agent did.'),
      }),
    )
    .describe(
      'Values of the batch that prove nothing, whoever vouches for them: the agent had written them.',
    ),
  observed_by: z.string().describe('The process that keeps them: what another one was told is gone.'),
});

export function eventRoutes(reports: Reports): Route[] {
  const route = (
    path: string,
    summary: string,
    body: z.ZodType,
    take: (verifier: VerifierPolicy, body: JsonValue) => Promise<Accepted>,
    answer: z.ZodType = acceptedSchema,
  ): Route => ({
    method: 'POST',
    path,
    auth: { kind: 'verifier' },
    errors: 'problem',
    hot: true,
    max_body_bytes: MAX_BODY_BYTES,
    describe: {
      summary,
      tag: 'verifiers',
      json: body,
      responses: {
        200: { description: 'Kept, durably; what was dropped is counted', schema: answer },
        400: { description: 'Not a batch', schema: problemSchema },
        401: { description: 'Not a registered verifier', schema: problemSchema },
        503: { description: 'Too many batches at work', schema: problemSchema },
      },
    },
    async handle(incoming) {
      const verifier = verifierOf(incoming);
      reports.requireRoom(verifier);
      return json(200, await take(verifier, readBatch(incoming)));
    },
  });
  return [
    route(
      '/events',
      'Decisions of a verifier, in batches',
      z.looseObject({ ...envelope, events: z.array(eventSchema).max(BATCH_ITEMS) }),
      (verifier, body) => reports.events(verifier, body),
    ),
    route(
      '/observations',
      'Where values that a mission has seen came from: one, or a batch',
      z.union([
        z.looseObject({ ...envelope, observations: z.array(observationSchema).max(BATCH_ITEMS) }),
        observationSchema,
      ]),
      (verifier, body) => reports.observations(verifier, body),
      observedSchema,
    ),
  ];
}

/**
 * The platform's parser: ten times as fast as the strict one, and a repeated member can only change what a verifier
 * says about its own audience.
 * @throws Denied `invalid_request`
 */
function readBatch(incoming: Incoming): JsonValue {
  const type = incoming.headers['content-type']?.split(';')[0]?.trim().toLowerCase();
  if (type !== 'application/json') throw malformed('content-type must be application/json');
  try {
    return JSON.parse(incoming.body) as JsonValue;
  } catch {
    throw malformed('the body is not JSON');
  }
}
