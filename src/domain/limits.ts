/**
 * Counted limits (wire profile 2.2): what verifiers count (calls, bytes out) is reserved by the broker when a token
 * is minted, carried in the token as an allotment, and divided over the verifiers' processes. What every process of
 * an audience has told to be unused is given out again at that audience and nowhere else: whoever lies about it
 * takes nothing from another. Every rounding and every loss is downward: what a crash hides counts as used.
 */
import { type AuthoritySet, isResourceAccess } from './authority/index.ts';
import type { Budget } from './budget.ts';
import { Denied, malformed } from './denial.ts';

/** Named alike in `intent.controls`, in a template's limits and in a token's `limits`. */
export const COUNTED_CONTROLS = ['max_calls', 'max_egress_volume'] as const;
export type CountedControl = (typeof COUNTED_CONTROLS)[number];

/** Calls, and bytes; a member that is absent is not limited. */
export type CountedLimits = { readonly [Control in CountedControl]?: number };

/** One counted limit of one mission, as stored. `reserved` never passes `max`. */
export interface Allowance {
  readonly control: CountedControl;
  readonly max: number;
  /** Claimed by all audiences together. */
  readonly reserved: number;
  readonly claims: readonly Claim[];
}

/** What one audience has of an allowance. */
export interface Claim {
  readonly audience: string;
  /** In allotments, less what was told to be unused. */
  readonly held: number;
  /** The most that was ever held at once: what came back stays claimed, for this audience. */
  readonly claimed: number;
}

/** What may still be given out at an audience; without one, at all of them together. */
export function leftOf(allowance: Omit<Allowance, 'control'>, audience?: string): number {
  let left = allowance.max - allowance.reserved;
  for (const claim of allowance.claims)
    if (audience === undefined || claim.audience === audience) left += claim.claimed - claim.held;
  return Math.max(0, left);
}

/** Who counts for an audience. */
export interface Counting {
  /**
   * Of all verifiers that count by themselves, at most: each spends an equal part of an allotment. 0 where only the
   * broker counts.
   */
  readonly processes: number;
  /** Whether every one counts the bytes that it sends. */
  readonly bytes: boolean;
}

/** A verifier, as far as counting goes. */
export interface CountingVerifier {
  readonly audience: string;
  readonly processes?: number;
  readonly counts_bytes?: boolean;
  /** It asks the broker for each call, and the broker counts. */
  readonly asks?: boolean;
}

/** The smaller of what the agent declared and what the template allows, control by control. */
export function countedLimits(
  controls: CountedLimits | undefined,
  template: CountedLimits | undefined,
): CountedLimits {
  const limits: { [Control in CountedControl]?: number } = {};
  for (const control of COUNTED_CONTROLS) {
    const max = Math.min(controls?.[control] ?? Infinity, template?.[control] ?? Infinity);
    if (max !== Infinity) limits[control] = max;
  }
  return limits;
}

export function isLimited(limits: CountedLimits): boolean {
  return COUNTED_CONTROLS.some((control) => limits[control] !== undefined);
}

/** Who counts at an audience, or null unless each of its verifiers does: one that does not would spend unseen. */
export function countingAt(audience: string, verifiers: readonly CountingVerifier[]): Counting | null {
  const here = verifiers.filter((verifier) => verifier.audience === audience);
  if (here.length === 0) return null;
  let processes = 0;
  for (const verifier of here) {
    if (verifier.asks === true) continue;
    if (verifier.processes === undefined) return null;
    processes += verifier.processes;
  }
  // Whoever asks before the answer is made cannot count it.
  const bytes = here.every((verifier) => verifier.asks !== true && verifier.counts_bytes === true);
  return { processes, bytes };
}

/**
 * Refuses a limit that nobody would count: worse than none, because somebody relies on it.
 * @param counting of every audience at which something was granted
 * @throws Denied `access_denied` with `unsupported_control`, naming the control
 */
export function requireCounted(
  limits: CountedLimits,
  granted: AuthoritySet,
  counting: readonly (Counting | null)[],
): void {
  // A provider's credential is used where no verifier of ours sees it.
  const seen = granted.every(isResourceAccess);
  for (const control of COUNTED_CONTROLS)
    if (limits[control] !== undefined && !(seen && counting.every((one) => counts(one, control))))
      throw unsupported(control);
}

/** @throws Denied `access_denied` with `unsupported_control` */
export function unsupported(control: string): Denied {
  return new Denied({
    tag: 'access_denied',
    reason: 'unsupported_control',
    detail: `controls.${control} cannot be enforced for this mission; leave it out or narrow the proposal`,
  });
}

function counts(counting: Counting | null, control: CountedControl): counting is Counting {
  return counting !== null && (control === 'max_calls' || counting.bytes);
}

/**
 * How much one token carries: an equal part for each token that the mission may still need, in whole parts for each
 * process. Null when what is left does not give each process one.
 * @param tokens how many tokens will share what is left, this one included; at least 1
 */
export function allotmentOf(left: number, tokens: number, processes: number): number | null {
  const parts = Math.floor(left / processes);
  if (parts < 1) return null;
  return processes * Math.min(parts, Math.ceil(left / (Math.max(1, tokens) * processes)));
}

