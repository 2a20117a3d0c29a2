/**
 * Attest, derive, reserve: from validated evidence and a declared intent to a mission that is ready to be
 * stored. Nothing is written here; the caller commits the mission together with its credentials.
 */
import { createHash } from 'node:crypto';
import { authorityHash, intentHash, proposalHash } from '../domain/anchors.ts';
import type { AuthoritySet } from '../domain/authority/index.ts';
import { Denied, malformed } from '../domain/denial.ts';
import { derive, dispatch, type Grant, type ReportedNarrowing } from '../domain/grant.ts';
import type { ParsedIntent } from '../domain/intent.ts';
import { canonicalize, type JsonObject } from '../domain/json.ts';
import type { Purse } from '../domain/limits.ts';
import { type Mission, tierSatisfies } from '../domain/mission.ts';
import type { TemplateDocument } from '../domain/policy.ts';
import {
  type Ports,
  type Selector,
  type ValidatedEvidence,
  type VerifiedProof,
  type Write,
  WriteConflict,
} from '../ports.ts';
import { commit, ONCE_EVIDENCE, ONCE_PROOF } from './conflicts.ts';
import type { Parent } from './delegate.ts';
import type { PlannedToken } from './mint.ts';
import { newPurse } from './purse.ts';

export interface Declaration {
  readonly evidence: ValidatedEvidence;
  readonly proof: VerifiedProof;
  readonly declared: ParsedIntent;
  readonly proposal: AuthoritySet | null;
  readonly template_id: string | null;
  readonly creation_request_id: string | null;
  /** Fingerprint of what was asked, kept with `creation_request_id`. */
  readonly fingerprint: string | null;
  readonly refuse_narrowing: boolean;
  /** For a child mission. */
  readonly parent?: Parent;
  readonly now: number;
}

export interface PreparedMission {
  readonly mission: Mission;
  readonly template: TemplateDocument;
  readonly grant: Grant;
  /** To be committed with the credentials, in this order and in one group. */
  readonly writes: readonly Write[];
  readonly dispatch_rule: number;
  /** Of its counted limits; null if it has none. */
  readonly purse: Purse | null;
}

/** @throws Denied */
export async function prepareMission(ports: Ports, declaration: Declaration): Promise<PreparedMission> {
  const { evidence, proof, declared, parent, now } = declaration;
  const policy = ports.policy();
  for (const resource of declared.intent.resources)
    if (policy.audience(resource) === null)
      throw new Denied({ tag: 'invalid_target' }, 'an intent resource is not registered');

  const found = dispatch(policy.dispatch, {
    agent: evidence.agent,
    tier: evidence.tier,
    ...(declared.intent.purpose !== undefined && { purpose: declared.intent.purpose }),
    ...(declaration.template_id !== null && { wanted: declaration.template_id }),
  });
  if (found === null)
    throw new Denied(
      { tag: 'access_denied', reason: 'policy_denied' },
      `no dispatch rule for ${evidence.agent}`,
    );
  const record = await ports.store.approvedTemplate(found.template);
  if (record === null)
    throw new Denied(
      { tag: 'access_denied', reason: 'policy_denied' },
      `template ${found.template} has no approved version`,
    );
  if (record.review_due_at !== null && record.review_due_at <= now)
    throw new Denied({ tag: 'access_denied', reason: 'template_review_overdue' });
  const template = record.document;
  if (!tierSatisfies(evidence.tier, template.required_tier))
    throw new Denied({
      tag: 'access_denied',
      reason: 'attestation_tier_too_low',
      detail: `this kind of mission needs evidence of tier ${template.required_tier}`,
    });

  const grant = derive({
    declared,
    proposal: declaration.proposal,
    template,
    catalogue: policy.catalogue,
    ...(parent && { parent: { authority: parent.authority, expires_at: parent.mission.expires_at } }),
    now,
  });
  // Whole seconds are what tokens can say: a mission that ends within this one could never hold any.
  if (grant.expires_at <= now) throw malformed('intent.expires_at has passed');
  if (declaration.refuse_narrowing && grant.narrowed.length > 0)
    throw new Denied({
      tag: 'invalid_authorization_details',
      reason: 'out_of_template_ceiling',
      detail: `narrowing is refused, and ${grant.narrowed.length} cut(s) would be needed; the first by ${grant.narrowed[0]?.rule}`,
    });

  const id = parent?.child_id ?? ports.chance.id('msn');
  const path = [...(parent?.mission.path ?? []), id];
  const limited = { id, path, intent: declared.intent, authority: grant.authority };
  const purse = await newPurse(ports, limited, template);
  const slot = ports.slots.reserve();
  const mission: Mission = {
    id,
    state: 'active',
    version: 1,
    created_at: now,
    expires_at: grant.expires_at,
    state_since: now,
    state_reason: null,
    // Tokens of a tree name its root; `act` names who acts, innermost the one before (RFC 8693 section 4.1).
    sub: parent?.mission.sub ?? evidence.agent,
    agent: evidence.agent,
    instance: evidence.instance,
    jkt: proof.jkt,
    parent_id: parent?.mission.id ?? null,
    path,
    act: parent ? { sub: evidence.agent, ...(parent.mission.act && { act: parent.mission.act }) } : null,
    attester: evidence.attester,
    rule: evidence.rule,
    tier: evidence.tier,
    evidence_digest: evidence.digest,
    template: { id: template.id, version: template.version, hash: record.hash },
    policy_version: policy.version,
    intent: declared.intent,
    proposal: declaration.proposal,
    authority: grant.authority,
    containments: [],
    intent_hash: intentHash(policy.issuer, declared.intent),
    proposal_hash: declaration.proposal === null ? null : proposalHash(policy.issuer, declaration.proposal),
    authority_hash: authorityHash(policy.issuer, grant.authority),
    status_list: slot.list,
    status_index: slot.index,
    derivations: 1,
    max_derivations: grant.max_derivations,
    // A child's task was declared by its parent, which is not the key that carries it out.
    declared_by: parent ? 'launcher' : 'agent',
    tainted: parent?.mission.tainted ?? false,
    attest_every_seconds: template.attest_every_seconds,
    last_attested_at: now,
    token_ttl_seconds: template.token_ttl_seconds,
    creation_request_id: declaration.creation_request_id,
    creation_fingerprint: declaration.fingerprint,
  };

  const writes: Write[] = [
    ...possession(evidence, proof),
    ...(parent?.writes ?? []),
    { kind: 'require_unblocked', selectors: selectorsOf(mission), at: now },
  ];
  if (template.dispatch_rate !== null)
    writes.push({
      kind: 'take_rate',
      key: `dispatch:${template.id}:${evidence.agent}`,
      at: now,
      interval_seconds: template.dispatch_rate.per_seconds / template.dispatch_rate.count,
      burst: template.dispatch_rate.count,
    });
  if (template.max_active !== null)
    writes.push({
      kind: 'require_active_below',
      template_id: template.id,
      max: template.max_active,
      at: now,
    });
  writes.push({ kind: 'insert_mission', mission });
  return { mission, template, grant, writes, dispatch_rule: found.rule, purse };
}

