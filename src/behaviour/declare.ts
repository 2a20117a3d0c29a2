import { type AuthoritySet, isResourceAccess, type OriginFact } from '../domain/authority/model.ts';
import type { JsonValue } from '../domain/json.ts';
import { keyedDigest, ORIGIN, recall, type ValueRecord } from './memory.ts';
import {
  type DeclaredAction,
  type DeclaredParameter,
  type DeclaredSource,
  type MissionState,
  scopedValue,
} from './mission.ts';
import { type Call, type Context, knownOf } from './proof.ts';
import { destinationsOf } from './values.ts';

/**
 * The bridge between a mission's granted authority and the behaviour engine: what the proposal fixed and where it
 * said values come from goes in, the `origins` that `origin` constraints are judged by come out.
 */

/** The field of a step that stands for all of its answer: vouched-for fields of the right kind, else its text. */
export const WHOLE_ANSWER = '*';

function member(value: JsonValue | undefined, name: string): JsonValue | undefined {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return undefined;
  return Object.hasOwn(value, name) ? (value as { readonly [name: string]: JsonValue })[name] : undefined;
}

function listOf(value: JsonValue | undefined): readonly JsonValue[] {
  return Array.isArray(value) ? value : [];
}

function sourceOf(step: JsonValue): DeclaredSource[] {
  const action = member(step, 'action');
  const field = member(step, 'field');
  if (typeof action !== 'string') return [];
  return [typeof field === 'string' && field !== WHOLE_ANSWER ? { action, field } : { action }];
}

function parameterOf(rule: JsonValue): DeclaredParameter {
  const exact = member(rule, 'exact');
  return {
    literals: [...(exact === undefined ? [] : [exact]), ...listOf(member(rule, 'one_of'))],
    sources: listOf(member(member(rule, 'origin'), 'from')).flatMap(sourceOf),
  };
}

function merge(a: DeclaredParameter | undefined, b: DeclaredParameter): DeclaredParameter {
  return {
    literals: [...(a?.literals ?? []), ...b.literals],
    sources: [...(a?.sources ?? []), ...b.sources],
  };
}

/**
 * Granted entries as what the engine needs of them. Several entries of one action add up here: which of them
 * permits a call is the authority check's to say, one entry alone; this only tells where values may come from.
 */
export function declaredActions(authority: AuthoritySet): DeclaredAction[] {
  const out = new Map<string, DeclaredAction>();
  for (const entry of authority) {
    if (!isResourceAccess(entry)) continue;
    const rules = member(entry.constraints, 'parameters') ?? {};
    for (const action of entry.actions) {
      const before = out.get(action);
      const parameters: Record<string, DeclaredParameter> = { ...before?.parameters };
      for (const [name, rule] of Object.entries(rules))
        parameters[name] = merge(parameters[name], parameterOf(rule));
      out.set(action, { action, parameters, sources: before?.sources ?? [] });
    }
  }
  return [...out.values()];
}

function factOf(state: MissionState, record: ValueRecord): OriginFact | null {
  const { origins } = record;
  const steps = state.sources.map((source) => ({
    action: source.action,
    field: source.field ?? WHOLE_ANSWER,
  }));
  const vouching = steps.find((_, slot) => (record.vouched & (1 << slot)) !== 0);
  const telling = steps.find((_, slot) => (record.text & (1 << slot)) !== 0);
  if ((origins & ORIGIN.template) !== 0) return { origin: 'template' };
  if (state.born_tainted) return origins === 0 ? null : { origin: 'untrusted' };
  if ((origins & ORIGIN.mission) !== 0) return { origin: 'mission' };
  const echoed = (origins & (ORIGIN.echo | ORIGIN.repeated)) !== 0;
  if (!echoed && (origins & (ORIGIN.system | ORIGIN.linked)) !== 0) {
    return { origin: 'trusted', ...(vouching === undefined ? {} : { from: vouching }) };
  }
  if ((origins & ORIGIN.history) !== 0) return { origin: 'history' };
  if (origins === 0) return null;
  const from = vouching ?? telling;
  return { origin: 'untrusted', ...(from === undefined ? {} : { from }) };
}

function namedByTemplate(state: MissionState, context: Context, action: string, candidate: string): boolean {
  if (!state.scoped_values) return false;
  const digest = keyedDigest(context.key, scopedValue(action, candidate));
  return (recall(state.memory, digest).origins & ORIGIN.template) !== 0;
}

/**
 * `context.origins` of a call, for `origin` constraints: one fact for each destination that a parameter names. A
 * parameter with a value of unknown origin is left out, which denies (`constraint_unevaluable`): unknown is never
 * clean.
 */
export function originFacts(
  state: MissionState,
  context: Context,
  call: Call,
  parameters: readonly string[],
): Record<string, readonly OriginFact[]> {
  const sinks = context.catalogue.actions.get(call.action)?.sinks ?? [];
  const out: Record<string, readonly OriginFact[]> = {};
  for (const name of parameters) {
    const value = Object.hasOwn(call.parameters, name) ? call.parameters[name] : undefined;
    const kind = sinks.find((sink) => sink.parameter === name)?.kind ?? 'any';
    const destinations = value === undefined ? null : destinationsOf(kind, value);
    if (destinations === null || destinations.some((one) => one.deceptive)) continue;
    const facts = destinations.map((one): OriginFact | null => {
      for (const candidate of one.candidates) {
        if (namedByTemplate(state, context, call.action, candidate)) return { origin: 'template' };
        const fact = factOf(state, knownOf(state, context, keyedDigest(context.key, candidate), kind));
        if (fact !== null) return fact;
      }
      return null;
    });
    const known = facts.filter((fact) => fact !== null);
    if (known.length === facts.length && known.length > 0)
      Object.defineProperty(out, name, { value: known, enumerable: true });
  }
  return out;
}
