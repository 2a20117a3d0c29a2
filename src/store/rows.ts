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
import { unpackDigest, unpackDigests } from './packing.ts';
import type * as schema from './schema/index.ts';

/** `missions.tainted`: 0 is untainted. */
export const BORN_TAINTED = 1;
export const TAINTED_LATER = 2;

export type MissionRow = typeof schema.missions.$inferSelect;
export type GroundRow = typeof schema.grounds.$inferSelect;

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

/** @param ground the row that `row.ground_n` names */
export function missionFromRow(row: MissionRow, ground: GroundRow): Mission {
  const [evidence_digest, intent_hash, proposal_hash, authority_hash, creation_fingerprint] = unpackDigests(
    row.digests,
  );
  if (evidence_digest == null || intent_hash == null || authority_hash == null) {
    throw new Error(`the digests of ${row.id} do not read`);
  }
  const authority = stored<AuthoritySet>(row.authority);
  return {
    id: row.id,
    state: entryOf(MISSION_STATES, row.state),
    version: row.version,
    created_at: row.created_at,
    expires_at: row.expires_at,
    state_since: row.state_since,
    state_reason: row.state_reason,
    sub: ground.sub,
    agent: ground.agent,
    instance: row.instance,
    jkt: unpackDigest(row.jkt),
    parent_id: row.path === null ? null : (stored<string[]>(row.path).at(-2) ?? null),
    path: row.path === null ? [row.id] : stored<string[]>(row.path),
    act: ground.act === null ? null : stored<JsonAct>(ground.act),
    attester: ground.attester,
    rule: ground.rule,
    tier: entryOf(TIERS, ground.tier),
    evidence_digest,
    template: { id: ground.template_id, version: ground.template_version, hash: ground.template_hash },
    policy_version: ground.policy_version,
    intent: { goal: row.goal, ...stored<Omit<MissionIntent, 'goal'>>(row.intent) },
    proposal:
      row.proposal === null ? null : row.proposal === '' ? authority : stored<AuthoritySet>(row.proposal),
    authority,
    containments: row.containments === null ? [] : stored<Containment[]>(row.containments),
    intent_hash,
    proposal_hash: proposal_hash ?? null,
    authority_hash,
    status_list: row.status_list,
    status_index: row.status_index,
    derivations: row.derivations,
    max_derivations: row.max_derivations,
    declared_by: ground.declared_by === 'launcher' ? 'launcher' : 'agent',
    tainted: row.tainted !== 0,
    ...(row.tainted === BORN_TAINTED && { born_tainted: true }),
    attest_every_seconds: ground.attest_every_seconds,
    last_attested_at: row.last_attested_at,
    token_ttl_seconds: ground.token_ttl_seconds,
    creation_request_id: row.creation_request_id,
    creation_fingerprint: creation_fingerprint ?? null,
  };
}

export type CredentialRow = typeof schema.credentials.$inferSelect & {
  mission_id: string;
  type: string;
  target: string;
  mission_jkt: Buffer;
};

/** Subqueries, not joins: measured several times faster for one row. */
export const CREDENTIAL_SELECT = `select c.*,
  (select name from names where n = c.type_n) as type, (select name from names where n = c.target_n) as target,
  (select id from missions where n = c.mission_n) as mission_id,
  (select jkt from missions where n = c.mission_n) as mission_jkt from credentials c`;

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
