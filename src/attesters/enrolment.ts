/**
 * Enrolment of machines without a platform identity: a person issues a code for one agent, the machine makes a key
 * and redeems the code with it, once. The private key never leaves the machine.
 *
 * A code carries its own terms under a MAC, so that nothing is stored for codes that nobody redeems; that it is
 * redeemed once is the store's `use_once`, in the same transaction as the key. Withdrawing a code is using it up.
 */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { Denied } from '../domain/denial.ts';
import { canonicalize, isJsonObject, type JsonObject, parseJson } from '../domain/json.ts';
import type { EnrolledKeyRecord, Write } from '../ports.ts';
import { importKey } from './jwks.ts';

/** The terms of one code. */
export interface EnrolmentGrant {
  /** `enr_...`; the key's record has the same id. */
  readonly id: string;
  /** Agent id that the key will stand for. */
  readonly agent: string;
  /** Who issued the code: `admin:<name>`. */
  readonly created_by: string;
  /** The code is worthless from here on, seconds since the epoch. */
  readonly expires_at: number;
  /** Life of the enrolled key from redemption, seconds. */
  readonly key_ttl_seconds: number;
}

export interface Redeemed {
  readonly key: EnrolledKeyRecord;
  /** To be applied together; `replayed` is the conflict of a code that was redeemed before. */
  readonly writes: readonly Write[];
}

const MAX_CODE_CHARACTERS = 2_048;
const SPACE = 'enrolment';

/** RFC 7638 thumbprint of a public JWK, or null where a required member is missing. */
export function thumbprint(jwk: JsonObject): string | null {
  const { kty, crv, x, y, n, e } = jwk;
  const required =
    kty === 'EC'
      ? { crv, kty, x, y }
      : kty === 'OKP'
        ? { crv, kty, x }
        : kty === 'RSA'
          ? { e, kty, n }
          : null;
  if (required === null || !Object.values(required).every((value) => typeof value === 'string')) return null;
  return createHash('sha256').update(canonicalize(required)).digest('base64url');
}

/** The code to hand to the machine's owner. @param secret 32 bytes, kept by the broker for this purpose alone */
export function issueEnrolmentCode(secret: Buffer, grant: EnrolmentGrant): string {
  const { id, agent, created_by, expires_at, key_ttl_seconds } = grant;
  const terms = Buffer.from(canonicalize({ id, agent, created_by, expires_at, key_ttl_seconds })).toString(
    'base64url',
  );
  return `${terms}.${mac(secret, terms)}`;
}

/**
 * Redeems a code for a key whose possession was proved (a DPoP proof of this request).
 * @param proved.jkt thumbprint of the key that made the proof; it must be that of `jwk`
 * @throws Denied `invalid_evidence`, whatever is wrong
 */
export function redeemEnrolmentCode(
  secret: Buffer,
  request: { readonly code: string; readonly jwk: JsonObject },
  proved: { readonly jkt: string; readonly now: number },
): Redeemed {
  const { jkt, now } = proved;
  const grant = readCode(secret, request.code);
  if (grant.expires_at <= now) throw refused('the code has expired');
  // Only the members that make the public key: a private one that was sent by mistake is not stored.
  const { kty, crv, x, y, n, e } = request.jwk;
  const members = Object.entries({ kty, crv, x, y, n, e }).filter(([, value]) => typeof value === 'string');
  const jwk: JsonObject = Object.fromEntries(members) as JsonObject;
  if (importKey(jwk) === null) throw refused('the key is not of a kind or size that is accepted');
  if (thumbprint(jwk) !== jkt) throw refused('the proof is by another key');
  const key: EnrolledKeyRecord = {
    id: grant.id,
    agent: grant.agent,
    jkt,
    jwk,
    created_by: grant.created_by,
    created_at: now,
    expires_at: now + grant.key_ttl_seconds,
    revoked_at: null,
  };
  return {
    key,
    writes: [
      { kind: 'use_once', space: SPACE, id: grant.id, expires_at: grant.expires_at },
      { kind: 'insert_enrolled_key', key },
      {
        kind: 'append_audit',
        record: {
          ts: now,
          event: 'key.enrolled',
          actor: grant.agent,
          mission_id: null,
          details: { key_id: key.id, jkt, created_by: key.created_by, expires_at: key.expires_at },
        },
      },
    ],
  };
}

/** Makes a code worthless before it is redeemed; `replayed` means that it was redeemed already. */
export function withdrawEnrolmentCode(grant: Pick<EnrolmentGrant, 'id' | 'expires_at'>): Write {
  return { kind: 'use_once', space: SPACE, id: grant.id, expires_at: grant.expires_at };
}

function readCode(secret: Buffer, code: string): EnrolmentGrant {
  if (code.length > MAX_CODE_CHARACTERS) throw refused('longer than a code is');
  const [terms = '', given = '', more] = code.trim().split('.');
  const expected = Buffer.from(mac(secret, terms));
  const presented = Buffer.from(given);
  const genuine =
    more === undefined && presented.length === expected.length && timingSafeEqual(presented, expected);
  if (!genuine) throw refused('not a code of this broker');
  const grant = parseJson(Buffer.from(terms, 'base64url').toString('utf8'));
  if (!isJsonObject(grant)) throw refused('not a code of this broker');
  // The MAC says that this broker wrote these members.
  return grant as unknown as EnrolmentGrant;
}

function mac(secret: Buffer, terms: string): string {
  return createHmac('sha256', secret).update(`enrolment ${terms}`).digest('base64url');
}

function refused(reason: string): Denied {
  return new Denied({ tag: 'invalid_evidence' }, `enrolment: ${reason}`);
}
