/**
 * What the operations need from the outside. Adapters implement these; only `broker.ts` knows adapters.
 * Every method may fail; a failure of recording fails the operation (architecture rule 4).
 */

import type { Catalogue } from './domain/authority/index.ts';
import type { DispatchRule } from './domain/grant.ts';
import type { JsonObject } from './domain/json.ts';
import type { Tier } from './domain/mission.ts';
import type { AudiencePolicy } from './domain/policy.ts';
import type { TokenClaims } from './domain/token.ts';
import type { Store } from './ports/store.ts';
import type { HistoryScope } from './ports/writes.ts';
import type { Providers } from './providers/provider.ts';

export type { TokenClaims } from './domain/token.ts';
export * from './ports/records.ts';
export * from './ports/store.ts';
export * from './ports/writes.ts';
export {
  type Issued,
  type LeaseRequest,
  type Provider,
  ProviderFault,
  type Providers,
  type Residual,
  type Revocation,
} from './providers/provider.ts';

/* ---------------------------------------------------------------- time and chance */

export interface Clock {
  /** Seconds since the epoch, with a fraction. */
  now(): number;
}

export type IdPrefix = 'msn' | 'cred' | 'lse' | 'dec' | 'evt' | 'blk' | 'adm' | 'vrf' | 'enr';

export interface Chance {
  /** `prefix_` and 128 bits or more of randomness, base64url. */
  id(prefix: IdPrefix): string;
  bytes(length: number): Buffer;
  /** Uniform in [0, below). */
  integer(below: number): number;
}

/* ---------------------------------------------------------------- evidence and proof */

/** Token types of wire profile 2.1 that carry evidence. */
export type EvidenceType =
  | 'urn:ietf:params:oauth:token-type:jwt'
  | 'urn:sortie:token-type:x509-svid'
  | 'urn:sortie:token-type:aws-caller-identity';

export interface Evidence {
  readonly type: EvidenceType;
  readonly token: string;
}

/**
 * Evidence that was appraised and matched a trust rule. Only attesters can make one, so an operation that
 * skips appraisal does not compile.
 */
export interface ValidatedEvidence {
  readonly agent: string;
  readonly instance: string;
  readonly tier: Tier;
  readonly attester: string;
  readonly rule: string;
  /** `sha-256:` of the evidence as presented; the evidence itself is never kept. */
  readonly digest: string;
  /** The key that the evidence names (`aud` `#jkt=`, `cnf.jkt`), or null where it names none. */
  readonly bound_jkt: string | null;
  /** Seconds; end of the evidence. */
  readonly expires_at: number;
  /** Whether tokens must not outlive the evidence. */
  readonly caps_token: boolean;
  /** For single-use evidence: an id that may be seen once until `expires_at`. */
  readonly once: string | null;
  /** How many distinct keys may present the same reusable evidence. */
  readonly max_keys: number;
}

export interface Attestation {
  /**
   * Appraises evidence. The attester is chosen by `iss` (or trust domain), never by a key in the token.
   * @throws Denied `invalid_evidence` with a private reason, whatever the cause.
   */
  appraise(
    evidence: Evidence,
    context: { readonly jkt: string; readonly now: number },
  ): Promise<ValidatedEvidence>;
}

/** A DPoP proof (RFC 9449) whose signature and claims hold; replay is judged by the store's `use_once`. */
export interface VerifiedProof {
  readonly jkt: string;
  readonly jti: string;
  readonly iat: number;
  /** Until when the pair (jkt, jti) must be remembered, seconds. */
  readonly remember_until: number;
}

export interface Proofs {
  /**
   * @throws Denied `invalid_dpop_proof` or `use_dpop_nonce`.
   * @param expect `url` is built from configuration, never from a Host header.
   */
  verify(
    proof: string | undefined,
    expect: {
      readonly method: string;
      readonly url: string;
      readonly access_token?: string;
      /** A proof made for a resource server carries no nonce of the broker. */
      readonly nonce?: 'required' | 'absent';
      readonly now: number;
    },
  ): Promise<VerifiedProof>;
  /** A fresh server nonce (RFC 9449 section 8). */
  nonce(now: number): string;
}

/* ---------------------------------------------------------------- tokens and keys */

export type SigningAlg = 'ES256' | 'RS256' | 'Ed25519';

export interface Tokens {
  /** Signs with the active key for `alg`. */
  sign(typ: string, alg: SigningAlg, claims: JsonObject | TokenClaims): Promise<string>;
  /** Verifies a token of this broker as presented by a stranger: signature, `typ`, `iss`, `exp`. Null if not one. */
  verify(token: string, typ: string, now: number): Promise<TokenClaims | null>;
  /** Public keys that verifiers may meet, next ones included (RFC 7517). */
  jwks(): { readonly keys: readonly JsonObject[] };
}

/* ---------------------------------------------------------------- policy in force */

export type { DispatchRule } from './domain/grant.ts';

export interface VerifierPolicy {
  readonly id: string;
  readonly audience: string;
  /** How many processes it runs at most, each counting its part of every allotment; absent if it counts nothing. */
  readonly processes?: number;
  /** Whether those count the bytes that they send. */
  readonly counts_bytes?: boolean;
  /** It asks the broker for each call and permits none by itself: the broker counts. */
  readonly asks?: boolean;
}

/** The configuration that operations read; swapped whole on reload. */
export interface Policy {
  readonly issuer: string;
  /** Hash of the dispatch list: the policy version. */
  readonly version: string;
  readonly dispatch: readonly DispatchRule[];
  audience(resource: string): AudiencePolicy | null;
  readonly audiences: readonly AudiencePolicy[];
  readonly catalogue: Catalogue;
  readonly verifiers: readonly VerifierPolicy[];
  /** As whom gateways ask for each call (forward-auth). */
  readonly gateways?: readonly VerifierPolicy[];
  readonly max_token_seconds: number;
  /** Identity by whom templates of the configuration folder count as approved; null outside development. */
  readonly auto_approve: boolean;
}

/** One random free index of a token status list (Token Status List section 12.2: unlinkable by order). */
export interface StatusSlots {
  reserve(): { readonly list: number; readonly index: number };
  /** Gives back a slot whose mission was not stored. */
  release(slot: { readonly list: number; readonly index: number }): void;
}

/** Everything an operation may use. Built once, in `broker.ts`. */
export interface Ports {
  readonly clock: Clock;
  readonly chance: Chance;
  readonly store: Store;
  readonly attestation: Attestation;
  readonly proofs: Proofs;
  readonly tokens: Tokens;
  readonly slots: StatusSlots;
  /** What hands out credentials in other systems, by type of entry. */
  readonly providers: Providers;
  /** Key under which a history digests its destinations: 32 bytes, of the broker's secret and exactly this scope. */
  readonly historyKey: (scope: HistoryScope) => Uint8Array;
  /** The configuration in force now; read once at the start of an operation. */
  policy(): Policy;
}
