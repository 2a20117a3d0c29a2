/** Stage five: the mission's own end, by the clock, whatever the feed says. */
import type { GuardedCall } from '../call.ts';
import { denied, type GuardDenial } from '../denial.ts';
import type { GuardState } from '../state.ts';
import type { VerifiedToken } from '../token.ts';

export function mission(
  _call: GuardedCall,
  token: VerifiedToken,
  _state: GuardState,
  now: number,
): GuardDenial | null {
  return now < token.claims.mission.expires_at ? null : denied('mission_expired');
}
