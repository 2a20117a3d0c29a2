import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { parse } from 'yaml';
import { type Catalogue, type CataloguedAction, parseCatalogue } from '../../src/behaviour/catalogue.ts';
import type { DeclaredMission } from '../../src/behaviour/mission.ts';
import type { BehaviourRules } from '../../src/behaviour/rules.ts';
import { describeMcpTools, suggestCatalogue } from '../../src/behaviour/suggest.ts';
import { type BrokerReplay, openBrokerReplay } from './broker.ts';
import { loadPlans, missionOf, type Plan, taskKey } from './missions.ts';
import { oraclePlans } from './oracle.ts';
import { engineReplay, type Replay, type RunOutcome } from './replay.ts';
import { fullRow, type Judged, judgeRun, lagRows, pairRows, shortRow } from './score.ts';
import { loadFullOutputs, loadTraces, type ScoredTrace } from './traces.ts';
import { ABLATIONS, CURVE, FULL } from './variants.ts';

const USAGE = `npm run bench:containment -- --traces FILE [--traces FILE ...] --missions FILE --tools DIR --config DIR
  [--out FILE]            write the figures as JSON
  [--mode planner|oracle] planner (default): missions as the recorded planner declared them
                          oracle: missions from --tasks ground truth, reported apart
  [--tasks FILE]          user tasks with ground truth; needed by oracle only
  [--planner NAME]        only missions of this planner model
  [--full-outputs FILE]   complete texts of outputs that the traces cut (default: beside the traces)
  [--plans all|majority]  every recorded plan by its share (default), or each planner's most frequent one
  [--quick]               headline figures only: no curve, ablation or suggested-only rows
  [--path broker|engine]  broker (default): missions declared at a real broker, calls judged by real guards;
                          engine: the pure engine in process. Curve, ablation and suggested-only rows always use it
  [--budget SECONDS]      for the broker path (default 900, 0 for no bound): runs beyond it, spread over all, are
                          judged by the engine, and the output counts them
  [--sample N]            every Nth run only
  [--compare]             judge every run on both paths and report where they differ
  [--explain N]           print up to N missed attacks and false stops, per suite, to standard error`;

interface Suites {
  readonly catalogues: ReadonlyMap<string, Catalogue>;
  readonly origin: ReadonlyMap<string, 'configured' | 'suggested' | 'missing'>;
}

function suggested(suite: string, toolsDir: string): Catalogue | null {
  const file = join(toolsDir, `${suite}.json`);
  if (!existsSync(file)) return null;
  const document = JSON.parse(readFileSync(file, 'utf8')) as {
    tools: Record<string, Record<string, unknown>>;
  };
  const tools = Object.entries(document.tools).map(([name, tool]) => ({
    name,
    description: tool['description'],
    inputSchema: { properties: tool['parameters'] ?? {}, required: tool['required'] ?? [] },
  }));
  return suggestCatalogue(suite, describeMcpTools(tools));
}

/** Recorded tools that a suite does not export any more are proposed from their names alone. */
function addUndocumented(suites: Suites, traces: readonly ScoredTrace[]): string[] {
  const added: string[] = [];
  for (const { trace } of traces) {
    const catalogue = suites.catalogues.get(trace.suite);
    if (catalogue === undefined) continue;
    for (const call of trace.calls) {
      if (catalogue.actions.has(call.tool)) continue;
      const described = {
        name: call.tool,
        description: '',
        inputSchema: { properties: Object.fromEntries(Object.keys(call.args).map((name) => [name, {}])) },
      };
      const entry = suggestCatalogue(trace.suite, describeMcpTools([described])).actions.get(call.tool);
      if (entry !== undefined) (catalogue.actions as Map<string, CataloguedAction>).set(call.tool, entry);
      added.push(`${trace.suite}/${call.tool}`);
    }
  }
  return added;
}

function loadSuites(names: readonly string[], toolsDir: string, configDir: string | null): Suites {
  const catalogues = new Map<string, Catalogue>();
  const origin = new Map<string, 'configured' | 'suggested' | 'missing'>();
  for (const name of names) {
    const file = configDir === null ? '' : join(configDir, `${name}.yaml`);
    const own =
      configDir !== null && existsSync(file) ? parseCatalogue(parse(readFileSync(file, 'utf8'))) : null;
    const guess = own ?? suggested(name, toolsDir);
    catalogues.set(name, guess ?? { audience: name, version: 'none', actions: new Map() });
    origin.set(name, own !== null ? 'configured' : guess !== null ? 'suggested' : 'missing');
  }
  return { catalogues, origin };
}

