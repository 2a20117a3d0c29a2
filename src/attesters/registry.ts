/**
 * The {@link Attestation} port: chooses the attester, lets it appraise, applies the trust rules. To the caller
 * every failure is the same refusal; the private reason says which attester and why.
 */
import { Denied } from '../domain/denial.ts';
import type { JsonObject } from '../domain/json.ts';
import { applyTrustRules, explainTrustRules, type RuleMiss } from '../domain/trust.ts';
import type { Attestation, Evidence, ValidatedEvidence } from '../ports.ts';
import {
  type Appraisal,
  type AppraisalContext,
  type Attester,
  type ParsedEvidence,
  Refusal,
  type RefusalCode,
} from './attester.ts';
import { parseJws } from './jws.ts';

/** What `sortie attest test` shows an administrator. Holds no evidence and no claim values but the ids they make. */
export interface Explanation {
  readonly accepted: boolean;
  /** The attester that `iss` or the trust domain chose; null if none is configured for it. */
  readonly attester: { readonly name: string; readonly kind: string } | null;
  /** Set where refused. */
  readonly refusal: { readonly code: RefusalCode; readonly detail: string } | null;
  readonly result: Omit<ValidatedEvidence, 'digest' | 'once'> | null;
  /** Rules before the one that matched, each with what it wanted and did not find. */
  readonly missed_rules: readonly RuleMiss[];
  /** Names of the claims that rules may use; values stay out. */
  readonly claim_names: readonly string[];
}

export interface AttestationRegistry extends Attestation {
  /** Never throws for bad evidence. `jkt` is optional: bound evidence is then only reported as bound. */
  explain(evidence: Evidence, context: { readonly jkt?: string; readonly now: number }): Promise<Explanation>;
  /** Fetches keys and bundles ahead of need; failures show at the first appraisal. */
  warm(now: number): Promise<void>;
  close(): void;
}

/** @throws Error if two attesters answer for the same issuer or trust domain: the choice must be one. */
export function attestationRegistry(attesters: readonly Attester[]): AttestationRegistry {
  const chosen = new Map<string, Attester>();
  for (const attester of attesters) {
    for (const selector of selectorsOf(attester)) {
      const other = chosen.get(selector);
      if (other) {
        throw new Error(
          `attesters "${other.name}" and "${attester.name}" both answer for ${selector.split(' ').at(-1)}`,
        );
      }
      chosen.set(selector, attester);
    }
  }

  return {
    async appraise(evidence, context) {
      let by = 'no attester';
      try {
        const parsed = parse(evidence);
        const attester = choose(chosen, parsed);
        by = attester.name;
        return admit(attester, await attester.appraise(parsed, context));
      } catch (error) {
        throw new Denied({ tag: 'invalid_evidence' }, `${by}: ${privateReason(error)}`);
      }
    },
    explain: (evidence, context) => explain(chosen, evidence, { jkt: context.jkt ?? null, now: context.now }),
    async warm(now) {
      await Promise.all(attesters.map((attester) => attester.warm?.(now)));
    },
    close() {
      for (const attester of attesters) attester.close?.();
    },
  };
}

function selectorsOf(attester: Attester): string[] {
  const selectors = attester.issuers.map((issuer) => `${attester.type} iss ${issuer}`);
  if (attester.trust_domain !== null)
    selectors.push(`${attester.type} trust domain ${attester.trust_domain}`);
  return selectors;
}

/** Longest evidence of any type, characters. */
const MAX_EVIDENCE_CHARACTERS = 49_152;

function parse(evidence: Evidence): ParsedEvidence {
  const { type, token } = evidence;
  if (token.length > MAX_EVIDENCE_CHARACTERS)
    throw new Refusal('evidence_too_large', 'larger than evidence may be');
  switch (type) {
    case 'urn:ietf:params:oauth:token-type:jwt':
      return { type, token, jws: parseJws(token, { x5c: false }) };
    case 'urn:sortie:token-type:x509-svid':
      return { type, token, jws: parseJws(token, { x5c: true }) };
    case 'urn:sortie:token-type:aws-caller-identity':
      return { type, token, jws: null };
    default:
      throw new Refusal('evidence_malformed', 'unknown type of evidence');
  }
}

/** By `iss`, or by the trust domain of a SPIFFE `sub`; never by a key in the token. */
function choose(chosen: ReadonlyMap<string, Attester>, evidence: ParsedEvidence): Attester {
  const { type, jws } = evidence;
  const sub = jws?.claims['sub'];
  const iss = jws?.claims['iss'];
  const domain =
    typeof sub === 'string' && sub.startsWith('spiffe://') ? sub.slice(9).split('/', 1)[0] : undefined;
  const attester =
    (domain === undefined ? undefined : chosen.get(`${type} trust domain ${domain}`)) ??
    (typeof iss === 'string' ? chosen.get(`${type} iss ${iss}`) : undefined) ??
    (jws === null ? chosen.get(`${type} iss ${type}`) : undefined);
  if (attester === undefined)
    throw new Refusal('unknown_issuer', 'no attester is configured for this issuer');
  return attester;
}

/** Trust rules turn what was appraised into an agent. */
function admit(attester: Attester, appraisal: Appraisal): ValidatedEvidence {
  const match = appraisal.identity
    ? { ...appraisal.identity, tier: appraisal.tier, max_keys: 1, caps_token: false }
    : applyTrustRules(attester.rules, appraisal.claims, appraisal);
  if (match === null) throw new Refusal('no_rule_matched', 'no trust rule matched');
  return {
    agent: match.agent,
    instance: match.instance,
    tier: match.tier,
    attester: attester.name,
    rule: match.rule,
    digest: appraisal.digest,
    bound_jkt: appraisal.bound_jkt,
    expires_at: appraisal.expires_at,
    caps_token: match.caps_token,
    once: appraisal.once === null ? null : `${attester.name}.${appraisal.once}`,
    max_keys: match.max_keys,
  };
}

async function explain(
  chosen: ReadonlyMap<string, Attester>,
  evidence: Evidence,
  context: AppraisalContext,
): Promise<Explanation> {
  let attester: Attester | null = null;
  let claims: JsonObject = {};
  let missed: readonly RuleMiss[] = [];
  const report = (rest: Pick<Explanation, 'accepted' | 'refusal' | 'result'>): Explanation => ({
    attester: attester && { name: attester.name, kind: attester.kind },
    missed_rules: missed,
    claim_names: Object.keys(claims),
    ...rest,
  });
  try {
    const parsed = parse(evidence);
    claims = parsed.jws?.claims ?? {};
    attester = choose(chosen, parsed);
    const appraisal = await attester.appraise(parsed, context);
    claims = appraisal.claims;
    if (appraisal.identity === null) missed = explainTrustRules(attester.rules, claims, appraisal).missed;
    const { digest: _digest, once: _once, ...result } = admit(attester, appraisal);
    return report({ accepted: true, refusal: null, result });
  } catch (error) {
    const refusal =
      error instanceof Refusal ? error : new Refusal('platform_unavailable', 'the attester failed');
    return report({
      accepted: false,
      refusal: { code: refusal.code, detail: refusal.message },
      result: null,
    });
  }
}

/** Refusals speak for themselves; anything else is a fault, whose message may quote what must not be kept. */
function privateReason(error: unknown): string {
  if (error instanceof Refusal) return `${error.code}: ${error.message}`;
  return `attester_failed: ${error instanceof Error ? error.name : 'unknown'}`;
}
