/** The manifest (wire profile 2): exactly what a mission holds, with how long each part outlives a revocation. */
import { type AuthoritySet, effective } from '../domain/authority/index.ts';
import type { JsonObject } from '../domain/json.ts';
import { type Mission, stateAt } from '../domain/mission.ts';
import { rfc3339 } from '../domain/reader.ts';
import type { CredentialRecord, Ports } from '../ports.ts';
import type { AudienceLeft, BudgetLeft, Scarcest } from './purse.ts';

export interface ManifestCredential {
  readonly id: string;
  readonly type: string;
  /** Of a token: who takes it. Of a provider credential: server, role or path. */
  readonly audience: string;
  readonly expires_at: string;
  /** Seconds that it can still work at worst after it was revoked. */
  readonly residual_after_revoke_seconds: number;
  /** What that rests on, for a provider credential. */
  readonly residual_reason?: string;
  /** Only in the answer that created it; never stored. A provider credential is an object. */
  readonly value?: string | JsonObject;
  readonly token_type?: string;
  /** In the answer to a renewal: the id that was asked for, whose credential this one takes the place of. */
  readonly replaces?: string;
}

export interface DeliveredValue {
  readonly value: string | JsonObject;
  readonly replaces?: string;
  readonly token_type?: string;
}

/** By control: the whole, what may still be given out of it, and the same at each audience that had something of it. */
export interface RemainingLimits {
  readonly derivations?: { readonly max: number; readonly left: number };
  readonly max_calls?: RemainingLimit;
  readonly max_egress_volume?: RemainingLimit;
  readonly max_budget?: BudgetLeft;
}

export interface RemainingLimit {
  readonly max: number;
  /** What tokens did not use is in it again once every process that counts has told so. */
  readonly left: number;
  readonly audiences?: readonly AudienceLeft[];
}

export interface Manifest {
  readonly mission: {
    readonly id: string;
    readonly state: string;
    readonly version: number;
    readonly expires_at: string;
    readonly attest_before: string;
    readonly template: { readonly id: string; readonly version: string };
  };
  /** Effective: as granted minus every narrowing so far. */
  readonly authorization_details: AuthoritySet;
  readonly limits: RemainingLimits;
  readonly credentials: readonly ManifestCredential[];
}

/** @param values what was just minted or issued, by credential id */
export function manifestOf(
  ports: Ports,
  mission: Mission,
  credentials: readonly CredentialRecord[],
  values: ReadonlyMap<string, DeliveredValue>,
  left: Scarcest,
  now: number,
): Manifest {
  return {
    mission: {
      id: mission.id,
      state: stateAt(mission, now),
      version: mission.version,
      expires_at: rfc3339(mission.expires_at),
      attest_before: rfc3339(
        Math.max(mission.last_attested_at, mission.state_since) + mission.attest_every_seconds,
      ),
      template: { id: mission.template.id, version: mission.template.version },
    },
    authorization_details: effective(mission.authority, mission.containments),
    limits: remainingLimits(left),
    credentials: credentials
      .filter((credential) => credential.expires_at > now && credential.revoked_at === null)
      .map((credential) => ({
        id: credential.id,
        type: credential.type,
        audience: credential.target,
        expires_at: rfc3339(credential.expires_at),
        ...residualOf(ports, credential, now),
        ...values.get(credential.id),
      })),
  };
}

/** What is left of a mission's limits, as manifest and introspection tell it. */
export function remainingLimits({ derivations, counted, budget }: Scarcest): RemainingLimits {
  return {
    ...(derivations !== null && { derivations }),
    ...Object.fromEntries(
      counted.map(({ control, max, left, audiences }) => [
        control,
        { max, left, ...(audiences.length > 0 && { audiences }) },
      ]),
    ),
    ...(budget !== null && { max_budget: budget }),
  };
}

function residualOf(ports: Ports, credential: CredentialRecord, now: number) {
  const provider = ports.providers.get(credential.type);
  if (provider !== undefined) {
    const { seconds, why } = provider.residual(credential.expires_at, now);
    return { residual_after_revoke_seconds: seconds, residual_reason: why };
  }
  // A verifier that heard of the revocation denies at once; one cut off denies after its bound.
  const staleness = ports.policy().audience(credential.target)?.max_staleness_seconds ?? 0;
  return {
    residual_after_revoke_seconds: Math.min(staleness, Math.max(0, Math.floor(credential.expires_at - now))),
  };
}
