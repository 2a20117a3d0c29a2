/** The holder of a mission at `/missions*` and `/revoke`: a bound token and a proof by its key, nothing less. */
import { Denied } from '../domain/denial.ts';
import type { Mission } from '../domain/mission.ts';
import type { Ports, TokenClaims, ValidatedEvidence, VerifiedProof, Write } from '../ports.ts';
import { spend } from './create-mission.ts';
import { TOKEN_TYP } from './mint.ts';

export interface HolderCredentials {
  /** The `Authorization` header. */
  readonly authorization: string | undefined;
  /** The `DPoP` header. */
  readonly proof: string | undefined;
  readonly method: string;
  /** As configured, never from a Host header. */
  readonly url: string;
}

export interface Holder {
  readonly claims: TokenClaims;
  readonly mission: Mission;
  /** Spends the proof; commit it with whatever the holder asked for. */
  readonly spend: Write;
}

/**
 * @param mission_id the mission in the path; another mission's token gets the answer for an unknown one
 * @throws Denied `unknown_mission`, `invalid_dpop_proof`, `use_dpop_nonce`
 */
export async function authenticateHolder(
  ports: Ports,
  credentials: HolderCredentials,
  mission_id: string,
): Promise<Holder> {
  const now = ports.clock.now();
  const access_token = dpopToken(credentials.authorization);
  if (access_token === null) throw new Denied({ tag: 'unauthenticated' }, 'no DPoP token');
  const proof = await ports.proofs.verify(credentials.proof, {
    method: credentials.method,
    url: credentials.url,
    access_token,
    now,
  });
  const claims = await ports.tokens.verify(access_token, TOKEN_TYP, now);
  if (claims?.cnf?.jkt !== proof.jkt || claims.mission.id !== mission_id)
    throw new Denied({ tag: 'unknown_mission' }, 'token is not of this mission or not bound to the proof');
  const [mission, credential] = await Promise.all([
    ports.store.mission(mission_id),
    ports.store.credential(claims.jti),
  ]);
  if (mission === null || mission.jkt !== proof.jkt || credential === null || credential.revoked_at !== null)
    throw new Denied({ tag: 'unknown_mission' }, 'token or mission is not live');
  return { claims, mission, spend: spend(proof) };
}

/**
 * The mission of an instance that shows evidence instead of a token, with a proof by the mission's key. Whoever is not
 * the same instance with the same key learns nothing, not even that the mission exists.
 * @param what they asked for; for the record
 * @throws Denied `unknown_mission`
 */
export async function ownMission(
  ports: Ports,
  mission_id: string,
  evidence: ValidatedEvidence,
  proof: VerifiedProof,
  what: string,
): Promise<Mission> {
  const mission = await ports.store.mission(mission_id);
  if (
    mission === null ||
    mission.jkt !== proof.jkt ||
    mission.agent !== evidence.agent ||
    mission.instance !== evidence.instance ||
    mission.attester !== evidence.attester
  )
    throw new Denied({ tag: 'unknown_mission' }, `${what} by another instance or key, or of no mission`);
  return mission;
}

function dpopToken(header: string | undefined): string | null {
  if (header === undefined || header.length > 16_384) return null;
  const [scheme, token, ...rest] = header.split(' ');
  return scheme?.toLowerCase() === 'dpop' && token && rest.length === 0 ? token : null;
}
