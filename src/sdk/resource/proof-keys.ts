/** Keys of proofs that held, so that the next proof by the same key costs one signature verification and little else. */
import { createHash } from 'node:crypto';
import { checkProofHeader } from '../../domain/dpop.ts';
import type { JsonObject } from '../../domain/json.ts';
import { DPOP_ALGS } from './denial.ts';
import { importKey, type VerifyingKey } from './keys.ts';

export interface ProofKey {
  /** The proofs' first part, base64url: constant for a client's key, so comparing it replaces reading it. */
  readonly header: string;
  /** RFC 7638 thumbprint. */
  readonly jkt: string;
  readonly key: VerifyingKey;
}

/** RFC 7638: the required members in lexical order, hashed. Null for a kind of key that proofs may not use. */
export function thumbprint(jwk: JsonObject): string | null {
  const { kty, crv, x, y } = jwk;
  if (typeof crv !== 'string' || typeof x !== 'string') return null;
  let members: Record<string, string>;
  if (kty === 'EC' && typeof y === 'string') members = { crv, kty, x, y };
  else if (kty === 'OKP') members = { crv, kty, x };
  else return null;
  return createHash('sha256').update(JSON.stringify(members)).digest('base64url');
}

/**
 * Reads the header of a proof. Null if its key is not one that the guard verifies with.
 * @throws Denied `invalid_dpop_proof`
 */
export function proofKeyOf(header: JsonObject, part: string): ProofKey | null {
  const { alg, jwk } = checkProofHeader(header);
  if (!DPOP_ALGS.includes(alg)) return null;
  const key = importKey(jwk);
  const jkt = thumbprint(jwk);
  if (key === null || jkt === null || (key.alg === 'ES256') !== (alg === 'ES256')) return null;
  return { header: part, jkt, key };
}

/** Bounded, oldest out first. A key enters only after a proof by it held for a verified token. */
export class ProofKeys {
  readonly #capacity: number;
  readonly #keys = new Map<string, ProofKey>();

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  get(jkt: string): ProofKey | undefined {
    return this.#keys.get(jkt);
  }

  add(key: ProofKey): void {
    this.#keys.delete(key.jkt);
    if (this.#keys.size >= this.#capacity) {
      const oldest = this.#keys.keys().next();
      if (!oldest.done) this.#keys.delete(oldest.value);
    }
    this.#keys.set(key.jkt, key);
  }
}
