/** From a live mission to one token: claims, record, signature; in that order. */
import { type AuthoritySet, effective } from '../domain/authority/index.ts';
import { Denied } from '../domain/denial.ts';
import type { JsonObject } from '../domain/json.ts';
import { type Allotment, type Counting, countingAt, type Purse } from '../domain/limits.ts';
import type { Mission } from '../domain/mission.ts';
import { tokenExpiry } from '../domain/mission.ts';
import type { AudiencePolicy, TemplateDocument } from '../domain/policy.ts';
import type { CredentialRecord, Ports, TokenClaims, Write } from '../ports.ts';
import { countersOf, tokensToCome } from './purse.ts';

/** RFC 9068. */
export const TOKEN_TYP = 'at+jwt';
/** Bearer tokens cannot be bound, so they live for a minute at most (wire profile 2). */
const BEARER_MAX_SECONDS = 60;

/** A token that is decided but not signed: it is recorded first (durable before secret). */
export interface PlannedToken {
  readonly claims: TokenClaims;
  readonly audience: AudiencePolicy;
  readonly token_type: 'DPoP' | 'Bearer';
  readonly credential: CredentialRecord;
  readonly write: Write;
  /** Its allotments of counted limits: committed in one group with the record. */
  readonly reserves: readonly Write[];
}

export interface MintedToken extends PlannedToken {
  readonly access_token: string;
}

/**
 * @param cap_at the end of the evidence or of the exchanged token, where it limits this one; else null
 * @param purse what the mission's counted limits leave; null if it has none
 * @throws Denied `invalid_target` for a reserved audience, `limit_exhausted`
 */
export function planToken(
  ports: Ports,
  request: {
    readonly mission: Mission;
    readonly template: TemplateDocument;
    readonly audience: AudiencePolicy;
    readonly authority: AuthoritySet;
    readonly cap_at: number | null;
    readonly purse: Purse | null;
    readonly now: number;
  },
): PlannedToken {
  const { mission, audience, now } = request;
  // A provider logs in with it: whoever holds it can be the broker there (wire profile 2, Audiences).
  if (audience.reserved && !request.template.deliver_audiences.includes(audience.resource))
    throw new Denied({ tag: 'invalid_target' }, `${audience.resource} is reserved`);
  const issuer = ports.policy().issuer;
  const bearer = request.template.bearer_audiences.includes(audience.resource);
  const ttl = Math.min(
    mission.token_ttl_seconds,
    ports.policy().max_token_seconds,
    bearer ? BEARER_MAX_SECONDS : Number.POSITIVE_INFINITY,
  );
  const iat = Math.floor(now);
  const counting = countingAt(audience.resource, countersOf(ports.policy()));
  const allotted = allot(ports, request, counting);
  const claims: TokenClaims = {
    iss: issuer,
    sub: mission.sub,
    client_id: mission.agent,
    ...(mission.act && { act: mission.act }),
    aud: audience.resource,
    iat,
    exp: Math.floor(tokenExpiry(iat, ttl, mission.expires_at, request.cap_at)),
    jti: ports.chance.id('cred'),
    ...(!bearer && { cnf: { jkt: mission.jkt } }),
    authorization_details: request.authority,
    ...limitsOf(request.purse, counting, allotted),
    mission: {
      id: mission.id,
      version: mission.version,
      path: mission.path,
      issuer,
      authority_hash: mission.authority_hash,
      expires_at: mission.expires_at,
      template: { id: mission.template.id, version: mission.template.version },
      attester: mission.attester,
      rule: mission.rule,
    },
    status: {
      status_list: { idx: mission.status_index, uri: `${issuer}/status-lists/${mission.status_list}` },
    },
  };
  const credential: CredentialRecord = {
    id: claims.jti,
    mission_id: mission.id,
    type: 'jwt',
    target: audience.resource,
    jkt: mission.jkt,
    issued_at: iat,
    expires_at: claims.exp,
    revoked_at: null,
  };
  return {
    claims,
    audience,
    token_type: bearer ? 'Bearer' : 'DPoP',
    credential,
    write: { kind: 'insert_credential', credential },
    reserves: allotted.flatMap((allotment) => reservesOf(allotment, claims, counting?.processes ?? 0)),
  };
}

/** This token's part of each counted limit of the mission. */
function allot(
  ports: Ports,
  request: Parameters<typeof planToken>[1],
  counting: Counting | null,
): readonly Allotment[] {
  const { mission, audience, purse, now } = request;
  if (purse === null) return [];
  const available = effective(mission.authority, mission.containments);
  return purse.take(audience.resource, counting, tokensToCome(ports.policy(), mission, available, now));
}

/** What the token says of its allotments: by how many processes they are divided is settled with them. */
function limitsOf(
  purse: Purse | null,
  counting: Counting | null,
  allotted: readonly Allotment[],
): { readonly limits?: JsonObject } {
  if (purse === null || (allotted.length === 0 && purse.budget === null)) return {};
  const { budget } = purse;
  return {
    limits: {
      ...Object.fromEntries(allotted.map(({ control, amount }) => [control, amount])),
      ...(allotted.length > 0 && (counting?.processes ?? 0) > 0 && { processes: counting?.processes ?? 0 }),
      ...(budget !== null && { max_budget: { amount: budget.amount, currency: budget.currency } }),
    },
  };
}

function reservesOf(allotment: Allotment, claims: TokenClaims, processes: number): readonly Write[] {
  const { control, amount, taken } = allotment;
  if (amount === 0) return [];
  const { jti, iat, exp, aud: audience } = claims;
  return [
    ...taken.map((part): Write => ({ kind: 'reserve_allotment', audience, ...part })),
    {
      kind: 'insert_allotment',
      mission_id: claims.mission.id,
      audience,
      allotment: { jti, control, amount, processes, issued_at: iat, expires_at: exp },
    },
  ];
}

/** Signs what has been recorded. */
export async function signToken(ports: Ports, planned: PlannedToken): Promise<MintedToken> {
  const access_token = await ports.tokens.sign(TOKEN_TYP, planned.audience.token_alg, planned.claims);
  return { ...planned, access_token };
}
