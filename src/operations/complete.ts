/** `POST /missions/{id}/complete`: the holder says that the work is done. */
import { Denied } from '../domain/denial.ts';
import { missionError, stateAt } from '../domain/mission.ts';
import type { Ports } from '../ports.ts';
import { commit } from './conflicts.ts';
import { authenticateHolder, type HolderCredentials } from './holder.ts';
import { intervene } from './lifecycle.ts';

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
  const by = { actor: holder.mission.agent, reason: 'completed by its holder' };
  await intervene(ports, mission_id, 'complete', by, 'completed');
}
