/** Vocabulary of the revocation feed (wire profile 3). The set that guards hold is `revocation-set.ts`. */

/** What a person can end or block by. */
export const SELECTOR_KINDS = [
  'token',
  'mission',
  'mission_tree',
  'agent',
  'instance',
  'template',
  'attester',
  'rule',
  'agent_key',
] as const;
export type SelectorKind = (typeof SELECTOR_KINDS)[number];

export const FEED_KINDS = [...SELECTOR_KINDS, 'signing_key', 'issuer'] as const;
export type FeedKind = (typeof FEED_KINDS)[number];

export const FEED_EFFECTS = ['deny', 'lift', 'narrow'] as const;
export type FeedEffect = (typeof FEED_EFFECTS)[number];

/** An enumeration, never text: what a verifier may know of the reason. */
export const FEED_REASONS = [
  'admin_revoked',
  'admin_suspended',
  'admin_contained',
  'admin_resumed',
  'completed',
  'expired',
  'parent_ended',
  'attestation_overdue',
  'reattested',
  'behaviour',
  'blocked',
  'unblocked',
  'holder_revoked',
  'key_rotated',
  'restored_backup',
] as const;
export type FeedReason = (typeof FEED_REASONS)[number];

/** One entry as a verifier reads it. Times in seconds. */
export interface FeedEntry {
  readonly seq: number;
  /** Last seq sent to this verifier; a gap is a `prev` unlike the last seen. */
  readonly prev: number;
  readonly ts: number;
  readonly kind: FeedKind;
  /** Mission id, jti, agent id, ...; for `template` the id, or `id@version`. */
  readonly key: string;
  readonly effect: FeedEffect;
  /** `deny` refuses tokens with `iat <=` this; absent for kinds that refuse whatever `iat` says. */
  readonly issued_before?: number;
  /** `narrow` refuses tokens with a lower `mission.version`. */
  readonly min_version?: number;
  /** After this no token can exist that the entry would refuse. */
  readonly not_after: number;
  readonly reason_code: FeedReason;
}

/** Sent every second on the stream and with each snapshot. */
export interface FeedHeartbeat {
  readonly epoch: number;
  readonly seq: number;
  readonly ts: number;
}

/** `GET /revocations`. */
export interface FeedSnapshot extends FeedHeartbeat {
  readonly max_token_seconds: number;
  readonly entries: readonly Omit<FeedEntry, 'prev'>[];
}
