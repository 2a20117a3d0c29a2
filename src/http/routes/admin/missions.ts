/** See every mission and why it was allowed; suspend, resume, contain or revoke one (wire profile 4). */
import { z } from 'zod';
import { parseRemovals } from '../../../domain/authority/index.ts';
import { Denied } from '../../../domain/denial.ts';
import { MISSION_STATES } from '../../../domain/mission.ts';
import type { RevocationFeed } from '../../../feed/feed.ts';
import { listDecisions } from '../../../operations/decisions.ts';
import { leaseOutcomes } from '../../../operations/lease-outcomes.ts';
import { contain, type Intervened, intervene } from '../../../operations/lifecycle.ts';
import { remainingLimits } from '../../../operations/manifest.ts';
import { scarcest } from '../../../operations/purse.ts';
import type { Ports } from '../../../ports.ts';
import { json, type Route, readJson, readQuery } from '../../route.ts';
import { cursorQuery, reasonSchema } from '../../schemas.ts';
import { credentialView, leaseView, missionDetail, missionSummary, viewSchemas } from '../../views.ts';
import { actorOf, enforcedBy, leasesAfter, responses, time } from './parts.ts';

const interventionBody = {
  reason: reasonSchema,
  expected_version: z.number().int().min(1).optional(),
  event_id: z.string().min(1).max(128).optional(),
};

const containBody = z.strictObject({
  ...interventionBody,
  remove: z
    .array(z.unknown())
    .min(1)
    .optional()
    .describe('What to take away: {audience}, {action}, {action, resource}, {entry} or {type}.'),
  expires_at: z.string().optional().describe('RFC 3339; a new, earlier end.'),
});

const missionsQuery = z.strictObject({
  state: z.enum(MISSION_STATES).optional(),
  agent: z.string().max(512).optional(),
  template: z.string().max(128).optional(),
  q: z.string().max(256).optional(),
  ...cursorQuery,
});

export function missionRoutes(ports: Ports, feed: RevocationFeed): Route[] {
  const intervened = async (result: Intervened) => {
    const [verifiers, leases] = await Promise.all([
      enforcedBy(feed, result),
      leasesAfter(ports, [result.mission.id, ...result.cascaded]),
    ]);
    return json(200, {
      mission: missionSummary(result.mission, ports.clock.now()),
      cascaded: result.cascaded,
      seq: result.seq,
      repeated: result.repeated,
      verifiers,
      leases,
    });
  };

  const transition = (
    name: 'suspend' | 'resume' | 'revoke',
    role: 'responder' | 'admin',
    code: 'admin_suspended' | 'admin_resumed' | 'admin_revoked',
    summary: string,
  ): Route => {
    const body = z.strictObject(interventionBody);
    return {
      method: 'POST',
      path: `/admin/v1/missions/{id}/${name}`,
      auth: { kind: 'admin', role },
      errors: 'problem',
      describe: {
        summary,
        tag: 'admin',
        json: body,
        responses: responses(200, 'Done and durable', viewSchemas.intervened),
      },
      async handle(incoming) {
        const asked = readJson(incoming, body);
        return intervened(
          await intervene(
            ports,
            incoming.params['id'] ?? '',
            name,
            { actor: actorOf(incoming), ...asked },
            code,
          ),
        );
      },
    };
  };

  return [
    {
      method: 'GET',
      path: '/admin/v1/missions',
      auth: { kind: 'admin', role: 'viewer' },
      errors: 'problem',
      describe: {
        summary: 'Missions, newest first',
        tag: 'admin',
        query: missionsQuery,
        responses: responses(200, 'A page', viewSchemas.missionPage),
      },
      async handle(incoming) {
        const page = await ports.store.missions(readQuery(incoming, missionsQuery));
        const now = ports.clock.now();
        return json(200, {
          items: page.items.map((mission) => missionSummary(mission, now)),
          next_cursor: page.next_cursor,
        });
      },
    },
    {
      method: 'GET',
      path: '/admin/v1/missions/{id}',
      auth: { kind: 'admin', role: 'viewer' },
      errors: 'problem',
      describe: {
        summary: 'One mission: tree, credentials, audit, decisions and why it was allowed',
        tag: 'admin',
        responses: responses(200, 'The mission', viewSchemas.missionDetail),
      },
      async handle(incoming) {
        const id = incoming.params['id'] ?? '';
        const tree = await ports.store.missionTree(id);
        const mission = tree.find((member) => member.id === id);
        if (!mission) throw new Denied({ tag: 'not_found' });
        const now = ports.clock.now();
        return json(200, {
          ...missionDetail(mission, now),
          limits: remainingLimits(await scarcest(ports, mission)),
          tree: tree.map((member) => missionSummary(member, now)),
          credentials: (await ports.store.credentials(id)).map(credentialView),
          leases: (await leaseOutcomes(ports, id)).map(leaseView),
          audit: await ports.store.auditRecords({ mission_id: id, limit: 200, newest_first: true }),
          decisions: (await listDecisions(ports, { mission_id: id, limit: 100 })).items,
        });
      },
    },
    transition(
      'suspend',
      'responder',
      'admin_suspended',
      'Suspend: nothing is minted or permitted until resumed',
    ),
    transition('resume', 'admin', 'admin_resumed', 'Resume a suspended mission'),
    transition('revoke', 'responder', 'admin_revoked', 'Revoke: the mission and everything below it ends'),
    {
      method: 'POST',
      path: '/admin/v1/missions/{id}/contain',
      auth: { kind: 'admin', role: 'responder' },
      errors: 'problem',
      describe: {
        summary: 'Take authority away from a live mission; the next call needs a renewal and gets less',
        tag: 'admin',
        json: containBody,
        responses: responses(200, 'Done and durable', viewSchemas.intervened),
      },
      async handle(incoming) {
        const asked = readJson(incoming, containBody);
        const expires_at = time(asked.expires_at, 'expires_at');
        return intervened(
          await contain(ports, incoming.params['id'] ?? '', {
            actor: actorOf(incoming),
            reason: asked.reason,
            ...(asked.remove && { remove: parseRemovals(asked.remove, 'remove') }),
            ...(expires_at !== undefined && { expires_at }),
            ...(asked.expected_version !== undefined && { expected_version: asked.expected_version }),
            ...(asked.event_id !== undefined && { event_id: asked.event_id }),
          }),
        );
      },
    },
  ];
}
