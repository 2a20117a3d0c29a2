/** RFC 7662 for verifiers that prefer to ask: what a token may do now, judged against the store. */
import { effective, forAudience, within } from '../domain/authority/index.ts';
import type { JsonObject } from '../domain/json.ts';
import { stateAt } from '../domain/mission.ts';
import type { Ports, VerifierPolicy } from '../ports.ts';
import { selectorsOf } from './create-mission.ts';
import { TOKEN_TYP } from './mint.ts';

/** The one answer for every token that is not good, whatever the cause (RFC 7662 section 2.2). */
const INACTIVE: JsonObject = { active: false };

/** A verifier sees only tokens that were minted for its own audience. */
export async function introspect(ports: Ports, verifier: VerifierPolicy, token: string): Promise<JsonObject> {
  const now = ports.clock.now();
  const claims = await ports.tokens.verify(token, TOKEN_TYP, now);
  if (claims === null || claims.aud !== verifier.audience) return INACTIVE;
  const [mission, credential] = await Promise.all([
    ports.store.mission(claims.mission.id),
    ports.store.credential(claims.jti),
  ]);
  if (mission === null || credential === null || credential.revoked_at !== null) return INACTIVE;
  if (stateAt(mission, now) !== 'active') return INACTIVE;
  // A token older than the last narrowing is renewed, not honoured (wire profile 3, `narrow`).
  if (claims.mission.version < mission.version && !stillWithin(claims, mission)) return INACTIVE;
  // The end was brought forward: whoever caches this answer until `exp` would honour it for too long.
  if (claims.exp > Math.ceil(mission.expires_at)) return INACTIVE;
  for (const id of mission.path) {
    if (id === mission.id) continue;
    const ancestor = await ports.store.mission(id);
    if (ancestor === null || stateAt(ancestor, now) !== 'active') return INACTIVE;
  }
  if (await blocked(ports, selectorsOf(mission), now)) return INACTIVE;
  return { active: true, token_type: claims.cnf ? 'DPoP' : 'Bearer', ...claims } as unknown as JsonObject;
}

function stillWithin(
  claims: { readonly aud: string; readonly authorization_details: Parameters<typeof within>[0] },
  mission: {
    readonly authority: Parameters<typeof effective>[0];
    readonly containments: Parameters<typeof effective>[1];
  },
): boolean {
  const available = forAudience(effective(mission.authority, mission.containments), claims.aud);
  return within(claims.authorization_details, available).ok;
}

async function blocked(
  ports: Ports,
  selectors: ReturnType<typeof selectorsOf>,
  now: number,
): Promise<boolean> {
  const blocks = await ports.store.blocks(now);
  return blocks.some((block) =>
    selectors.some(({ kind, key }) => kind === block.selector.kind && key === block.selector.key),
  );
}