interface Run {
  readonly scored: ScoredTrace;
  readonly planner: string;
  readonly weight: number;
  readonly mission: DeclaredMission;
}

/** Every run under every distinct declared mission; equal missions of one planner are judged once. */
function runsOf(
  traces: readonly ScoredTrace[],
  plans: ReadonlyMap<string, readonly Plan[]>,
  suites: Suites,
): Run[] {
  const out: Run[] = [];
  for (const scored of traces) {
    const { trace } = scored;
    const catalogue = suites.catalogues.get(trace.suite);
    if (catalogue === undefined) continue;
    const declared = plans.get(taskKey(trace.suite, trace.user_task_id)) ?? [];
    const planners = [...new Set(declared.map((plan) => plan.planner))];
    if (planners.length === 0) {
      // Nobody declared this task: an empty plan, which permits plain reads only.
      const mission = missionOf(
        trace.id,
        trace.user_prompt,
        { planner: 'none', weight: 1, tools: [], steps: [] },
        catalogue,
      );
      out.push({ scored, planner: 'none', weight: 1, mission });
    }
    for (const planner of planners) {
      const seen = new Map<string, { mission: DeclaredMission; weight: number }>();
      for (const plan of declared.filter((one) => one.planner === planner)) {
        const mission = missionOf(trace.id, trace.user_prompt, plan, catalogue);
        const name = JSON.stringify(mission.actions);
        const known = seen.get(name);
        seen.set(name, { mission, weight: (known?.weight ?? 0) + plan.weight });
      }
      for (const { mission, weight } of seen.values())
        out.push({ scored, planner, weight: weight / planners.length, mission });
    }
  }
  return out;
}

/** Each planner's most frequent plan of a task. */
function majority(plans: readonly Plan[]): Plan[] {
  const best = new Map<string, Plan>();
  for (const plan of plans)
    if (plan.weight > (best.get(plan.planner)?.weight ?? 0)) best.set(plan.planner, plan);
  return [...best.values()].map((plan) => ({ ...plan, weight: 1 }));
}

interface Pass {
  readonly rows: Judged[];
  readonly bytes: number[];
  readonly calls: number;
  readonly outcomes: readonly RunOutcome[];
}

async function pass(
  runs: readonly Run[],
  suites: Suites,
  replay: Replay,
  rules: BehaviourRules,
  explain?: (run: Run, row: Judged) => void,
): Promise<Pass> {
  const rows: Judged[] = [];
  const bytes: number[] = [];
  const outcomes: RunOutcome[] = [];
  let calls = 0;
  const judged = await inOrder(runs, replay.at_once ?? 1, async (run) => {
    const catalogue = suites.catalogues.get(run.scored.trace.suite);
    return catalogue === undefined ? null : replay.run(run.scored.trace, run.mission, catalogue, rules);
  });
  for (const [at, run] of runs.entries()) {
    const outcome = judged[at];
    if (outcome === null || outcome === undefined) continue;
    const row = judgeRun(run.scored, outcome, run.planner, run.weight);
    rows.push(row);
    if (outcome.memory_bytes > 0) bytes.push(outcome.memory_bytes);
    calls += outcome.calls.length;
    outcomes.push(outcome);
    explain?.(run, row);
  }
  return { rows, bytes, calls, outcomes };
}