/** The counted limits of one mission, and what is stored of them. */
export interface Account {
  readonly mission_id: string;
  readonly limits: CountedLimits;
  /** Null for a mission that is not stored yet. */
  readonly allowances: readonly Allowance[] | null;
  /** Money, which only the broker counts. */
  readonly budget?: Budget;
}

/** One part of an allotment: what a token takes out of one limit of one mission. */
export interface Taken {
  readonly mission_id: string;
  readonly control: CountedControl;
  /** The whole limit. */
  readonly max: number;
  readonly amount: number;
}

/** What one token carries of one limit, and what it takes for it out of the limits of the missions on its path. */
export interface Allotment {
  readonly control: CountedControl;
  /** 0 where the broker counts each call by itself. */
  readonly amount: number;
  readonly taken: readonly Taken[];
}

interface Limit {
  readonly mission_id: string;
  readonly control: CountedControl;
  readonly max: number;
  readonly fresh: boolean;
  reserved: number;
  readonly claims: Map<string, Claim>;
}

/**
 * What a mission may still give to its tokens, while they are planned. A child spends its parents' limits with its
 * own: delegating never makes more of them.
 */
export class Purse {
  readonly #limits = new Map<CountedControl, Limit[]>();
  /** The nearest one; tokens name it, and every one is spent of. */
  readonly budget: Budget | null;

  /** @param accounts of the mission and of every mission above it */
  constructor(accounts: readonly Account[]) {
    this.budget = accounts.findLast(({ budget }) => budget !== undefined)?.budget ?? null;
    for (const { mission_id, limits, allowances } of accounts)
      for (const control of COUNTED_CONTROLS) {
        const max = limits[control];
        if (max === undefined) continue;
        const stored = allowances?.find((allowance) => allowance.control === control);
        const limit: Limit = {
          mission_id,
          control,
          max: stored?.max ?? max,
          fresh: allowances === null,
          reserved: stored?.reserved ?? 0,
          claims: new Map(stored?.claims.map((claim) => [claim.audience, claim])),
        };
        this.#limits.set(control, [...(this.#limits.get(control) ?? []), limit]);
      }
  }

  /**
   * Takes one token's allotments, the same amount out of each limit that counts the same thing.
   * @param tokens how many tokens will share what is left, this one included
   * @throws Denied `unsupported_control` where nobody counts, `limit_exhausted` when nothing is left
   */
  take(audience: string, counting: Counting | null, tokens: number): readonly Allotment[] {
    const planned = [...this.#limits].map(([control, limits]) => {
      if (!counts(counting, control)) throw unsupported(control);
      const [left, limit] = scarcestOf(limits, audience);
      // Where the broker counts, a token takes nothing beforehand: it must only find something left.
      const amount =
        counting.processes === 0 ? (left < 1 ? null : 0) : allotmentOf(left, tokens, counting.processes);
      if (amount === null) throw exhausted(control, limit, counting.processes);
      return { control, limits, amount };
    });
    return planned.map(({ control, limits, amount }) => {
      if (amount > 0) for (const limit of limits) hold(limit, audience, amount);
      const taken = amount === 0 ? [] : limits.map((limit) => takenOf(limit, amount));
      return { control, amount, taken };
    });
  }

  /**
   * Takes one unit that the broker itself counts, such as a call at a gateway.
   * @returns what it takes, or null when nothing is left
   */
  spend(audience: string, control: CountedControl): readonly Taken[] | null {
    const limits = this.#limits.get(control) ?? [];
    if (limits.some((limit) => leftAt(limit, audience) < 1)) return null;
    for (const limit of limits) hold(limit, audience, 1);
    return limits.map((limit) => takenOf(limit, 1));
  }
}

function takenOf({ mission_id, control, max }: Limit, amount: number): Taken {
  return { mission_id, control, max, amount };
}

function leftAt({ max, reserved, claims }: Limit, audience: string): number {
  return leftOf({ max, reserved, claims: [...claims.values()] }, audience);
}

function scarcestOf(limits: readonly Limit[], audience: string): [number, Limit | null] {
  let found: [number, Limit | null] = [Number.POSITIVE_INFINITY, null];
  for (const limit of limits) {
    const left = leftAt(limit, audience);
    if (left < found[0]) found = [left, limit];
  }
  return found;
}

function hold(limit: Limit, audience: string, amount: number): void {
  const claim = limit.claims.get(audience) ?? { audience, held: 0, claimed: 0 };
  const held = claim.held + amount;
  const claimed = Math.max(claim.claimed, held);
  limit.reserved += claimed - claim.claimed;
  limit.claims.set(audience, { audience, held, claimed });
}

function exhausted(control: CountedControl, limit: Limit | null, processes: number): Denied {
  if (limit?.fresh === true)
    return malformed(
      `${control} is too small to be divided: each token needs at least ${Math.max(1, processes)}, one for each process that checks calls`,
    );
  return new Denied({ tag: 'dead_mission', error: 'limit_exhausted' }, `${control} is used up`);
}
