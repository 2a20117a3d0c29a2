/** Enrolment: a person issues a code for one agent, the machine redeems it with its own key, once. */
import { z } from 'zod';
import { malformed } from '../../domain/denial.ts';
import type { JsonObject } from '../../domain/json.ts';
import { rfc3339 } from '../../domain/reader.ts';
import { commit } from '../../operations/conflicts.ts';
import { spend } from '../../operations/create-mission.ts';
import { revokeEnrolledKey } from '../../operations/enrolled-keys.ts';
import type { EnrolledKeyRecord, Ports, Write } from '../../ports.ts';
import { header, json, type Route, readJson } from '../route.ts';
import { problemSchema, reasonSchema } from '../schemas.ts';

/** What the enrolment adapter offers (`attesters/enrolment.ts` behind the broker's secret). */
export interface Enrolment {
  issue(grant: {
    readonly id: string;
    readonly agent: string;
    readonly created_by: string;
    readonly expires_at: number;
    readonly key_ttl_seconds: number;
  }): string;
  /** @throws Denied `invalid_evidence` */
  redeem(
    request: { readonly code: string; readonly jwk: JsonObject },
    proved: { readonly jkt: string; readonly now: number },
  ): { readonly key: EnrolledKeyRecord; readonly writes: readonly Write[] };
}

const issueBody = z.strictObject({
  agent: z
    .string()
    .min(3)
    .max(256)
    .refine((agent) => !agent.includes('*'), 'must be one agent id, not a pattern')
    .describe('Agent id that the key will stand for, such as laptop/alice.'),
  code_ttl_seconds: z.number().int().min(60).max(86_400).default(900),
  key_ttl_seconds: z.number().int().min(3600).max(31_536_000).default(2_592_000),
});

const redeemBody = z.strictObject({
  code: z.string().min(1).max(2048),
  jwk: z.looseObject({ kty: z.string() }).describe('The public key; the request carries a DPoP proof by it.'),
});

const keyView = z.object({
  id: z.string(),
  agent: z.string(),
  jkt: z.string(),
  created_by: z.string(),
  created_at: z.string(),
  expires_at: z.string(),
  revoked_at: z.string().nullable(),
});

function viewOf(key: EnrolledKeyRecord): z.output<typeof keyView> {
  return {
    id: key.id,
    agent: key.agent,
    jkt: key.jkt,
    created_by: key.created_by,
    created_at: rfc3339(key.created_at),
    expires_at: rfc3339(key.expires_at),
    revoked_at: key.revoked_at === null ? null : rfc3339(key.revoked_at),
  };
}

export function enrolmentRoutes(ports: Ports, enrolment: Enrolment): Route[] {
  const refused = {
    400: { description: 'Refused', schema: problemSchema },
    401: { description: 'No live admin token', schema: problemSchema },
    403: { description: 'The role is not enough', schema: problemSchema },
  };
  return [
    {
      method: 'POST',
      path: '/admin/v1/enrolments',
      auth: { kind: 'admin', role: 'admin' },
      errors: 'problem',
      describe: {
        summary: 'A one-time code with which a machine enrols its key',
        tag: 'admin',
        json: issueBody,
        responses: {
          201: {
            description: 'The code; it is not stored',
            schema: z.object({ id: z.string(), code: z.string(), agent: z.string(), expires_at: z.string() }),
          },
          ...refused,
        },
      },
      async handle(incoming) {
        const asked = readJson(incoming, issueBody);
        const now = ports.clock.now();
        const created_by = `admin:${incoming.admin?.name}`;
        const grant = {
          id: ports.chance.id('enr'),
          agent: asked.agent,
          created_by,
          expires_at: Math.floor(now) + asked.code_ttl_seconds,
          key_ttl_seconds: asked.key_ttl_seconds,
        };
        await ports.store.atomically([
          {
            kind: 'append_audit',
            record: {
              ts: now,
              event: 'enrolment.issued',
              actor: created_by,
              mission_id: null,
              details: { id: grant.id, agent: grant.agent, expires_at: grant.expires_at },
            },
          },
        ]);
        return json(201, {
          id: grant.id,
          code: enrolment.issue(grant),
          agent: grant.agent,
          expires_at: rfc3339(grant.expires_at),
        });
      },
    },
    {
      method: 'POST',
      path: '/enrol',
      auth: { kind: 'agent' },
      errors: 'problem',
      describe: {
        summary: 'Redeem a code with a key, which the DPoP proof shows to be held',
        tag: 'agents',
        json: redeemBody,
        responses: { 201: { description: 'The enrolled key', schema: keyView }, ...refused },
      },
      async handle(incoming) {
        const asked = readJson(incoming, redeemBody);
        const now = ports.clock.now();
        const proof = await ports.proofs.verify(header(incoming, 'dpop'), {
          method: 'POST',
          url: `${ports.policy().issuer}/enrol`,
          now,
        });
        const redeemed = enrolment.redeem(
          { code: asked.code, jwk: asked.jwk as JsonObject },
          { jkt: proof.jkt, now },
        );
        await commit(ports, [spend(proof), ...redeemed.writes]);
        return json(201, viewOf(redeemed.key));
      },
    },
    {
      method: 'GET',
      path: '/admin/v1/enrolled-keys',
      auth: { kind: 'admin', role: 'viewer' },
      errors: 'problem',
      describe: {
        summary: 'Enrolled keys',
        tag: 'admin',
        responses: {
          200: { description: 'Keys', schema: z.object({ items: z.array(keyView) }) },
          ...refused,
        },
      },
      handle: async () => json(200, { items: (await ports.store.enrolledKeys()).map(viewOf) }),
    },
    {
      method: 'POST',
      path: '/admin/v1/enrolled-keys/{id}/revoke',
      auth: { kind: 'admin', role: 'responder' },
      errors: 'problem',
      describe: {
        summary: 'Revoke an enrolled key and end what it holds',
        tag: 'admin',
        json: z.strictObject({ reason: reasonSchema }),
        responses: {
          200: { description: 'What stopped', schema: z.looseObject({ missions: z.number().int() }) },
          404: { description: 'No such key', schema: problemSchema },
          409: { description: 'Revoked before', schema: problemSchema },
          ...refused,
        },
      },
      async handle(incoming) {
        const { reason } = readJson(incoming, z.strictObject({ reason: reasonSchema }));
        const id = incoming.params['id'];
        if (id === undefined) throw malformed('id is required');
        return json(
          200,
          await revokeEnrolledKey(ports, id, { actor: `admin:${incoming.admin?.name}`, reason }),
        );
      },
    },
  ];
}
