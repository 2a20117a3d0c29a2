/**
 * Counted limits (wire profile 2.2): what verifiers count (calls, bytes out) is reserved by the broker when a token
 * is minted, carried in the token as an allotment, and divided over the verifiers' processes. Every rounding and
 * every loss is downward: what a token did not use, and what a crash hides, counts as used.
 */
import { type AuthoritySet, isResourceAccess } from './authority/index.ts';
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
  /** In allotments of tokens, living and dead. */
  readonly reserved: number;
}

/** Who counts for an audience. */
export interface Counting {
  /** Of all its verifiers together, at most: each spends an equal part of an allotment by itself. */
  readonly processes: number;
  /** Whether every one counts the bytes that it sends. */
  readonly bytes: boolean;
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
export function countingAt(
  audience: string,
  verifiers: readonly {
    readonly audience: string;
    readonly processes?: number;
    readonly counts_bytes?: boolean;
  }[],
): Counting | null {
  const here = verifiers.filter((verifier) => verifier.audience === audience);
  if (here.length === 0) return null;
  let processes = 0;
  for (const verifier of here) {
    if (verifier.processes === undefined) return null;
    processes += verifier.processes;
  }
  return { processes, bytes: here.every((verifier) => verifier.counts_bytes === true) };
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
}

/** One part of an allotment: what a token takes out of one limit of one mission. */
export interface Taken {
  readonly mission_id: string;
  readonly control: CountedControl;
  /** The whole limit. */
  readonly max: number;
  readonly amount: number;
}

interface Left {
  readonly mission_id: string;
  readonly max: number;
  readonly fresh: boolean;
  left: number;
}

/**
 * What a mission may still give to its tokens, while they are planned. A child spends its parents' limits with its
 * own: delegating never makes more of them.
 */
export class Purse {
  readonly #left = new Map<CountedControl, Left[]>();

  /** @param accounts of the mission and of every mission above it */
  constructor(accounts: readonly Account[]) {
    for (const { mission_id, limits, allowances } of accounts)
      for (const control of COUNTED_CONTROLS) {
        const max = limits[control];
        if (max === undefined) continue;
        const stored = allowances?.find((allowance) => allowance.control === control);
        const left = Math.max(0, (stored?.max ?? max) - (stored?.reserved ?? 0));
        const all = this.#left.get(control) ?? [];
        this.#left.set(control, [...all, { mission_id, max, fresh: allowances === null, left }]);
      }
  }

  /**
   * Takes one token's allotments, the same amount out of each limit that counts the same thing.
   * @param tokens how many tokens will share what is left, this one included
   * @throws Denied `unsupported_control` where nobody counts, `limit_exhausted` when nothing is left
   */
  take(counting: Counting | null, tokens: number): readonly Taken[] {
    const parts = [...this.#left].map(([control, all]) => {
      if (!counts(counting, control)) throw unsupported(control);
      const smallest = all.reduce((one, other) => (other.left < one.left ? other : one));
      const amount = allotmentOf(smallest.left, tokens, counting.processes);
      if (amount === null) throw exhausted(control, smallest, counting.processes);
      return { control, all, amount };
    });
    return parts.flatMap(({ control, all, amount }) =>
      all.map((one) => {
        one.left -= amount;
        return { mission_id: one.mission_id, control, max: one.max, amount };
      }),
    );
  }
}

function exhausted(control: CountedControl, limit: Left, processes: number): Denied {
  if (limit.fresh)
    return malformed(
      `${control} is too small to be divided: each token needs at least ${processes}, one for each process that checks calls`,
    );
  return new Denied({ tag: 'dead_mission', error: 'limit_exhausted' }, `${control} is used up`);
}
