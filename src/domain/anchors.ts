/**
 * Anchors: the digests that tie a mission's record, its token and its audit trail together (wire profile 2.4).
 * They hash values as granted, with no default inserted, so that anyone who holds the value can recompute them.
 */

import { createHash, createHmac } from 'node:crypto';
import { canonicalize } from './json.ts';

export type AnchorType =
  | 'mission-intent'
  | 'mission-proposed-authority'
  | 'mission-authority-set'
  | 'mission-authority-entry'
  | 'mission-template';

/**
 * `"sha-256:" + base64url(SHA-256(JCS({iss, typ, value})))`. Issuer and type are inside the hash, so that an
 * anchor of one kind or one broker never stands for another.
 * @param iss the broker's issuer URL, exactly as in its tokens
 * @throws Denied `invalid_request` for a value that has no canonical form
 */
export function anchor(iss: string, typ: AnchorType, value: unknown): string {
  return sha256(canonicalize({ iss, typ, value }));
}

export function intentHash(iss: string, intent: unknown): string {
  return anchor(iss, 'mission-intent', intent);
}

export function proposalHash(iss: string, proposal: unknown): string {
  return anchor(iss, 'mission-proposed-authority', proposal);
}

export function authorityHash(iss: string, granted: unknown): string {
  return anchor(iss, 'mission-authority-set', granted);
}

export function entryHash(iss: string, entry: unknown): string {
  return anchor(iss, 'mission-authority-entry', entry);
}

export function templateHash(iss: string, template: unknown): string {
  return anchor(iss, 'mission-template', template);
}

/**
 * Digest of a call's parameters, unkeyed: only for use inside the broker and for the draft's vectors. What
 * leaves the broker is {@link keyedDigest}, because amounts and addresses can be guessed from a plain hash.
 */
export function parameterDigest(value: unknown): string {
  return sha256(canonicalize(value));
}

/**
 * `"hmac-sha-256:" + base64url(HMAC-SHA-256(key, JCS(value)))`. The key is HKDF(broker secret, mission_id,
 * purpose); destroying it when the mission is pruned makes every digest under it meaningless.
 * @param key at least 32 bytes; a shorter one is a programming error and throws RangeError
 */
export function keyedDigest(key: Uint8Array, value: unknown): string {
  if (key.byteLength < 32) throw new RangeError('a digest key has at least 32 bytes');
  return `hmac-sha-256:${createHmac('sha256', key).update(canonicalize(value)).digest('base64url')}`;
}

function sha256(text: string): string {
  return `sha-256:${createHash('sha256').update(text).digest('base64url')}`;
}