/** A slot is random and remembered; two in one place happen when a write's outcome was lost. */
const SLOT_RETRIES = 3;

export interface StoredMission {
  readonly mission: Mission;
  readonly narrowed: readonly ReportedNarrowing[];
  readonly planned: readonly PlannedToken[];
}

/**
 * Stores a mission together with its first credentials, all or none. What is signed afterwards is on record.
 * @param plan the tokens that the mission starts with; each counts against `max_derivations`
 * @throws Denied, WriteConflict
 */
export async function storeMission(
  ports: Ports,
  declaration: Declaration,
  plan: (prepared: PreparedMission) => readonly PlannedToken[],
  /** Whatever else must be on record with the mission. */
  more: (prepared: PreparedMission) => readonly Write[] = () => [],
): Promise<StoredMission> {
  for (let attempt = 1; ; attempt++) {
    const prepared = await prepareMission(ports, declaration);
    const slot = { list: prepared.mission.status_list, index: prepared.mission.status_index };
    try {
      const planned = plan(prepared);
      const mission = { ...prepared.mission, derivations: planned.length };
      if (mission.max_derivations !== null && planned.length > mission.max_derivations)
        throw malformed(
          'max_derivations allows fewer tokens than this asks for: ask for one audience at a time',
        );
      await commit(ports, [
        ...prepared.writes.map((write) => (write.kind === 'insert_mission' ? { ...write, mission } : write)),
        ...planned.flatMap((token) => [token.write, ...token.reserves]),
        ...more(prepared),
        recordCreation(
          prepared,
          planned.map((token) => token.credential),
        ),
      ]);
      return { mission, narrowed: prepared.grant.narrowed, planned };
    } catch (cause) {
      // A slot that turned out to be taken is not given back.
      const taken = cause instanceof WriteConflict && cause.conflict === 'slot_taken';
      if (!taken) ports.slots.release(slot);
      // Another child spent the limit of a mission above meanwhile: see what is left of it.
      const outrun = cause instanceof WriteConflict && cause.conflict === 'limit_exhausted';
      if (!(taken || outrun) || attempt >= SLOT_RETRIES) throw cause;
    }
  }
}

/**
 * Whether a creation may have failed because an identical one was faster: by its id, or because the winner took
 * the last place that the template allows.
 */
export function mayHaveLostRace(cause: unknown): boolean {
  if (cause instanceof WriteConflict) return cause.conflict === 'duplicate';
  if (!(cause instanceof Denied) || cause.denial.tag !== 'access_denied') return false;
  return cause.denial.reason === 'max_active_reached' || cause.denial.reason === 'dispatch_rate';
}

