/**
 * Compact JWS (RFC 7515) as evidence: parsed strictly, verified with a key that was looked up elsewhere.
 *
 * node:crypto verifies, synchronously: for RS256, the signature of most platforms, one verification through an
 * asynchronous wrapper costs three times the arithmetic. All that is left to do here is to pin the algorithm to the
 * key, and tests hold the result against jose.
 *
 * Threats met here: `alg: none`, HMAC with a public key, keys or key addresses inside the token, critical
 * extensions, JWE in place of JWS, encodings that are not canonical, ECDSA in DER, and texts built to be slow.
 */
import { constants, type KeyObject, verify as verifySignature } from 'node:crypto';
import { Denied } from '../domain/denial.ts';
import { derOfConcatenated } from '../domain/ecdsa.ts';
import { isJsonObject, type JsonObject, parseJson } from '../domain/json.ts';
import { digestOf, Refusal } from './attester.ts';
import { recent } from './recent.ts';

/** Asymmetric signatures only: there is no spelling of `none` or HMAC to configure. */
export const ALGORITHMS = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519',
] as const;
export type Algorithm = (typeof ALGORITHMS)[number];

export interface CompactJws {
  readonly header: JsonObject;
  readonly alg: Algorithm;
  readonly kid: string | null;
  /** Lower case, `application/` removed (RFC 7515 section 4.1.9); null if absent. */
  readonly typ: string | null;
  /** Not verified until {@link verifyJws} has returned. */
  readonly claims: JsonObject;
  readonly signing_input: string;
  readonly signature: Buffer;
  /**
   * Of the signed part alone. An ECDSA signature (r, s) has a twin (r, -s): a digest that covered it would let a
   * thief present the same evidence under a second digest and so escape its pin.
   */
  readonly digest: string;
}

const MAX_JWS_CHARACTERS = 32_768;
const MAX_HEADER_CHARACTERS = 4_096;
/** With a certificate chain. */
const MAX_X5C_HEADER_CHARACTERS = 24_576;
const MAX_KID_CHARACTERS = 512;

/**
 * Header members that bring a key, an address of one, or other semantics along. They are refused, not ignored: no
 * platform's evidence carries them.
 */
const REFUSED_MEMBERS = ['jwk', 'jku', 'x5u', 'x5c', 'crit', 'b64', 'enc', 'zip', 'epk', 'p2c', 'p2s', 'cty'];

/**
 * Splits and reads a compact JWS. Nothing is verified.
 * @param options `x5c`: the type of evidence carries its certificate chain, to be checked against a bundle.
 * @throws Refusal
 */
export function parseJws(token: string, options: { readonly x5c: boolean }): CompactJws {
  if (token.length > MAX_JWS_CHARACTERS) throw new Refusal('evidence_too_large', 'longer than a JWS may be');
  const first = token.indexOf('.');
  const second = token.indexOf('.', first + 1);
  if (first < 1 || second === -1 || token.indexOf('.', second + 1) !== -1) {
    throw new Refusal(
      'evidence_malformed',
      'not three parts: a JWS in compact form is wanted (no JWE, no JSON form)',
    );
  }
  if (first > (options.x5c ? MAX_X5C_HEADER_CHARACTERS : MAX_HEADER_CHARACTERS)) {
    throw new Refusal('evidence_too_large', 'the header is larger than a header may be');
  }
  const { header, alg, kid, typ } = readHeader(token.slice(0, first), options.x5c);
  const signature = decode(token.slice(second + 1), 'signature');
  if (signature.length === 0) throw new Refusal('bad_signature', 'the signature is empty');
  const signing_input = token.slice(0, second);
  return {
    header,
    alg,
    kid,
    typ,
    claims: readObject(token.slice(first + 1, second), 'payload', 16),
    signing_input,
    signature,
    digest: digestOf(signing_input),
  };
}

type Header = Pick<CompactJws, 'header' | 'alg' | 'kid' | 'typ'>;

/** An issuer's tokens share a handful of headers: a short one that was sound once is sound again. */
const seenHeaders = recent<Header>(64);
const MAX_REMEMBERED_CHARACTERS = 256;

