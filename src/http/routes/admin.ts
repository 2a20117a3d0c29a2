/** The admin API (wire profile 4): see every mission and why, end any of it by one call. */
import { z } from 'zod';
import { parseRemovals } from '../../domain/authority/index.ts';
import { Denied, malformed } from '../../domain/denial.ts';
import { MISSION_STATES } from '../../domain/mission.ts';
import type { TemplateDocument } from '../../domain/policy.ts';
import { instant } from '../../domain/reader.ts';
import type { RevocationFeed } from '../../feed/feed.ts';
import { issueAdminToken, revokeAdminToken } from '../../operations/admin-tokens.ts';
import { block, unblock } from '../../operations/blocks.ts';
import { listDecisions } from '../../operations/decisions.ts';
import { contain, type Intervened, intervene } from '../../operations/lifecycle.ts';
import { revoke } from '../../operations/revoke.ts';
import { approveTemplate, importTemplate } from '../../operations/templates.ts';
import type { Ports } from '../../ports.ts';
import {
  type Incoming,
  json,
  type Route,
  type RouteDescription,
  readJson,
  readJsonValue,
  readQuery,
} from '../route.ts';
import { cursorQuery, problemSchema, reasonSchema, selectorSchema } from '../schemas.ts';
import {
  credentialView,
  leaseView,
  missionDetail,
  missionSummary,
  templateView,
  viewSchemas,
} from '../views.ts';

/** Verifiers acknowledge in milliseconds; one that does not is reported, not waited for. */
const ACKNOWLEDGEMENT_WAIT_MS = 500;

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

const revocationBody = z.strictObject({
  selector: selectorSchema,
  reason: reasonSchema,
  dry_run: z.boolean().default(false),
  allow_new: z.boolean().default(false),
  bulk_token: z.string().max(1_000_000).optional(),
  event_id: z.string().min(1).max(128).optional(),
});

const blockBody = z.strictObject({
  selector: selectorSchema,
  reason: reasonSchema,
  until: z.string().optional().describe('RFC 3339; without it, until lifted.'),
});

const tokenBody = z.strictObject({
  name: z.string().min(1).max(64),
  role: z.enum(['viewer', 'responder', 'admin']),
  expires_at: z.string().optional().describe('RFC 3339.'),
});

const responses = (
  status: number,
  description: string,
  schema?: z.ZodType,
): RouteDescription['responses'] => ({
  [status]: { description, ...(schema && { schema }) },
  400: { description: 'Malformed', schema: problemSchema },
  401: { description: 'No live admin token', schema: problemSchema },
  403: { description: 'The role is not enough', schema: problemSchema },
  404: { description: 'No such object', schema: problemSchema },
  409: { description: 'Wrong state or version', schema: problemSchema },
});

/** @throws Denied `invalid_request` */
function time(value: string | undefined, at: string): number | undefined {
  if (value === undefined) return undefined;
  const seconds = instant(value);
  if (seconds === null) throw malformed(`${at} must be an RFC 3339 time with an offset`);
  return seconds;
}

function actorOf(incoming: Incoming): string {
  return `admin:${incoming.admin?.name ?? 'unknown'}`;
}

