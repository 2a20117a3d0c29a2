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
  // Money is added up by the broker, and by it alone: it must be asked for all that is not known to only read.
  if (claims.limits['max_budget'] !== undefined && !spendsBefore(call, state))
    return denied('rules_unenforceable', { private_reason: 'max_budget needs a consequential action' });
  const code = state.allotments.take(claims, call.egress_bytes ?? 0, now);
  return code === null ? null : denied(code);
}

/** Whether the broker judges what the call spends, or it spends nothing. */
function spendsBefore({ action, consequential }: GuardedCall, state: GuardState): boolean {
  if (consequential === true || state.isConsequential(action)) return true;
  const labels = state.labelsOf(action);
  return labels.length > 0 && labels.every((label) => label === 'read');
}
