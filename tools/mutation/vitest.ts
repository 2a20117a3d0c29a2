/**
 * Stands in for `vitest` when the mutation runner loads the tests of the pure core: the cases are kept in a list, to be run
 * again and again in the same thread. `expect` is vitest's own.
 */
import { readFileSync } from 'node:fs';
import { format, inspect } from 'node:util';

/** One case of a test file. */
export interface Case {
  /** `file#names`, the same in each thread that loads the file. */
  readonly id: string;
  readonly name: string;
  readonly file: string;
  readonly run: () => unknown;
}

type Body = (...args: never[]) => unknown;
interface Each {
  each(rows: readonly unknown[]): (title: string, body: Body) => void;
}

// What vitest's `expect` asks of the worker that it believes to run in.
Object.assign(globalThis, {
  __vitest_worker__: { config: {}, ctx: {}, environment: { name: 'node' }, filepath: '' },
});
const { expect } = await import('vitest');

export { expect };

let cases: Case[] = [];
let file = '';
let names: readonly string[] = [];
let running: Case | undefined;

/** The cases that importing a test file registers. */
export async function collect(path: string, load: () => Promise<unknown>): Promise<readonly Case[]> {
  cases = [];
  file = path;
  names = [];
  await load();
  return cases;
}

/** Runs a case; what it throws is its failure. */
export async function runCase(one: Case): Promise<void> {
  running = one;
  const answer = one.run();
  if (answer instanceof Promise) await answer;
}

function titleOf(title: string, args: readonly unknown[], index: number): string {
  const [row] = args;
  const filled =
    typeof row === 'object' && row !== null && args.length === 1
      ? title.replace(/\$(\w+)/g, (_, key: string) => inspect((row as Record<string, unknown>)[key]))
      : title;
  return `${format(filled, ...args)
    .replace(/\s+/g, ' ')
    .slice(0, 120)} #${index}`;
}

/** As vitest reads a table: rows are spread only where every one of them is a list. */
function eachOf(register: (title: string, body: Body) => void): Each['each'] {
  return (rows) => (title, body) => {
    const lists = rows.every((row) => Array.isArray(row));
    rows.forEach((row, index) => {
      const args = (lists ? row : [row]) as never[];
      register(titleOf(title, args, index), () => body(...args));
    });
  };
}

function suite(name: string, body: Body): void {
  const outer = names;
  names = [...outer, name];
  body();
  names = outer;
}

function add(title: string, body: Body): void {
  const name = [...names, title].join(' > ');
  cases.push({ id: `${file}#${name}`, name, file, run: () => body() });
}

export const describe = Object.assign(suite, { each: eachOf(suite) });
export const it = Object.assign(add, { each: eachOf(add) });
export const test = it;
/** No time limit of its own: the runner has one for each mutant. */
export const vi = { setConfig(): void {} };

expect.extend({
  /** Compares a text with the file that vitest keeps; it never writes one. */
  toMatchSnapshot(received: unknown) {
    const { file: path = '', name = '' } = running ?? {};
    const kept = path.replace(/([^/]+)$/, '__snapshots__/$1.snap');
    const text = `exports[\`${name} 1\`] = \`\n"${String(received)}"\n\`;`;
    const pass = readFileSync(kept, 'utf8').replaceAll('\\`', '`').replaceAll('\\\\', '\\').includes(text);
    return { pass, message: () => `not the snapshot of ${name}` };
  },
});
