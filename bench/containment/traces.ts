import { closeSync, createReadStream, existsSync, openSync, readSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { createGunzip } from 'node:zlib';
import { actionName } from '../../src/behaviour/describe.ts';

/**
 * Recorded runs, one JSON object a line, gzip or plain (told by the first bytes, not by the name). The format is
 * described beside the data. A line that cannot be used is counted and told, never guessed at.
 */

export interface RecordedCall {
  readonly i: number;
  readonly tool: string;
  readonly args: Readonly<Record<string, unknown>>;
  readonly ok: boolean;
  readonly out: string;
}

/** What the system under test may see of a run. */
export interface Trace {
  readonly id: string;
  readonly dataset: string;
  readonly suite: string;
  readonly model: string;
  readonly user_task_id: string;
  readonly user_prompt: string;
  readonly calls: readonly RecordedCall[];
}

/** What only the scorer sees. */
export interface AnswerKey {
  readonly class: string | null;
  readonly exposed_at: number | null;
  readonly breach_at: number | null;
  readonly attacker_value_at: number | null;
  readonly output_only: boolean;
  readonly sample_weight?: number | null;
}

const NO_KEY: AnswerKey = {
  class: null,
  exposed_at: null,
  breach_at: null,
  attacker_value_at: null,
  output_only: false,
};

export interface ScoredTrace {
  readonly trace: Trace;
  readonly key: AnswerKey;
}

/** Two datasets may each have a suite of one name. */
export function suiteKey(of: { readonly dataset: string; readonly suite: string }): string {
  return `${of.dataset}/${of.suite}`;
}

/** A recorded tool's name as an action: services write spaces and signs that no authority has. */
export function actionNameOf(tool: string): string {
  return actionName(tool) || 'unnamed';
}

function isGzip(path: string): boolean {
  const file = openSync(path, 'r');
  try {
    const head = Buffer.alloc(2);
    return readSync(file, head, 0, 2, 0) === 2 && head[0] === 0x1f && head[1] === 0x8b;
  } finally {
    closeSync(file);
  }
}

/** Objects of a file of JSON lines; `bad` is told the number of each line that is none. */
export async function* jsonLines(
  path: string,
  bad: (line: number, why: string) => void = (line, why) => {
    throw new Error(`${path}:${line}: ${why}`);
  },
): AsyncGenerator<Record<string, unknown>> {
  const file = createReadStream(path);
  const input = isGzip(path) ? file.pipe(createGunzip()) : file;
  // A broken archive is an error of the stream, which the lines would otherwise wait for without end.
  const broken = new Promise<never>((_, reject) => {
    file.on('error', reject);
    input.on('error', (cause: Error) => reject(new Error(`${path}: ${cause.message}`)));
  });
  broken.catch(() => undefined);
  const lines = createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })[Symbol.asyncIterator]();
  for (let line = 1; ; line++) {
    const next = await Promise.race([lines.next(), broken]);
    if (next.done === true) return;
    const text = next.value.replace(/^\uFEFF/, '');
    if (text.trim() === '') continue;
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      bad(line, 'not JSON');
      continue;
    }
    if (typeof value !== 'object' || value === null || Array.isArray(value)) bad(line, 'not a JSON object');
    else yield value as Record<string, unknown>;
  }
}

/** Full texts of outputs that the trace files cut, by `out_id`. */
export async function loadFullOutputs(paths: readonly string[]): Promise<Map<string, string>> {
  const out = new Map<string, string>();
  for (const path of new Set(paths)) {
    if (!existsSync(path)) continue;
    for await (const line of jsonLines(path, () => undefined)) {
      if (typeof line['out'] === 'string') out.set(String(line['out_id']), line['out']);
    }
  }
  return out;
}

export interface LoadedTraces {
  readonly traces: readonly ScoredTrace[];
  /** Lines that were left out, by reason; `examples` says where. */
  readonly left_out: { readonly malformed: number; readonly repeated: number; readonly examples: string[] };
}

function argumentsOf(value: unknown): Record<string, unknown> {
  if (typeof value === 'string') {
    try {
      return argumentsOf(JSON.parse(value));
    } catch {
      return { value };
    }
  }
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : {};
}

function textOf(value: unknown): string {
  if (typeof value === 'string') return value;
  return value === undefined || value === null ? '' : JSON.stringify(value);
}

function numberOf(value: unknown): number | null {
  return typeof value === 'number' && Number.isFinite(value) ? value : null;
}

function keyOf(value: unknown): AnswerKey {
  if (typeof value !== 'object' || value === null) return NO_KEY;
  const key = value as Record<string, unknown>;
  return {
    class: typeof key['class'] === 'string' ? key['class'] : null,
    exposed_at: numberOf(key['exposed_at']),
    breach_at: numberOf(key['breach_at']),
    attacker_value_at: numberOf(key['attacker_value_at']),
    output_only: key['output_only'] === true,
    sample_weight: numberOf(key['sample_weight']),
  };
}

/** One run of a line, or why it is none. The answer key goes a way of its own. */
function readTrace(line: Record<string, unknown>, full: ReadonlyMap<string, string>): ScoredTrace | string {
  const { suite, calls } = line;
  if (typeof suite !== 'string' || suite === '') return 'no suite';
  if (!Array.isArray(calls)) return 'no calls';
  const read: RecordedCall[] = [];
  for (const [i, value] of calls.entries()) {
    const call = (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>;
    if (typeof call['tool'] !== 'string') return `call ${i} has no tool`;
    const complete = typeof call['out_id'] === 'string' ? full.get(call['out_id']) : undefined;
    read.push({
      i,
      tool: actionNameOf(call['tool']),
      args: argumentsOf(call['args']),
      ok: call['ok'] !== false,
      out: complete ?? textOf(call['out']),
    });
  }
  const trace: Trace = {
    id: textOf(line['id']),
    dataset: textOf(line['dataset']) || 'unnamed',
    suite,
    model: textOf(line['model']),
    user_task_id: textOf(line['user_task_id']),
    user_prompt: textOf(line['user_prompt']),
    calls: read,
  };
  return { trace, key: keyOf(line['answer_key']) };
}

/** Runs of all files, each once however often a file is given. @throws Error for a file that cannot be read */
export async function loadTraces(
  paths: readonly string[],
  full: ReadonlyMap<string, string>,
): Promise<LoadedTraces> {
  const traces: ScoredTrace[] = [];
  const known = new Set<string>();
  const examples: string[] = [];
  let malformed = 0;
  let repeated = 0;
  const say = (where: string): void => {
    if (examples.length < 10) examples.push(where);
  };
  for (const path of paths) {
    const bad = (line: number, why: string): void => {
      malformed++;
      say(`${path}:${line}: ${why}`);
    };
    let count = 0;
    for await (const line of jsonLines(path, bad)) {
      count++;
      const read = readTrace(line, full);
      if (typeof read === 'string') {
        malformed++;
        say(`${path}: record ${count}: ${read}`);
        continue;
      }
      const name = `${suiteKey(read.trace)}/${read.trace.id}`;
      if (read.trace.id !== '' && known.has(name)) {
        repeated++;
        continue;
      }
      known.add(name);
      traces.push(read);
    }
  }
  return { traces, left_out: { malformed, repeated, examples } };
}
