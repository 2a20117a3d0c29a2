/** Stage three: possession (RFC 9449 section 4.3). Cheap checks first; the memory of proofs last. */
import { checkProofClaims, PROOF_MAX_LENGTH } from '../../../domain/dpop.ts';
import type { GuardedCall } from '../call.ts';
import { denied, type GuardDenial } from '../denial.ts';
import { verifies } from '../keys.ts';
import { type ProofKey, proofKeyOf } from '../proof-keys.ts';
import { type GuardState, PROOF_WINDOW_SECONDS } from '../state.ts';
import { readJson, type VerifiedToken } from '../token.ts';

export function proof(
  call: GuardedCall,
  token: VerifiedToken,
  state: GuardState,
  now: number,
): GuardDenial | null {
  const jkt = token.claims.cnf?.jkt;
  if (jkt === undefined) return null;
  const presented = call.proof;
  if (presented === undefined) return denied('proof_missing');
  if (presented.length > PROOF_MAX_LENGTH) return refused('larger than a proof may be');
  const first = presented.indexOf('.');
  const second = presented.indexOf('.', first + 1);
  if (first < 1 || second < first + 2 || presented.indexOf('.', second + 1) !== -1)
    return refused('not one compact JWS');
  try {
    const claims = readJson(presented.slice(first + 1, second));
    if (claims === null) return refused('claims are not JSON');
    const { jti } = checkProofClaims(claims, {
      method: call.method,
      url: call.url,
      ath: token.ath,
      now,
      window_seconds: PROOF_WINDOW_SECONDS,
    });
    const known = knownKey(presented, first, token, state, jkt);
    const key = known ?? readKey(presented.slice(0, first));
    if (key === null || key.jkt !== jkt) return refused('not by the key of the token');
    if (!verifies(key.key, presented.slice(0, second), presented.slice(second + 1)))
      return refused('signature');
    if (known === null) {
      state.proof_keys.add(key);
      token.proof_key = key;
    }
    return remember(state, jkt, jti, now);
  } catch (error) {
    return refused(
      error instanceof Error && 'private_reason' in error ? String(error.private_reason) : 'malformed',
    );
  }
}

/** The key of an earlier proof with the same first part; that part names the key, so equal parts name the same one. */
function knownKey(
  presented: string,
  first: number,
  token: VerifiedToken,
  state: GuardState,
  jkt: string,
): ProofKey | null {
  const own = token.proof_key;
  if (own !== null && own.header.length === first && presented.startsWith(own.header)) return own;
  const held = state.proof_keys.get(jkt);
  if (held === undefined || held.header.length !== first || !presented.startsWith(held.header)) return null;
  token.proof_key = held;
  return held;
}

function readKey(part: string): ProofKey | null {
  const header = readJson(part);
  return header === null ? null : proofKeyOf(header, part);
}

function remember(state: GuardState, jkt: string, jti: string, now: number): GuardDenial | null {
  switch (state.proofs.remember(jkt, jti, now)) {
    case 'new':
      return null;
    case 'seen':
      return denied('proof_replayed');
    case 'full':
      return denied('proof_memory_full');
  }
}

function refused(private_reason: string): GuardDenial {
  return denied('proof_invalid', { private_reason });
}
