/**
 * What every attester is to the registry. Attesters appraise one kind of evidence each; the registry chooses
 * one, applies the trust rules, and turns every {@link Refusal} into the one constant answer.
 */
import { hash } from 'node:crypto';
import type { JsonObject } from '../domain/json.ts';
import type { Tier } from '../domain/mission.ts';
import type { CompiledTrustRule } from '../domain/trust.ts';
import type { EvidenceType } from '../ports.ts';
import type { CompactJws } from './jws.ts';

/** Stable codes of why evidence was refused: private, for audit records and `explain`. Never sent to the caller. */
export type RefusalCode =
  | 'evidence_too_large'
  | 'evidence_malformed'
  | 'header_refused'
  | 'algorithm_refused'
  | 'unknown_issuer'
  | 'wrong_issuer'
  | 'wrong_audience'
  | 'wrong_key'
  | 'expired'
  | 'not_yet_valid'
  | 'too_old'
  | 'claim_missing'
  | 'key_unknown'
  | 'keys_unavailable'
  | 'bad_signature'
  | 'key_revoked'
  | 'certificate_refused'
  | 'platform_refused'
  | 'platform_unavailable'
  | 'no_rule_matched';

/** Thrown inside attesters only. The message names no claim value and quotes no evidence. */
export class Refusal extends Error {
  readonly code: RefusalCode;

  constructor(code: RefusalCode, detail: string) {
    super(detail);
    this.name = 'Refusal';
    this.code = code;
  }
}

export interface AppraisalContext {
  /** Thumbprint of the key that proved possession; null while an administrator only explains. */
  readonly jkt: string | null;
  /** Seconds since the epoch. */
  readonly now: number;
}

/** What an attester found to be true, before any trust rule. */
export interface Appraisal {
  /** What trust rules read. */
  readonly claims: JsonObject;
  readonly tier: Tier;
  /** The live check was impossible and the offline one stood in for it. */
  readonly degraded: boolean;
  readonly digest: string;
  readonly bound_jkt: string | null;
  readonly expires_at: number;
  readonly once: string | null;
  /** Set by attesters that know the agent themselves (an enrolled key); trust rules are then not asked. */
  readonly identity: { readonly agent: string; readonly instance: string; readonly rule: string } | null;
}

export interface Attester {
  readonly name: string;
  readonly kind: string;
  readonly type: EvidenceType;
  /** `iss` values that choose this attester. */
  readonly issuers: readonly string[];
  /** SPIFFE trust domain that chooses it, from `sub`. */
  readonly trust_domain: string | null;
  readonly rules: readonly CompiledTrustRule[];
  /** @throws Refusal */
  appraise(evidence: ParsedEvidence, context: AppraisalContext): Promise<Appraisal>;
  /** Fetches what will be needed (keys, bundles). Never throws; failures show at the first appraisal. */
  warm?(now: number): Promise<void>;
  close?(): void;
}

/** Evidence after the size caps: a JWS with its claims, or the text itself for other types. */
export interface ParsedEvidence {
  readonly type: EvidenceType;
  readonly token: string;
  readonly jws: CompactJws | null;
}

/** `sha-256:` of a text, base64url. */
export function digestOf(text: string): string {
  return 'sha-256:' + hash('sha256', text, 'base64url');
}
