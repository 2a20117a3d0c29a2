/**
 * JWS signatures on node:crypto, synchronously. A token and a proof are one signature and one verification on
 * every mint: the asynchronous wrapper of Web Crypto costs as much again as the arithmetic. Parsing, key choice
 * and claims are elsewhere; here an algorithm and a key either fit together or nothing holds.
 */
import { constants, type KeyObject, sign as signBytes, verify as verifyBytes } from 'node:crypto';

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
  try {
    const [hash, options] = primitive(alg, key);
    return verifyBytes(hash, Buffer.from(signed, 'latin1'), options, Buffer.from(signature, 'base64url'));
  } catch {
    return false;
  }
}

/** A compact JWS (RFC 7515 section 3.1). @param header base64url */
export function signCompact(alg: JwsAlg, key: KeyObject, header: string, payload: string): string {
  const signed = `${header}.${Buffer.from(payload, 'utf8').toString('base64url')}`;
  const [hash, options] = primitive(alg, key);
  return `${signed}.${signBytes(hash, Buffer.from(signed, 'latin1'), options).toString('base64url')}`;
}

function primitive(alg: JwsAlg, key: KeyObject) {
  switch (alg) {
    case 'ES256':
      // JWS wants r and s side by side (RFC 7518 section 3.4), not DER.
      return ['sha256', { key, dsaEncoding: 'ieee-p1363' }] as const;
    case 'ES384':
      return ['sha384', { key, dsaEncoding: 'ieee-p1363' }] as const;
    case 'Ed25519':
    case 'EdDSA':
      return [null, { key }] as const;
    case 'RS256':
      return ['sha256', { key, padding: constants.RSA_PKCS1_PADDING }] as const;
    case 'PS256':
      return ['sha256', { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 }] as const;
  }
}
