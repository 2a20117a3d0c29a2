/**
 * DPoP proofs at the broker (RFC 9449): signature, claims and server nonce. Whether a proof was used before is
 * judged by the store, in the same transaction as what the proof asked for, so that a restart forgets nothing.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { type CryptoKey, calculateJwkThumbprint, compactVerify, importJWK, type JWK } from 'jose';
import { Denied } from '../domain/denial.ts';
import { checkProofClaims, checkProofHeader, readProof } from '../domain/dpop.ts';
import type { Proofs } from '../ports.ts';
import type { Seal } from './seal.ts';

/** A nonce is good for this long; agents get a fresh one with each answer. */
const NONCE_SECONDS = 300;
/** Proofs are at most this old, and at most this far ahead. */
const PROOF_WINDOW_SECONDS = 60;
const KEY_CACHE = 10_000;

export function createProofs(options: { readonly seal: Seal; readonly require_nonce: boolean }): Proofs {
  const nonceKey = options.seal.derive('dpop-nonce');
  // Importing a key costs more than half a verification; agents prove with the same key again and again.
  const keys = new Map<string, { readonly key: CryptoKey; readonly jkt: string }>();

  const nonceAt = (issued: number): string => {
    const time = Buffer.alloc(6);
    time.writeUIntBE(Math.floor(issued), 0, 6);
    const mac = createHmac('sha256', nonceKey).update(time).digest().subarray(0, 16);
    return Buffer.concat([time, mac]).toString('base64url');
  };

  const nonceHolds = (nonce: string, now: number): boolean => {
    const bytes = Buffer.from(nonce, 'base64url');
    if (bytes.length !== 22) return false;
    const issued = bytes.readUIntBE(0, 6);
    if (issued > now + 1 || issued < now - NONCE_SECONDS) return false;
    const expected = Buffer.from(nonceAt(issued), 'base64url');
    return timingSafeEqual(expected, bytes);
  };

  async function importKey(jwk: JWK, alg: string): Promise<{ key: CryptoKey; jkt: string }> {
    const id = `${alg} ${JSON.stringify([jwk.kty, jwk.crv, jwk.x, jwk.y, jwk.n, jwk.e])}`;
    const known = keys.get(id);
    if (known) return known;
    const entry = {
      key: (await importJWK(jwk, alg)) as CryptoKey,
      jkt: await calculateJwkThumbprint(jwk),
    };
    if (keys.size >= KEY_CACHE) {
      const oldest = keys.keys().next();
      if (!oldest.done) keys.delete(oldest.value);
    }
    keys.set(id, entry);
    return entry;
  }

  return {
    nonce: (now) => nonceAt(now),
    async verify(proof, expect) {
      if (proof === undefined)
        throw new Denied({ tag: 'invalid_dpop_proof', detail: 'a DPoP header with one proof is required' });
      const parts = readProof(proof);
      const { alg, jwk } = checkProofHeader(parts.header);
      const claims = checkProofClaims(parts.claims, {
        method: expect.method,
        url: expect.url,
        ...(expect.access_token !== undefined && { access_token: expect.access_token }),
        now: expect.now,
        window_seconds: PROOF_WINDOW_SECONDS,
      });
      // The nonce is checked before the signature: a proof without one costs the broker next to nothing.
      if (options.require_nonce && claims.nonce === undefined) throw new Denied({ tag: 'use_dpop_nonce' });
      if (claims.nonce !== undefined && !nonceHolds(claims.nonce, expect.now))
        throw new Denied({ tag: 'use_dpop_nonce' });
      let jkt: string;
      try {
        const imported = await importKey(jwk as JWK, alg);
        await compactVerify(proof, imported.key, { algorithms: [alg] });
        jkt = imported.jkt;
      } catch {
        throw new Denied({ tag: 'invalid_dpop_proof', detail: 'the signature of the proof does not verify' });
      }
      return {
        jkt,
        jti: claims.jti,
        iat: claims.iat,
        // Later than this its `iat` alone refuses it.
        remember_until: claims.iat + PROOF_WINDOW_SECONDS + 5,
      };
    },
  };
}