/** The broker until its time is up, then the engine: a file of any size ends. */
function withinBudget(
  broker: Replay,
  seconds: number,
): Replay & { readonly counts: { broker: number; engine: number; broker_failed: number } } {
  const until = seconds > 0 ? performance.now() + seconds * 1000 : Number.POSITIVE_INFINITY;
  const counts = { broker: 0, engine: 0, broker_failed: 0 };
  return {
    ...broker,
    counts,
    async run(...given) {
      if (performance.now() < until) {
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
      counts.engine++;
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
  const stride = strideOf(items.length);
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < items.length) {
      const at = (next++ * stride) % items.length;
      const item = items[at] as T;
      out[at] = await work(item);
    }
  };
  await Promise.all(Array.from({ length: at_once }, worker));
  return out;
}

/** Whether two paths judged every call of every run alike. */
function agreement(runs: readonly Run[], a: Pass, b: Pass): unknown {
  let calls = 0;
  const differ: string[] = [];
  for (const [at, one] of a.outcomes.entries()) {
    for (const [position, call] of one.calls.entries()) {
      const other = b.outcomes[at]?.calls[position];
      calls++;
      if (other !== undefined && call.refused === other.refused && call.rule === other.rule) continue;
      const { trace } = (runs[at] as Run).scored;
      differ.push(
        `${trace.suite}/${trace.user_task_id} ${trace.id} call ${call.i} ${trace.calls[position]?.tool}: ${call.rule ?? 'permit'} / ${other?.rule ?? 'permit'}`,
      );
    }
  }
  return { runs: a.outcomes.length, calls, differ: differ.length, examples: differ.slice(0, 20) };
}

function byGroup<T>(
  rows: readonly Judged[],
  pick: (row: Judged) => string,
  make: (rows: Judged[]) => T,
): Record<string, T> {
  const groups = new Map<string, Judged[]>();
  for (const row of rows) groups.set(pick(row), [...(groups.get(pick(row)) ?? []), row]);
  return Object.fromEntries(
    [...groups].sort(([a], [b]) => a.localeCompare(b)).map(([name, list]) => [name, make(list)]),
  );
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

async function main(): Promise<void> {
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
      budget: { type: 'string', default: '900' },
      compare: { type: 'boolean', default: false },
    },
  });
  const { traces: tracePaths, missions, tools, config } = values;
  if (
    tracePaths === undefined ||
    tools === undefined ||
    config === undefined ||
    (missions === undefined && values.mode === 'planner')
  ) {
    process.stderr.write(USAGE + '\n');
    process.exitCode = 2;
    return;
  }
  const folder = dirname(tracePaths[0] ?? '.');
  const beside = readdirSync(folder).find((name) => name.startsWith('full_outputs.jsonl'));
  const full = await loadFullOutputs(
    values['full-outputs'] ?? (beside === undefined ? undefined : join(folder, beside)),
  );
  const traces = await loadTraces(tracePaths, full);
  const names = [...new Set(traces.map(({ trace }) => trace.suite))].sort();
  const suites = loadSuites(names, tools, config);
  const undocumented = addUndocumented(suites, traces);
  let plans: Map<string, Plan[]>;
  if (values.mode === 'oracle') {
    if (values.tasks === undefined) throw new Error('--mode oracle needs --tasks FILE with ground truth');
    plans = oraclePlans(values.tasks);
  } else plans = await loadPlans(missions ?? '');
  if (values.planner !== undefined) {
    for (const [task, list] of plans)
      plans.set(
        task,
        list.filter((plan) => plan.planner === values.planner),
      );
  }
  if (values.plans === 'majority') for (const [task, list] of plans) plans.set(task, majority(list));
  if (values.path !== 'broker' && values.path !== 'engine') throw new Error('--path is broker or engine');
  const opened: BrokerReplay | null =
    values.path === 'broker' ? await openBrokerReplay(suites.catalogues) : null;
  const replay = engineReplay;
  const sample = Math.max(1, Number(values.sample));
  const datasets: Record<string, unknown> = {};
  const datasetNames = [...new Set(traces.map(({ trace }) => trace.dataset))].sort();
  for (const dataset of datasetNames) {
    const own = traces.filter(({ trace }) => trace.dataset === dataset);
    const runs = runsOf(own, plans, suites).filter((_, at) => at % sample === 0);
    const count = (suite: string | null) => (name: string) =>
      own.filter(({ trace, key }) => key.class === name && (suite === null || trace.suite === suite)).length;
    const explain = values.explain === undefined ? undefined : explainer(Number(values.explain));
    const bounded =
      opened === null ? null : withinBudget(opened, Number(values.budget) / datasetNames.length);
    const main = await pass(runs, suites, bounded ?? engineReplay, FULL, explain);
    const bySuite = byGroup(
      main.rows,
      (row) => row.suite,
      (rows) => fullRow(rows, count(rows[0]?.suite ?? null)),
    );
    const suiteNames = Object.keys(bySuite);
    const macro: Record<string, number | null> = {};
    for (const name of ['contained', 'benign_false_stop', 'clean_exposed_false_stop']) {
      const numbers = suiteNames
        .map((suite) => bySuite[suite]?.[name])
        .filter((value): value is number => typeof value === 'number');
      macro[name] =
        numbers.length === 0
          ? null
          : Math.round((numbers.reduce((a, b) => a + b, 0) / numbers.length) * 1e4) / 1e4;
    }
    const bytes = [...main.bytes].sort((a, b) => a - b);
    const extra: Record<string, unknown> = {};
    if (values.compare && opened !== null) {
      const other = await pass(runs, suites, engineReplay, FULL);
      extra['paths_agree'] = agreement(runs, main, other);
    }
    if (!values.quick) {
      // Parts are compared on each planner's most frequent plan; the headline is over all recorded plans.
      const usual = new Map([...plans].map(([task, list]) => [task, majority(list)]));
      const compared = runsOf(own, usual, suites);
      const curve = [];
      for (const { point, rules } of CURVE)
        curve.push({ point, ...shortRow((await pass(compared, suites, replay, rules)).rows) });
      extra['curve'] = curve;
      const base = (await pass(compared, suites, replay, FULL)).rows;
      const scope = CURVE[0];
      if (scope !== undefined) {
        const blunt = (await pass(compared, suites, replay, scope.rules)).rows;
        extra['against_scope_by_planner'] = Object.fromEntries(
          Object.entries(byGroup(blunt, (row) => row.planner, shortRow)).map(([planner, row]) => [
            planner,
            { scope: row, full: shortRow(base.filter((one) => one.planner === planner)) },
          ]),
        );
      }
      const ablation = [{ without: 'nothing', ...shortRow(base) }];
      for (const { without, rules } of ABLATIONS)
        ablation.push({ without, ...shortRow((await pass(compared, suites, replay, rules)).rows) });
      extra['ablation'] = ablation;
      const guessed = loadSuites(names, tools, null);
      addUndocumented(guessed, own);
      const unconfigured = await pass(runsOf(own, usual, guessed), guessed, replay, FULL);
      extra['suggested_only'] = {
        micro: shortRow(unconfigured.rows),
        by_suite: byGroup(unconfigured.rows, (row) => row.suite, shortRow),
      };
      // One suite at a time loses its configuration; the others keep theirs.
      extra['leave_one_suite_out'] = Object.fromEntries(
        suiteNames.map((suite) => [
          suite,
          shortRow([
            ...base.filter((row) => row.suite !== suite),
            ...unconfigured.rows.filter((row) => row.suite === suite),
          ]),
        ]),
      );
    }
    const stops = byGroup(
      main.rows.filter((row) => row.stopped && row.class !== 'hijacked'),
      (row) => `${row.class}/${row.suite}/${row.task}/${row.stop_rule}`,
      (rows) => Math.round(rows.reduce((sum, row) => sum + row.weight, 0) * 100) / 100,
    );
    const missed = byGroup(
      main.rows.filter((row) => row.class === 'hijacked' && !row.contained),
      (row) => `${row.suite}/${row.task}`,
      (rows) => Math.round(rows.reduce((sum, row) => sum + row.weight, 0) * 100) / 100,
    );
    datasets[dataset] = {
      micro: fullRow(main.rows, count(null)),
      macro,
      by_suite: bySuite,
      by_planner: byGroup(main.rows, (row) => row.planner, shortRow),
      pairs: pairRows(main.rows),
      lag: lagRows(main.rows),
      ...(bounded !== null && { judged_by: bounded.counts }),
      ...extra,
      left: { missed_runs: missed, stopped_runs: stops },
      memory_bytes: {
        median: bytes[Math.floor(bytes.length / 2)] ?? null,
        p99: bytes[Math.floor(bytes.length * 0.99)] ?? null,
      },
    };
  }
  const report = {
    mode: values.mode,
    replay: (opened ?? engineReplay).path,
    sample,
    traces: tracePaths.map((path) => basename(path)),
    suites: Object.fromEntries(suites.origin),
    undocumented_tools: undocumented,
    rules_version: FULL.version,
    datasets,
  };
  for (const [suite, origin] of suites.origin) {
    if (origin !== 'configured')
      process.stderr.write(
        `note: suite ${suite} has no configuration; using ${origin === 'suggested' ? 'what catalogue suggest proposes' : 'nothing (every call is an effect)'}\n`,
      );
  }
  await opened?.close();
  const text = JSON.stringify(report, null, 2) + '\n';
  if (values.out !== undefined) writeFileSync(values.out, text);
  process.stdout.write(values.out === undefined ? text : JSON.stringify(headline(report), null, 2) + '\n');
}

function headline(report: { readonly replay: string; readonly datasets: Record<string, unknown> }): unknown {
  return {
    replay: report.replay,
    datasets: Object.fromEntries(
      Object.entries(report.datasets).map(([name, value]) => [name, (value as { micro: unknown }).micro]),
    ),
  };
}

await main();
