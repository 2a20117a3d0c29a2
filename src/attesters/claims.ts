/** Time and audience of a JWT's claims (RFC 7519 section 4.1, RFC 8725), alike for every attester. Pure. */
import { isThumbprint, JKT_FRAGMENT } from '../domain/evidence.ts';
import type { JsonObject } from '../domain/json.ts';
import { type AppraisalContext, Refusal } from './attester.ts';

export interface TimeLimits {
  /** Clock difference that is forgiven, seconds. */
  readonly leeway_seconds: number;
  /** Longest time since `iat`, seconds. */
  readonly max_age_seconds: number;
  /** JWT-SVIDs need no `iat`; without one, `exp` must lie within the longest age. */
  readonly iat_optional?: boolean;
}

/** Far beyond any real date: keeps arithmetic exact and refuses milliseconds taken for seconds. */
const MAX_NUMERIC_DATE = 100_000_000_000;

/**
 * `exp` and `iat` are required; `nbf` is honoured where present.
 * @returns `exp`, seconds. @throws Refusal
 */
export function checkTimes(claims: JsonObject, now: number, limits: TimeLimits): number {
  const exp = numericDate(claims, 'exp');
  const iat =
    limits.iat_optional && claims['iat'] === undefined
      ? exp - limits.max_age_seconds
      : numericDate(claims, 'iat');
  const nbf = claims['nbf'] === undefined ? iat : numericDate(claims, 'nbf');
  if (now >= exp + limits.leeway_seconds) throw new Refusal('expired', 'exp has passed');
  if (nbf > now + limits.leeway_seconds) throw new Refusal('not_yet_valid', 'nbf is in the future');
  if (iat > now + limits.leeway_seconds) throw new Refusal('not_yet_valid', 'iat is in the future');
  if (now - iat > limits.max_age_seconds + limits.leeway_seconds) {
    throw new Refusal('too_old', `issued more than ${limits.max_age_seconds} s ago`);
  }
  return exp;
}

export function numericDate(claims: JsonObject, name: string): number {
  const value = claims[name];
  if (value === undefined) throw new Refusal('claim_missing', `${name} is required`);
  if (typeof value !== 'number' || !(value >= 0 && value < MAX_NUMERIC_DATE)) {
    throw new Refusal('evidence_malformed', `${name} is not a number of seconds`);
  }
  return value;
}

/**
 * `aud` must be this one audience and no other: evidence that is good elsewhere too could be replayed from there.
 * `<audience>#jkt=<thumbprint>` binds it to a key, which must be the one that proved possession.
 * @returns the thumbprint, or null where the evidence names no key. @throws Refusal
 */
export function checkAudience(
  claims: JsonObject,
  audience: string,
  context: AppraisalContext,
): string | null {
  const aud = claims['aud'];
  const only = Array.isArray(aud) && aud.length === 1 ? aud[0] : aud;
  if (only === undefined) throw new Refusal('claim_missing', 'aud is required');
  if (typeof only !== 'string') throw new Refusal('wrong_audience', 'aud must be exactly one audience');
  if (only === audience) return null;
  const prefix = audience + JKT_FRAGMENT;
  if (!only.startsWith(prefix)) throw new Refusal('wrong_audience', 'aud is not this broker');
  const jkt = only.slice(prefix.length);
  if (!isThumbprint(jkt))
    throw new Refusal('wrong_audience', 'aud carries something else than a key thumbprint');
  requireKey(jkt, context);
  return jkt;
}

/** @throws Refusal unless the evidence's key is the key that proved possession. */
export function requireKey(jkt: string, context: AppraisalContext): void {
  if (context.jkt !== null && context.jkt !== jkt) {
    throw new Refusal('wrong_key', 'the evidence is bound to another key than the proof');
  }
}
