/**
 * `origin`: where a value came from, as the verifier's provenance stage found it in `context.origins`, never
 * what the caller says. `in` lists the accepted origins; `from` the steps whose answer it may be taken from.
 */

import type { JsonObject, JsonValue } from '../../../json.ts';
import { isLiteralAction } from '../../actions.ts';
import { type Call, ORIGINS, type Origin, type OriginFact, type OriginStep } from '../../model.ts';
import { badAuthority, member, readList, readObject, readText, readTexts } from '../../parse.ts';
import { common, isSubsetOf } from '../../subset.ts';
import type { Verdict } from '../kind.ts';

const MAX_STEPS = 64;

/** Null: not limited on that side. */
export interface OriginRule {
  readonly in: ReadonlySet<Origin> | null;
  readonly from: readonly OriginStep[] | null;
}

export function parseOrigin(value: JsonValue, path: string): OriginRule {
  const object: JsonObject = readObject(value, path, ['in', 'from']);
  const origins = member(object, 'in');
  const steps = member(object, 'from');
  if (origins === undefined && steps === undefined) throw badAuthority(path, 'must have in or from');
  return {
    in: origins === undefined ? null : readOrigins(origins, `${path}.in`),
    from: steps === undefined ? null : readList(steps, `${path}.from`, MAX_STEPS, readStep),
  };
}

function readOrigins(value: JsonValue, path: string): ReadonlySet<Origin> {
  const found = new Set<Origin>();
  for (const text of readTexts(value, path, ORIGINS.length)) {
    const origin = ORIGINS.find((known) => known === text);
    if (origin === undefined) throw badAuthority(path, `must list ${ORIGINS.join(', ')}`);
    found.add(origin);
  }
  return found;
}

function readStep(value: unknown, path: string): OriginStep {
  const object = readObject(value, path, ['action', 'field']);
  const action = member(object, 'action');
  if (typeof action !== 'string' || !isLiteralAction(action)) {
    throw badAuthority(`${path}.action`, 'must be one literal action');
  }
  return { action, field: readText(member(object, 'field'), `${path}.field`) };
}

export function printOrigin(rule: OriginRule): JsonValue {
  return {
    ...(rule.in === null ? {} : { in: [...rule.in].sort() }),
    ...(rule.from === null ? {} : { from: sortSteps(rule.from) }),
  };
}

function sortSteps(steps: readonly OriginStep[]): readonly { action: string; field: string }[] {
  const distinct = steps.filter((step, at) => steps.findIndex((other) => sameStep(step, other)) === at);
  return distinct
    .map(({ action, field }) => ({ action, field }))
    .sort((a, b) => (a.action === b.action ? (a.field < b.field ? -1 : 1) : a.action < b.action ? -1 : 1));
}

function sameStep(a: OriginStep, b: OriginStep): boolean {
  return a.action === b.action && a.field === b.field;
}

/** Fewer origins, fewer sources. Null limits nothing. */
export function originWithin(a: OriginRule | null, b: OriginRule | null): boolean {
  if (b === null) return true;
  if (a === null) return false;
  if (b.in !== null && (a.in === null || !isSubsetOf(a.in, b.in))) return false;
  const sources = b.from;
  if (sources === null) return true;
  return a.from?.every((step) => sources.some((other) => sameStep(step, other))) ?? false;
}

/** @returns undefined if nothing satisfies both */
export function intersectOrigin(a: OriginRule | null, b: OriginRule | null): OriginRule | null | undefined {
  if (a === null || b === null) return a ?? b;
  const { in: a_in, from: a_from } = a;
  const { in: b_in, from: b_from } = b;
  const origins = a_in === null || b_in === null ? (a_in ?? b_in) : common(a_in, b_in);
  const steps =
    a_from === null || b_from === null
      ? (a_from ?? b_from)
      : a_from.filter((step) => b_from.some((other) => sameStep(step, other)));
  if (origins?.size === 0 || steps?.length === 0) return undefined;
  return { in: origins, from: steps };
}

/** A value without a known origin cannot be judged: unknown is never clean. */
export function evaluateOrigin(rule: OriginRule, call: Call, name: string): Verdict {
  const origins = call.context.origins;
  if (typeof origins !== 'object' || origins === null || !Object.hasOwn(origins, name)) return 'unevaluable';
  const facts = origins[name];
  if (!isFactList(facts)) return judge(rule, facts);
  if (facts.length === 0) return 'unevaluable';
  for (let at = 0; at < facts.length; at++) {
    const verdict = judge(rule, facts[at]);
    if (verdict !== 'met') return verdict;
  }
  return 'met';
}

function isFactList(facts: OriginFact | readonly OriginFact[] | undefined): facts is readonly OriginFact[] {
  return Array.isArray(facts);
}

function judge(rule: OriginRule, fact: OriginFact | undefined): Verdict {
  if (typeof fact !== 'object' || fact === null) return 'unevaluable';
  if (!ORIGINS.includes(fact.origin)) return 'unevaluable';
  if (rule.in !== null && !rule.in.has(fact.origin)) return 'violated';
  const sources = rule.from;
  if (sources === null) return 'met';
  const source = fact.from;
  if (typeof source !== 'object' || source === null) return 'unevaluable';
  for (let at = 0; at < sources.length; at++) {
    const step = sources[at];
    if (step !== undefined && sameStep(step, source)) return 'met';
  }
  return 'violated';
}

export function describeOrigin(rule: OriginRule): string {
  const origins = rule.in === null ? [] : [`known from ${[...rule.in].sort().join(', ')}`];
  const steps = rule.from === null ? [] : rule.from.map(({ action, field }) => `${action} (${field})`);
  return [...origins, ...(steps.length === 0 ? [] : [`taken from ${steps.join(' or ')}`])].join(' and ');
}
