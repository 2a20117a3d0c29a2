/** End everything that a selector names, and keep it from coming back (wire profile 4). */
import { z } from 'zod';
import { Denied } from '../../../domain/denial.ts';
import type { RevocationFeed } from '../../../feed/feed.ts';
import { block, unblock } from '../../../operations/blocks.ts';
import { revoke } from '../../../operations/revoke.ts';
import type { Ports } from '../../../ports.ts';
import { json, type Route, readJson } from '../../route.ts';
import { reasonSchema, revocationSelectorSchema, selectorSchema } from '../../schemas.ts';
import { viewSchemas } from '../../views.ts';
import { actorOf, enforcedBy, leasesAfter, responses, time } from './parts.ts';

const revocationBody = z.strictObject({
  selector: revocationSelectorSchema,
  reason: reasonSchema,
  dry_run: z.boolean().default(false),
  allow_new: z.boolean().default(false),
  bulk_token: z.string().max(1_000_000).optional(),
  event_id: z.string().min(1).max(128).optional(),
});

/** Policies and attesters are an admin's. */
const ENDED_BY_RESPONDERS = ['token', 'credential', 'mission', 'mission_tree', 'agent', 'instance'];

const blockBody = z.strictObject({
  selector: selectorSchema,
  reason: reasonSchema,
  until: z.string().optional().describe('RFC 3339; without it, until lifted.'),
});

export function revocationRoutes(ports: Ports, feed: RevocationFeed): Route[] {
  return [
    {
      method: 'POST',
      path: '/admin/v1/revocations',
      auth: { kind: 'admin', role: 'responder' },
      errors: 'problem',
      describe: {
        summary: 'End everything that a selector names; dry_run shows the blast radius first',
        tag: 'admin',
        json: revocationBody,
        responses: responses(200, 'What stopped, and what lives until when', viewSchemas.revocation),
      },
      async handle(incoming) {
        const asked = readJson(incoming, revocationBody);
        const wide = !ENDED_BY_RESPONDERS.includes(asked.selector.kind);
        if (wide && !asked.dry_run && incoming.admin?.role !== 'admin')
          throw new Denied({ tag: 'forbidden', needs: 'admin' });
        const answer = await revoke(ports, { actor: actorOf(incoming), ...asked });
        const [verifiers, leases] = await Promise.all([
          enforcedBy(feed, answer),
          asked.dry_run
            ? []
            : leasesAfter(ports, answer.mission_id === undefined ? answer.mission_ids : [answer.mission_id]),
        ]);
        return json(200, { ...answer, verifiers, leases });
      },
    },
    {
      method: 'GET',
      path: '/admin/v1/blocks',
      auth: { kind: 'admin', role: 'viewer' },
      errors: 'problem',
      describe: {
        summary: 'Blocks in force',
        tag: 'admin',
        responses: responses(200, 'Blocks', viewSchemas.blocks),
      },
      handle: async () => json(200, { items: await ports.store.blocks(ports.clock.now()) }),
    },
    {
      method: 'POST',
      path: '/admin/v1/blocks',
      auth: { kind: 'admin', role: 'admin' },
      errors: 'problem',
      describe: {
        summary: 'Refuse attestation, creation and renewal to whatever matches, until lifted',
        tag: 'admin',
        json: blockBody,
        responses: responses(201, 'The block', viewSchemas.block),
      },
      async handle(incoming) {
        const asked = readJson(incoming, blockBody);
        return json(
          201,
          await block(ports, {
            selector: asked.selector,
            reason: asked.reason,
            until: time(asked.until, 'until') ?? null,
            actor: actorOf(incoming),
          }),
        );
      },
    },
    {
      method: 'DELETE',
      path: '/admin/v1/blocks/{id}',
      auth: { kind: 'admin', role: 'admin' },
      errors: 'problem',
      describe: { summary: 'Lift a block', tag: 'admin', responses: responses(204, 'Lifted') },
      async handle(incoming) {
        await unblock(ports, incoming.params['id'] ?? '', actorOf(incoming), 'lifted by an admin');
        return { status: 204 };
      },
    },
  ];
}
