/**
 * JWS signatures on node:crypto, synchronously. A token and a proof are one signature and one verification on
 * every mint: the asynchronous wrapper of Web Crypto costs as much again as the arithmetic. Parsing, key choice
 * and claims are elsewhere; here an algorithm and a key either fit together or nothing holds.
 */
import { constants, type KeyObject, sign as signBytes, verify as verifyBytes } from 'node:crypto';
import { concatenatedOfDer, derOfConcatenated } from '../domain/ecdsa.ts';

export type JwsAlg = 'ES256' | 'ES384' | 'Ed25519' | 'EdDSA' | 'RS256' | 'PS256';

const MIN_RSA_BITS = 2048;

/** Whether the key is of the kind that `alg` names (RFC 8725 section 3.1). */
export function keyFits(alg: string, key: KeyObject): alg is JwsAlg {
  switch (alg) {
    case 'ES256':
      return key.asymmetricKeyType === 'ec' && key.asymmetricKeyDetails?.namedCurve === 'prime256v1';
    case 'ES384':
      return key.asymmetricKeyType === 'ec' && key.asymmetricKeyDetails?.namedCurve === 'secp384r1';
    case 'Ed25519':
    case 'EdDSA':
      return key.asymmetricKeyType === 'ed25519';
    case 'RS256':
    case 'PS256':
      return (
        key.asymmetricKeyType === 'rsa' && (key.asymmetricKeyDetails?.modulusLength ?? 0) >= MIN_RSA_BITS
      );
    default:
      return false;
  }
}

/** @param signature base64url. Call only where {@link keyFits}. */
export function signatureHolds(alg: JwsAlg, key: KeyObject, signed: string, signature: string): boolean {
  const input = Buffer.from(signed, 'latin1');
  const bytes = Buffer.from(signature, 'base64url');
  try {
    switch (alg) {
      case 'ES256':
      case 'ES384': {
        const der = derOfConcatenated(bytes, alg === 'ES256' ? 32 : 48);
        return der !== null && verifyBytes(HASH[alg], input, key, der);
      }
      case 'Ed25519':
      case 'EdDSA':
        return verifyBytes(null, input, key, bytes);
      case 'RS256':
        return verifyBytes('sha256', input, key, bytes);
      case 'PS256':
        return verifyBytes('sha256', input, pss(key), bytes);
    }
  } catch {
    return false;
  }
}

/** A compact JWS (RFC 7515 section 3.1). @param header base64url */
export function signCompact(alg: JwsAlg, key: KeyObject, header: string, payload: string): string {
  const signed = `${header}.${Buffer.from(payload, 'utf8').toString('base64url')}`;
  return `${signed}.${signBytesFor(alg, key, Buffer.from(signed, 'latin1')).toString('base64url')}`;
}

function signBytesFor(alg: JwsAlg, key: KeyObject, input: Buffer): Buffer {
  switch (alg) {
    case 'ES256':
    case 'ES384':
      return concatenatedOfDer(signBytes(HASH[alg], input, key), alg === 'ES256' ? 32 : 48);
    case 'Ed25519':
    case 'EdDSA':
      return signBytes(null, input, key);
    case 'RS256':
      return signBytes('sha256', input, key);
    case 'PS256':
      return signBytes('sha256', input, pss(key));
  }
}

const HASH = { ES256: 'sha256', ES384: 'sha384' } as const;

function pss(key: KeyObject) {
  return { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST };
}
