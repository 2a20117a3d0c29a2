/** Reading a Sortie access token (wire profile 2.5) without trusting a byte of it. */
import type { CompiledAuthority } from '../../domain/authority/index.ts';
import { isJsonObject, type JsonObject, type JsonValue, parseJson } from '../../domain/json.ts';
import type { JsonAct } from '../../domain/mission.ts';
import type { RevocationKeys } from '../../domain/revocation-set.ts';
import type { AccessClaims } from '../../domain/token.ts';
import type { AuthorityPool, PooledAuthority } from './authority-pool.ts';
import type { ProofKey } from './proof-keys.ts';

/** Largest token that is read at all. */
export const TOKEN_MAX_LENGTH = 16_384;
const MAX_PATH = 8;
const MAX_NAME = 1024;

export type { AccessClaims };

/**
 * A token whose signature and claims hold: the only thing that enters the cache. It is also what a permitted call is
 * answered with, so that a permit allocates nothing.
 */
export interface VerifiedToken {
  readonly permitted: true;
  readonly claims: AccessClaims;
  /** The agent that holds the key. */
  readonly agent: string;
  readonly mission_id: string;
  readonly scheme: 'DPoP' | 'Bearer';
  /** The header value that it came in, with the scheme's canonical spelling. Secret. */
  readonly authorization: string;
  readonly kid: string;
  readonly authority: CompiledAuthority;
  readonly revocation: RevocationKeys;
  /** `ath` that a proof for it carries; empty for a bearer token. */
  readonly ath: string;
  /** The proof key, once a proof by it held. */
  proof_key: ProofKey | null;
  /** Revision of the revocation set that was last found to say nothing against this token; -1 for none. */
  clear_at: number;
}

/** Claims of the right shape, with their authority compiled. */
export interface ReadClaims {
  readonly claims: AccessClaims;
  readonly authority: CompiledAuthority;
}

/** Parts of a compact JWS, still unverified. */
export interface TokenParts {
  readonly header: JsonObject;
  readonly payload: string;
  readonly signed: string;
  readonly signature: string;
}

/** Members of the protected header that the guard knows; any other could change what is signed or by whom. */
const HEADER_MEMBERS: ReadonlySet<string> = new Set(['typ', 'alg', 'kid']);

/** Splits a token. Null for anything that is not three parts with a header of `typ`, `alg` and `kid` alone. */
export function readToken(token: string): TokenParts | null {
  const first = token.indexOf('.');
  const second = token.indexOf('.', first + 1);
  if (first < 1 || second < first + 2 || second === token.length - 1 || token.indexOf('.', second + 1) !== -1)
    return null;
  const header = readJson(token.slice(0, first));
  if (header === null || header['typ'] !== 'at+jwt') return null;
  for (const member of Object.keys(header)) if (!HEADER_MEMBERS.has(member)) return null;
  return {
    header,
    payload: token.slice(first + 1, second),
    signed: token.slice(0, second),
    signature: token.slice(second + 1),
  };
}

/** base64url JSON object; null if it is not one. */
export function readJson(part: string): JsonObject | null {
  try {
    const value = parseJson(Buffer.from(part, 'base64url').toString('utf8'), { max_depth: 24 });
    return isJsonObject(value) ? value : null;
  } catch {
    return null;
  }
}

/** Claims of the right shape, or null. Says nothing about issuer, audience or time. */
export function readClaims(payload: JsonObject, pool: AuthorityPool): ReadClaims | null {
  const { iss, sub, client_id, aud, iat, exp, jti, act, cnf, limits } = payload;
  const mission = readMission(payload['mission']);
  if (!isName(iss) || !isName(sub) || !isName(client_id) || !isName(aud) || !isName(jti)) return null;
  if (!isTime(iat) || !isTime(exp) || mission === null) return null;
  const actors = act === undefined ? undefined : readAct(act, 0);
  if (actors === null) return null;
  if (cnf !== undefined && !(isJsonObject(cnf) && isName(cnf['jkt']) && Object.keys(cnf).length === 1))
    return null;
  if (limits !== undefined && !isJsonObject(limits)) return null;
  let pooled: PooledAuthority;
  try {
    pooled = pool.get(payload['authorization_details']);
  } catch {
    return null;
  }
  const claims: AccessClaims = {
    iss,
    sub,
    client_id,
    ...(actors === undefined ? {} : { act: actors }),
    aud,
    iat,
    exp,
    jti,
    ...(cnf === undefined ? {} : { cnf: { jkt: cnf['jkt'] as string } }),
    authorization_details: pooled.set,
    ...(limits === undefined ? {} : { limits }),
    mission,
  };
  return { claims, authority: pooled.compiled };
}

function readMission(value: JsonValue | undefined): AccessClaims['mission'] | null {
  if (!isJsonObject(value)) return null;
  const { id, version, path, authority_hash, expires_at, template, attester, rule } = value;
  if (!isName(id) || !isName(authority_hash) || !isName(attester) || !isName(rule)) return null;
  if (typeof version !== 'number' || !Number.isSafeInteger(version) || version < 0) return null;
  if (typeof expires_at !== 'number' || !Array.isArray(path)) return null;
  // The last member of the path is the mission itself: a path of another tree would escape `mission_tree`.
  if (path.length < 1 || path.length > MAX_PATH || !path.every(isName) || path.at(-1) !== id) return null;
  if (!isJsonObject(template) || !isName(template['id']) || !isName(template['version'])) return null;
  return {
    id,
    version,
    path: path as readonly string[],
    authority_hash,
    expires_at,
    template: { id: template['id'], version: template['version'] },
    attester,
    rule,
  };
}

function readAct(value: JsonValue, depth: number): JsonAct | null {
  if (depth >= MAX_PATH || !isJsonObject(value) || !isName(value['sub'])) return null;
  if (value['act'] === undefined) return { sub: value['sub'] };
  const act = readAct(value['act'], depth + 1);
  return act === null ? null : { sub: value['sub'], act };
}

function isName(value: JsonValue | undefined): value is string {
  return typeof value === 'string' && value !== '' && value.length <= MAX_NAME;
}

function isTime(value: JsonValue | undefined): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0;
}

/** Everything that a call needs of a token, computed once. */
export function verifiedToken(
  presented: { readonly authorization: string; readonly scheme: 'DPoP' | 'Bearer'; readonly kid: string },
  { claims, authority }: ReadClaims,
  ath: string,
  revocation: RevocationKeys,
): VerifiedToken {
  return {
    permitted: true,
    claims,
    agent: claims.client_id,
    mission_id: claims.mission.id,
    ...presented,
    authority,
    revocation,
    ath,
    proof_key: null,
    clear_at: -1,
  };
}
