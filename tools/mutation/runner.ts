/**
 * A test runner for Stryker that loads the tests of the pure core once, into its own thread, and then runs for each mutant
 * the cases that reach it, the quickest first, until one fails. It is possible because src/domain keeps next to nothing
 * between calls (memos of what was parsed); that nothing is left behind is checked at each kill: the case that failed must
 * pass again without the mutant, or everything is loaded anew and the mutant judged once more.
 *
 * A mutant of code that runs at load gets the modules loaded anew, and every case of the test files that import its file.
 */
import { globSync, readFileSync, writeFileSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { join, relative } from 'node:path';
import { performance } from 'node:perf_hooks';
import { pathToFileURL } from 'node:url';
import type { CoverageAnalysis, MutantCoverage } from '@stryker-mutator/api/core';
import { declareClassPlugin, PluginKind } from '@stryker-mutator/api/plugin';
import type {
  DryRunOptions,
  DryRunResult,
  MutantRunOptions,
  MutantRunResult,
  TestResult,
  TestRunner,
} from '@stryker-mutator/api/test-runner';
import { DryRunStatus, MutantRunStatus, TestStatus } from '@stryker-mutator/api/test-runner';
import type { Case } from './vitest.ts';

/** The object through which Stryker's instrumented code learns which mutant is switched on. */
interface Switches {
  activeMutant?: string | undefined;
  currentTestId?: string | undefined;
  hitCount?: number | undefined;
  hitLimit?: number | undefined;
  mutantCoverage?: MutantCoverage;
}

const STAND_INS: Readonly<Record<string, string>> = {
  vitest: new URL('./vitest.ts', import.meta.url).href,
  'fast-check': new URL('./fast-check.ts', import.meta.url).href,
};
const TIMES = '.case-times.json';
const ALL_TESTS = (): readonly string[] => globSync('test/domain/**/*.test.ts').sort();
/** Cases about memory and spread that take seconds each; what they say of single decisions, others say too. */
const LEFT_OUT = ['200,000 entries', '100,000 similar keys'];

class InProcessRunner implements TestRunner {
  readonly #switches: Switches;
  readonly #root = pathToFileURL(`${process.cwd()}/`).href;
  readonly #importers = new Map<string, Set<string>>();
  #times: Record<string, number> = {};
  #cases = new Map<string, Case>();
  #generation = 0;

  constructor() {
    const place = globalThis as { __stryker__?: Switches };
    this.#switches = place.__stryker__ ??= {};
  }

  capabilities() {
    return { reloadEnvironment: true };
  }

  async init(): Promise<void> {
    process.env['SORTIE_PROPERTY_RUNS'] ??= '10';
    registerHooks({
      resolve: (specifier, context, next) => {
        const stand = STAND_INS[specifier];
        const parent = context.parentURL ?? '';
        if (stand !== undefined && parent.startsWith(`${this.#root}test/`)) return next(stand, context);
        const found = next(specifier, context);
        if (!found.url.startsWith(this.#root) || !found.url.endsWith('.ts')) return found;
        if (found.url.includes('/node_modules/')) return found;
        if (parent.startsWith(this.#root)) this.#noteImport(found.url, parent);
        return { ...found, url: `${found.url}?load=${this.#generation}` };
      },
    });
    try {
      this.#times = JSON.parse(readFileSync(TIMES, 'utf8'));
    } catch {
      // The first thread has no times to read: the dry run writes them.
    }
    this.#cases = await this.#load(ALL_TESTS());
  }

  async dryRun(_: DryRunOptions & { coverageAnalysis: CoverageAnalysis }): Promise<DryRunResult> {
    const tests: TestResult[] = [];
    for (const one of this.#cases.values()) {
      this.#switches.currentTestId = one.id;
      const failureMessage = await this.#failure(one);
      this.#switches.currentTestId = undefined;
      const timeSpentMs = this.#times[one.id] ?? 0;
      const result = { id: one.id, name: one.name, fileName: one.file, timeSpentMs };
      tests.push(
        failureMessage === null
          ? { ...result, status: TestStatus.Success }
          : { ...result, status: TestStatus.Failed, failureMessage },
      );
    }
    writeFileSync(TIMES, JSON.stringify(this.#times));
    const mutantCoverage = this.#switches.mutantCoverage ?? { static: {}, perTest: {} };
    return { status: DryRunStatus.Complete, tests, mutantCoverage };
  }

  async mutantRun(options: MutantRunOptions): Promise<MutantRunResult> {
    const { activeMutant, hitLimit, mutantActivation, sandboxFileName, testFilter } = options;
    try {
      if (mutantActivation === 'static') {
        this.#activate(activeMutant.id, hitLimit);
        return await this.#judge(await this.#load(this.#testsOf(sandboxFileName)), undefined);
      }
      this.#activate(activeMutant.id, hitLimit);
      const found = await this.#judge(this.#cases, testFilter);
      if (found.status !== MutantRunStatus.Killed || (await this.#passes(this.#cases, found))) return found;
      // Something of an earlier mutant, or of this one, is still remembered: only a fresh load can tell which.
      this.#cases = await this.#load(ALL_TESTS());
      if (!(await this.#passes(this.#cases, found))) throw new Error('a case fails without a mutant too');
      this.#activate(activeMutant.id, hitLimit);
      return await this.#judge(this.#cases, testFilter);
    } catch (error) {
      return { status: MutantRunStatus.Error, errorMessage: String(error) };
    } finally {
      this.#activate(undefined, undefined);
    }
  }

  /** Runs the cases with the mutant that is switched on, the quickest first, until one fails. */
  async #judge(
    cases: ReadonlyMap<string, Case>,
    ids: readonly string[] | undefined,
  ): Promise<MutantRunResult> {
    const chosen = (ids ?? [...cases.keys()]).flatMap((id) => cases.get(id) ?? []);
    chosen.sort((a, b) => (this.#times[a.id] ?? 0) - (this.#times[b.id] ?? 0));
    for (const [index, one] of chosen.entries()) {
      const failureMessage = await this.#failure(one);
      if (failureMessage === null) continue;
      const { hitCount = 0, hitLimit } = this.#switches;
      if (hitLimit !== undefined && hitCount > hitLimit) return { status: MutantRunStatus.Timeout };
      return { status: MutantRunStatus.Killed, killedBy: [one.id], failureMessage, nrOfTests: index + 1 };
    }
    return { status: MutantRunStatus.Survived, nrOfTests: chosen.length };
  }

  /** Whether the case that failed passes without a mutant. */
  async #passes(cases: ReadonlyMap<string, Case>, found: MutantRunResult): Promise<boolean> {
    this.#activate(undefined, undefined);
    const [id = ''] = found.status === MutantRunStatus.Killed ? found.killedBy : [];
    const one = cases.get(id);
    return one !== undefined && (await this.#failure(one)) === null;
  }

  #activate(id: string | undefined, hitLimit: number | undefined): void {
    this.#switches.activeMutant = id;
    this.#switches.hitLimit = hitLimit;
    this.#switches.hitCount = id === undefined ? undefined : 0;
  }

  async #failure(one: Case): Promise<string | null> {
    const { runCase } = await standIn();
    const start = performance.now();
    try {
      await runCase(one);
      this.#times[one.id] ??= performance.now() - start;
      return null;
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }

  async #load(files: readonly string[]): Promise<Map<string, Case>> {
    this.#generation++;
    const { collect } = await standIn();
    const cases = new Map<string, Case>();
    for (const file of files) {
      const url = `${pathToFileURL(join(process.cwd(), file)).href}?load=${this.#generation}`;
      for (const one of await collect(file, () => import(url))) {
        if (LEFT_OUT.some((words) => one.name.includes(words))) continue;
        if (cases.has(one.id)) throw new Error(`two cases with one name: ${one.id}`);
        cases.set(one.id, one);
      }
    }
    return cases;
  }

  #noteImport(url: string, parent: string): void {
    const [importer = ''] = parent.split('?');
    const importers = this.#importers.get(url) ?? new Set();
    this.#importers.set(url, importers.add(importer));
  }

  #testsOf(path: string): readonly string[] {
    const reached = new Set([pathToFileURL(path).href]);
    for (const url of reached) for (const importer of this.#importers.get(url) ?? []) reached.add(importer);
    return [...reached]
      .filter((url) => url.endsWith('.test.ts'))
      .map((url) => relative(this.#root, url))
      .sort();
  }
}

const standIn = (): Promise<typeof import('./vitest.ts')> => import('./vitest.ts');

export const strykerPlugins = [declareClassPlugin(PluginKind.TestRunner, 'in-process', InProcessRunner)];
