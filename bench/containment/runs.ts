import type { DeclaredMission } from '../../src/behaviour/mission.ts';
import type { BehaviourRules } from '../../src/behaviour/rules.ts';
import { missionOf, type Plan, plansOf } from './missions.ts';
import { engineReplay, type Replay, type RunOutcome } from './replay.ts';
import { type Judged, judgeRun } from './score.ts';
import type { Suites } from './suites.ts';
import { type ScoredTrace, suiteKey } from './traces.ts';

/** Recorded runs under declared missions, and how a pass of them is judged. */
export interface Run {
  readonly scored: ScoredTrace;
  readonly planner: string;
  readonly weight: number;
  readonly mission: DeclaredMission;
}

/** Of a task that nobody declared: an empty plan, which permits plain reads only. */
const UNDECLARED: Plan = { planner: 'none', weight: 1, tools: [], steps: [] };

/** Every run under every distinct declared mission; equal missions of one planner are judged once. */
export function runsOf(
  traces: readonly ScoredTrace[],
  plans: ReadonlyMap<string, readonly Plan[]>,
  suites: Suites,
): Run[] {
  const out: Run[] = [];
  for (const scored of traces) {
    const { trace } = scored;
    const catalogue = suites.catalogues.get(suiteKey(trace));
    if (catalogue === undefined) continue;
    const known = plansOf(plans, trace);
    const declared = known.length === 0 ? [UNDECLARED] : known;
    const planners = [...new Set(declared.map((plan) => plan.planner))];
    for (const planner of planners) {
      const own = declared.filter((one) => one.planner === planner);
      const total = own.reduce((sum, plan) => sum + plan.weight, 0);
      const seen = new Map<string, { mission: DeclaredMission; weight: number }>();
      for (const plan of own) {
        const mission = missionOf(trace.id, trace.user_prompt, plan, catalogue);
        const name = JSON.stringify(mission.actions);
        seen.set(name, { mission, weight: (seen.get(name)?.weight ?? 0) + plan.weight / total });
      }
      for (const { mission, weight } of seen.values())
        out.push({ scored, planner, weight: weight / planners.length, mission });
    }
  }
  return out;
}

/** Each planner's most frequent plan of a task. */
export function majority(plans: readonly Plan[]): Plan[] {
  const best = new Map<string, Plan>();
  for (const plan of plans)
    if (plan.weight > (best.get(plan.planner)?.weight ?? 0)) best.set(plan.planner, plan);
  return [...best.values()].map((plan) => ({ ...plan, weight: 1 }));
}

export interface Pass {
  readonly rows: readonly Judged[];
  readonly bytes: readonly number[];
  readonly calls: number;
  readonly outcomes: readonly RunOutcome[];
}

export async function pass(
  runs: readonly Run[],
  suites: Suites,
  replay: Replay,
  rules: BehaviourRules,
  explain?: (run: Run, row: Judged) => void,
): Promise<Pass> {
  const rows: Judged[] = [];
  const bytes: number[] = [];
  let calls = 0;
  const outcomes = await inOrder(runs, replay.at_once ?? 1, async ({ scored, mission }) => {
    const catalogue = suites.catalogues.get(suiteKey(scored.trace));
    if (catalogue === undefined) throw new Error('runs are made for known suites');
    return replay.run(scored.trace, mission, catalogue, rules);
  });
  for (const [at, run] of runs.entries()) {
    const outcome = outcomes[at];
    if (outcome === undefined) continue;
    const row = judgeRun(run.scored, outcome, run.planner, run.weight);
    rows.push(row);
    if (outcome.memory_bytes > 0) bytes.push(outcome.memory_bytes);
    calls += outcome.calls.length;
    explain?.(run, row);
  }
  return { rows, bytes, calls, outcomes };
}

export interface JudgedBy {
  broker: number;
  /** Beyond the budget. */
  engine: number;
  /** The broker gave no answer in time, or could not take the mission: judged by the engine, and said so. */
  broker_failed: number;
}

/** The broker until its time is up, then the engine: a file of any size ends. */
export function withinBudget(broker: Replay, seconds: number): Replay & { readonly counts: JudgedBy } {
  const until = seconds > 0 ? performance.now() + seconds * 1000 : Number.POSITIVE_INFINITY;
  const counts: JudgedBy = { broker: 0, engine: 0, broker_failed: 0 };
  return {
    ...broker,
    counts,
    async run(...given) {
      if (performance.now() >= until) counts.engine++;
      else {
        try {
          const outcome = await broker.run(...given);
          counts.broker++;
          return outcome;
        } catch (error) {
          // An overloaded machine must not pass for containment: what the broker could not answer is counted apart.
          counts.broker_failed++;
          if (counts.broker_failed <= 3) process.stderr.write(`note: ${(error as Error).message}\n`);
        }
      }
      return engineReplay.run(...given);
    },
  };
}

/** A step through the items that meets each once, so that what comes first is spread over all. */
function strideOf(length: number): number {
  const divides = (a: number, b: number): boolean => (b === 0 ? a !== 1 : divides(b, a % b));
  let stride = Math.max(1, Math.floor(length * 0.618));
  while (divides(length, stride)) stride++;
  return stride;
}

/** Several at once, because a broker answers many agents; the results in order. */
async function inOrder<T, R>(
  items: readonly T[],
  at_once: number,
  work: (item: T) => Promise<R>,
): Promise<R[]> {
  const out: R[] = [];
  if (items.length === 0) return out;
  const stride = strideOf(items.length);
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < items.length) {
      const at = (next++ * stride) % items.length;
      out[at] = await work(items[at] as T);
    }
  };
  await Promise.all(Array.from({ length: at_once }, worker));
  return out;
}

/** Whether two paths judged every call of every run alike; where they did not, which calls and by which rules. */
export function agreement(runs: readonly Run[], a: Pass, b: Pass): unknown {
  let calls = 0;
  let otherwise = 0;
  const differ: string[] = [];
  const kinds = new Map<string, number>();
  for (const [at, one] of a.outcomes.entries()) {
    for (const [position, call] of one.calls.entries()) {
      const other = b.outcomes[at]?.calls[position];
      calls++;
      const kind = `${call.rule ?? 'permit'} / ${other?.rule ?? 'permit'}`;
      if (other !== undefined && call.refused === other.refused) {
        if (call.rule !== other.rule) otherwise++;
        continue;
      }
      const { trace } = (runs[at] as Run).scored;
      kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
      differ.push(
        `${trace.suite}/${trace.user_task_id} ${trace.id} call ${call.i} ${trace.calls[position]?.tool}: ${kind}`,
      );
    }
  }
  return {
    runs: a.outcomes.length,
    calls,
    differ: differ.length,
    by_kind: Object.fromEntries(kinds),
    examples: differ.slice(0, 20),
    refused_by_another_rule: otherwise,
  };
}
