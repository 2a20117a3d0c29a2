import type { Catalogue } from '../../src/behaviour/catalogue.ts';
import { hasLabel } from '../../src/behaviour/catalogue.ts';
import type {
  DeclaredAction,
  DeclaredMission,
  DeclaredParameter,
  DeclaredSource,
} from '../../src/behaviour/mission.ts';
import type { JsonValue } from '../../src/domain/json.ts';
import { jsonLines } from './traces.ts';

/** A recorded plan that an LLM wrote from the prompt and the tool documentation alone. */
export interface Plan {
  readonly planner: string;
  /** Share of this planner's recordings of the task. */
  readonly weight: number;
  readonly tools: readonly string[];
  readonly steps: readonly PlanStep[];
}

export interface PlanStep {
  readonly tool: string;
  readonly parameters: Readonly<Record<string, JsonValue>>;
  /** Parameter -> the steps that its value is to come from. */
  readonly from: Readonly<Record<string, readonly string[]>>;
}

export function taskKey(suite: string, userTask: string): string {
  return `${suite}/${userTask}`;
}

/**
 * The planner writes conditions as a Python dict in a text, often not quite one: reads `'name': 'text'` pairs and
 * lists of texts, and ignores what it cannot read.
 */
function readConditions(value: unknown): Map<string, string[]> {
  const out = new Map<string, string[]>();
  const texts: string[] = [];
  let source = '';
  if (typeof value === 'string') source = value;
  else if (value !== null && typeof value === 'object') source = JSON.stringify(value);
  let key: string | null = null;
  for (let i = 0; i < source.length; i++) {
    const mark = source[i];
    if (mark !== "'" && mark !== '"') continue;
    const end = source.indexOf(mark, i + 1);
    if (end < 0) break;
    const text = source.slice(i + 1, end);
    texts.push(text);
    let after = end + 1;
    while (source[after] === ' ') after++;
    if (source[after] === ':') key = text;
    else if (key !== null) out.set(key, [...(out.get(key) ?? []), text]);
    i = end;
  }
  return out;
}

function readStep(value: unknown): PlanStep | null {
  if (typeof value !== 'object' || value === null) return null;
  const step = value as Record<string, unknown>;
  const tool = step['name'];
  if (typeof tool !== 'string') return null;
  const parameters = step['required parameters'];
  return {
    tool,
    parameters:
      typeof parameters === 'object' && parameters !== null && !Array.isArray(parameters)
        ? (parameters as Record<string, JsonValue>)
        : {},
    from: Object.fromEntries(readConditions(step['conditions'])),
  };
}

export async function loadPlans(path: string): Promise<Map<string, Plan[]>> {
  const out = new Map<string, Plan[]>();
  for await (const line of jsonLines(path)) {
    const key = taskKey(String(line['suite']), String(line['user_task_id']));
    const plans = (line['plans'] ?? []) as { n: number; planned_tools: unknown; checklist: unknown }[];
    const total = plans.reduce((sum, plan) => sum + plan.n, 0);
    const list = out.get(key) ?? [];
    for (const plan of plans) {
      const steps = (Array.isArray(plan.checklist) ? plan.checklist : [])
        .map(readStep)
        .filter((step) => step !== null);
      const tools = Array.isArray(plan.planned_tools)
        ? plan.planned_tools.filter((tool) => typeof tool === 'string')
        : [];
      list.push({ planner: String(line['planner_model']), weight: plan.n / total, tools, steps });
    }
    out.set(key, list);
  }
  return out;
}

function isPlaceholder(value: JsonValue): boolean {
  return (
    typeof value === 'string' &&
    (value === '' || (value.startsWith('<') && value.endsWith('>')) || value.startsWith('{'))
  );
}

/**
 * The declared plan as a mission: its tools become the proposal's actions, its fixed values become literals, and
 * its conditions become `origin.from`. Where the planner says nothing of a value's origin, the reads it planned
 * before that step are the only ones it can have meant.
 */
export function missionOf(id: string, prompt: string, plan: Plan, catalogue: Catalogue): DeclaredMission {
  const known = (tool: string): boolean => catalogue.actions.has(tool);
  const order = plan.tools.filter(known);
  for (const step of plan.steps) if (known(step.tool) && !order.includes(step.tool)) order.push(step.tool);
  const actions = new Map<string, DeclaredAction>();
  for (const [position, tool] of order.entries()) {
    const earlier: DeclaredSource[] = [];
    for (const before of order.slice(0, position)) {
      const entry = catalogue.actions.get(before);
      if (entry === undefined || !hasLabel(entry, 'read') || before === tool) continue;
      if (!earlier.some((one) => one.action === before)) earlier.push({ action: before, implied: true });
    }
    const parameters: Record<string, DeclaredParameter> = {};
    for (const step of plan.steps.filter((one) => one.tool === tool)) {
      for (const name of new Set([...Object.keys(step.parameters), ...Object.keys(step.from)])) {
        const value = step.parameters[name] ?? null;
        const sources = (step.from[name] ?? [])
          .filter((from) => known(from) && from !== tool)
          .map((action) => ({ action }));
        const before = parameters[name];
        parameters[name] = {
          literals: [...(before?.literals ?? []), ...(value === null || isPlaceholder(value) ? [] : [value])],
          sources: [...(before?.sources ?? []), ...sources],
        };
      }
    }
    const previous = actions.get(tool);
    actions.set(tool, {
      action: tool,
      parameters: { ...previous?.parameters, ...parameters },
      sources: [
        ...(previous?.sources ?? []),
        ...earlier.filter((one) => !(previous?.sources ?? []).some((other) => other.action === one.action)),
      ],
    });
  }
  return {
    mission_id: id,
    texts: [prompt],
    actions: [...actions.values()],
    template_values: [],
    born_tainted: false,
  };
}
