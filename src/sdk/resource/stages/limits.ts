/** Stage eight, last because it spends: the token's allotment. */
import type { GuardedCall } from '../call.ts';
import { denied, type GuardDenial } from '../denial.ts';
import type { GuardState } from '../state.ts';
import type { VerifiedToken } from '../token.ts';

export function limits(
  call: GuardedCall,
  token: VerifiedToken,
  state: GuardState,
  now: number,
): GuardDenial | null {
  const { claims } = token;
  if (claims.limits === undefined) return null;
  const code = state.allotments.take(claims, claims.limits, call.egress_bytes ?? 0, now);
  return code === null ? null : denied(code);
}
