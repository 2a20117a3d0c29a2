/**
 * Evidence that an enrolled key signs itself: a JWT of at most a minute that names the mission's key and is used
 * once. `kid` is the thumbprint of the enrolled key (looked up, never believed), `cnf.jkt` the key of the proof;
 * they are equal where an agent uses one key for both, and `kid` may then be left out.
 *
 *     {"typ":"sortie-evidence+jwt","alg":"ES256","kid":"<thumbprint>"}
 *     {"iss":"urn:sortie:enrolled","aud":"<broker issuer>","iat":..,"exp":..,"jti":"..","cnf":{"jkt":".."}}
 */
import type { KeyObject } from 'node:crypto';
import { ENROLLED_ISSUER, ENROLLED_TYP, isThumbprint, SELF_SIGNED_MAX_SECONDS } from '../domain/evidence.ts';
import { isJsonObject, type JsonObject } from '../domain/json.ts';
import { matchesPattern, type Pattern } from '../domain/trust.ts';
import type { Store } from '../ports.ts';
import {
  type Appraisal,
  type AppraisalContext,
  type Attester,
  type ParsedEvidence,
  Refusal,
} from './attester.ts';
import { checkAudience, checkTimes, numericDate, requireKey } from './claims.ts';
import { importKey } from './jwks.ts';
import { type Algorithm, verifyJws } from './jws.ts';
import { requireJws } from './oidc.ts';
import { type Recent, recent } from './recent.ts';

export interface EnrolledAttesterOptions {
  readonly name: string;
  readonly audience: string;
  readonly leeway_seconds: number;
  /** Agent ids that enrolled keys may stand for; null for any. */
  readonly agents: readonly Pattern[] | null;
  readonly store: Pick<Store, 'enrolledKey'>;
}

const KEY_ALGORITHMS: readonly Algorithm[] = ['ES256', 'ES384', 'Ed25519', 'EdDSA', 'RS256', 'PS256'];
const MAX_JTI_CHARACTERS = 256;
const MAX_REMEMBERED_KEYS = 1_000;

export function enrolledAttester(options: EnrolledAttesterOptions): Attester {
  // Importing costs as much as verifying. A thumbprint names one key for ever; its record is read each time.
  const imported = recent<KeyObject>(MAX_REMEMBERED_KEYS);
  return {
    name: options.name,
    kind: 'enrolled',
    type: 'urn:ietf:params:oauth:token-type:jwt',
    issuers: [ENROLLED_ISSUER],
    trust_domain: null,
    rules: [],
    appraise: (evidence, context) => appraise(options, imported, evidence, context),
  };
}

async function appraise(
  options: EnrolledAttesterOptions,
  imported: Recent<KeyObject>,
  evidence: ParsedEvidence,
  context: AppraisalContext,
): Promise<Appraisal> {
  const jws = requireJws(evidence);
  if (jws.typ !== ENROLLED_TYP) throw new Refusal('header_refused', `typ must be ${ENROLLED_TYP}`);
  if (jws.claims['iss'] !== ENROLLED_ISSUER)
    throw new Refusal('wrong_issuer', `iss must be ${ENROLLED_ISSUER}`);
  const { bound_jkt, expires_at, jti } = checkSelfSigned(jws.claims, options, context);
  const jkt = jws.kid ?? bound_jkt;
  if (!isThumbprint(jkt)) throw new Refusal('key_unknown', 'kid is not a key thumbprint');
  const record = await options.store.enrolledKey(jkt);
  if (record === null) throw new Refusal('key_unknown', 'no such enrolled key');
  if (record.revoked_at !== null) throw new Refusal('key_revoked', 'the enrolled key is revoked');
  if (record.expires_at <= context.now) throw new Refusal('key_revoked', 'the enrolment has expired');
  if (options.agents !== null && !options.agents.some((pattern) => matchesPattern(pattern, record.agent))) {
    throw new Refusal('no_rule_matched', "this attester may not vouch for the key's agent");
  }
  const key = imported.get(jkt) ?? importKey(record.jwk);
  if (key === null) throw new Refusal('key_unknown', 'the enrolled key is not a usable public key');
  imported.set(jkt, key);
  verifyJws(jws, KEY_ALGORITHMS, key);
  return {
    claims: { agent: record.agent, key_id: record.id, jkt },
    tier: 'enrolled',
    degraded: false,
    digest: jws.digest,
    bound_jkt,
    expires_at,
    once: `${jkt}.${jti}`,
    identity: { agent: record.agent, instance: `key/${jkt}`, rule: options.name },
  };
}

/**
 * Claims of a proof that the workload signs itself: short, single-use and bound to the proof's key.
 * @throws Refusal
 */
export function checkSelfSigned(
  claims: JsonObject,
  options: { readonly audience: string; readonly leeway_seconds: number },
  context: AppraisalContext,
): { readonly bound_jkt: string; readonly expires_at: number; readonly jti: string } {
  checkAudience(claims, options.audience, context);
  const expires_at = checkTimes(claims, context.now, {
    leeway_seconds: options.leeway_seconds,
    max_age_seconds: SELF_SIGNED_MAX_SECONDS,
  });
  if (expires_at - numericDate(claims, 'iat') > SELF_SIGNED_MAX_SECONDS) {
    throw new Refusal('too_old', `exp is more than ${SELF_SIGNED_MAX_SECONDS} s after iat`);
  }
  const { cnf, jti } = claims;
  const bound_jkt = isJsonObject(cnf) ? cnf['jkt'] : undefined;
  if (typeof bound_jkt !== 'string' || !isThumbprint(bound_jkt)) {
    throw new Refusal('claim_missing', 'cnf.jkt is required');
  }
  requireKey(bound_jkt, context);
  if (typeof jti !== 'string' || jti === '' || jti.length > MAX_JTI_CHARACTERS) {
    throw new Refusal('claim_missing', 'jti is required');
  }
  // Remembered as long as the proof could be accepted, leeway included.
  return { bound_jkt, expires_at: expires_at + options.leeway_seconds, jti };
}
