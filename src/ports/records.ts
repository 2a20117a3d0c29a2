/** What is kept: the records that pass through the store. Values of credentials are never among them. */
import type { ProviderEntry } from '../domain/authority/index.ts';
import type { JsonObject } from '../domain/json.ts';
import type { TemplateDocument } from '../domain/policy.ts';
import type { SelectorKind } from '../domain/revocation.ts';
import type { SigningAlg } from '../ports.ts';
import type { Revocation } from '../providers/provider.ts';

/** One token or provider credential that was handed out. Values are never stored. */
export interface CredentialRecord {
  /** `cred_...`; the token's `jti` for a JWT. */
  readonly id: string;
  readonly mission_id: string;
  readonly type: string;
  /** Audience, role or path. */
  readonly target: string;
  readonly jkt: string;
  readonly issued_at: number;
  readonly expires_at: number;
  readonly revoked_at: number | null;
}

/**
 * `pending`: recorded, and it may exist. `live`: delivered, or about to be. `revoking`: to be revoked; tried or
 * failed before if `attempts` says so. `revoked` and `expired`: gone.
 */
export const LEASE_STATES = ['pending', 'live', 'revoking', 'revoked', 'expired'] as const;
export type LeaseState = (typeof LEASE_STATES)[number];

/** The stored life of a provider credential, from before it exists. No secret of the client's is in it. */
export interface LeaseRecord {
  /** `lse_...` */
  readonly id: string;
  readonly mission_id: string;
  /** `cred_...`; the credential record is made when the lease becomes live. */
  readonly credential_id: string;
  readonly type: string;
  readonly target: string;
  readonly state: LeaseState;
  readonly entry: ProviderEntry;
  readonly revocation: Revocation;
  readonly created_at: number;
  readonly expires_at: number;
  /** When to look at it again; 0 for now. */
  readonly next_at: number;
  /** Failed revocations. */
  readonly attempts: number;
  readonly last_error: string | null;
  readonly ended_at: number | null;
}

export interface TemplateRecord {
  readonly id: string;
  readonly version: string;
  readonly hash: string;
  readonly document: TemplateDocument;
  readonly imported_by: string;
  readonly imported_at: number;
  readonly approved_by: string | null;
  readonly approved_at: number | null;
  readonly review_due_at: number | null;
}

/** What a block or a bulk revocation selects. All given members must match. */
export interface Selector {
  readonly kind: SelectorKind;
  readonly key: string;
}

export interface BlockRecord {
  readonly id: string;
  readonly selector: Selector;
  readonly until: number | null;
  readonly reason: string;
  readonly created_by: string;
  readonly created_at: number;
  readonly lifted_at: number | null;
}

export type AdminRole = 'viewer' | 'responder' | 'admin';

export interface AdminTokenRecord {
  readonly id: string;
  readonly name: string;
  /** SHA-256 of the token, base64url. */
  readonly token_digest: string;
  readonly role: AdminRole;
  /** A bootstrap token creates the first admin and nothing else. */
  readonly bootstrap: boolean;
  readonly created_at: number;
  readonly expires_at: number | null;
  readonly revoked_at: number | null;
}

export interface EnrolledKeyRecord {
  readonly id: string;
  readonly agent: string;
  readonly jkt: string;
  readonly jwk: JsonObject;
  readonly created_by: string;
  readonly created_at: number;
  readonly expires_at: number;
  readonly revoked_at: number | null;
}

export interface SigningKeyRecord {
  readonly kid: string;
  readonly alg: SigningAlg;
  /** Public JWK. */
  readonly jwk: JsonObject;
  /** Private JWK, AES-256-GCM under the key-encryption key; base64url. */
  readonly sealed: string;
  readonly created_at: number;
  /** Signs from here ... */
  readonly active_from: number;
  /** ... until here, and is published until `retired_at`. */
  readonly active_until: number;
  readonly retired_at: number;
  readonly revoked_at: number | null;
}

export interface VerifierInstance {
  readonly verifier_id: string;
  readonly instance_id: string;
  readonly epoch: number;
  readonly seq: number;
  readonly last_seen: number;
}

/** One audit record as appended; the writer adds `seq`, `segment` and `hash`. */
export interface AuditRecord {
  readonly ts: number;
  /** What happened: `mission.created`, `token.minted`, `exchange.refused`, `mission.revoked`, ... */
  readonly event: string;
  /** Who: an agent id, `admin:<name>`, `verifier:<id>` or `broker`. */
  readonly actor: string;
  readonly mission_id: string | null;
  readonly details: JsonObject;
}

export interface SealedAuditRecord extends AuditRecord {
  readonly seq: number;
  readonly segment: number;
  /** `sha-256:` over the previous hash and this record's JCS. */
  readonly hash: string;
}

export interface AuditSegment {
  readonly segment: number;
  readonly first_seq: number;
  readonly last_seq: number;
  readonly previous_hash: string;
  readonly head_hash: string;
  /** Seconds; no record is added any more and the segment may be sealed. Null for the open segment. */
  readonly closed_at: number | null;
  readonly sealed_at: number | null;
  /** JWS over the segment's bounds and hashes by the broker's key, once sealed. */
  readonly seal: string | null;
  /** When retention dropped its records; the row stays, so that the chain verifies across the gap. */
  readonly pruned_at: number | null;
}

/** One batch of a verifier's reports, kept whole: what it says is for display unless a proof stands behind it. */
export interface ReportRecord {
  /** `dec_` and 22 characters; the same verifier and batch id give the same. */
  readonly id: string;
  readonly kind: 'decisions' | 'observations';
  readonly verifier_id: string;
  readonly instance_id: string;
  readonly audience: string;
  readonly received_at: number;
  /** Version of the bundle that the verifier judged by, where it says so. */
  readonly bundle_version: string | null;
  readonly count: number;
  readonly denials: number;
  /** Missions that the batch speaks of; not given back by reads. */
  readonly missions: readonly string[];
  /** JSON array of {@link count} elements. */
  readonly body: string;
}

/** What one verifier process reported since it was first heard, and what of it is missing. */
export interface ReportSource {
  readonly verifier_id: string;
  readonly instance_id: string;
  readonly batches: number;
  readonly events: number;
  /** About tokens or missions that were not minted for its audience. */
  readonly dropped_foreign: number;
  readonly dropped_malformed: number;
  /** Lost before they were sent, as the process itself counts. */
  readonly lost: number;
  readonly last_at: number;
}

export interface ReportQuery {
  readonly kind: ReportRecord['kind'];
  /** Batches that may speak of this mission: the caller looks at each element. */
  readonly mission_id?: string;
  readonly audience?: string;
  readonly with_denials?: boolean;
  /** Exclusive. */
  readonly before?: number;
  readonly limit: number;
}

export interface ReportPosition {
  /** Where a next page goes on. */
  readonly position: number;
  readonly report: ReportRecord;
}
