import type { Catalogue } from '../../src/behaviour/catalogue.ts';
import { hasLabel } from '../../src/behaviour/catalogue.ts';
import type {
  DeclaredAction,
  DeclaredMission,
  DeclaredParameter,
  DeclaredSource,
} from '../../src/behaviour/mission.ts';
import type { JsonValue } from '../../src/domain/json.ts';
import { actionNameOf, jsonLines } from './traces.ts';

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

/** Where a task's plans are kept; plans that name no dataset hold for every dataset. */
export function taskKey(dataset: string, suite: string, userTask: string): string {
  return `${dataset}/${suite}/${userTask}`;
}

export function plansOf(
  plans: ReadonlyMap<string, readonly Plan[]>,
  task: { readonly dataset: string; readonly suite: string; readonly user_task_id: string },
): readonly Plan[] {
  return (
    plans.get(taskKey(task.dataset, task.suite, task.user_task_id)) ??
    plans.get(taskKey('', task.suite, task.user_task_id)) ??
    []
  );
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
    tool: actionNameOf(tool),
    parameters:
      typeof parameters === 'object' && parameters !== null && !Array.isArray(parameters)
        ? (parameters as Record<string, JsonValue>)
        : {},
    from: Object.fromEntries(
      [...readConditions(step['conditions'])].map(([name, from]) => [name, from.map(actionNameOf)]),
    ),
  };
}

export async function loadPlans(path: string): Promise<Map<string, Plan[]>> {
  const out = new Map<string, Plan[]>();
  for await (const line of jsonLines(path)) {
    const dataset = typeof line['dataset'] === 'string' ? line['dataset'] : '';
    const key = taskKey(dataset, String(line['suite']), String(line['user_task_id']));
    const plans = (Array.isArray(line['plans']) ? line['plans'] : []).filter(
      (plan): plan is Record<string, unknown> => typeof plan === 'object' && plan !== null,
    );
    const counts = plans.map((plan) => (typeof plan['n'] === 'number' && plan['n'] > 0 ? plan['n'] : 1));
    const total = counts.reduce((sum, n) => sum + n, 0);
    const list = out.get(key) ?? [];
    for (const [at, plan] of plans.entries()) {
      const { checklist, planned_tools } = plan;
      const steps = (Array.isArray(checklist) ? checklist : []).map(readStep).filter((step) => step !== null);
      const tools = (Array.isArray(planned_tools) ? planned_tools : [])
        .filter((tool) => typeof tool === 'string')
        .map(actionNameOf);
      list.push({
        planner: String(line['planner_model'] ?? 'planner'),
        weight: (counts[at] ?? 1) / total,
        tools,
        steps,
      });
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
