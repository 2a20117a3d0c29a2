/** RFC 7662 for verifiers that prefer to ask: what a token may do now, judged against the store. */
import type { JsonObject } from '../domain/json.ts';
import type { Ports, VerifierPolicy } from '../ports.ts';
import { tokenRefusal } from './liveness.ts';
import { TOKEN_TYP } from './mint.ts';

/** The one answer for every token that is not good, whatever the cause (RFC 7662 section 2.2). */
const INACTIVE: JsonObject = { active: false };

/** A verifier sees only tokens that were minted for its own audience. */
export async function introspect(ports: Ports, verifier: VerifierPolicy, token: string): Promise<JsonObject> {
  const now = ports.clock.now();
  const claims = await ports.tokens.verify(token, TOKEN_TYP, now);
  if (claims === null || claims.aud !== verifier.audience) return INACTIVE;
  if ((await tokenRefusal(ports, claims, now)) !== null) return INACTIVE;
  return { active: true, token_type: claims.cnf ? 'DPoP' : 'Bearer', ...claims } as unknown as JsonObject;
}
