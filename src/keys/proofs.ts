/**
 * DPoP proofs at the broker (RFC 9449): signature, claims and server nonce. Whether a proof was used before is
 * judged by the store, in the same transaction as what the proof asked for, so that a restart forgets nothing.
 */
import { createHmac, createPublicKey, type JsonWebKey, type KeyObject, timingSafeEqual } from 'node:crypto';
import { calculateJwkThumbprint, type JWK } from 'jose';
import { Denied } from '../domain/denial.ts';
import { checkProofClaims, checkProofHeader, readProof } from '../domain/dpop.ts';
import type { JsonObject } from '../domain/json.ts';
import type { Proofs } from '../ports.ts';
import type { Seal } from './seal.ts';
import { type JwsAlg, keyFits, signatureHolds } from './signature.ts';

/** A nonce is good for this long; agents get a fresh one with each answer. */
const NONCE_SECONDS = 300;
/** Proofs are at most this old, and at most this far ahead. */
const PROOF_WINDOW_SECONDS = 60;
const KEY_CACHE = 10_000;
const NONCE_BYTES = 22;

interface ProofKey {
  readonly alg: JwsAlg;
  readonly key: KeyObject;
  readonly jkt: string;
}

export function createProofs(options: { readonly seal: Seal; readonly require_nonce: boolean }): Proofs {
  const nonces = createNonces(options.seal.derive('dpop-nonce'));
  // Importing a key costs as much as a verification, and agents prove with the same key again and again. A key
  // enters only after a proof by it held, so that nobody flushes the cache with keys that sign nothing.
  const keys = new Map<string, ProofKey>();

  const remember = (id: string, key: ProofKey): void => {
    if (keys.size >= KEY_CACHE) {
      const oldest = keys.keys().next();
      if (!oldest.done) keys.delete(oldest.value);
    }
    keys.set(id, key);
  };

  return {
    nonce: (now) => nonces.at(now),
    async verify(proof, expect) {
      if (proof === undefined) throw refused('a DPoP header with one proof is required');
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
      if (
        expect.nonce !== 'absent' &&
        (claims.nonce === undefined ? options.require_nonce : !nonces.hold(claims.nonce, expect.now))
      )
        throw new Denied({ tag: 'use_dpop_nonce' });
      // The proof's header is the same text for every proof by one key.
      const id = parts.signed.slice(0, parts.signed.indexOf('.'));
      const known = keys.get(id);
      const key = known ?? (await importKey(alg, jwk));
      if (!signatureHolds(key.alg, key.key, parts.signed, parts.signature))
        throw refused('the signature of the proof does not verify');
      if (!known) remember(id, key);
      return {
        jkt: key.jkt,
        jti: claims.jti,
        iat: claims.iat,
        // Later than this its `iat` alone refuses it.
        remember_until: claims.iat + PROOF_WINDOW_SECONDS + 5,
      };
    },
  };
}

async function importKey(alg: string, jwk: JsonObject): Promise<ProofKey> {
  let key: KeyObject;
  try {
    key = createPublicKey({ key: jwk as JsonWebKey, format: 'jwk' });
  } catch {
    throw refused('jwk is not a public key');
  }
  if (!keyFits(alg, key)) throw refused(`jwk is not a key for ${alg}`);
  return { alg, key, jkt: await calculateJwkThumbprint(jwk as JWK) };
}

function refused(detail: string): Denied {
  return new Denied({ tag: 'invalid_dpop_proof', detail });
}

/** Nonces carry their own time and a MAC, so that none is stored and every broker process knows the others'. */
function createNonces(secret: Buffer) {
  // One MAC a second instead of two a request.
  const made = new Map<number, string>();

  const make = (second: number): string => {
    const known = made.get(second);
    if (known !== undefined) return known;
    const time = Buffer.alloc(6);
    time.writeUIntBE(second, 0, 6);
    const mac = createHmac('sha256', secret)
      .update(time)
      .digest()
      .subarray(0, NONCE_BYTES - 6);
    const nonce = Buffer.concat([time, mac]).toString('base64url');
    if (made.size > NONCE_SECONDS) made.clear();
    made.set(second, nonce);
    return nonce;
  };

  return {
    at: (now: number) => make(Math.floor(now)),
    hold(nonce: string, now: number): boolean {
      const bytes = Buffer.from(nonce, 'base64url');
      if (bytes.length !== NONCE_BYTES) return false;
      const issued = bytes.readUIntBE(0, 6);
      if (issued > now + 1 || issued < now - NONCE_SECONDS) return false;
      return timingSafeEqual(Buffer.from(make(issued), 'base64url'), bytes);
    },
  };
}
