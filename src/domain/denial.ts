/**
 * Why a request was refused, as data. Operations throw {@link Denied}; one exhaustive switch at the HTTP
 * boundary maps the tag to the wire (wire profile 2.7). Nothing in here knows an HTTP status.
 */

/** `mission_denial_reason` beside `invalid_authorization_details`. */
export type AuthorityReason = 'out_of_template_ceiling' | 'authority_contained' | 'not_strict_subset';

/** Reason beside `access_denied`. */
export type AccessReason =
  | 'attestation_tier_too_low'
  | 'blocked'
  | 'policy_denied'
  | 'max_active_reached'
  | 'dispatch_rate'
  | 'template_review_overdue'
  | 'delegation_not_permitted'
  | 'unsupported_control';

/** `mission_error` beside `invalid_grant`; told only to the mission's own key. */
export type MissionError =
  | 'mission_revoked'
  | 'mission_expired'
  | 'mission_suspended'
  | 'mission_completed'
  | 'derivations_exhausted'
  /** A counted limit (`max_calls`, `max_egress_volume`) is given out: no token can carry any more of it. */
  | 'limit_exhausted';

export type Denial =
  /** Malformed input; `detail` names the member and teaches the fix. Never echoes a secret. */
  | { readonly tag: 'invalid_request'; readonly detail: string }
  /** Evidence that did not appraise. One constant body, whatever the cause. */
  | { readonly tag: 'invalid_evidence' }
  /** `evidence` was put inside the mission intent envelope. */
  | { readonly tag: 'invalid_mission_intent_evidence' }
  | {
      readonly tag: 'invalid_authorization_details';
      readonly reason?: AuthorityReason;
      readonly detail: string;
    }
  | { readonly tag: 'access_denied'; readonly reason: AccessReason; readonly detail?: string }
  /** `resource` is not a registered audience, or not one that is handed out. */
  | { readonly tag: 'invalid_target' }
  /** Unknown and foreign missions alike: identical bodies. */
  | { readonly tag: 'unknown_mission' }
  | { readonly tag: 'dead_mission'; readonly error: MissionError }
  | { readonly tag: 'invalid_dpop_proof'; readonly detail: string }
  | { readonly tag: 'use_dpop_nonce' }
  | { readonly tag: 'unsupported_grant_type' }
  /** Verifier or client authentication failed. */
  | { readonly tag: 'invalid_client' }
  /** A provider of the bundle failed: nothing of the bundle was delivered. `retry`: another moment may do. */
  | { readonly tag: 'provider_failed'; readonly provider: string; readonly retry: boolean }
  | { readonly tag: 'overloaded'; readonly retry_after_seconds: number }
  /** Admin API. */
  | { readonly tag: 'unauthenticated' }
  | { readonly tag: 'forbidden'; readonly needs: string }
  | { readonly tag: 'not_found' }
  | { readonly tag: 'conflict'; readonly detail: string };

/** Thrown by operations. `private_reason` goes to the audit record, never to the caller. */
export class Denied extends Error {
  readonly denial: Denial;
  readonly private_reason: string;

  constructor(denial: Denial, private_reason?: string) {
    super(denial.tag);
    this.name = 'Denied';
    this.denial = denial;
    this.private_reason =
      private_reason ?? ('detail' in denial && denial.detail ? denial.detail : denial.tag);
  }
}

/** Shorthand for the most common refusal. */
export function malformed(detail: string): Denied {
  return new Denied({ tag: 'invalid_request', detail });
}
