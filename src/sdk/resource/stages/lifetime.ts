/** Judged at every call, held token or not: expiry is exact, and no token outlives what the feed keeps. */
import type { GuardedCall } from '../call.ts';
import { denied, type GuardDenial } from '../denial.ts';
import type { GuardState } from '../state.ts';
import type { VerifiedToken } from '../token.ts';

export function lifetime(
  call: GuardedCall,
  token: VerifiedToken,
  state: GuardState,
  now: number,
): GuardDenial | null {
  const { exp, iat } = token.claims;
  // Written so that a clock that is no number denies.
  if (!(now < exp)) {
    state.tokens.delete(token);
    return denied('token_expired');
  }
  // Entries are kept for this long: one that refuses a longer token could be gone while the token lives.
  const { revocations, bundle } = state;
  if (bundle === null) return denied('bundle_missing');
  if (!revocations.complete) return denied('revocations_missing');
  if (exp - iat > revocations.max_token_seconds) return denied('token_too_long');
  const { max_token_age_seconds } = call;
  if (max_token_age_seconds !== undefined && !(now - iat <= max_token_age_seconds))
    return denied('attestation_too_old');
  return null;
}
