import { readFileSync } from 'node:fs';
import type { JsonValue } from '../../src/domain/json.ts';
import { type Plan, taskKey } from './missions.ts';
import { actionNameOf } from './traces.ts';

interface UserTask {
  readonly dataset?: string;
  readonly suite: string;
  readonly user_task_id: string;
  readonly variants: readonly {
    readonly ground_truth: readonly { readonly tool: string; readonly args: Record<string, JsonValue> }[];
  }[];
}

/**
 * Missions as somebody who knew the answer would declare them: the ground truth's tools and values.
 * A ceiling for comparison, never the product's figure: it knows one of several valid paths.
 */
export function oraclePlans(path: string): Map<string, Plan[]> {
  const out = new Map<string, Plan[]>();
  for (const task of JSON.parse(readFileSync(path, 'utf8')) as UserTask[]) {
    const truth = task.variants.at(-1)?.ground_truth ?? [];
    out.set(taskKey(task.dataset ?? '', task.suite, task.user_task_id), [
      {
        planner: 'oracle',
        weight: 1,
        tools: truth.map((call) => actionNameOf(call.tool)),
        steps: truth.map((call) => ({ tool: actionNameOf(call.tool), parameters: call.args, from: {} })),
      },
    ]);
  }
  return out;
}