export function adminRoutes(
  ports: Ports,
  options: { readonly parseTemplate: (value: unknown) => TemplateDocument; readonly feed: RevocationFeed },
): Route[] {
  const intervened = async (result: Intervened) => {
    // Durable by now; a moment's wait lets the answer say who already enforces it.
    const verifiers =
      result.seq === null
        ? []
        : await options.feed.acknowledgements(result.seq, result.audiences, ACKNOWLEDGEMENT_WAIT_MS);
    return json(200, {
      mission: missionSummary(result.mission, ports.clock.now()),
      cascaded: result.cascaded,
      seq: result.seq,
      repeated: result.repeated,
      verifiers,
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
          tree: tree.map((member) => missionSummary(member, now)),
          credentials: (await ports.store.credentials(id)).map(credentialView),
          leases: (await ports.store.leases(id)).map(leaseView),
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
        const wide = !['token', 'mission', 'mission_tree', 'agent', 'instance'].includes(asked.selector.kind);
        // A responder ends missions, instances and agents; policies and attesters are an admin's.
        if (wide && !asked.dry_run && incoming.admin?.role !== 'admin')
          throw new Denied({ tag: 'forbidden', needs: 'admin' });
        const answer = await revoke(ports, { actor: actorOf(incoming), ...asked });
        // Durable by now; a moment's wait lets the answer say who already enforces it.
        const verifiers =
          answer.seq === null
            ? []
            : await options.feed.acknowledgements(answer.seq, answer.audiences, ACKNOWLEDGEMENT_WAIT_MS);
        return json(200, { ...answer, verifiers });
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
    {
      method: 'GET',
      path: '/admin/v1/templates',
      auth: { kind: 'admin', role: 'viewer' },
      errors: 'problem',
      describe: {
        summary: 'Every imported version',
        tag: 'admin',
        responses: responses(200, 'Versions', viewSchemas.templates),
      },
      handle: async () => json(200, { items: (await ports.store.templates()).map(templateView) }),
    },
    {
      method: 'POST',
      path: '/admin/v1/templates',
      auth: { kind: 'admin', role: 'admin' },
      errors: 'problem',
      describe: {
        summary: 'Import a version; it dispatches once another person approved its hash',
        tag: 'admin',
        json: z.looseObject({ id: z.string(), version: z.string() }),
        responses: responses(201, 'The version', viewSchemas.template),
      },
      async handle(incoming) {
        const document = options.parseTemplate(readJsonValue(incoming));
        return json(201, templateView(await importTemplate(ports, document, actorOf(incoming))));
      },
    },
    {
      method: 'POST',
      path: '/admin/v1/templates/{id}/versions/{hash}/approve',
      auth: { kind: 'admin', role: 'admin' },
      errors: 'problem',
      describe: {
        summary: 'Approve exactly this hash; whoever imported it cannot',
        tag: 'admin',
        responses: responses(200, 'The version', viewSchemas.template),
      },
      async handle(incoming) {
        const { id = '', hash = '' } = incoming.params;
        return json(200, templateView(await approveTemplate(ports, id, hash, actorOf(incoming))));
      },
    },
    {
      method: 'GET',
      path: '/admin/v1/audit',
      auth: { kind: 'admin', role: 'viewer' },
      errors: 'problem',
      describe: {
        summary: 'Audit records',
        tag: 'admin',
        query: auditQuery,
        responses: responses(200, 'Records', viewSchemas.audit),
      },
      async handle(incoming) {
        const items = await ports.store.auditRecords(readQuery(incoming, auditQuery));
        return json(200, { items });
      },
    },
    {
      method: 'GET',
      path: '/admin/v1/tokens',
      auth: { kind: 'admin', role: 'admin' },
      errors: 'problem',
      describe: {
        summary: 'Admin tokens, without their values',
        tag: 'admin',
        responses: responses(200, 'Tokens', viewSchemas.tokens),
      },
      handle: async () =>
        json(200, {
          items: (await ports.store.adminTokens()).map(({ token_digest: _digest, ...shown }) => shown),
        }),
    },
    {
      method: 'POST',
      path: '/admin/v1/tokens',
      auth: { kind: 'admin', role: 'admin', bootstrap: true },
      errors: 'problem',
      describe: {
        summary: 'Issue an admin token; its value is shown once',
        tag: 'admin',
        json: tokenBody,
        responses: responses(201, 'The token', viewSchemas.issuedToken),
      },
      async handle(incoming) {
        const asked = readJson(incoming, tokenBody);
        const issued = await issueAdminToken(
          ports,
          { name: asked.name, role: asked.role, expires_at: time(asked.expires_at, 'expires_at') ?? null },
          incoming.admin,
        );
        return json(201, { id: issued.record.id, name: asked.name, role: asked.role, token: issued.token });
      },
    },
    {
      method: 'DELETE',
      path: '/admin/v1/tokens/{id}',
      auth: { kind: 'admin', role: 'admin' },
      errors: 'problem',
      describe: { summary: 'Revoke an admin token', tag: 'admin', responses: responses(204, 'Revoked') },
      async handle(incoming) {
        await revokeAdminToken(ports, incoming.params['id'] ?? '', actorOf(incoming));
        return { status: 204 };
      },
    },
  ];
}

const missionsQuery = z.strictObject({
  state: z.enum(MISSION_STATES).optional(),
  agent: z.string().max(512).optional(),
  template: z.string().max(128).optional(),
  q: z.string().max(256).optional(),
  ...cursorQuery,
});

const auditQuery = z.strictObject({
  mission_id: z.string().max(128).optional(),
  event: z.string().max(64).optional(),
  after_seq: z.coerce.number().int().min(0).optional(),
  limit: z.coerce.number().int().min(1).max(1000).default(100),
  newest_first: z.stringbool().optional(),
});
