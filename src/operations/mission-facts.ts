/**
 * `GET /verifier/missions/{id}`: what a guard needs of a mission to judge where values came from. Tokens carry no
 * prose, so the words of the intent are told here: to verifiers of an audience that a token of this mission was
 * minted for, and only what concerns it.
 */
import { deliverBehaviour } from '../behaviour/delivery.ts';
import { Denied } from '../domain/denial.ts';
import type { JsonObject } from '../domain/json.ts';
import type { Mission } from '../domain/mission.ts';
import type { Ports, VerifierPolicy } from '../ports.ts';
import { missionHistory } from './history.ts';
import { sourcesForOthers } from './judge-behaviour.ts';
import { missionBehaviour } from './mission-behaviour.ts';

/** Key under which every audience of one tree of missions digests values (wire profile 2.4), by its root. 32 bytes. */
export type MissionDigestKey = (root: string) => Uint8Array;

/** @throws Denied `not_found`, the same for an unknown mission and for one that is not this audience's */
export async function missionFacts(
  ports: Ports,
  digestKey: MissionDigestKey,
  verifier: VerifierPolicy,
  id: string,
): Promise<JsonObject> {
  const mission = await ports.store.mission(id);
  const minted =
    mission !== null &&
    (await ports.store.credentials(id)).some(({ target }) => target === verifier.audience);
  if (mission === null || !minted) throw new Denied({ tag: 'not_found' });
  const { goal, constraints = [], success_criteria = [], needs = [] } = mission.intent;
  return {
    mission_id: mission.id,
    created_at: mission.created_at,
    expires_at: mission.expires_at,
    goal,
    constraints,
    success_criteria,
    needs: needs
      .filter(
        ({ resource }) => resource === verifier.audience || resource.startsWith(`${verifier.audience}/`),
      )
      .map(({ actions, why }) => ({ actions, why })),
    // Parent and child talk to each other: what one has read, the other may have heard.
    tainted: mission.tainted || (await treeIsTainted(ports, mission)),
    marked: mission.tainted,
    born_tainted: mission.born_tainted ?? false,
    behaviour: deliverBehaviour(await missionBehaviour(ports, mission, verifier.audience)),
    ...(await historyPart(ports, mission, verifier.audience)),
    digest_key: Buffer.from(digestKey(mission.path[0] ?? mission.id)).toString('base64url'),
    sources_for_others: sourcesForOthers(ports, mission, verifier.audience).map(({ action, field }) => ({
      action,
      ...(field !== undefined && { field }),
    })),
  };
}

/** Only where the mission's template turns history on. */
async function historyPart(ports: Ports, mission: Mission, audience: string): Promise<JsonObject> {
  const history = await missionHistory(ports, mission, audience);
  if (history === null) return {};
  const { version, key, digests } = history;
  return { history: { version, key: Buffer.from(key).toString('base64url'), digests: [...digests] } };
}

async function treeIsTainted(ports: Ports, mission: Mission): Promise<boolean> {
  const members = await ports.store.missionTree(mission.path[0] ?? mission.id);
  return members.some(({ tainted }) => tainted);
}
