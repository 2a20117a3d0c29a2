/** The agent's key and its proofs of possession (RFC 9449 section 4.2). The private key never leaves the runtime. */
import type { webcrypto } from 'node:crypto';
import { calculateJwkThumbprint, type JWK } from 'jose';
import { accessTokenHash } from '../../domain/dpop.ts';

/** A key that proves possession. Bring your own to sign in a TPM or a key service. */
export interface ProofKey {
  readonly alg: 'ES256';
  /** Public JWK: `kty`, `crv`, `x`, `y` and nothing private. */
  readonly jwk: JWK;
  /** RFC 7638 thumbprint, base64url. */
  readonly jkt: string;
  /** Signs the ASCII of `header.payload`; answers the 64 bytes of R and S (RFC 7518 section 3.4). */
  sign(input: Uint8Array): Promise<Uint8Array>;
}

const ECDSA = { name: 'ECDSA', namedCurve: 'P-256' };
const ECDSA_SHA256 = { name: 'ECDSA', hash: 'SHA-256' };

/** A fresh ES256 key whose private part cannot be exported. */
export async function generateProofKey(crypto: webcrypto.Crypto): Promise<ProofKey> {
  return proofKeyOf(await crypto.subtle.generateKey(ECDSA, false, ['sign', 'verify']), crypto);
}

/** @throws TypeError unless the pair is ECDSA on P-256 */
export async function proofKeyOf(pair: webcrypto.CryptoKeyPair, crypto: webcrypto.Crypto): Promise<ProofKey> {
  const { name, namedCurve } = pair.privateKey.algorithm as { name: string; namedCurve?: string };
  if (name !== 'ECDSA' || namedCurve !== 'P-256')
    throw new TypeError('key must be an ECDSA pair on P-256 (ES256)');
  const { kty, crv, x, y } = await crypto.subtle.exportKey('jwk', pair.publicKey);
  const jwk = { kty, crv, x, y } as JWK;
  return {
    alg: 'ES256',
    jwk,
    jkt: await calculateJwkThumbprint(jwk),
    sign: async (input) => new Uint8Array(await crypto.subtle.sign(ECDSA_SHA256, pair.privateKey, input)),
  };
}

export interface ProofRequest {
  readonly method: string;
  /** Query and fragment are left out of the proof. */
  readonly url: string;
  readonly access_token?: string;
  readonly nonce?: string;
  /** Seconds since the epoch. */
  readonly now: number;
  /** Unique; a proof is good once. */
  readonly jti: string;
}

/** One proof for one request. */
export async function prove(key: ProofKey, request: ProofRequest): Promise<string> {
  const { origin, pathname } = new URL(request.url);
  const claims = {
    jti: request.jti,
    htm: request.method,
    htu: `${origin}${pathname}`,
    iat: Math.floor(request.now),
    ...(request.access_token !== undefined && { ath: accessTokenHash(request.access_token) }),
    ...(request.nonce !== undefined && { nonce: request.nonce }),
  };
  const signed = `${encoded({ typ: 'dpop+jwt', alg: key.alg, jwk: key.jwk })}.${encoded(claims)}`;
  const signature = await key.sign(Buffer.from(signed, 'ascii'));
  return `${signed}.${Buffer.from(signature).toString('base64url')}`;
}

function encoded(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}
