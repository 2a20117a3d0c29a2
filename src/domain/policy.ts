/** Templates and audiences: what an administrator configures and policy instantiates from. Pure types and rules. */
import type { Catalogue } from '../behaviour/catalogue.ts';
import type { TemplateBehaviour } from '../behaviour/section.ts';
import type { AuthoritySet } from './authority/index.ts';
import type { Tier } from './mission.ts';

/**
 * The ceiling for one kind of mission, as imported and hashed (wire profile 2.3).
 * A version dispatches only after a person other than its importer approved exactly this document's hash.
 */
export interface TemplateDocument {
  readonly id: string;
  readonly version: string;
  readonly description?: string;
  readonly ceiling: AuthoritySet;
  readonly token_ttl_seconds: number;
  /** Longest life of a mission. */
  readonly lifetime_seconds: number;
  /** Longest silence before the mission is suspended; twice the token TTL unless given. */
  readonly attest_every_seconds: number;
  readonly required_tier: Tier;
  /** Live missions of this template at once; null for no limit. */
  readonly max_active: number | null;
  readonly dispatch_rate: { readonly count: number; readonly per_seconds: number } | null;
  /** Days are for people; the approval is due again after this. Null: never. */
  readonly review_every_seconds: number | null;
  readonly limits: TemplateLimits;
  /** Audiences for which a bearer token may be minted. */
  readonly bearer_audiences: readonly string[];
  /** Reserved audiences whose JWT may leave the broker after all. */
  readonly deliver_audiences: readonly string[];
  /** How calls of its missions are judged by where their values come from; absent: the default rules. */
  readonly behaviour?: TemplateBehaviour;
}

export interface TemplateLimits {
  readonly max_derivations?: number;
  readonly max_calls?: number;
  readonly max_egress_volume?: number;
  /** Live missions directly below one. */
  readonly max_children?: number;
  /** Missions anywhere below one, ended ones included. */
  readonly max_descendants?: number;
}

export interface ActionPolicy {
  readonly name: string;
  readonly labels: readonly string[];
  readonly description?: string;
}

/** A registered resource server. */
export interface AudiencePolicy {
  readonly resource: string;
  readonly name: string;
  readonly actions: readonly ActionPolicy[];
  readonly token_alg: 'ES256' | 'RS256' | 'Ed25519';
  /** Its JWT is used inside the broker and never handed out. */
  readonly reserved: boolean;
  readonly max_staleness_seconds: number;
  /** What its actions mean for provenance. Without one the behaviour of its callers is not judged. */
  readonly catalogue?: Catalogue;
}
