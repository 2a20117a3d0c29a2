/** The counted limits of one mission (wire profile 2.2), opened where tokens are planned. */
import { type AuthoritySet, forAudience } from '../domain/authority/index.ts';
import { countedLimits, countingAt, isLimited, Purse, requireCounted } from '../domain/limits.ts';
import type { Mission, MissionControls } from '../domain/mission.ts';
import type { AudiencePolicy, TemplateDocument } from '../domain/policy.ts';
import type { Policy, Ports } from '../ports.ts';

/**
 * For a mission that is being made, or null where nothing of it is counted.
 * @throws Denied `unsupported_control` if a limit would be counted by nobody
 */
export function newPurse(
  policy: Policy,
  controls: MissionControls | undefined,
  template: TemplateDocument,
  granted: AuthoritySet,
): Purse | null {
  const limits = countedLimits(controls, template.limits);
  if (!isLimited(limits)) return null;
  const counting = audiencesOf(policy, granted).map(({ resource }) => countingAt(resource, policy.verifiers));
  requireCounted(limits, granted, counting);
  return new Purse(limits, null);
}

/** For a stored mission, or null where nothing of it is counted. */
export async function storedPurse(
  ports: Ports,
  mission: Mission,
  template: TemplateDocument,
): Promise<Purse | null> {
  const limits = countedLimits(mission.intent.controls, template.limits);
  return isLimited(limits) ? new Purse(limits, await ports.store.allowances(mission.id)) : null;
}

/** How many tokens may still be needed until the mission ends: one a token's life, for each of its audiences. */
export function tokensToCome(policy: Policy, mission: Mission, available: AuthoritySet, now: number): number {
  const lives = Math.ceil((mission.expires_at - now) / mission.token_ttl_seconds);
  return Math.max(1, lives) * Math.max(1, audiencesOf(policy, available).length);
}

function audiencesOf(policy: Policy, authority: AuthoritySet): readonly AudiencePolicy[] {
  return policy.audiences.filter(({ resource }) => forAudience(authority, resource).length > 0);
}
