/** `POST /missions/{id}/complete`: the holder says that the work is done. */
import { Denied } from '../domain/denial.ts';
import { type Mission, missionError, stateAt } from '../domain/mission.ts';
import type { Evidence, Ports } from '../ports.ts';
import { commit } from './conflicts.ts';
import { possession } from './create-mission.ts';
import { authenticateHolder, type HolderCredentials, ownMission } from './holder.ts';
import { awake, intervene } from './lifecycle.ts';
import { asAttested } from './refusals.ts';

/** @throws Denied */
export async function completeMission(
  ports: Ports,
  credentials: HolderCredentials,
  mission_id: string,
): Promise<void> {
  const holder = await authenticateHolder(ports, credentials, mission_id);
  await commit(ports, [holder.spend]);
  const state = stateAt(holder.mission, ports.clock.now());
  if (state !== 'active') throw new Denied({ tag: 'dead_mission', error: missionError(state) });
  await finish(ports, holder.mission);
}

/**
 * With fresh evidence instead of a token: a mission may hold nothing but credentials of other systems.
 * @throws Denied
 */
export async function completeAttested(
  ports: Ports,
  request: { readonly mission_id: string; readonly evidence: Evidence },
  proof: { readonly header: string | undefined; readonly url: string },
): Promise<void> {
  const { mission_id } = request;
  await asAttested(ports, request.evidence, proof, { mission_id }, async (agent) => {
    const mission = await ownMission(ports, mission_id, agent.evidence, agent.proof, 'completion');
    // Judged as for a renewal: one that is only silent can be ended by what it lacked.
    awake(ports, mission, true, agent.now);
    await commit(ports, possession(agent.evidence, agent.proof));
    await finish(ports, mission);
  });
}

async function finish(ports: Ports, mission: Mission): Promise<void> {
  const by = { actor: mission.agent, reason: 'completed by its holder' };
  await intervene(ports, mission.id, 'complete', by, 'completed');
}
