/** What recurring missions taught, and forgetting it. */
import { z } from 'zod';
import { malformed } from '../../../domain/denial.ts';
import { instant } from '../../../domain/reader.ts';
import { forgetHistory } from '../../../operations/history.ts';
import type { Ports } from '../../../ports.ts';
import { json, type Route, readJson, readQuery } from '../../route.ts';
import { problemSchema, reasonSchema } from '../../schemas.ts';
import { actorOf } from './parts.ts';

const historyQuery = z.strictObject({
  template: z.string().max(64).optional(),
  agent: z.string().max(512).optional(),
});

const forgetBody = z.strictObject({
  template: z.string().min(1).max(64),
  agent: z.string().min(1).max(512).optional().describe('Of this agent only.'),
  since: z.string().describe('RFC 3339: every destination first seen then or later is forgotten.'),
  reason: reasonSchema,
});

const itemsSchema = z.object({
  items: z.array(
    z.object({
      template_id: z.string(),
      agent: z.string(),
      audience: z.string(),
      version: z.number().int(),
      destinations: z.number().int(),
    }),
  ),
});

export function historyRoutes(ports: Ports): Route[] {
  const refused = {
    400: { description: 'Malformed', schema: problemSchema },
    401: { description: 'No live admin token', schema: problemSchema },
    403: { description: 'The role is not enough', schema: problemSchema },
  };
  return [
    {
      method: 'GET',
      path: '/admin/v1/history',
      auth: { kind: 'admin', role: 'viewer' },
      errors: 'problem',
      describe: {
        summary: 'Histories of destinations: of which template, agent and audience, and how many',
        tag: 'admin',
        query: historyQuery,
        responses: { 200: { description: 'At most 1,000', schema: itemsSchema }, ...refused },
      },
      async handle(incoming) {
        const { template, agent } = readQuery(incoming, historyQuery);
        const items = await ports.store.histories({
          ...(template !== undefined && { template_id: template }),
          ...(agent !== undefined && { agent }),
        });
        return json(200, { items });
      },
    },
    {
      method: 'POST',
      path: '/admin/v1/history/forget',
      auth: { kind: 'admin', role: 'admin' },
      errors: 'problem',
      describe: {
        summary: 'Forget what an incident has called in question',
        tag: 'admin',
        json: forgetBody,
        responses: {
          200: { description: 'Forgotten, durably; what is left', schema: itemsSchema },
          404: { description: 'No history of this template and agent', schema: problemSchema },
          ...refused,
        },
      },
      async handle(incoming) {
        const { template, agent, since, reason } = readJson(incoming, forgetBody);
        const seconds = instant(since);
        if (seconds === null) throw malformed('since must be an RFC 3339 time with an offset');
        const items = await forgetHistory(ports, {
          template_id: template,
          ...(agent !== undefined && { agent }),
          since: seconds,
          actor: actorOf(incoming),
          reason,
        });
        return json(200, { items });
      },
    },
  ];
}
