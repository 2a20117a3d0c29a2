/** Decisions for admins: listed, explained, and live. */
import { z } from 'zod';
import { malformed } from '../../domain/denial.ts';
import type { AdminStream } from '../../operations/admin-stream.ts';
import { authenticateAdmin } from '../../operations/admin-tokens.ts';
import { explainDecision, listDecisions } from '../../operations/decisions.ts';
import type { Ports } from '../../ports.ts';
import { eventStream, header, json, type Route, readQuery } from '../route.ts';
import { cursorQuery, problemSchema } from '../schemas.ts';

const decisionsQuery = z.strictObject({
  mission_id: z.string().max(128).optional(),
  audience: z.string().max(512).optional(),
  decision: z.enum(['permit', 'deny']).optional(),
  evidence: z
    .enum(['true', 'false'])
    .transform((text) => text === 'true')
    .optional()
    .describe('With what verdicts follow from, for a replay.'),
  ...cursorQuery,
});

const decisionSchema = z.looseObject({
  id: z.string(),
  ts: z.string(),
  judged_by: z.enum(['verifier', 'broker']),
  verifier: z.string(),
  mission_id: z.string().nullable(),
  action: z.string(),
  resource: z.string(),
  decision: z.enum(['permit', 'deny']),
  reason: z.string(),
  proof: z.enum(['valid', 'absent', 'invalid', 'repeated', 'unchecked', 'broker']),
  bundle_version: z.string().nullable(),
  verdict: z
    .looseObject({ record: z.looseObject({ rule: z.string().nullable() }), enforced: z.boolean() })
    .nullable()
    .describe('What the behaviour rules found: classes, origins and versions, never a value.'),
});

const sourceSchema = z.object({
  verifier_id: z.string(),
  instance_id: z.string(),
  batches: z.number().int(),
  events: z.number().int(),
  dropped_foreign: z.number().int(),
  dropped_malformed: z.number().int(),
  lost: z.number().int(),
  last_at: z.number(),
});

export function decisionRoutes(ports: Ports, stream: AdminStream): Route[] {
  const refused = {
    401: { description: 'No live admin token', schema: problemSchema },
    403: { description: 'The role is not enough', schema: problemSchema },
  };
  const viewer = { kind: 'admin', role: 'viewer' } as const;
  return [
    {
      method: 'GET',
      path: '/admin/v1/decisions',
      auth: viewer,
      errors: 'problem',
      describe: {
        summary: 'Calls and why each was permitted or denied, newest first; a page may be short',
        tag: 'admin',
        query: decisionsQuery,
        responses: {
          200: {
            description: 'A page',
            schema: z.object({ items: z.array(decisionSchema), next_cursor: z.string().nullable() }),
          },
          400: { description: 'Malformed', schema: problemSchema },
          ...refused,
        },
      },
      handle: async (incoming) => json(200, await listDecisions(ports, readQuery(incoming, decisionsQuery))),
    },
    {
      method: 'GET',
      path: '/admin/v1/decisions/sources',
      auth: viewer,
      errors: 'problem',
      describe: {
        summary: 'Who reports decisions, and what of them was lost or dropped',
        tag: 'admin',
        responses: {
          200: { description: 'Verifier processes', schema: z.object({ items: z.array(sourceSchema) }) },
          ...refused,
        },
      },
      handle: async () => json(200, { items: await ports.store.reportSources() }),
    },
    {
      method: 'GET',
      path: '/admin/v1/decisions/{id}/explain',
      auth: viewer,
      errors: 'problem',
      describe: {
        summary: 'One decision with the authority, template, policy and bundle that it was judged by',
        tag: 'admin',
        responses: {
          200: {
            description: 'The explanation',
            schema: z.looseObject({
              decision: decisionSchema,
              verdict: z
                .looseObject({
                  says: z.array(z.string()),
                  hash: z.string(),
                  replay: z.enum(['same', 'different', 'no_evidence']),
                })
                .nullable(),
            }),
          },
          404: { description: 'No such decision', schema: problemSchema },
          ...refused,
        },
      },
      handle: async (incoming) => json(200, await explainDecision(ports, incoming.params['id'] ?? '')),
    },
    {
      method: 'GET',
      path: '/admin/v1/stream',
      auth: viewer,
      errors: 'problem',
      hot: true,
      describe: {
        summary: 'Server-sent events: audit, decisions, heartbeat; Last-Event-ID resumes the audit records',
        tag: 'admin',
        responses: {
          200: { description: 'The stream', content_type: 'text/event-stream' },
          503: { description: 'Too many streams', schema: problemSchema },
          ...refused,
        },
      },
      handle(incoming) {
        stream.requireRoom();
        const last = header(incoming, 'last-event-id');
        if (last !== undefined && !Number.isSafeInteger(Number(last))) throw malformed('last-event-id');
        const authorization = header(incoming, 'authorization');
        return eventStream((sink) =>
          stream.open(sink, last === undefined ? null : Number(last), async () => {
            await authenticateAdmin(ports, authorization, { role: 'viewer', bootstrap: false });
            return true;
          }),
        );
      },
    },
  ];
}
