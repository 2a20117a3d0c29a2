/** Stage seven: rules over what the mission did before and where values came from; a hook, closed without one. */
import type { GuardedCall } from '../call.ts';
import { denied, type GuardDenial } from '../denial.ts';
import type { GuardState } from '../state.ts';
import type { VerifiedToken } from '../token.ts';

export function sequence(
  call: GuardedCall,
  token: VerifiedToken,
  state: GuardState,
  now: number,
): GuardDenial | null {
  if (state.sequence !== null) return state.sequence.judge(call, token, state.labelsOf(call.action), now);
  // Rules that nobody enforces here must not look enforced.
  const rules = state.bundle?.sequence_rules.length ?? 0;
  return rules === 0 ? null : denied('rules_unenforceable');
}
