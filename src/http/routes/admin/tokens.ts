/** Who administers, and what was done: admin tokens and the audit (wire profile 4). */
import { z } from 'zod';
import { issueAdminToken, revokeAdminToken } from '../../../operations/admin-tokens.ts';
import type { Ports } from '../../../ports.ts';
import { json, type Route, readJson, readQuery } from '../../route.ts';
import { viewSchemas } from '../../views.ts';
import { actorOf, responses, time } from './parts.ts';

const tokenBody = z.strictObject({
  name: z.string().min(1).max(64),
  role: z.enum(['viewer', 'responder', 'admin']),
  expires_at: z.string().optional().describe('RFC 3339.'),
});

const auditQuery = z.strictObject({
  mission_id: z.string().max(128).optional(),
  event: z.string().max(64).optional(),
  after_seq: z.coerce.number().int().min(0).optional(),
  limit: z.coerce.number().int().min(1).max(1000).default(100),
  newest_first: z.stringbool().optional(),
});

export function adminTokenRoutes(ports: Ports): Route[] {
  return [
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