function readHeader(part: string, x5c: boolean): Header {
  const memorable = !x5c && part.length <= MAX_REMEMBERED_CHARACTERS;
  const seen = memorable ? seenHeaders.get(part) : undefined;
  if (seen !== undefined) return seen;
  const header = readObject(part, 'header', 4);
  for (const member of REFUSED_MEMBERS) {
    if (member === 'x5c' && x5c) continue;
    if (Object.hasOwn(header, member))
      throw new Refusal('header_refused', `header member "${member}" is refused`);
  }
  const alg = ALGORITHMS.find((name) => name === header['alg']);
  if (alg === undefined)
    throw new Refusal('algorithm_refused', 'alg is not one of the asymmetric signatures');
  const kid = optionalText(header, 'kid');
  if (kid !== null && kid.length > MAX_KID_CHARACTERS) throw new Refusal('header_refused', 'kid is too long');
  const typ =
    optionalText(header, 'typ')
      ?.toLowerCase()
      .replace(/^application\//, '') ?? null;
  const read = { header, alg, kid, typ };
  // A copy: a slice would keep the whole token, evidence and all, in memory with it.
  if (memorable) seenHeaders.set(Buffer.from(part).toString('latin1'), read);
  return read;
}

/**
 * @param key chosen by the verifier; its type and curve must be the algorithm's own.
 * @throws Refusal `algorithm_refused` or `bad_signature`
 */
export function verifyJws(jws: CompactJws, allowed: readonly Algorithm[], key: KeyObject): void {
  if (!allowed.includes(jws.alg)) throw new Refusal('algorithm_refused', `${jws.alg} is not allowed here`);
  if (!keyFits(jws.alg, key)) throw new Refusal('algorithm_refused', `the key is not one for ${jws.alg}`);
  if (!signatureHolds(jws, key)) throw new Refusal('bad_signature', 'the signature does not hold');
}

/** `alg` says what it wants; the key says what it is (RFC 8725 section 3.1). */
export function keyFits(alg: Algorithm, key: KeyObject): boolean {
  if (key.type !== 'public') return false;
  switch (alg) {
    case 'RS256':
    case 'RS384':
    case 'RS512':
    case 'PS256':
    case 'PS384':
    case 'PS512':
      return key.asymmetricKeyType === 'rsa';
    case 'ES256':
      return isCurve(key, 'prime256v1');
    case 'ES384':
      return isCurve(key, 'secp384r1');
    case 'ES512':
      return isCurve(key, 'secp521r1');
    case 'EdDSA':
    case 'Ed25519':
      return key.asymmetricKeyType === 'ed25519';
  }
}

function isCurve(key: KeyObject, curve: string): boolean {
  return key.asymmetricKeyType === 'ec' && key.asymmetricKeyDetails?.namedCurve === curve;
}

function signatureHolds(jws: CompactJws, key: KeyObject): boolean {
  const signed = Buffer.from(jws.signing_input, 'latin1');
  const hash = 'sha' + jws.alg.slice(2);
  switch (jws.alg) {
    case 'RS256':
    case 'RS384':
    case 'RS512':
      return verifySignature(hash, signed, key, jws.signature);
    case 'PS256':
    case 'PS384':
    case 'PS512': {
      const padding = constants.RSA_PKCS1_PSS_PADDING;
      const saltLength = constants.RSA_PSS_SALTLEN_DIGEST;
      return verifySignature(hash, signed, { key, padding, saltLength }, jws.signature);
    }
    case 'ES256':
    case 'ES384': {
      const der = derOfConcatenated(jws.signature, jws.alg === 'ES256' ? 32 : 48);
      return der !== null && verifySignature(hash, signed, key, der);
    }
    case 'ES512':
      // RFC 7518 section 3.4: r and s side by side. Any other length is refused by this encoding.
      return verifySignature(hash, signed, { key, dsaEncoding: 'ieee-p1363' }, jws.signature);
    case 'EdDSA':
    case 'Ed25519':
      return verifySignature(null, signed, key, jws.signature);
  }
}

function readObject(part: string, name: string, max_depth: number): JsonObject {
  const text = decode(part, name).toString('utf8');
  try {
    const value = parseJson(text, { max_depth, max_members: 1_000 });
    if (isJsonObject(value)) return value;
  } catch (error) {
    if (!(error instanceof Denied)) throw error;
    throw new Refusal('evidence_malformed', `the ${name} is refused: ${error.private_reason}`);
  }
  throw new Refusal('evidence_malformed', `the ${name} is not a JSON object`);
}

/** Strict base64url (RFC 7515 section 2): no padding, no other alphabet, no stray bits. */
function decode(part: string, name: string): Buffer {
  const bytes = Buffer.from(part, 'base64url');
  // Buffer skips what it does not know; only a canonical text survives the round trip.
  if (bytes.toString('base64url') !== part)
    throw new Refusal('evidence_malformed', `the ${name} is not base64url`);
  return bytes;
}

function optionalText(header: JsonObject, member: string): string | null {
  const value = header[member];
  if (value === undefined) return null;
  if (typeof value !== 'string')
    throw new Refusal('header_refused', `header member "${member}" is not a string`);
  return value;
}
