/**
 * How a verifier's process proves what it is: private_key_jwt (RFC 7523), or evidence that a trust rule maps to
 * the registered agent (wire profile 3).
 */
import { type CryptoKey, decodeJwt, decodeProtectedHeader, importJWK, type JWK, jwtVerify } from 'jose';
import { matchesPattern } from '../domain/pattern.ts';
import type { ClientAssertions } from '../operations/verifiers.ts';
import type { Attestation, VerifierPolicy } from '../ports.ts';

/** Longest life of an assertion; it may be used again until then. */
const MAX_SECONDS = 300;
const LEEWAY_SECONDS = 10;
const ALGS = ['ES256', 'Ed25519', 'EdDSA', 'RS256'];
/** RFC 7523bis: an explicit type, so that no other JWT of the same key can stand in for an assertion. */
const TYPS: readonly (string | undefined)[] = ['client-authentication+jwt', 'jwt', undefined];

export interface RegisteredVerifier {
  readonly policy: VerifierPolicy;
  readonly auth:
    | { readonly kind: 'private_key_jwt'; readonly keys: readonly JWK[] }
    | { readonly kind: 'evidence'; readonly attester: string; readonly agent: string };
}

export function createClientAssertions(options: {
  readonly issuer: string;
  /** Read anew at each use, so that a reload takes effect at once. */
  readonly registered: () => readonly RegisteredVerifier[];
  readonly attestation: () => Attestation;
}): ClientAssertions {
  const imported = new WeakMap<JWK, Map<string, CryptoKey>>();
  const keyOf = async (jwk: JWK, alg: string) => {
    const known = imported.get(jwk)?.get(alg);
    if (known) return known;
    // Only what succeeded is kept: a stranger who names an algorithm that does not fit the key must not spoil it
    // for its owner.
    const key = (await importJWK(jwk, jwk.alg ?? alg)) as CryptoKey;
    const ofKey = imported.get(jwk) ?? new Map<string, CryptoKey>();
    imported.set(jwk, ofKey.set(alg, key));
    return key;
  };

  async function byKey(
    assertion: string,
    now: number,
    keys: readonly JWK[],
    id: string,
  ): Promise<number | null> {
    const header = headerOf(assertion);
    if (header === null) return null;
    const { alg } = header;
    for (const jwk of keys) {
      if (header.kid !== undefined && jwk.kid !== undefined && header.kid !== jwk.kid) continue;
      try {
        const { payload } = await jwtVerify(assertion, await keyOf(jwk, alg), {
          algorithms: [alg],
          issuer: id,
          subject: id,
          // The issuer, or the endpoint as OpenID Connect clients name it: never a list with somebody else in it.
          audience: [options.issuer, `${options.issuer}/introspect`],
          currentDate: new Date(now * 1000),
          clockTolerance: LEEWAY_SECONDS,
          maxTokenAge: MAX_SECONDS,
          requiredClaims: ['exp', 'iat', 'jti'],
        });
        if (Array.isArray(payload.aud) && payload.aud.length !== 1) return null;
        const { exp = 0, iat = 0 } = payload;
        return exp - iat <= MAX_SECONDS ? exp : null;
      } catch {
        // Not this key.
      }
    }
    return null;
  }

  return {
    async verify(assertion, now) {
      let subject: string | undefined;
      let issuer: string | undefined;
      try {
        ({ sub: subject, iss: issuer } = decodeJwt(assertion));
      } catch {
        return null;
      }
      const registered = options.registered();
      const named = registered.find(
        (verifier) =>
          verifier.auth.kind === 'private_key_jwt' && verifier.policy.id === subject && subject === issuer,
      );
      if (named?.auth.kind === 'private_key_jwt') {
        const expires_at = await byKey(assertion, now, named.auth.keys, named.policy.id);
        return expires_at === null ? null : { verifier: named.policy, expires_at };
      }
      const attested = registered.filter((verifier) => verifier.auth.kind === 'evidence');
      if (attested.length === 0) return null;
      try {
        const evidence = await options
          .attestation()
          .appraise({ type: 'urn:ietf:params:oauth:token-type:jwt', token: assertion }, { jkt: '', now });
        const found = attested.find(
          ({ auth }) =>
            auth.kind === 'evidence' &&
            auth.attester === evidence.attester &&
            matchesPattern(auth.agent, evidence.agent),
        );
        return found
          ? { verifier: found.policy, expires_at: Math.min(evidence.expires_at, now + MAX_SECONDS) }
          : null;
      } catch {
        return null;
      }
    },
  };
}

/** Null for whatever is not a header that a verifier would write. */
function headerOf(assertion: string): { readonly alg: string; readonly kid?: string } | null {
  try {
    const { alg, typ, kid } = decodeProtectedHeader(assertion);
    if (alg === undefined || !ALGS.includes(alg)) return null;
    if (!TYPS.includes(typeof typ === 'string' ? typ.toLowerCase() : typ)) return null;
    return { alg, ...(kid !== undefined && { kid }) };
  } catch {
    return null;
  }
}
