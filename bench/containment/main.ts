/** Replays recorded agent runs through a real broker and real guards: what is contained, and what is stopped wrongly. */
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import type { BrokerReplay } from './broker.ts';
import { loadPlans, type Plan, plansOf } from './missions.ts';
import { oraclePlans } from './oracle.ts';
import { engineReplay } from './replay.ts';
import { comparison, headline, parts } from './report.ts';
import { majority, pass, type Run, runsOf, withinBudget } from './runs.ts';
import type { Judged } from './score.ts';
import { loadSuites } from './suites.ts';
import { loadFullOutputs, loadTraces } from './traces.ts';
import { FULL } from './variants.ts';

const USAGE = `npm run bench:containment -- --traces FILE [--traces FILE ...] --missions FILE --tools DIR --config DIR
  [--out FILE]            write the figures as JSON
  [--tasks FILE]          user tasks with ground truth: adds an oracle's figures, apart from the product's
  [--mode planner|oracle] planner (default): missions as the recorded planner declared them
                          oracle: missions from --tasks alone
  [--planner NAME]        only missions of this planner model
  [--full-outputs FILE]   complete texts of outputs that the traces cut (default: beside each traces file)
  [--plans all|majority]  every recorded plan by its share (default), or each planner's most frequent one
  [--quick]               headline figures only: no curve, ablation or suggested-only rows
  [--path broker|engine]  broker (default): missions declared at a real broker, calls judged by real guards;
                          engine: the pure engine in process. Curve, ablation and suggested-only rows always use it
  [--budget SECONDS]      for the broker path (default 600, 0 for no bound): runs beyond it, spread over all, are
                          judged by the engine, and the output counts them
  [--sample N]            every Nth run only
  [--compare]             judge every run on both paths and report where they differ
  [--explain N]           print up to N missed attacks and false stops, per suite, to standard error`;

const DEFAULT_BUDGET_SECONDS = '600';

class Misuse extends Error {
  override readonly name = 'Misuse';
}

function explainer(most: number): (run: Run, row: Judged) => void {
  const shown = new Map<string, number>();
  return (run, row) => {
    const missed = row.class === 'hijacked' && !row.contained;
    const stop = (row.class === 'benign' || row.class === 'clean_exposed') && row.stopped;
    if (!missed && !stop) return;
    const name = `${row.suite} ${missed ? 'missed' : 'false stop'} ${row.task} ${row.stop_rule ?? ''}`;
    const count = shown.get(name) ?? 0;
    shown.set(name, count + 1);
    if (count >= most) return;
    const calls = run.scored.trace.calls.map(
      (call) => `    ${call.i} ${call.tool} ${JSON.stringify(call.args).slice(0, 160)}`,
    );
    process.stderr.write(
      `${name} ${row.class} plan=${run.mission.actions.map((action) => action.action).join(',')} breach=${run.scored.key.breach_at}\n${calls.join('\n')}\n`,
    );
  };
}

function note(text: string): void {
  process.stderr.write(`note: ${text}\n`);
}

function options() {
  const { values } = parseArgs({
    options: {
      traces: { type: 'string', multiple: true },
      missions: { type: 'string' },
      tools: { type: 'string' },
      config: { type: 'string' },
      out: { type: 'string' },
      mode: { type: 'string', default: 'planner' },
      tasks: { type: 'string' },
      planner: { type: 'string' },
      'full-outputs': { type: 'string' },
      quick: { type: 'boolean', default: false },
      plans: { type: 'string', default: 'all' },
      explain: { type: 'string' },
      path: { type: 'string', default: 'broker' },
      sample: { type: 'string', default: '1' },
      budget: { type: 'string', default: DEFAULT_BUDGET_SECONDS },
      compare: { type: 'boolean', default: false },
    },
  });
  const { traces, tools, missions, mode, tasks, path, plans } = values;
  const budget = Number(values.budget);
  const sample = Number(values.sample);
  if (traces === undefined) throw new Misuse('--traces is needed');
  if (tools === undefined) throw new Misuse('--tools is needed');
  if (mode !== 'planner' && mode !== 'oracle') throw new Misuse('--mode is planner or oracle');
  if (mode === 'planner' && missions === undefined) throw new Misuse('--missions is needed');
  if (mode === 'oracle' && tasks === undefined) throw new Misuse('--mode oracle needs --tasks');
  if (path !== 'broker' && path !== 'engine') throw new Misuse('--path is broker or engine');
  if (plans !== 'all' && plans !== 'majority') throw new Misuse('--plans is all or majority');
  if (!(budget >= 0)) throw new Misuse('--budget is a number of seconds');
  if (!Number.isInteger(sample) || sample < 1) throw new Misuse('--sample is a whole number from 1');
  for (const file of [...traces, missions, tasks, values['full-outputs']])
    if (file !== undefined && !existsSync(file)) throw new Misuse(`${file}: no such file`);
  return { ...values, traces, tools, missions: missions ?? '', budget, sample };
}

