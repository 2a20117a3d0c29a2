/** Public keys ready to verify with, by their own rules: one algorithm a key, chosen by the key, never by the token. */
import { createPublicKey, type KeyObject, verify } from 'node:crypto';
import { derOfConcatenated } from '../../domain/ecdsa.ts';
import type { JsonObject } from '../../domain/json.ts';

export type KeyAlg = 'ES256' | 'RS256' | 'Ed25519';

export interface VerifyingKey {
  readonly alg: KeyAlg;
  readonly key: KeyObject;
}

const MIN_RSA_BITS = 2048;

/** The algorithm that a JWK is for, or null if the guard verifies nothing with such a key. */
function algOf(jwk: JsonObject): KeyAlg | null {
  const { kty, crv, alg } = jwk;
  if (kty === 'EC' && crv === 'P-256' && (alg === undefined || alg === 'ES256')) return 'ES256';
  if (kty === 'OKP' && crv === 'Ed25519' && (alg === undefined || alg === 'Ed25519' || alg === 'EdDSA'))
    return 'Ed25519';
  // An RSA key without a stated algorithm could serve several.
  return kty === 'RSA' && alg === 'RS256' ? 'RS256' : null;
}

/** Imports the public part of a JWK. Null if it is not a key that the guard verifies with. */
export function importKey(jwk: JsonObject): VerifyingKey | null {
  const alg = algOf(jwk);
  if (alg === null || (jwk['use'] !== undefined && jwk['use'] !== 'sig')) return null;
  // Only public members: what else the object carries never reaches the key.
  const { kty, crv, x, y, n, e } = jwk;
  const jwkOfAlg = alg === 'ES256' ? { kty, crv, x, y } : alg === 'Ed25519' ? { kty, crv, x } : { kty, n, e };
  try {
    const key = createPublicKey({ key: jwkOfAlg as Record<string, string>, format: 'jwk' });
    // Asked of RSA keys alone: the answer costs as much as the import.
    if (alg === 'RS256' && !((key.asymmetricKeyDetails?.modulusLength ?? 0) >= MIN_RSA_BITS)) return null;
    return { alg, key };
  } catch {
    return null;
  }
}

const SIGNATURE_BYTES = { ES256: 64, Ed25519: 64 } as const;

/**
 * Verifies `signature` (base64url) over the ASCII `signed`. Synchronous on purpose: a call is judged in one turn,
 * and this is no dearer than the raw operation.
 */
export function verifies(by: VerifyingKey, signed: string, signature: string): boolean {
  const bytes = Buffer.from(signature, 'base64url');
  // One signature has one spelling: no padding, no other alphabet, no spare bits.
  if (bytes.toString('base64url') !== signature) return false;
  if (by.alg !== 'RS256' && bytes.length !== SIGNATURE_BYTES[by.alg]) return false;
  const text = Buffer.from(signed, 'latin1');
  switch (by.alg) {
    case 'ES256': {
      const der = derOfConcatenated(bytes, 32);
      return der !== null && verify('sha256', text, by.key, der);
    }
    case 'Ed25519':
      return verify(null, text, by.key, bytes);
    case 'RS256':
      return verify('sha256', text, by.key, bytes);
  }
}

/** The issuer's keys by `kid`. A key without one cannot be named by a token and is left out. */
export type KeyRing = ReadonlyMap<string, VerifyingKey>;

export function keyRing(keys: readonly JsonObject[]): KeyRing {
  const ring = new Map<string, VerifyingKey>();
  for (const jwk of keys) {
    const kid = jwk['kid'];
    const key = importKey(jwk);
    if (typeof kid === 'string' && kid !== '' && key !== null) ring.set(kid, key);
  }
  return ring;
}
