/** `sortie exec` as its own process, at a broker of the test, with evidence from a file. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';
import { ERP, type TestBroker } from '../support/broker.ts';

const SORTIE = fileURLToPath(new URL('../../bin/sortie.cjs', import.meta.url));

export interface Run {
  readonly process: ChildProcess;
  /** What both streams have said so far. */
  readonly said: { out: string; err: string };
  /** Exit code of exec itself; a signal that ended it is its name. */
  readonly exited: Promise<number | string>;
  /** The reports of `--json`, so far. */
  events(): readonly (Record<string, unknown> & { readonly event: string })[];
}

export interface Place {
  readonly folder: string;
  /** Where private folders are made; empty when nothing is left behind. */
  readonly runtime: string;
  left(): readonly string[];
  /** Starts exec with a mission file; JSON reports unless said otherwise. */
  exec(
    file: Record<string, unknown>,
    command: readonly string[],
    options?: {
      readonly env?: Record<string, string>;
      readonly flags?: readonly string[];
      /** What exec itself is run by. */
      readonly under?: readonly string[];
    },
  ): Promise<Run>;
  close(): void;
}

/** A mission over the ERP, unless the test says otherwise. */
export function missionFile(sortie: TestBroker, more: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    broker: sortie.url,
    intent: { goal: 'Run a command', resources: [ERP], lifetime: '20m' },
    check_every: '1s',
    ...more,
  };
}

let run = 0;

export function startPlace(sortie: TestBroker): Place {
  const folder = mkdtempSync(join(tmpdir(), 'sortie-delivery-'));
  const runtime = join(folder, 'runtime');
  mkdirSync(runtime, { mode: 0o700 });
  const runs: Run[] = [];
  return {
    folder,
    runtime,
    left: () => readdirSync(runtime),
    async exec(file, command, { env = {}, flags = ['--json'], under = [] } = {}) {
      run += 1;
      const evidence = join(folder, `evidence-${run}`);
      writeFileSync(evidence, await sortie.evidence({ run: `delivery-${run}` }), { mode: 0o600 });
      const mission = join(folder, `mission-${run}.yaml`);
      writeFileSync(mission, stringify(file));
      const [program = '', ...args] = [
        ...under,
        process.execPath,
        SORTIE,
        'exec',
        '--mission',
        mission,
        ...flags,
        '--',
        ...command,
      ];
      const child = spawn(program, args, {
        env: {
          PATH: process.env['PATH'],
          XDG_RUNTIME_DIR: runtime,
          SORTIE_EVIDENCE_FILE: evidence,
          ...env,
        },
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      const said = { out: '', err: '' };
      child.stdout?.setEncoding('utf8').on('data', (text: string) => {
        said.out += text;
      });
      child.stderr?.setEncoding('utf8').on('data', (text: string) => {
        said.err += text;
      });
      const started: Run = {
        process: child,
        said,
        exited: new Promise((resolve) =>
          child.once('close', (code, signal) => resolve(code ?? signal ?? '')),
        ),
        events: () =>
          said.err
            .split('\n')
            .filter((line) => line.startsWith('{'))
            .map((line) => JSON.parse(line) as Record<string, unknown> & { readonly event: string }),
      };
      runs.push(started);
      return started;
    },
    close() {
      for (const { process: child } of runs) child.kill('SIGKILL');
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Runs JavaScript as the command. */
export function node(script: string): readonly string[] {
  return [process.execPath, '-e', script];
}

/** Waits for what a process does, with what it said if it does not. */
export async function eventually(holds: () => boolean, what: string, run?: Run): Promise<void> {
  for (let tries = 0; tries < 800; tries++) {
    if (holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error(`never happened: ${what}${run === undefined ? '' : `\n${run.said.err}${run.said.out}`}`);
}

/** State of the mission of a run, at the broker. */
export async function stateOf(sortie: TestBroker, { events }: Run): Promise<unknown> {
  const id = events().find(({ event }) => event === 'mission')?.['mission_id'];
  return (await sortie.admin('GET', `/missions/${String(id)}`)).body['state'];
}
