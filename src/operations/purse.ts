/** The counted limits of one mission (wire profile 2.2), opened where tokens are planned. */
import { type AuthoritySet, forAudience } from '../domain/authority/index.ts';
import { type MissionBudget, requireBudgeted } from '../domain/budget.ts';
import {
  type Account,
  type Allowance,
  countedLimits,
  countingAt,
  isLimited,
  Purse,
  requireCounted,
} from '../domain/limits.ts';
import type { Mission } from '../domain/mission.ts';
import type { AudiencePolicy, TemplateDocument } from '../domain/policy.ts';
import type { Policy, Ports, VerifierPolicy } from '../ports.ts';

type Limited = Pick<Mission, 'id' | 'path' | 'intent' | 'authority'>;

/**
 * For a mission that is being made, or null where nothing of it is counted.
 * @throws Denied `unsupported_control` if a limit would be counted by nobody
 */
export async function newPurse(
  ports: Ports,
  mission: Limited,
  template: TemplateDocument,
): Promise<Purse | null> {
  const policy = ports.policy();
  const above = await accountsAbove(ports, mission);
  const limits = countedLimits(mission.intent.controls, template.limits);
  const budget = mission.intent.controls?.max_budget;
  const accounts: readonly Account[] =
    isLimited(limits) || budget !== undefined
      ? [...above, { mission_id: mission.id, limits, allowances: null, ...(budget && { budget }) }]
      : above;
  const audiences = audiencesOf(policy, mission.authority);
  const counting = audiences.map(({ resource }) => countingAt(resource, countersOf(policy)));
  for (const account of accounts) {
    requireCounted(account.limits, mission.authority, counting);
    if (account.budget)
      requireBudgeted(mission.authority, (resource, action) => labelsOf(policy, resource, action));
  }
  return accounts.length === 0 ? null : new Purse(accounts);
}

/** For a stored mission, or null where nothing of it is counted. */
export async function storedPurse(
  ports: Ports,
  mission: Mission,
  template: TemplateDocument,
): Promise<Purse | null> {
  const own = await accountOf(ports, mission, template);
  const accounts = [...(await accountsAbove(ports, mission)), ...(own ? [own] : [])];
  return accounts.length === 0 ? null : new Purse(accounts);
}

/** What is left, limit by limit. */
export interface Scarcest {
  /** Tokens; null where nobody limits them. */
  readonly derivations: { readonly max: number; readonly left: number } | null;
  readonly allowances: readonly Allowance[];
}

/** What a mission and those above it leave, the scarcest of each control: for those who ask, not for minting. */
export async function scarcest(ports: Ports, mission: Pick<Mission, 'path'>): Promise<Scarcest> {
  const found = new Map<string, Allowance>();
  let fewest: Scarcest['derivations'] = null;
  for (const id of mission.path) {
    const { max_derivations: max = null, derivations = 0 } = (await ports.store.mission(id)) ?? {};
    const left = max === null ? null : Math.max(0, max - derivations);
    if (max !== null && left !== null && (fewest === null || left < fewest.left)) fewest = { max, left };
    for (const allowance of await ports.store.allowances(id)) {
      const known = found.get(allowance.control);
      if (!known || allowance.max - allowance.reserved < known.max - known.reserved)
        found.set(allowance.control, allowance);
    }
  }
  return { derivations: fewest, allowances: [...found.values()] };
}

/** Everybody who judges calls: verifiers, and gateways that ask. */
export function countersOf(policy: Policy): readonly VerifierPolicy[] {
  return [...policy.verifiers, ...(policy.gateways ?? [])];
}

/** The budgets that a call under a mission spends of: its own and those above. */
export async function budgetsOf(ports: Ports, path: readonly string[]): Promise<readonly MissionBudget[]> {
  const found: MissionBudget[] = [];
  for (const mission_id of path) {
    const budget = (await ports.store.mission(mission_id))?.intent.controls?.max_budget;
    if (budget !== undefined) found.push({ mission_id, budget });
  }
  return found;
}

/** How many tokens may still be needed until the mission ends: one a token's life, for each of its audiences. */
export function tokensToCome(policy: Policy, mission: Mission, available: AuthoritySet, now: number): number {
  const lives = Math.ceil((mission.expires_at - now) / mission.token_ttl_seconds);
  return Math.max(1, lives) * Math.max(1, audiencesOf(policy, available).length);
}

async function accountsAbove(
  ports: Ports,
  mission: Pick<Mission, 'id' | 'path'>,
): Promise<readonly Account[]> {
  const accounts: Account[] = [];
  for (const id of mission.path) {
    if (id === mission.id) continue;
    const above = await ports.store.mission(id);
    const template = above && (await ports.store.template(above.template.id, above.template.hash));
    if (!above || !template) throw new Error(`a mission above ${mission.id} is gone`);
    const account = await accountOf(ports, above, template.document);
    if (account) accounts.push(account);
  }
  return accounts;
}

async function accountOf(
  ports: Ports,
  mission: Mission,
  template: TemplateDocument,
): Promise<Account | null> {
  const limits = countedLimits(mission.intent.controls, template.limits);
  const budget = mission.intent.controls?.max_budget;
  if (!isLimited(limits) && budget === undefined) return null;
  const allowances = await ports.store.allowances(mission.id);
  return { mission_id: mission.id, limits, allowances, ...(budget && { budget }) };
}

/** Of an action at each audience that a resource reaches, however the entry names it. */
function labelsOf(policy: Policy, resource: string, action: string): readonly (readonly string[] | null)[] {
  const entry = { type: 'mission_resource_access', resource, resource_match: 'prefix', actions: [action] };
  return audiencesOf(policy, [entry as unknown as AuthoritySet[number]]).map(
    ({ actions }) => actions.find(({ name }) => name === action)?.labels ?? null,
  );
}

function audiencesOf(policy: Policy, authority: AuthoritySet): readonly AudiencePolicy[] {
  return policy.audiences.filter(({ resource }) => forAudience(authority, resource).length > 0);
}
