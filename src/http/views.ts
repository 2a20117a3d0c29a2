/** How records look in the admin API. Nothing secret is in a record; this only chooses and names. */
import { z } from 'zod';
import { effective } from '../domain/authority/index.ts';
import { type Mission, stateAt } from '../domain/mission.ts';
import { rfc3339 } from '../domain/reader.ts';
import type { LeaseOutcome } from '../operations/lease-outcomes.ts';
import type { CredentialRecord, TemplateRecord } from '../ports.ts';
import { detailsSchema, limitsSchema } from './schemas.ts';

export function missionSummary(mission: Mission, now: number) {
  return {
    id: mission.id,
    state: stateAt(mission, now),
    version: mission.version,
    agent: mission.agent,
    sub: mission.sub,
    instance: mission.instance,
    goal: mission.intent.goal,
    template: mission.template,
    attester: mission.attester,
    rule: mission.rule,
    tier: mission.tier,
    parent_id: mission.parent_id,
    created_at: rfc3339(mission.created_at),
    expires_at: rfc3339(mission.expires_at),
    state_since: rfc3339(mission.state_since),
    state_reason: mission.state_reason,
  };
}

/** Declared beside granted: the prose is shown, never parsed (wire profile 2.2). */
export function missionDetail(mission: Mission, now: number) {
  return {
    ...missionSummary(mission, now),
    intent: mission.intent,
    proposal: mission.proposal,
    granted: mission.authority,
    effective: effective(mission.authority, mission.containments),
    containments: mission.containments,
    jkt: mission.jkt,
    path: mission.path,
    policy_version: mission.policy_version,
    intent_hash: mission.intent_hash,
    proposal_hash: mission.proposal_hash,
    authority_hash: mission.authority_hash,
    evidence_digest: mission.evidence_digest,
    declared_by: mission.declared_by,
    tainted: mission.tainted,
    derivations: mission.derivations,
    max_derivations: mission.max_derivations,
    last_attested_at: rfc3339(mission.last_attested_at),
  };
}

export function credentialView(credential: CredentialRecord) {
  return {
    id: credential.id,
    type: credential.type,
    target: credential.target,
    issued_at: rfc3339(credential.issued_at),
    expires_at: rfc3339(credential.expires_at),
    revoked_at: credential.revoked_at === null ? null : rfc3339(credential.revoked_at),
  };
}

/**
 * A provider credential from before it existed until it is gone; one that cannot be revoked says so here, with how
 * long it works and what a person could do instead.
 */
export function leaseView({ lease, residual, alternative }: LeaseOutcome) {
  const open = lease.ended_at === null;
  return {
    id: lease.id,
    credential_id: lease.credential_id,
    type: lease.type,
    target: lease.target,
    state: lease.state,
    expires_at: rfc3339(lease.expires_at),
    ended_at: lease.ended_at === null ? null : rfc3339(lease.ended_at),
    attempts: lease.attempts,
    last_error: lease.last_error,
    next_attempt_at: open && lease.attempts > 0 ? rfc3339(lease.next_at) : null,
    residual,
    alternative,
  };
}

export function templateView(template: TemplateRecord) {
  return {
    id: template.id,
    version: template.version,
    hash: template.hash,
    document: template.document,
    imported_by: template.imported_by,
    imported_at: rfc3339(template.imported_at),
    approved_by: template.approved_by,
    approved_at: template.approved_at === null ? null : rfc3339(template.approved_at),
    review_due_at: template.review_due_at === null ? null : rfc3339(template.review_due_at),
  };
}

const summary = z.looseObject({
  id: z.string(),
  state: z.string(),
  version: z.number().int(),
  agent: z.string(),
  goal: z.string(),
  expires_at: z.string(),
});
const template = z.looseObject({
  id: z.string(),
  version: z.string(),
  hash: z.string(),
  approved_by: z.string().nullable(),
});
const blockShape = z.looseObject({
  id: z.string(),
  selector: z.object({ kind: z.string(), key: z.string() }),
  reason: z.string(),
});

export const viewSchemas = {
  missionPage: z.object({ items: z.array(summary), next_cursor: z.string().nullable() }),
  missionDetail: summary.extend({
    granted: detailsSchema,
    effective: detailsSchema,
    limits: limitsSchema,
    tree: z.array(summary),
  }),
  intervened: z.object({
    mission: summary,
    cascaded: z.array(z.string()),
    seq: z.number().int().nullable().describe('Verifiers that acknowledged this feed position enforce it.'),
    repeated: z.boolean(),
    verifiers: z
      .array(z.looseObject({ verifier_id: z.string(), acknowledged_at: z.number().nullable() }))
      .describe('Connected verifiers that were told, and when each acknowledged.'),
    leases: z
      .array(z.looseObject({ id: z.string(), state: z.string() }))
      .describe('Provider credentials of the mission and of those that ended with it, as they are now.'),
  }),
  revocation: z.looseObject({
    missions: z.number().int(),
    dry_run: z.boolean(),
    seq: z.number().int().nullable(),
    leases: z
      .array(z.looseObject({ id: z.string(), state: z.string() }))
      .describe('Provider credentials of the first missions that ended, as they are now.'),
  }),
  blocks: z.object({ items: z.array(blockShape) }),
  block: blockShape,
  template,
  templates: z.object({ items: z.array(template) }),
  audit: z.object({
    items: z.array(z.looseObject({ seq: z.number().int(), event: z.string(), hash: z.string() })),
  }),
  tokens: z.object({ items: z.array(z.looseObject({ id: z.string(), name: z.string(), role: z.string() })) }),
  issuedToken: z.object({ id: z.string(), name: z.string(), role: z.string(), token: z.string() }),
};
