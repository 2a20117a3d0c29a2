import type { Plan } from './missions.ts';
import { engineReplay } from './replay.ts';
import { agreement, majority, type Pass, pass, type Run, runsOf } from './runs.ts';
import { fullRow, type Judged, lagRows, pairRows, round, shortRow } from './score.ts';
import type { Suites } from './suites.ts';
import type { ScoredTrace } from './traces.ts';
import { ABLATIONS, CURVE, FULL } from './variants.ts';

/** What is written of one dataset. Rates from 0 to 1; intervals are 95 % over user tasks. */

const MACRO = ['contained', 'contained_strict', 'benign_false_stop', 'clean_exposed_false_stop'];

export function byGroup<T>(
  rows: readonly Judged[],
  pick: (row: Judged) => string,
  make: (rows: Judged[]) => T,
): Record<string, T> {
  const groups = new Map<string, Judged[]>();
  for (const row of rows) {
    const list = groups.get(pick(row));
    if (list === undefined) groups.set(pick(row), [row]);
    else list.push(row);
  }
  return Object.fromEntries(
    [...groups].sort(([a], [b]) => a.localeCompare(b)).map(([name, list]) => [name, make(list)]),
  );
}

/** The headline: one pass of every run under every plan. */
export function headline(runs: readonly Run[], main: Pass): Record<string, unknown> {
  const count = (suite: string | null) => (name: string) =>
    new Set(
      runs
        .map(({ scored }) => scored)
        .filter(({ trace, key }) => key.class === name && (suite === null || trace.suite === suite)),
    ).size;
  const by_suite = byGroup(
    main.rows,
    (row) => row.suite,
    (rows) => fullRow(rows, count(rows[0]?.suite ?? null)),
  );
  const macro: Record<string, number | null> = {};
  for (const name of MACRO) {
    const numbers = Object.values(by_suite)
      .map((row) => row[name])
      .filter((value): value is number => typeof value === 'number');
    macro[name] = numbers.length === 0 ? null : round(numbers.reduce((a, b) => a + b, 0) / numbers.length);
  }
  const bytes = [...main.bytes].sort((a, b) => a - b);
  const weights = (rows: readonly Judged[]): number =>
    Math.round(rows.reduce((sum, row) => sum + row.weight, 0) * 100) / 100;
  return {
    micro: fullRow(main.rows, count(null)),
    macro,
    by_suite,
    by_planner: byGroup(main.rows, (row) => row.planner, shortRow),
    pairs: pairRows(main.rows),
    lag: lagRows(main.rows),
    left: {
      missed_runs: byGroup(
        main.rows.filter((row) => row.class === 'hijacked' && !row.contained),
        (row) => `${row.suite}/${row.task}`,
        weights,
      ),
      stopped_runs: byGroup(
        main.rows.filter((row) => row.stopped && row.class !== 'hijacked'),
        (row) => `${row.class}/${row.suite}/${row.task}/${row.stop_rule}`,
        weights,
      ),
    },
    memory_bytes: {
      median: bytes[Math.floor(bytes.length / 2)] ?? null,
      p99: bytes[Math.floor(bytes.length * 0.99)] ?? null,
    },
  };
}

/** Parts are compared on each planner's most frequent plan, in process; the headline is over all recorded plans. */
export async function parts(
  own: readonly ScoredTrace[],
  plans: ReadonlyMap<string, readonly Plan[]>,
  suites: Suites,
  unconfigured: Suites,
): Promise<Record<string, unknown>> {
  const usual = new Map([...plans].map(([task, list]) => [task, majority(list)]));
  const compared = runsOf(own, usual, suites);
  const rowsOf = async (rules: (typeof CURVE)[number]['rules']): Promise<readonly Judged[]> =>
    (await pass(compared, suites, engineReplay, rules)).rows;
  const base = await rowsOf(FULL);
  const curve: Record<string, unknown>[] = [];
  let blunt: readonly Judged[] = [];
  for (const { point, rules } of CURVE) {
    const rows = rules === FULL ? base : await rowsOf(rules);
    if (curve.length === 0) blunt = rows;
    curve.push({ point, ...shortRow(rows) });
  }
  const ablation: Record<string, unknown>[] = [{ without: 'nothing', ...shortRow(base) }];
  for (const { without, rules } of ABLATIONS) ablation.push({ without, ...shortRow(await rowsOf(rules)) });
  const guessed = await pass(runsOf(own, usual, unconfigured), unconfigured, engineReplay, FULL);
  return {
    curve,
    against_scope_by_planner: byGroup(
      blunt,
      (row) => row.planner,
      (rows) => ({
        scope: shortRow(rows),
        full: shortRow(base.filter((one) => one.planner === rows[0]?.planner)),
      }),
    ),
    ablation,
    suggested_only: {
      micro: shortRow(guessed.rows),
      by_suite: byGroup(guessed.rows, (row) => row.suite, shortRow),
    },
    // One suite at a time loses its configuration; the others keep theirs.
    leave_one_suite_out: byGroup(
      base,
      (row) => row.suite,
      ([first]) => ({
        all: shortRow([
          ...base.filter((row) => row.suite !== first?.suite),
          ...guessed.rows.filter((row) => row.suite === first?.suite),
        ]),
        suite: shortRow(guessed.rows.filter((row) => row.suite === first?.suite)),
      }),
    ),
  };
}

/** Both paths over the same runs. */
export async function comparison(runs: readonly Run[], suites: Suites, main: Pass): Promise<unknown> {
  return agreement(runs, main, await pass(runs, suites, engineReplay, FULL));
}
