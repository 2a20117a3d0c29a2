/**
 * The claims of a DPoP proof (RFC 9449 section 4.3), apart from its signature: pure, shared by broker and guard.
 * Checks are ordered by cost, so that nonsense never reaches a signature verification.
 */
import { createHash } from 'node:crypto';
import { Denied } from './denial.ts';
import { type JsonObject, type JsonValue, isJsonObject, parseJson } from './json.ts';

/** Largest proof that is read at all: an RSA-4096 key, a long URI and a nonce fit. */
export const PROOF_MAX_LENGTH = 4096;
/** Asymmetric algorithms that a proof may use. */
export const PROOF_ALGS: readonly string[] = ['ES256', 'Ed25519', 'EdDSA', 'RS256', 'PS256', 'ES384'];

const JTI_MAX_LENGTH = 256;
/** Members of a private or symmetric JWK: a proof that shows one has leaked its key. */
const PRIVATE_MEMBERS = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k'];
const HEADER_MEMBERS = new Set(['typ', 'alg', 'jwk']);

export interface ProofParts {
  readonly header: JsonObject;
  readonly claims: JsonObject;
  /** The ASCII that is signed: `header.payload`. */
  readonly signed: string;
  /** base64url. */
  readonly signature: string;
}

export interface ProofClaims {
  readonly jti: string;
  readonly iat: number;
  readonly nonce?: string;
}

function refused(detail: string): Denied {
  return new Denied({ tag: 'invalid_dpop_proof', detail });
}

/** Splits and reads a compact JWS. @throws Denied `invalid_dpop_proof` */
export function readProof(proof: string): ProofParts {
  if (proof.length > PROOF_MAX_LENGTH) throw refused(`the proof is longer than ${PROOF_MAX_LENGTH} characters`);
  const first = proof.indexOf('.');
  const second = proof.indexOf('.', first + 1);
  if (first < 1 || second < first + 2 || second === proof.length - 1 || proof.indexOf('.', second + 1) !== -1)
    throw refused('the proof is not one compact JWS');
  return {
    header: readPart(proof.slice(0, first), 'header'),
    claims: readPart(proof.slice(first + 1, second), 'claims'),
    signed: proof.slice(0, second),
    signature: proof.slice(second + 1),
  };
}

function readPart(part: string, what: string): JsonObject {
  let value: JsonValue;
  try {
    value = parseJson(Buffer.from(part, 'base64url').toString('utf8'), { max_depth: 4, max_members: 32 });
  } catch {
    throw refused(`the proof's ${what} is not JSON`);
  }
  if (!isJsonObject(value)) throw refused(`the proof's ${what} is not an object`);
  return value;
}

/**
 * `typ` `dpop+jwt`, an asymmetric `alg`, a public `jwk`, and nothing else: an unknown header member could change
 * what the signature means (`crit`, `b64`, `x5u`).
 * @throws Denied `invalid_dpop_proof`
 */
export function checkProofHeader(header: JsonObject): { readonly alg: string; readonly jwk: JsonObject } {
  if (header['typ'] !== 'dpop+jwt') throw refused('the proof needs typ dpop+jwt');
  const alg = header['alg'];
  if (typeof alg !== 'string' || !PROOF_ALGS.includes(alg))
    throw refused(`the proof needs one of the algorithms ${PROOF_ALGS.join(', ')}`);
  for (const member of Object.keys(header))
    if (!HEADER_MEMBERS.has(member)) throw refused('the proof has a header member other than typ, alg and jwk');
  const jwk = header['jwk'];
  if (!isJsonObject(jwk)) throw refused('the proof needs its public key in jwk');
  for (const member of PRIVATE_MEMBERS)
    if (jwk[member] !== undefined) throw refused('the proof shows a private key: that key must not be used again');
  return { alg, jwk };
}

/**
 * `htm`, `htu`, `iat`, `jti` and, with an access token, `ath`.
 * @param expect `url` as configured, without query and fragment; `window_seconds` both ways.
 * @throws Denied `invalid_dpop_proof`
 */
export function checkProofClaims(
  claims: JsonObject,
  expect: {
    readonly method: string;
    readonly url: string;
    readonly access_token?: string;
    readonly now: number;
    readonly window_seconds: number;
  },
): ProofClaims {
  const { htm, htu, iat, jti, ath, nonce } = claims;
  if (htm !== expect.method) throw refused('htm is not the method of this request');
  if (typeof htu !== 'string' || !sameTarget(htu, expect.url)) throw refused('htu is not the URI of this request');
  if (typeof iat !== 'number' || Math.abs(expect.now - iat) > expect.window_seconds)
    throw refused('iat is too old or ahead: check the clock');
  if (typeof jti !== 'string' || jti.length < 8 || jti.length > JTI_MAX_LENGTH)
    throw refused(`jti must have 8 to ${JTI_MAX_LENGTH} characters`);
  if (nonce !== undefined && typeof nonce !== 'string') throw refused('nonce is not a string');
  if (expect.access_token !== undefined) {
    const expected = createHash('sha256').update(expect.access_token).digest('base64url');
    if (ath !== expected) throw refused('ath is not the digest of the access token');
  }
  return { jti, iat, ...(nonce !== undefined && { nonce }) };
}

/** RFC 9449 4.3 check 9: equal after RFC 3986 normalization, query and fragment ignored. */
function sameTarget(htu: string, url: string): boolean {
  if (htu === url) return true;
  return strip(htu) === strip(url);
}

function strip(text: string): string | null {
  // The URL parser lower-cases scheme and host, drops default ports and resolves dot segments.
  if (!URL.canParse(text)) return null;
  const url = new URL(text);
  if (url.username !== '' || url.password !== '') return null;
  url.search = '';
  url.hash = '';
  return url.href;
}