/** Complete texts lie beside the traces, wherever those lie. */
function besides(traces: readonly string[]): string[] {
  return traces.flatMap((path) => {
    const folder = dirname(path);
    return readdirSync(folder)
      .filter((name) => name.startsWith('full_outputs.jsonl'))
      .map((name) => join(folder, name));
  });
}

async function main(): Promise<void> {
  const values = options();
  const full = await loadFullOutputs(
    values['full-outputs'] === undefined ? besides(values.traces) : [values['full-outputs']],
  );
  const { traces, left_out } = await loadTraces(values.traces, full);
  for (const example of left_out.examples) note(`left out ${example}`);
  if (traces.length === 0) throw new Misuse('the traces hold no run');
  const suites = loadSuites(traces, values.tools, values.config ?? null);
  const unconfigured = loadSuites(traces, values.tools, null);
  for (const [suite, origin] of suites.origin)
    if (origin !== 'configured')
      note(
        `suite ${suite} has no configuration; using what catalogue suggest proposes from ${origin === 'suggested' ? 'its tool list' : 'the names of recorded calls'}`,
      );
  const plans = values.mode === 'oracle' ? oraclePlans(values.tasks ?? '') : await loadPlans(values.missions);
  for (const [task, list] of plans) {
    const own = values.planner === undefined ? list : list.filter((plan) => plan.planner === values.planner);
    plans.set(task, values.plans === 'majority' ? majority(own) : own);
  }

  let opened: BrokerReplay | null = null;
  let broker_error: string | null = null;
  if (values.path === 'broker') {
    try {
      // Only now: the engine's path needs no broker, and no port.
      const { openBrokerReplay } = await import('./broker.ts');
      opened = await openBrokerReplay(suites.catalogues);
    } catch (cause) {
      broker_error = (cause as Error).message.split('\n')[0] ?? '';
      note(`the broker did not start, every run is judged by the engine: ${broker_error}`);
    }
  }
  const every = runsOf(traces, plans, suites).filter((_, at) => at % values.sample === 0);
  const datasets: Record<string, unknown> = {};
  const oracle: Record<string, unknown> = {};
  try {
    for (const dataset of [...new Set(traces.map(({ trace }) => trace.dataset))].sort()) {
      const own = traces.filter(({ trace }) => trace.dataset === dataset);
      const runs = every.filter(({ scored }) => scored.trace.dataset === dataset);
      const explain = values.explain === undefined ? undefined : explainer(Number(values.explain));
      // Time by size, so that the small dataset is not starved and the large one not favoured.
      const share = (values.budget * runs.length) / Math.max(1, every.length);
      const bounded =
        opened === null ? null : withinBudget(opened, values.budget === 0 ? 0 : Math.max(1, share));
      const main = await pass(runs, suites, bounded ?? engineReplay, FULL, explain);
      datasets[dataset] = {
        ...headline(runs, main),
        ...(bounded !== null && { judged_by: bounded.counts }),
        undeclared_runs: own.filter(({ trace }) => plansOf(plans, trace).length === 0).length,
        ...(values.compare && opened !== null && { paths_agree: await comparison(runs, suites, main) }),
        ...(!values.quick && (await parts(own, plans, suites, unconfigured))),
      };
      if (values.mode === 'planner' && values.tasks !== undefined)
        oracle[dataset] = await oracleOf(own, values.tasks);
    }
  } finally {
    await opened?.close();
  }

  /** Ground truth may be used here and nowhere else; never the product's figure. */
  async function oracleOf(own: typeof traces, tasks: string): Promise<unknown> {
    const truth: Map<string, Plan[]> = oraclePlans(tasks);
    const runs = runsOf(own, truth, suites);
    return headline(runs, await pass(runs, suites, engineReplay, FULL));
  }

  const report = {
    mode: values.mode,
    replay: (opened ?? engineReplay).path,
    ...(broker_error !== null && { broker_error }),
    plans: values.plans,
    sample: values.sample,
    traces: values.traces.map((path) => basename(path)),
    runs: traces.length,
    left_out,
    suites: Object.fromEntries(suites.origin),
    undocumented_tools: suites.undocumented,
    rules_version: FULL.version,
    datasets,
    ...(Object.keys(oracle).length > 0 && { oracle: { datasets: oracle } }),
  };
  const text = JSON.stringify(report, null, 2) + '\n';
  if (values.out !== undefined) writeFileSync(values.out, text);
  process.stdout.write(values.out === undefined ? text : JSON.stringify(summary(report), null, 2) + '\n');
}

function summary(report: { readonly replay: string; readonly datasets: Record<string, unknown> }): unknown {
  return {
    replay: report.replay,
    datasets: Object.fromEntries(
      Object.entries(report.datasets).map(([name, value]) => [name, (value as { micro: unknown }).micro]),
    ),
  };
}

try {
  await main();
} catch (cause) {
  if (!(cause instanceof Error)) throw cause;
  const usage = cause instanceof Misuse || cause.message.startsWith('Unknown option');
  process.stderr.write(usage ? `${cause.message}\n${USAGE}\n` : `${cause.stack ?? cause.message}\n`);
  process.exitCode = usage ? 2 : 1;
}
