/**
 * Writes the table of docs/mutation.md from the reports of `npm run mutation`. Usage: node tools/mutation/table.ts
 * [report.json ...]; a later report replaces the files that it shares with an earlier one.
 */
import { readFileSync, writeFileSync } from 'node:fs';

interface Report {
  readonly files: Readonly<Record<string, { readonly mutants: readonly { readonly status: string }[] }>>;
}

const PAGE = new URL('../../docs/mutation.md', import.meta.url);
const BEGIN = '<!-- measured -->\n';
const END = '<!-- /measured -->';
const COLUMNS = ['Killed', 'Timeout', 'Survived', 'NoCoverage', 'Ignored'] as const;

function row(name: string, counts: Readonly<Record<string, number>>): string {
  const [killed = 0, timed_out = 0, survived = 0, unreached = 0, at_load = 0] = COLUMNS.map(
    (status) => counts[status] ?? 0,
  );
  const judged = killed + timed_out + survived + unreached;
  const score = judged === 0 ? '' : `${((100 * (killed + timed_out)) / judged).toFixed(1)} %`;
  return `| ${name} | ${judged} | ${killed} | ${timed_out} | ${survived} | ${unreached} | ${score} | ${at_load} |`;
}

const paths = process.argv.length > 2 ? process.argv.slice(2) : ['reports/mutation.json'];
const reports = paths.map((path): Report => JSON.parse(readFileSync(path, 'utf8')));
const files = new Map(reports.flatMap((report) => Object.entries(report.files)));
const total: Record<string, number> = {};
const rows = [...files].sort().map(([file, { mutants }]) => {
  const counts: Record<string, number> = {};
  for (const { status } of mutants) {
    counts[status] = (counts[status] ?? 0) + 1;
    total[status] = (total[status] ?? 0) + 1;
  }
  return row(`\`${file.replace('src/domain/', '')}\``, counts);
});
const table = [
  '| file | mutants | killed | timed out | survived | never reached | score | at load, not run |',
  '|---|---|---|---|---|---|---|---|',
  row('**all of `src/domain`**', total),
  ...rows,
  '',
].join('\n');
const page = readFileSync(PAGE, 'utf8');
const [before = '', rest = ''] = page.split(BEGIN);
const [, after = ''] = rest.split(END);
writeFileSync(PAGE, before + BEGIN + table + END + after);
