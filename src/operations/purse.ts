/** The counted limits of one mission (wire profile 2.2), opened where tokens are planned. */
import { compareDecimals, subtractDecimals } from '../domain/authority/decimal.ts';
import { type AuthoritySet, forAudience } from '../domain/authority/index.ts';
import { type Budget, type MissionBudget, requireBudgeted, type SpentBudget } from '../domain/budget.ts';
import {
  type Account,
  COUNTED_CONTROLS,
  type CountedControl,
  countedLimits,
  countingAt,
  isLimited,
  leftOf,
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
  readonly counted: readonly CountedLeft[];
  readonly budget: BudgetLeft | null;
}

/** Of one counted limit: of the mission and of those above it, whichever leaves least. */
export interface CountedLeft {
  readonly control: CountedControl;
  readonly max: number;
  /** Over all audiences: what is in no token's allotment and was not spent. */
  readonly left: number;
  readonly audiences: readonly AudienceLeft[];
}

export interface AudienceLeft {
  readonly audience: string;
  /** Of the mission and of those below it: in allotments of tokens, or spent. */
  readonly held: number;
  /** What may still be given out there. */
  readonly left: number;
}

/** Exact decimals. */
export interface BudgetLeft {
  readonly max: string;
  readonly left: string;
  readonly currency: string;
}

/** What a mission and those above it leave, the scarcest of each control: for those who ask, not for minting. */
export async function scarcest(ports: Ports, mission: Pick<Mission, 'path'>): Promise<Scarcest> {
  const counted = new Map<CountedControl, CountedLeft>();
  let fewest: Scarcest['derivations'] = null;
  let budget: BudgetLeft | null = null;
  for (const id of mission.path) {
    const member = await ports.store.mission(id);
    if (member === null) continue;
    const { max_derivations: max, derivations } = member;
    const left = max === null ? null : Math.max(0, max - derivations);
    if (max !== null && left !== null && (fewest === null || left < fewest.left)) fewest = { max, left };
    const template = await ports.store.template(member.template.id, member.template.hash);
    const account = template && (await accountOf(ports, member, template.document));
    if (!account) continue;
    for (const one of countedOf(account)) counted.set(one.control, scarcer(counted.get(one.control), one));
    const own = account.budget && leftOfBudget(account.budget, await ports.store.budget(id));
    if (own && (budget === null || compareDecimals(own.left, budget.left) < 0)) budget = own;
  }
  return { derivations: fewest, counted: [...counted.values()], budget };
}

/** Also where nothing was given out yet. */
function countedOf({ limits, allowances }: Account): readonly CountedLeft[] {
  return COUNTED_CONTROLS.flatMap((control) => {
    const declared = limits[control];
    if (declared === undefined) return [];
    const { max, reserved, claims } = allowances?.find((one) => one.control === control) ?? {
      max: declared,
      reserved: 0,
      claims: [],
    };
    const allowance = { max, reserved, claims };
    const audiences = claims.map(({ audience, held }) => ({
      audience,
      held,
      left: leftOf(allowance, audience),
    }));
    return [{ control, max, left: leftOf(allowance), audiences }];
  });
}

/** The one with less, and at each audience the least of both; what is held is the lower mission's. */
function scarcer(above: CountedLeft | undefined, own: CountedLeft): CountedLeft {
  if (above === undefined) return own;
  const { control, max, left } = own.left <= above.left ? own : above;
  const audiences = own.audiences.map((one) => {
    const same = above.audiences.find(({ audience }) => audience === one.audience);
    return { ...one, left: Math.min(one.left, same?.left ?? above.left) };
  });
  return { control, max, left, audiences };
}

function leftOfBudget({ amount, currency }: Budget, stored: SpentBudget | null): BudgetLeft {
  const max = stored?.max ?? amount;
  return { max, left: subtractDecimals(max, stored?.spent ?? '0'), currency };
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
