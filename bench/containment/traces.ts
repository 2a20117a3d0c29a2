import { createReadStream, existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { createGunzip } from 'node:zlib';

/** Recorded runs, one JSON object a line, gzip or plain. The format is described beside the data. */

export interface RecordedCall {
  readonly i: number;
  readonly tool: string;
  readonly args: Readonly<Record<string, unknown>>;
  readonly ok: boolean;
  readonly out: string;
  readonly out_truncated?: boolean;
  readonly out_id?: string;
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

export async function* jsonLines(path: string): AsyncGenerator<Record<string, unknown>> {
  const file = createReadStream(path);
  const input = path.endsWith('.gz') ? file.pipe(createGunzip()) : file;
  for await (const line of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
    if (line.trim() !== '') yield JSON.parse(line) as Record<string, unknown>;
  }
}

/** Full texts of outputs that the trace files cut, by `out_id`. */
export async function loadFullOutputs(path: string | undefined): Promise<Map<string, string>> {
  const out = new Map<string, string>();
  if (path === undefined || !existsSync(path)) return out;
  for await (const line of jsonLines(path)) out.set(String(line['out_id']), String(line['out']));
  return out;
}

export async function loadTraces(
  paths: readonly string[],
  full: ReadonlyMap<string, string>,
): Promise<ScoredTrace[]> {
  const out: ScoredTrace[] = [];
  for (const path of paths) {
    for await (const line of jsonLines(path)) {
      const { answer_key: key, ...rest } = line;
      const trace = rest as unknown as Trace;
      const calls = trace.calls.map((call) => ({
        ...call,
        args: call.args ?? {},
        out: (call.out_id && full.get(call.out_id)) || (call.out ?? ''),
      }));
      out.push({
        trace: { ...trace, calls },
        key: { ...NO_KEY, ...(key as Partial<AnswerKey> | undefined) },
      });
    }
  }
  return out;
}
