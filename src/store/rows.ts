/** Rows as SQLite gives them, and the records of the port that they stand for. */
import type { AuthoritySet, Containment } from '../domain/authority/index.ts';
import type { JsonObject } from '../domain/json.ts';
import { type JsonAct, MISSION_STATES, type Mission, type MissionIntent, TIERS } from '../domain/mission.ts';
import type { TemplateDocument } from '../domain/policy.ts';
import type { FeedEffect, FeedKind, FeedReason } from '../domain/revocation.ts';
import type {
  AdminRole,
  AdminTokenRecord,
  AuditSegment,
  BlockRecord,
  CredentialRecord,
  EnrolledKeyRecord,
  SealedAuditRecord,
  Selector,
  SigningAlg,
  SigningKeyRecord,
  StoredFeedEntry,
  TemplateRecord,
  VerifierInstance,
} from '../ports.ts';
import { unpackDigest, unpackNullable } from './packing.ts';
import type * as schema from './schema.ts';

type MissionColumns = typeof schema.missions.$inferSelect;
type GroundColumns = Omit<typeof schema.grounds.$inferSelect, 'n' | 'digest'>;

/** A mission with its ground, as {@link MISSION_SELECT} reads it. */
export type MissionRow = MissionColumns & GroundColumns;

export const MISSION_SELECT = `select m.*, g.sub, g.agent, g.act, g.attester, g.rule, g.tier,
  g.template_id, g.template_version, g.template_hash, g.policy_version, g.declared_by,
  g.attest_every_seconds, g.token_ttl_seconds
  from missions m join grounds g on g.n = m.ground_n`;

/** The stored JSON was written by this store: a text that does not parse is corruption and throws. */
function stored<T>(text: string): T {
  return JSON.parse(text) as T;
}

/** An index outside of its enumeration is corruption: refuse rather than guess a state. */
function entryOf<T>(list: readonly T[], at: number): T {
  const entry = list[at];
  if (entry === undefined) throw new Error(`stored enumeration value ${at} is unknown`);
  return entry;
}

export function missionFromRow(row: MissionRow): Mission {
  const authority = stored<AuthoritySet>(row.authority);
  return {
    id: row.id,
    state: entryOf(MISSION_STATES, row.state),
    version: row.version,
    created_at: row.created_at,
    expires_at: row.expires_at,
    state_since: row.state_since,
    state_reason: row.state_reason,
    sub: row.sub,
    agent: row.agent,
    instance: row.instance,
    jkt: unpackDigest(row.jkt),
    parent_id: row.path === null ? null : (stored<string[]>(row.path).at(-2) ?? null),
    path: row.path === null ? [row.id] : stored<string[]>(row.path),
    act: row.act === null ? null : stored<JsonAct>(row.act),
    attester: row.attester,
    rule: row.rule,
    tier: entryOf(TIERS, row.tier),
    evidence_digest: unpackDigest(row.evidence_digest),
    template: { id: row.template_id, version: row.template_version, hash: row.template_hash },
    policy_version: row.policy_version,
    intent: { goal: row.goal, ...stored<Omit<MissionIntent, 'goal'>>(row.intent) },
    proposal:
      row.proposal === null ? null : row.proposal === '' ? authority : stored<AuthoritySet>(row.proposal),
    authority,
    containments: row.containments === null ? [] : stored<Containment[]>(row.containments),
    intent_hash: unpackDigest(row.intent_hash),
    proposal_hash: unpackNullable(row.proposal_hash),
    authority_hash: unpackDigest(row.authority_hash),
    status_list: row.status_list,
    status_index: row.status_index,
    derivations: row.derivations,
    max_derivations: row.max_derivations,
    declared_by: row.declared_by === 'launcher' ? 'launcher' : 'agent',
    tainted: row.tainted !== 0,
    attest_every_seconds: row.attest_every_seconds,
    last_attested_at: row.last_attested_at,
    token_ttl_seconds: row.token_ttl_seconds,
    creation_request_id: row.creation_request_id,
    creation_fingerprint: unpackNullable(row.creation_fingerprint),
  };
}

export type CredentialRow = typeof schema.credentials.$inferSelect & {
  mission_id: string;
  type: string;
  target: string;
  mission_jkt: Buffer;
};

export const CREDENTIAL_SELECT = `select c.*, m.id as mission_id, m.jkt as mission_jkt, t.name as type,
  a.name as target from credentials c join missions m on m.n = c.mission_n
  join names t on t.n = c.type_n join names a on a.n = c.target_n`;

export function credentialFromRow(row: CredentialRow): CredentialRecord {
  return {
    id: row.id,
    mission_id: row.mission_id,
    type: row.type,
    target: row.target,
    jkt: unpackDigest(row.jkt ?? row.mission_jkt),
    issued_at: row.issued_at,
    expires_at: row.expires_at,
    revoked_at: row.revoked_at,
  };
}

export type TemplateRow = typeof schema.templates.$inferSelect;

export function templateFromRow(row: TemplateRow): TemplateRecord {
  const { n: _, document, ...rest } = row;
  return { ...rest, document: stored<TemplateDocument>(document) };
}

export type BlockRow = typeof schema.blocks.$inferSelect;

export function blockFromRow(row: BlockRow): BlockRecord {
  const { n: _, selector_kind, selector_key, ...rest } = row;
  return { ...rest, selector: { kind: selector_kind as Selector['kind'], key: selector_key } };
}

export type AdminTokenRow = typeof schema.adminTokens.$inferSelect;

export function adminTokenFromRow(row: AdminTokenRow): AdminTokenRecord {
  return { ...row, role: row.role as AdminRole, bootstrap: row.bootstrap !== 0 };
}

export type EnrolledKeyRow = typeof schema.enrolledKeys.$inferSelect;

export function enrolledKeyFromRow(row: EnrolledKeyRow): EnrolledKeyRecord {
  return { ...row, jwk: stored<JsonObject>(row.jwk) };
}

export type SigningKeyRow = typeof schema.signingKeys.$inferSelect;

export function signingKeyFromRow(row: SigningKeyRow): SigningKeyRecord {
  return { ...row, alg: row.alg as SigningAlg, jwk: stored<JsonObject>(row.jwk) };
}

export type VerifierInstanceRow = typeof schema.verifierInstances.$inferSelect;

export function verifierInstanceFromRow(row: VerifierInstanceRow): VerifierInstance {
  return { ...row };
}

export type FeedRow = typeof schema.feedEntries.$inferSelect;

export function feedEntryFromRow(row: FeedRow, audiences: readonly string[] | null): StoredFeedEntry {
  const { issued_before, min_version, kind, effect, reason_code, ...rest } = row;
  return {
    ...rest,
    kind: kind as FeedKind,
    effect: effect as FeedEffect,
    reason_code: reason_code as FeedReason,
    ...(issued_before === null ? {} : { issued_before }),
    ...(min_version === null ? {} : { min_version }),
    audiences,
  };
}

export type AuditRow = typeof schema.auditRecords.$inferSelect;

export function auditFromRow(row: AuditRow): SealedAuditRecord {
  return { ...row, details: stored<JsonObject>(row.details), hash: unpackDigest(row.hash) };
}

export type SegmentRow = typeof schema.auditSegments.$inferSelect;

export function segmentFromRow(row: SegmentRow): AuditSegment {
  return { ...row };
}
