/** What a person does about provider credentials that cannot be revoked one by one. */
import { z } from 'zod';
import { denyOlder } from '../../../operations/deny-older.ts';
import type { Ports } from '../../../ports.ts';
import { json, type Route, readJson } from '../../route.ts';
import { reasonSchema } from '../../schemas.ts';
import { actorOf, responses } from './parts.ts';

const denyOlderBody = z.strictObject({
  role: z.string().min(1).max(512).describe('ARN of a role, as the configuration has it.'),
  reason: reasonSchema,
  dry_run: z.boolean().default(false).describe('Shows whose sessions would die, and changes nothing.'),
  event_id: z.string().min(1).max(128).optional().describe('Makes a repeated request harmless.'),
});

const denyOlderAnswer = z.object({
  dry_run: z.boolean(),
  repeated: z.boolean(),
  role: z.string(),
  issued_before: z.string(),
  missions: z
    .array(
      z.object({
        id: z.string(),
        agent: z.string(),
        state: z.string(),
        credentials: z.number().int(),
        collateral: z.boolean().describe('Live and not meant: its sessions die all the same.'),
      }),
    )
    .describe('At most 10,000 of them, collateral ones first.'),
  clean: z.number().int().describe('Missions that are over, or whose sessions were to be revoked.'),
  collateral: z.number().int().describe('Missions that go on and lose their sessions of this role.'),
  unknown: z.string().describe('What else dies that this broker knows nothing of.'),
  effective_within_seconds: z.number().int(),
  why: z.string(),
});

export function providerRoutes(ports: Ports): Route[] {
  return [
    {
      method: 'POST',
      path: '/admin/v1/aws-sessions/deny-older',
      auth: { kind: 'admin', role: 'admin' },
      errors: 'problem',
      describe: {
        summary: 'Deny every session of a role that was issued until now: the way out of a full deny list',
        tag: 'admin',
        json: denyOlderBody,
        responses: responses(200, 'What dies, meant or not, and by when', denyOlderAnswer),
      },
      async handle(incoming) {
        const { role, ...asked } = readJson(incoming, denyOlderBody);
        const { type, target, ...answer } = await denyOlder(ports, {
          type: 'aws_session',
          target: role,
          actor: actorOf(incoming),
          ...asked,
        });
        return json(200, { role: target, ...answer });
      },
    },
  ];
}
