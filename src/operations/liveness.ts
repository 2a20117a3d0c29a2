/** Whether a token of this broker is still good, judged against the store: the one answer for every endpoint. */
import { effective, forAudience, within } from '../domain/authority/index.ts';
import { type Mission, stateAt } from '../domain/mission.ts';
import type { Ports, TokenClaims } from '../ports.ts';
import { selectorsOf } from './create-mission.ts';

/** A stable code, or null for a token that is good. The signature and `exp` were checked before. */
export async function tokenRefusal(ports: Ports, claims: TokenClaims, now: number): Promise<string | null> {
  const [mission, credential] = await Promise.all([
    ports.store.mission(claims.mission.id),
    ports.store.credential(claims.jti),
  ]);
  if (mission === null || credential === null || credential.revoked_at !== null) return 'token_revoked';
  const state = stateAt(mission, now);
  if (state !== 'active') return `mission_${state === 'cascaded' ? 'revoked' : state}`;
  for (const id of mission.path) {
    if (id === mission.id) continue;
    const ancestor = await ports.store.mission(id);
    if (ancestor === null || stateAt(ancestor, now) !== 'active') return 'mission_revoked';
  }
  if (await isBlocked(ports, mission, now)) return 'blocked';
  // A token older than the last narrowing is renewed, not honoured (wire profile 3, `narrow`).
  if (!stillGranted(claims, mission)) return 'mission_narrowed';
  return null;
}

function stillGranted(claims: TokenClaims, mission: Mission): boolean {
  if (claims.mission.version >= mission.version) return true;
  // The end was brought forward: whoever caches the answer until `exp` would honour it for too long.
  if (claims.exp > Math.ceil(mission.expires_at)) return false;
  const available = forAudience(effective(mission.authority, mission.containments), claims.aud);
  return within(claims.authorization_details, available).ok;
}

/** Whether a live block names anything of the mission. */
async function isBlocked(ports: Ports, mission: Mission, now: number): Promise<boolean> {
  const blocks = await ports.store.blocks(now);
  if (blocks.length === 0) return false;
  const selectors = selectorsOf(mission);
  return blocks.some(({ selector }) =>
    selectors.some(({ kind, key }) => kind === selector.kind && key === selector.key),
  );
}
