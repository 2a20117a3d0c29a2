/**
 * The claims of a DPoP proof (RFC 9449 section 4.3), apart from its signature: pure, shared by broker and guard.
 * Checks are ordered by cost, so that nonsense never reaches a signature verification.
 */
import { createHash } from 'node:crypto';
import { Denied } from './denial.ts';
import { isJsonObject, type JsonObject, type JsonValue, parseJson } from './json.ts';

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
  if (proof.length > PROOF_MAX_LENGTH)
    throw refused(`the proof is longer than ${PROOF_MAX_LENGTH} characters`);
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
    if (!HEADER_MEMBERS.has(member))
      throw refused('the proof has a header member other than typ, alg and jwk');
  const jwk = header['jwk'];
  if (!isJsonObject(jwk)) throw refused('the proof needs its public key in jwk');
  for (const member of PRIVATE_MEMBERS)
    if (jwk[member] !== undefined)
      throw refused('the proof shows a private key: that key must not be used again');
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
    /** {@link accessTokenHash} of the access token, for a caller that keeps it; instead of `access_token`. */
    readonly ath?: string;
    readonly now: number;
    readonly window_seconds: number;
  },
): ProofClaims {
  const { htm, htu, iat, jti, ath, nonce } = claims;
  if (htm !== expect.method) throw refused('htm is not the method of this request');
  if (typeof htu !== 'string' || !sameTarget(htu, expect.url))
    throw refused('htu is not the URI of this request');
  if (typeof iat !== 'number' || !(Math.abs(expect.now - iat) <= expect.window_seconds))
    throw refused('iat is too old or ahead: check the clock');
  if (typeof jti !== 'string' || jti.length < 8 || jti.length > JTI_MAX_LENGTH)
    throw refused(`jti must have 8 to ${JTI_MAX_LENGTH} characters`);
  if (nonce !== undefined && typeof nonce !== 'string') throw refused('nonce is not a string');
  const expected =
    expect.ath ?? (expect.access_token === undefined ? undefined : accessTokenHash(expect.access_token));
  if (expected !== undefined && ath !== expected) throw refused('ath is not the digest of the access token');
  return { jti, iat, ...(nonce !== undefined && { nonce }) };
}

/** `ath`: base64url of the SHA-256 of the ASCII access token (RFC 9449 section 4.2). */
export function accessTokenHash(access_token: string): string {
  return createHash('sha256').update(access_token, 'latin1').digest('base64url');
}

/**
 * RFC 9449 4.3 check 9: equal after RFC 3986 normalization, query and fragment ignored. What two readers may
 * resolve differently (dot segments, encoded dots and slashes, backslashes, user information) never matches.
 */
export function sameTarget(htu: string, url: string): boolean {
  if (htu === url && isPlain(htu)) return true;
  const wanted = normalizeTarget(url);
  return wanted !== null && normalizeTarget(htu) === wanted;
}

const QUESTION = 0x3f;
const HASH = 0x23;
const PERCENT = 0x25;
const BACKSLASH = 0x5c;
const SLASH = 0x2f;
const AT = 0x40;
const DOT = 0x2e;

/** `true` if nothing in the text needs normalizing or refusing: plain characters only, and no `/.`. */
function isPlain(text: string): boolean {
  if (!text.startsWith('https://') && !text.startsWith('http://')) return false;
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    if (unit <= 0x20 || unit >= 0x7f) return false;
    if (unit === QUESTION || unit === HASH || unit === PERCENT || unit === BACKSLASH || unit === AT)
      return false;
    if (unit === SLASH && text.charCodeAt(at + 1) === DOT) return false;
  }
  return true;
}

/**
 * The target as compared: scheme and host in lower case, no default port, unreserved characters unescaped, other
 * escapes in upper case, no query, no fragment. Null for what is not an http(s) URI or is refused.
 */
export function normalizeTarget(text: string): string | null {
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    if (unit <= 0x20 || unit >= 0x7f || unit === BACKSLASH) return null;
  }
  const url = URL.parse(text);
  if (url === null || (url.protocol !== 'https:' && url.protocol !== 'http:')) return null;
  if (url.username !== '' || url.password !== '') return null;
  const end = text.search(/[?#]/);
  const authorityAt = text.indexOf('//');
  if (authorityAt < 0) return null;
  const pathAt = text.indexOf('/', authorityAt + 2);
  const written =
    pathAt < 0 || (end >= 0 && end < pathAt) ? '/' : text.slice(pathAt, end < 0 ? undefined : end);
  const path = normalizePath(written);
  return path === null ? null : `${url.protocol}//${url.host}${path}`;
}

/** Percent escapes in one form. Null for dot segments, for escapes of `/`, `\\`, and for broken escapes. */
function normalizePath(path: string): string | null {
  let out = '';
  for (let at = 0; at < path.length; at++) {
    if (path.charCodeAt(at) !== PERCENT) {
      out += path[at];
      continue;
    }
    const code = hexPair(path, at + 1);
    if (code < 0 || code === SLASH || code === BACKSLASH) return null;
    out += isUnreserved(code) ? String.fromCharCode(code) : path.slice(at, at + 3).toUpperCase();
    at += 2;
  }
  for (const segment of out.split('/')) if (segment === '.' || segment === '..') return null;
  return out;
}

function hexPair(text: string, at: number): number {
  const high = hexDigit(text.charCodeAt(at));
  const low = hexDigit(text.charCodeAt(at + 1));
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

function hexDigit(unit: number): number {
  if (unit >= 0x30 && unit <= 0x39) return unit - 0x30;
  const letter = unit | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1;
}

/** RFC 3986 section 2.3. */
function isUnreserved(code: number): boolean {
  const letter = code | 0x20;
  return (
    (letter >= 0x61 && letter <= 0x7a) ||
    (code >= 0x30 && code <= 0x39) ||
    code === 0x2d ||
    code === DOT ||
    code === 0x5f ||
    code === 0x7e
  );
}
