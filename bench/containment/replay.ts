import { createHmac } from 'node:crypto';
import { parse } from 'yaml';
import type { Catalogue } from '../../src/behaviour/catalogue.ts';
import { judge } from '../../src/behaviour/engine.ts';
import { digestKey } from '../../src/behaviour/memory.ts';
import { beginMission, type DeclaredMission } from '../../src/behaviour/mission.ts';
import type { Context } from '../../src/behaviour/proof.ts';
import type { BehaviourRules } from '../../src/behaviour/rules.ts';
import type { JsonValue } from '../../src/domain/json.ts';
import type { RecordedCall, Trace } from './traces.ts';

/** What became of one recorded call. */
export interface CallOutcome {
  readonly i: number;
  readonly refused: boolean;
  readonly rule: string | null;
  readonly effect: boolean;
}

export interface RunOutcome {
  readonly calls: readonly CallOutcome[];
  readonly memory_bytes: number;
}

/** Puts one recorded run through a system under test. The seam behind which a broker with real guards goes. */
export interface Replay {
  /** Said in the output, so that a reader knows what was measured. */
  readonly path: string;
  /** Runs judged at the same time. Default 1. */
  readonly at_once?: number;
  run(
    trace: Trace,
    mission: DeclaredMission,
    catalogue: Catalogue,
    rules: BehaviourRules,
  ): Promise<RunOutcome> | RunOutcome;
}

/**
 * Recorded outputs are printed structures (YAML or Python literals). A guard sits in front of the printing and sees
 * the structure; what cannot be read back is one text of unknown origin.
 */
export function bodyOf(call: RecordedCall): JsonValue {
  const cached = parsed.get(call.out);
  if (cached !== undefined) return cached;
  const body = readBody(call.out);
  parsedChars += call.out.length;
  if (parsed.size > 20_000 || parsedChars > MAX_PARSED_CHARS) {
    parsed.clear();
    parsedChars = call.out.length;
  }
  parsed.set(call.out, body);
  return body;
}

const MAX_PARSED_CHARS = 64_000_000;
/** Longer prints are taken as text: a guard would have read the structure, so this can only stop more. */
const MAX_PRINTED_CHARS = 1_000_000;
const parsed = new Map<string, JsonValue>();
let parsedChars = 0;

function readBody(out: string): JsonValue {
  const head = out.trimStart()[0] ?? '';
  const listed = head === '-' || head === '[' || head === '{' || /^[A-Za-z_]+:( |\n)/.test(out);
  if (!listed) return out;
  if (head === '{' || head === '[') {
    try {
      return nested(JSON.parse(out) as JsonValue, 0);
    } catch {
      // Not JSON: perhaps another language's literal.
    }
  }
  if (out.length > MAX_PRINTED_CHARS) return out;
  for (const text of [out, out.slice(0, Math.max(0, out.lastIndexOf('\n- ')))]) {
    try {
      const value = parse(text, { maxAliasCount: 0, schema: 'failsafe', logLevel: 'silent' }) as JsonValue;
      if (value !== null && typeof value === 'object') return nested(value, 0);
    } catch {
      // Not a printed structure, or cut in the middle: try without the last record, then as text.
    }
  }
  return out;
}

/** Some services print a list inside a text; read those back too. */
function nested(value: JsonValue, depth: number): JsonValue {
  if (depth > 6) return value;
  if (typeof value === 'string' && /^\[.*\]$/s.test(value) && value.length < 4000 && !value.includes('(')) {
    try {
      const inner = parse(value, { maxAliasCount: 0, schema: 'failsafe', logLevel: 'silent' }) as JsonValue;
      if (Array.isArray(inner)) return inner;
    } catch {
      return value;
    }
  }
  if (Array.isArray(value)) return value.map((item: JsonValue) => nested(item, depth + 1));
  if (value !== null && typeof value === 'object') {
    return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, nested(item, depth + 1)]));
  }
  return value;
}

/** The pure engine, as a guard calls it: each call judged before it runs, its recorded answer taken in after. */
export const engineReplay: Replay = {
  path: 'engine (pure judge, in process)',
  run(trace, mission, catalogue, rules) {
    const key = digestKey(createHmac('sha256', 'bench').update(trace.id).digest());
    const context: Context = { catalogue, rules, key };
    let state = beginMission(mission, key);
    const calls: CallOutcome[] = [];
    for (const call of trace.calls) {
      const request = { action: call.tool, parameters: call.args as Record<string, JsonValue> };
      const step = judge(state, { type: 'call', call: request }, context);
      state = step.state;
      const refused = step.verdict?.decision === 'deny';
      const entry = catalogue.actions.get(call.tool);
      calls.push({
        i: call.i,
        refused,
        rule: step.verdict?.record.rule ?? null,
        effect: entry === undefined || entry.labels.includes('effect'),
      });
      // A refused call never ran: its recorded answer does not exist.
      if (!refused)
        state = judge(state, { type: 'answer', call: request, body: bodyOf(call) }, context).state;
    }
    return { calls, memory_bytes: state.memory.slots.length };
  },
};