/** What was cut when the mission was made, for an agent that never got the first answer. */
export function narrowedAtCreation(
  ports: Ports,
  mission: Mission,
  template: TemplateDocument,
  declared: ParsedIntent,
): readonly ReportedNarrowing[] {
  const { proposal, created_at: now } = mission;
  return derive({ declared, proposal, template, catalogue: ports.policy().catalogue, now }).narrowed;
}

/**
 * The mission that an earlier attempt with this `creation_request_id` made, or null (wire profile 2, Idempotency).
 * Scoped to agent and key, so that nobody can probe another's ids.
 * @throws Denied `invalid_request` if the id was used for something else
 */
export async function findCreation(
  ports: Ports,
  evidence: ValidatedEvidence,
  proof: VerifiedProof,
  creation_request_id: string | null,
  fingerprint: string,
): Promise<Mission | null> {
  if (creation_request_id === null) return null;
  const mission = await ports.store.missionByCreation(evidence.agent, proof.jkt, creation_request_id);
  if (mission === null) return null;
  if (mission.creation_fingerprint !== fingerprint)
    throw malformed('creation_request_id was used before for another mission');
  if (mission.instance !== evidence.instance || mission.attester !== evidence.attester)
    throw new Denied({ tag: 'unknown_mission' }, 'repeated creation by another instance');
  return mission;
}

/** JCS digest of what was asked, without the evidence, which differs in each attempt. */
export function fingerprintOf(
  declared: ParsedIntent,
  proposal: AuthoritySet | null,
  resource: string | null,
  template: string | null,
): string {
  const asked = canonicalize({ intent: declared.intent, proposal, resource, template });
  return createHash('sha256').update(asked).digest('base64url');
}

/** The replay and pinning writes that every presentation of evidence needs (wire profile 2.1). */
export function possession(evidence: ValidatedEvidence, proof: VerifiedProof): Write[] {
  const writes: Write[] = [spend(proof)];
  if (evidence.once !== null)
    writes.push({
      kind: 'use_once',
      space: ONCE_EVIDENCE,
      id: evidence.once,
      expires_at: evidence.expires_at,
    });
  // Evidence that names no key belongs to the first key seen with it: a copy from a log is worthless.
  if (evidence.bound_jkt === null)
    writes.push({
      kind: 'pin_evidence',
      digest: evidence.digest,
      jkt: proof.jkt,
      max_keys: evidence.max_keys,
      expires_at: evidence.expires_at,
    });
  return writes;
}

/** Remembers a proof for as long as its `iat` would let it pass again. */
export function spend(proof: VerifiedProof): Write {
  return {
    kind: 'use_once',
    space: ONCE_PROOF,
    id: `${proof.jkt}.${proof.jti}`,
    expires_at: proof.remember_until,
  };
}

/** Everything about a mission that a block can name. */
export function selectorsOf(mission: Mission): Selector[] {
  const agents = new Set([mission.agent, mission.sub]);
  for (let act = mission.act; act; act = act.act ?? null) agents.add(act.sub);
  return [
    ...[...agents].map((key) => ({ kind: 'agent', key }) as const),
    { kind: 'mission', key: mission.id },
    ...mission.path.flatMap((key): Selector[] =>
      key === mission.id
        ? []
        : [
            { kind: 'mission', key },
            { kind: 'mission_tree', key },
          ],
    ),
    { kind: 'mission_tree', key: mission.id },
    { kind: 'instance', key: mission.instance },
    { kind: 'attester', key: mission.attester },
    { kind: 'rule', key: mission.rule },
    { kind: 'template', key: mission.template.id },
    { kind: 'template', key: `${mission.template.id}@${mission.template.version}` },
    { kind: 'agent_key', key: mission.jkt },
  ];
}

/** One record for a mission and the credentials that it starts with: who, what, and by which rule. */
export function recordCreation(
  prepared: PreparedMission,
  credentials: readonly { readonly id: string; readonly type: string; readonly target: string }[],
): Write {
  const { mission, grant } = prepared;
  const details: JsonObject = {
    instance: mission.instance,
    jkt: mission.jkt,
    attester: mission.attester,
    rule: mission.rule,
    tier: mission.tier,
    evidence_digest: mission.evidence_digest,
    ...(mission.parent_id !== null && { parent: mission.parent_id, path: [...mission.path] }),
    template: { ...mission.template },
    policy_version: mission.policy_version,
    dispatch_rule: prepared.dispatch_rule,
    asked: {
      intent_hash: mission.intent_hash,
      proposal_hash: mission.proposal_hash,
      resources: [...mission.intent.resources],
    },
    granted: mission.authority as unknown as JsonObject[],
    authority_hash: mission.authority_hash,
    narrowed: grant.narrowed as unknown as JsonObject[],
    expires_at: mission.expires_at,
    credentials: credentials.map(({ id, type, target }) => ({ id, type, target })),
  };
  return {
    kind: 'append_audit',
    record: {
      ts: mission.created_at,
      event: 'mission.created',
      actor: mission.agent,
      mission_id: mission.id,
      details,
    },
  };
}
