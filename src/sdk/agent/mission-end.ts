/** How a mission ends: the words of the broker, of its errors and of this SDK. */
import type { MissionEnd } from './errors.ts';
import type { AgentMissionState } from './mission-events.ts';

export const END_OF_STATE: Readonly<Record<string, MissionEnd>> = {
  revoked: 'mission_revoked',
  cascaded: 'mission_revoked',
  expired: 'mission_expired',
  completed: 'mission_completed',
};
export const STATE_OF_END: Readonly<Record<MissionEnd, AgentMissionState>> = {
  mission_revoked: 'revoked',
  mission_expired: 'expired',
  mission_completed: 'completed',
  closed: 'closed',
};
export const ENDS: readonly string[] = ['mission_revoked', 'mission_expired', 'mission_completed'];
