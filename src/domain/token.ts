/** Claims of a Sortie access token (RFC 9068, wire profile 2.5): minted by the broker, read by guards. */
import type { AuthoritySet } from './authority/index.ts';
import type { JsonObject } from './json.ts';
import type { JsonAct } from './mission.ts';

/** What every reader of a token needs. */
export interface AccessClaims {
  readonly iss: string;
  /** Root agent of the tree. */
  readonly sub: string;
  /** Agent that holds the key; equal to `sub` unless delegated. */
  readonly client_id: string;
  /** Only when delegated. */
  readonly act?: JsonAct;
  /** Exactly one. */
  readonly aud: string;
  /** Whole seconds. */
  readonly iat: number;
  readonly exp: number;
  readonly jti: string;
  /** Absent in a Bearer token. */
  readonly cnf?: { readonly jkt: string };
  /** For this audience. */
  readonly authorization_details: AuthoritySet;
  readonly limits?: JsonObject;
  readonly mission: {
    readonly id: string;
    readonly version: number;
    /** From the root to this mission, at most eight. */
    readonly path: readonly string[];
    /** Of the set as granted at creation. */
    readonly authority_hash: string;
    readonly expires_at: number;
    readonly template: { readonly id: string; readonly version: string };
    readonly attester: string;
    readonly rule: string;
  };
}

/** All that the broker writes. */
export interface TokenClaims extends AccessClaims {
  readonly mission: AccessClaims['mission'] & { readonly issuer: string };
  readonly status: { readonly status_list: { readonly idx: number; readonly uri: string } };
}
