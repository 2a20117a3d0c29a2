/**
 * Evidence that is a JWT of an OpenID Connect issuer: the generic attester under every platform preset.
 * Order: cheap checks first (issuer, algorithm, audience, times), then the key, then the signature.
 */
import type { JsonObject } from '../domain/json.ts';
import type { CompiledTrustRule } from '../domain/trust.ts';
import {
  type Appraisal,
  type AppraisalContext,
  type Attester,
  type ParsedEvidence,
  Refusal,
} from './attester.ts';
import { checkAudience, checkTimes, type TimeLimits } from './claims.ts';
import type { KeySource } from './jwks.ts';
import { type Algorithm, type CompactJws, verifyJws } from './jws.ts';

export interface OidcAttesterOptions {
  readonly name: string;
  readonly kind: string;
  readonly issuer: string;
  /** Audience that evidence must name. */
  readonly audience: string;
  readonly algorithms: readonly Algorithm[];
  /** `typ` values beside `JWT` and none, lower case. */
  readonly typ: readonly string[];
  readonly times: TimeLimits;
  readonly keys: KeySource;
  readonly rules: readonly CompiledTrustRule[];
  /** Relations between claims that the platform promises. @throws Refusal */
  readonly check?: (claims: JsonObject) => void;
  /** Adds claims that rules may use, made of verified ones. */
  readonly derive?: (claims: JsonObject) => JsonObject;
}

/** An {@link Attester} for one issuer. */
export function oidcAttester(options: OidcAttesterOptions): Attester {
  return {
    name: options.name,
    kind: options.kind,
    type: 'urn:ietf:params:oauth:token-type:jwt',
    issuers: [options.issuer],
    trust_domain: null,
    rules: options.rules,
    appraise: (evidence, context) => appraise(options, evidence, context),
    warm: (now) => options.keys.warm(now),
  };
}

async function appraise(
  options: OidcAttesterOptions,
  evidence: ParsedEvidence,
  context: AppraisalContext,
): Promise<Appraisal> {
  const jws = requireJws(evidence);
  const { claims } = jws;
  if (claims['iss'] !== options.issuer) throw new Refusal('wrong_issuer', 'iss is not this issuer');
  checkTyp(jws, options.typ);
  if (!options.algorithms.includes(jws.alg)) {
    throw new Refusal('algorithm_refused', `${jws.alg} is not among this attester's algorithms`);
  }
  const bound_jkt = checkAudience(claims, options.audience, context);
  const expires_at = checkTimes(claims, context.now, options.times);
  verifyJws(jws, options.algorithms, await options.keys.find(jws.kid, jws.alg, context.now));
  options.check?.(claims);
  return {
    claims: options.derive?.(claims) ?? claims,
    tier: bound_jkt === null ? 'reusable' : 'bound',
    degraded: false,
    digest: jws.digest,
    bound_jkt,
    expires_at,
    once: null,
    identity: null,
  };
}

/**
 * A DPoP proof, an access token or a logout token by the same issuer is not evidence (RFC 8725 section 3.11).
 * @throws Refusal
 */
export function checkTyp(jws: CompactJws, others: readonly string[]): void {
  if (jws.typ === null || jws.typ === 'jwt' || others.includes(jws.typ)) return;
  throw new Refusal('header_refused', 'typ is not that of an identity token');
}

/** @throws Refusal unless the registry parsed a JWS. */
export function requireJws(evidence: ParsedEvidence): CompactJws {
  if (evidence.jws === null) throw new Refusal('evidence_malformed', 'not a JWT');
  return evidence.jws;
}
