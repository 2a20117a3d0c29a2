/** Stage six: the call is within what was granted, compiled once a token. */
import { permits } from '../../../domain/authority/index.ts';
import type { GuardedCall } from '../call.ts';
import { denied, type GuardDenial } from '../denial.ts';
import type { GuardState } from '../state.ts';
import type { VerifiedToken } from '../token.ts';

export function authority(
  call: GuardedCall,
  token: VerifiedToken,
  _state: GuardState,
  now: number,
): GuardDenial | null {
  const refusal = permits(token.authority, call, now);
  if (refusal === null) return null;
  // All of this stands in the agent's own token: it teaches, and tells nothing new.
  return denied(refusal.code, {
    ...(refusal.key === undefined ? {} : { rule: refusal.key }),
    ...(refusal.value === undefined ? {} : { wanted: refusal.value }),
    ...(refusal.allowed === undefined ? {} : { allowed: refusal.allowed }),
  });
}
