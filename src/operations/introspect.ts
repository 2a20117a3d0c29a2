/** RFC 7662 for verifiers that prefer to ask: what a token may do now, judged against the store. */
import type { JsonObject } from '../domain/json.ts';
import type { Ports, TokenClaims, VerifierPolicy } from '../ports.ts';
import { tokenRefusal } from './liveness.ts';
import { type RemainingLimits, remainingLimits } from './manifest.ts';
import { TOKEN_TYP } from './mint.ts';
import { scarcest } from './purse.ts';

/** The one answer for every token that is not good, whatever the cause (RFC 7662 section 2.2). */
const INACTIVE: JsonObject = { active: false };

/** A verifier sees only tokens that were minted for its own audience. */
export async function introspect(ports: Ports, verifier: VerifierPolicy, token: string): Promise<JsonObject> {
  const now = ports.clock.now();
  const claims = await ports.tokens.verify(token, TOKEN_TYP, now);
  if (claims === null || claims.aud !== verifier.audience) return INACTIVE;
  if ((await tokenRefusal(ports, claims, now)) !== null) return INACTIVE;
  const token_type = claims.cnf ? 'DPoP' : 'Bearer';
  const limits = await leftOfMission(ports, claims);
  const mission = { ...claims.mission, ...(limits && { limits }) };
  return { active: true, token_type, ...claims, mission } as unknown as JsonObject;
}

/** `limits` of the token is what its verifiers may count; beside it, what the mission has left for later tokens. */
async function leftOfMission(ports: Ports, claims: TokenClaims): Promise<RemainingLimits | null> {
  if (claims.limits === undefined) return null;
  const mission = await ports.store.mission(claims.mission.id);
  if (mission === null) return null;
  const left = await scarcest(ports, mission);
  // What other audiences hold is theirs to know.
  const counted = left.counted.map((one) => ({
    ...one,
    audiences: one.audiences.filter(({ audience }) => audience === claims.aud),
  }));
  return remainingLimits({ ...left, counted });
}
