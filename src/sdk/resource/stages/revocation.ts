/** Stage four: nothing that was revoked passes, and nothing passes on knowledge that is too old. */
import type { Revocation } from '../../../domain/revocation-set.ts';
import type { GuardedCall } from '../call.ts';
import { type DenialCode, denied, type GuardDenial, type Retry } from '../denial.ts';
import type { GuardState } from '../state.ts';
import type { VerifiedToken } from '../token.ts';

export function revocation(
  call: GuardedCall,
  token: VerifiedToken,
  state: GuardState,
  now: number,
): GuardDenial | null {
  const { bundle, revocations } = state;
  if (bundle === null) return denied('bundle_missing');
  const route = call.max_staleness_seconds;
  // A route lowers the bound; `Math.min` of a NaN is NaN, which is stale.
  const bound =
    route === undefined ? bundle.max_staleness_seconds : Math.min(bundle.max_staleness_seconds, route);
  if (revocations.stale(now, bound))
    return denied(revocations.complete ? 'revocations_stale' : 'revocations_missing');
  // The same set says the same of the same token: looked up again only after the set has changed.
  if (token.clear_at === revocations.revision) return null;
  const found = revocations.judge(token.revocation);
  if (found !== null) return denialOf(found);
  token.clear_at = revocations.revision;
  return null;
}

/** What the holder is told: its own mission's fate, and what to do about it. */
export function denialOf(found: Revocation): GuardDenial {
  const [code, retry] = meaningOf(found);
  return denied(code, {
    ...(retry === undefined ? {} : { retry }),
    private_reason: `${found.kind} ${found.reason_code}`,
  });
}

function meaningOf({ effect, kind, reason_code }: Revocation): readonly [DenialCode, Retry?] {
  if (effect === 'narrow') return ['mission_narrowed'];
  if (reason_code === 'blocked') return ['blocked'];
  switch (kind) {
    case 'token':
      return ['token_revoked'];
    case 'mission':
    case 'mission_tree':
      if (reason_code === 'admin_suspended') return ['mission_suspended'];
      // Its own re-attestation brings it back.
      if (reason_code === 'attestation_overdue') return ['mission_suspended', 'renew'];
      if (reason_code === 'completed') return ['mission_completed'];
      if (reason_code === 'expired') return ['mission_expired'];
      return ['mission_revoked'];
    case 'signing_key':
    case 'issuer':
      return ['key_revoked'];
    case 'agent':
    case 'instance':
    case 'template':
    case 'attester':
    case 'rule':
    case 'agent_key':
      return ['agent_revoked'];
  }
}
