/** The shapes of authority: entries, calls, refusals. Names are those of wire profile 2.3. */

import type { JsonObject, JsonValue } from '../json.ts';

export const RESOURCE_ACCESS = 'mission_resource_access';

/** What a child mission may receive. Absent: this entry is not delegable. */
export interface Delegation {
  /** How many further delegations may follow; 0 is the same as no `delegation`. */
  readonly max_depth: number;
  /** Who may receive it; without it, anyone that the templates let in. */
  readonly allowed_delegates?: readonly Delegate[];
}

/** A matcher: every member given must be equal. */
export interface Delegate {
  readonly sub?: string;
  readonly sub_profile?: string;
}

export type ResourceMatch = 'exact' | 'prefix';

/** Authority over the actions of a registered resource server. */
export interface ResourceAccess {
  readonly type: 'mission_resource_access';
  readonly resource: string;
  /** Default `exact`; never inserted, because anchors hash entries as granted. */
  readonly resource_match?: ResourceMatch;
  readonly actions: readonly string[];
  /** By constraint key; every key must hold. See `constraints/`. */
  readonly constraints?: JsonObject;
  readonly delegation?: Delegation;
}

/** Authority over something that a provider hands out: `aws_session`, `vault_secret`, `postgres_role`. */
export interface ProviderEntry {
  readonly type: string;
  readonly [member: string]: JsonValue;
}

export type AuthorityEntry = ResourceAccess | ProviderEntry;
/** In order; each entry stands alone and is never joined with another. */
export type AuthoritySet = readonly AuthorityEntry[];

export function isResourceAccess(entry: AuthorityEntry): entry is ResourceAccess {
  return entry.type === RESOURCE_ACCESS;
}

/** Where a value of a call came from, as the verifier's provenance stage found it. */
export type Origin = 'template' | 'mission' | 'trusted' | 'history' | 'untrusted';
export const ORIGINS: readonly Origin[] = ['template', 'mission', 'trusted', 'history', 'untrusted'];

/** One step of the mission: the field of an action's answer that a value was read from. */
export interface OriginStep {
  readonly action: string;
  readonly field: string;
}

export interface OriginFact {
  readonly origin: Origin;
  readonly from?: OriginStep;
}

/**
 * Facts of a call that its caller cannot choose: the verifier fills them in. Whatever an applicable constraint
 * needs and does not find here denies (`constraint_unevaluable`).
 */
export interface CallContext {
  /** For `max_amount`; the amount is a decimal string, never a float. */
  readonly amount?: { readonly amount: string; readonly currency: string };
  /** For `recipient_domain`: domains or addr-specs; all must match. */
  readonly recipients?: readonly string[];
  readonly tenant?: string;
  /** Every label that the resource carries. */
  readonly data_classification?: string | readonly string[];
  /** For `allowed_tools`. */
  readonly tool?: string;
  readonly region?: string;
  /** RFC 3339. */
  readonly resource_issued_at?: string;
  /** Parameter name to where its value came from; an array when its parts came from several places. */
  readonly origins?: { readonly [parameter: string]: OriginFact | readonly OriginFact[] };
}

/** One use of authority at a resource server. */
export interface Call {
  readonly action: string;
  readonly resource: string;
  readonly parameters: JsonObject;
  readonly context: CallContext;
}

/** Stable reason vocabulary. Codes are only ever added. */
export type RefusalCode =
  /** The other side has no entry at all. */
  | 'nothing_granted'
  | 'type_not_covered'
  | 'resource_not_covered'
  | 'action_not_covered'
  /** A key of the ceiling is missing in what is compared with it. */
  | 'constraint_missing'
  | 'constraint_broader'
  /** Two values of one key that nothing can satisfy together. */
  | 'constraint_contradiction'
  /** The call has the needed fact and it is out of bounds. */
  | 'constraint_violated'
  /** The call lacks the needed fact, or it has a form that decides nothing. */
  | 'constraint_unevaluable'
  | 'delegation_broader'
  /** The call has no action, resource, parameters or context of the right type. */
  | 'call_refused'
  /** The call's resource is in a form that is refused, not normalized. */
  | 'resource_refused'
  /** The call's action is not one literal action. */
  | 'action_refused'
  /** A member of a provider entry is broader than the ceiling's. */
  | 'member_broader';

/** Why not: which entry, which key, which value. */
export interface Refusal {
  readonly code: RefusalCode;
  /** Index of the refused entry (`within`), or of the granted entry that came nearest (`permits`). */
  readonly entry?: number;
  /** Constraint key, `parameters.<name>`, or member, such as `actions`. */
  readonly key?: string;
  /** What was wanted there. */
  readonly value?: JsonValue;
  /** What the other side has there. */
  readonly allowed?: JsonValue;
}

/** One cut that `intersect` made. `granted` null: nothing of `wanted` was left. */
export interface Narrowing {
  readonly wanted: AuthorityEntry;
  readonly granted: AuthorityEntry | null;
  readonly reason: RefusalCode;
  /** The ceiling's entry and key that cut, such as `ceiling[1].constraints.max_amount`. */
  readonly rule: string;
}

export interface CataloguedAction {
  readonly labels: readonly string[];
}

/** Audience resource (normalized) to its actions. Build it with `catalogueOf`. */
export type Catalogue = ReadonlyMap<string, ReadonlyMap<string, CataloguedAction>>;
