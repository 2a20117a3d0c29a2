/**
 * Stages one and two: the scheme, and the token's signature and claims. A token that was verified before is found by
 * its whole header; everything else is verified from the start.
 */
import { accessTokenHash } from '../../../domain/dpop.ts';
import type { GuardedCall } from '../call.ts';
import { denied, type GuardDenial } from '../denial.ts';
import { verifies } from '../keys.ts';
import type { GuardState } from '../state.ts';
import {
  type AccessClaims,
  readClaims,
  readJson,
  readToken,
  TOKEN_MAX_LENGTH,
  type VerifiedToken,
  verifiedToken,
} from '../token.ts';

/** How far a token's `iat` may be ahead of the verifier's clock. */
const MAX_AHEAD_SECONDS = 60;

export function credential(call: GuardedCall, state: GuardState, now: number): VerifiedToken | GuardDenial {
  const { authorization } = call;
  if (authorization === undefined) return denied('credentials_missing');
  return state.tokens.get(authorization) ?? verify(authorization, state, now);
}

/** The scheme and the token of an `Authorization` value with exactly one space, or null. */
export function readAuthorization(
  authorization: string,
): { readonly scheme: 'DPoP' | 'Bearer'; readonly token: string } | null {
  const space = authorization.indexOf(' ');
  const name = authorization.slice(0, space).toLowerCase();
  const scheme = name === 'dpop' ? 'DPoP' : name === 'bearer' ? 'Bearer' : null;
  const token = authorization.slice(space + 1);
  return scheme === null || token === '' ? null : { scheme, token };
}

function verify(authorization: string, state: GuardState, now: number): VerifiedToken | GuardDenial {
  if (authorization.length > TOKEN_MAX_LENGTH) return denied('credentials_too_large');
  const presented = readAuthorization(authorization);
  if (presented === null) return denied('credentials_malformed');
  const { scheme, token } = presented;
  const canonical = `${scheme} ${token}`;
  if (canonical !== authorization) {
    // Schemes are case-insensitive; held tokens are found by one spelling.
    const held = state.tokens.get(canonical);
    if (held !== undefined) return held;
  }
  if (state.bundle === null) return denied('bundle_missing');
  const parts = readToken(token);
  if (parts === null) return invalid('not a token of this profile');
  const { alg, kid } = parts.header;
  if (typeof kid !== 'string') return invalid('no kid');
  const payload = readJson(parts.payload);
  const read = payload === null ? null : readClaims(payload, state.authorities);
  if (read === null) return invalid('claims are not those of this profile');
  const { claims } = read;
  // What costs nothing is judged before what costs a verification.
  const refused = judgeClaims(claims, state, now);
  if (refused !== null) return refused;
  if ((claims.cnf === undefined) !== (scheme === 'Bearer')) return denied('scheme_mismatch');
  const key = state.keys.get(kid);
  if (key === undefined) {
    state.onUnknownKey();
    return denied('key_unknown');
  }
  // The key says which algorithm it is for; the token has to agree, not to choose.
  if (alg !== key.alg) return invalid('algorithm of another key');
  if (!verifies(key, parts.signed, parts.signature)) return invalid('signature');
  const verified = verifiedToken(
    { authorization: canonical, scheme, kid },
    read,
    scheme === 'DPoP' ? accessTokenHash(token) : '',
    state.revocations.keysOf({ ...claims, kid }),
  );
  state.tokens.add(verified, now);
  return verified;
}

function judgeClaims(claims: AccessClaims, state: GuardState, now: number): GuardDenial | null {
  if (claims.iss !== state.issuer) return invalid('issuer');
  if (claims.aud !== state.audience) return invalid('audience');
  if (claims.exp <= now) return denied('token_expired');
  if (claims.iat > now + MAX_AHEAD_SECONDS) return denied('token_issued_ahead');
  return null;
}

function invalid(private_reason: string): GuardDenial {
  return denied('token_invalid', { private_reason });
}
