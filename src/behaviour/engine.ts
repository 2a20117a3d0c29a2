import type { JsonValue } from '../domain/json.ts';
import { type CataloguedAction, hasLabel, uncatalogued } from './catalogue.ts';
import { type IngestLimits, ingestAnswer, type OpenAnswer, openAnswer } from './ingest.ts';
import { findingsFor, rememberEcho } from './judge.ts';
import { keyedDigest, ORIGIN, recall } from './memory.ts';
import { declaredAction, type MissionState } from './mission.ts';
import type { Call, Context } from './proof.ts';
import { destinationsOf } from './values.ts';
import { type Finding, settleVerdict, type Verdict } from './verdict.ts';

/**
 * The behaviour engine: event in, state and verdict out. Pure and synchronous, so that a guard in a resource
 * server's process, the broker's synchronous check and an offline replay are the same function.
 *
 * A `call` is judged before it runs. Its `answer` is taken in afterwards, and only if it ran.
 */
export type BehaviourEvent =
  | { readonly type: 'call'; readonly call: Call }
  | { readonly type: 'answer'; readonly call: Call; readonly body: JsonValue; readonly limits?: IngestLimits }
  /** Another audience marked the mission as tainted (observations, mark then release). */
  | { readonly type: 'taint' };

export interface Step {
  readonly state: MissionState;
  readonly verdict: Verdict | null;
}

export function judge(state: MissionState, event: BehaviourEvent, context: Context): Step {
  switch (event.type) {
    case 'taint':
      return { state: { ...state, tainted: true }, verdict: null };
    case 'answer':
      return { state: takeIn(state, event.call, event.body, context, event.limits), verdict: null };
    case 'call':
      return check(state, event.call, context);
  }
}

/** What the rules say of one call in a state; the state stays as it is. */
export function verdictOf(state: MissionState, call: Call, context: Context): Verdict {
  return judgeCall(state, call, context).verdict;
}

function judgeCall(
  state: MissionState,
  call: Call,
  context: Context,
): { readonly verdict: Verdict; readonly findings: readonly Finding[]; readonly detour: boolean } {
  const { findings, detour } = findingsFor(state, context, call);
  const verdict = settleVerdict(findings, context.rules, {
    mission_id: state.mission_id,
    seq: state.seq,
    action: call.action,
    tainted: state.tainted,
    detour,
    memory: { values: state.memory.count, overflow: state.memory.overflow },
    catalogue_version: context.catalogue.version,
    history_version: context.rules.history === 'off' ? null : (context.history?.version ?? null),
  });
  return { verdict, findings, detour };
}

/** An effect was permitted, here or by the broker: a one-time code may complete it. */
export function permittedEffect(state: MissionState, context: Context, action: string): MissionState {
  const entry = context.catalogue.actions.get(action) ?? uncatalogued(action);
  const completed = hasLabel(entry, 'effect') && !hasLabel(entry, 'local') && !entry.confirms;
  return completed ? { ...state, pending: state.pending + 1 } : state;
}

function check(state: MissionState, call: Call, context: Context): Step {
  const { verdict, findings, detour } = judgeCall(state, call, context);
  const stray = findings.some((finding) => finding.rule === 'stray_effect' || finding.rule === 'stray_read');
  const denied = verdict.decision === 'deny';
  let next: MissionState = {
    ...state,
    seq: state.seq + 1,
    detours: state.detours + (detour && !denied ? 1 : 0),
    strays: state.strays + (stray ? 1 : 0),
    refusals: state.refusals + (denied ? 1 : 0),
  };
  const entry = context.catalogue.actions.get(call.action) ?? uncatalogued(call.action);
  if (!denied && hasLabel(entry, 'effect')) {
    next = permittedEffect(next, context, call.action);
    // Where nothing was found, every destination is proven and cannot be an echo.
    const proven = new Set(findings.length === 0 ? entry.sinks.map((sink) => sink.parameter) : []);
    if (state.tainted) next = rememberEcho(next, context, call, proven);
  }
  return { state: next, verdict };
}

/**
 * Whether a read pointed at something that only untrusted text names, without a declaration: then its text is not
 * the declared source's, whatever step it is called by.
 */
function pointedAt(state: MissionState, call: Call, context: Context): boolean {
  const entry = context.catalogue.actions.get(call.action);
  if (entry === undefined || !hasLabel(entry, 'read') || declaredAction(state, call.action) === null)
    return false;
  if (!entry.names_one_object) return true;
  const trusted = ORIGIN.template | ORIGIN.mission | ORIGIN.system | ORIGIN.linked | ORIGIN.counterparty;
  for (const value of Object.values(call.parameters)) {
    for (const destination of destinationsOf('any', value) ?? []) {
      const candidate = destination.candidates[0];
      if (candidate === undefined) continue;
      const record = recall(state.memory, keyedDigest(context.key, candidate));
      if ((record.origins & ORIGIN.text) !== 0 && (record.origins & trusted) === 0 && record.text === 0)
        return false;
    }
  }
  return true;
}

function documentSources(state: MissionState, action: CataloguedAction, context: Context): number {
  if (!hasLabel(action, 'read') || hasLabel(action, 'external')) return 0;
  let mask = 0;
  for (const [slot, source] of state.sources.entries()) {
    const entry = context.catalogue.actions.get(source.action);
    if (entry?.names_one_object === true && !hasLabel(entry, 'external')) mask |= 1 << slot;
  }
  return mask;
}

/** Takes in a plain-text answer piece by piece, as a guard that streams it does. */
export function openTextAnswer(
  state: MissionState,
  call: Call,
  context: Context,
  limits?: IngestLimits,
): OpenAnswer {
  const action = context.catalogue.actions.get(call.action) ?? uncatalogued(call.action);
  const answer = {
    action,
    pointed_at: pointedAt(state, call, context),
    documents: documentSources(state, action, context),
  };
  return openAnswer(state, answer, context.key, context.rules, limits);
}

function takeIn(
  state: MissionState,
  call: Call,
  body: JsonValue,
  context: Context,
  limits?: IngestLimits,
): MissionState {
  const action = context.catalogue.actions.get(call.action) ?? uncatalogued(call.action);
  const answer = {
    action,
    body,
    pointed_at: pointedAt(state, call, context),
    documents: documentSources(state, action, context),
  };
  return ingestAnswer(state, answer, context.key, context.rules, limits);
}
