import type { JsonValue } from '../domain/json.ts';
import { hasLabel, type Sink, sinkValue, uncatalogued } from './catalogue.ts';
import { MemoryWriter, ORIGIN, originNames } from './memory.ts';
import {
  type DeclaredAction,
  type DeclaredSource,
  declaredAction,
  LINKED_TEXT,
  type MissionState,
  sourceSlot,
} from './mission.ts';
import {
  type Call,
  type Context,
  isDeclaredLink,
  knownOf,
  type Proof,
  proveDestination,
  proveParts,
  readerOf,
} from './proof.ts';
import type { RuleName } from './rules.ts';
import { type SinkKind, scannedKey } from './values.ts';
import type { Finding } from './verdict.ts';

/** The rules: what one call looks like against what the mission declared and where its values came from. */

const MAX_STEERING_CHARS = 160;

interface Judged {
  readonly findings: Finding[];
  /** Outside the mission, and let through all the same. */
  readonly detour: boolean;
}

function isMessageSink(sink: Sink): boolean {
  return sink.kind === 'mail' || sink.kind === 'url' || sink.kind === 'phone';
}

function sourcesOf(declared: DeclaredAction | null, parameter: string): readonly DeclaredSource[] {
  if (declared === null) return [];
  const { parameters } = declared;
  // A proposal may speak of the whole of a nested parameter.
  const own = (parameters[parameter] ?? parameters[parameter.split('.')[0] ?? ''])?.sources ?? [];
  return own.length > 0 ? own : declared.sources;
}

/** Judges one call against the state before it. Pure; the caller applies modes and counts. */
export function findingsFor(state: MissionState, context: Context, call: Call): Judged {
  const { rules } = context;
  const reader = readerOf(context);
  const entry = context.catalogue.actions.get(call.action) ?? uncatalogued(call.action);
  const declared = declaredAction(state, call.action);
  const isRead = hasLabel(entry, 'read');
  const findings: Finding[] = [];
  const find = (
    rule: RuleName,
    parameter: string,
    kind: SinkKind | 'action',
    proof?: Proof,
    sources: readonly DeclaredSource[] = [],
  ): void => {
    findings.push({
      rule,
      parameter,
      kind,
      origins: originNames(proof?.record.origins ?? 0),
      declared_sources: sources.map((source) =>
        source.field === undefined ? source.action : `${source.action}#${source.field}`,
      ),
      value_digest: proof?.digest ?? '',
    });
  };

  let allProven = true;
  let allDeclared = true;
  let allStrong = true;
  let count = 0;
  const unproven: (() => void)[] = [];
  for (const sink of entry.sinks) {
    const value = sinkValue(call.parameters, sink.parameter);
    if (value === undefined || value === null) continue;
    const destinations = reader.destinations(sink.kind, value);
    const sources = sourcesOf(declared, sink.parameter);
    if (destinations === null) {
      allProven = allDeclared = false;
      unproven.push(() => find('unproven_sink', sink.parameter, sink.kind, undefined, sources));
      continue;
    }
    for (const destination of destinations) {
      count++;
      if (destination.deceptive) find('deceptive_sink', sink.parameter, sink.kind);
      const whole = proveDestination(state, context, entry, sources, destination);
      const proof = whole.proven ? whole : proveParts(state, context, entry, sources, destination, whole);
      if (destination.weak) allStrong = false;
      const tied = (proof.record.origins & ORIGIN.linked) !== 0 && proof.proven;
      if (!proof.declared && !tied) allDeclared = false;
      if (proof.proven || isDeclaredLink(state, context, entry, destination)) continue;
      allProven = false;
      unproven.push(() => find('unproven_sink', sink.parameter, sink.kind, proof, sources));
    }
  }

  if (isRead) {
    if (declared !== null) {
      if (hasLabel(entry, 'external') && state.tainted && !allProven) for (const say of unproven) say();
      return { findings, detour: false };
    }
    const foreign = hasLabel(entry, 'external') && !allProven;
    const secret = hasLabel(entry, 'sensitive') && state.tainted;
    if (foreign || !rules.ambient_reads) find('stray_read', '', 'action');
    if (secret) find('stray_secret', '', 'action');
    return { findings, detour: true };
  }
  if (declared !== null) {
    if (state.tainted && !allProven) for (const say of unproven) say();
    // Proven destinations tie the call to the mission; where it has none, its content must.
    // What stays in the agent's own working copy may hold anything.
    if (count === 0 && !hasLabel(entry, 'local')) checkContent(state, context, declared, call, find);
    return { findings, detour: false };
  }
  // A message to somebody the mission itself names is a harmless detour; a payment, a deletion or a change of
  // access is not, whoever is named.
  const named =
    count > 0 &&
    allDeclared &&
    allStrong &&
    !hasLabel(entry, 'sensitive') &&
    entry.sinks.every(isMessageSink);
  const allowed =
    (rules.confirmations && entry.confirms && state.pending > 0) ||
    (rules.local_detours && hasLabel(entry, 'local') && (allProven || !state.tainted)) ||
    (rules.declared_destinations && named && context.catalogue.actions.has(call.action));
  if (!allowed) {
    find('stray_effect', '', 'action');
    for (const say of unproven) say();
  }
  return { findings, detour: true };
}

/**
 * An effect without a destination is tied to the mission by what it says. Where that stands only in untrusted
 * content which the mission never meant to draw on, the declared step is being used for somebody else's errand.
 */
function checkContent(
  state: MissionState,
  context: Context,
  declared: DeclaredAction,
  call: Call,
  find: (rule: RuleName, parameter: string, kind: SinkKind | 'action', proof?: Proof) => void,
): void {
  if (!state.tainted) return;
  const reader = readerOf(context);
  let drawn = LINKED_TEXT;
  for (const source of [
    ...declared.sources,
    ...Object.values(declared.parameters).flatMap((one) => one.sources),
  ]) {
    const slot = sourceSlot(state, source);
    const named = context.catalogue.actions.get(source.action)?.names_one_object === true;
    if (slot >= 0 && (source.implied !== true || named)) drawn |= 1 << slot;
  }
  const trusted = ORIGIN.template | ORIGIN.mission | ORIGIN.system | ORIGIN.linked | ORIGIN.counterparty;
  for (const [parameter, value] of Object.entries(call.parameters)) {
    // Titles and names steer; a long text quotes many people, and judging it would stop every honest summary.
    if (typeof value !== 'string' || value.length > MAX_STEERING_CHARS) continue;
    let foreign: Proof | undefined;
    const look = (form: string): void => {
      const digest = reader.digest(context.key, form);
      const record = knownOf(state, context, digest, 'any');
      const strange = (record.origins & ORIGIN.text) !== 0 && (record.origins & trusted) === 0;
      if (strange && (record.text & drawn) === 0)
        foreign ??= { proven: false, declared: false, record, digest };
    };
    reader.scan(value, (kind, form) => {
      if (kind !== 'path' && kind !== 'id') look(scannedKey(kind, form));
      return foreign === undefined;
    });
    const whole = reader.phrase(value);
    if (whole !== null) look('v:' + whole);
    if (foreign !== undefined) find('foreign_content', parameter, 'any', foreign);
  }
}

/** Marks unproven values that a permitted effect writes somewhere: a service repeating them later is an echo. */
export function rememberEcho(
  state: MissionState,
  context: Context,
  call: Call,
  proven_parameters: ReadonlySet<string>,
): MissionState {
  const reader = readerOf(context);
  const writer = new MemoryWriter(state.memory);
  const proven = ORIGIN.template | ORIGIN.mission | ORIGIN.system | ORIGIN.linked | ORIGIN.counterparty;
  let changed = false;
  const walk = (node: JsonValue, depth: number): void => {
    if (typeof node === 'string') {
      reader.scan(node, (kind, form) => {
        if (kind === 'name' || kind === 'quoted' || kind === 'file' || kind === 'path') return true;
        const digest = reader.digest(context.key, scannedKey(kind, form));
        const known = writer.recall(digest);
        if ((known.origins & proven) === 0) {
          if (!writer.add(digest, known.text === 0 ? ORIGIN.echo : ORIGIN.repeated)) writer.lostEcho();
          changed = true;
        }
        return true;
      });
    } else if (depth < 6 && node !== null && typeof node === 'object') {
      for (const item of Array.isArray(node) ? node : Object.values(node)) walk(item, depth + 1);
    }
  };
  for (const [parameter, value] of Object.entries(call.parameters))
    if (!proven_parameters.has(parameter)) walk(value, 0);
  return changed ? { ...state, memory: writer.done() } : state;
}

/**
 * Value keys of the destinations of a call that are known without history: what a clean mission may teach. The
 * caller digests them under the history's own key at once and keeps nothing else.
 */
export function provenDestinations(state: MissionState, context: Context, call: Call): string[] {
  const entry = context.catalogue.actions.get(call.action);
  if (entry === undefined || !hasLabel(entry, 'effect')) return [];
  const declared = declaredAction(state, call.action);
  const plain: Context = { ...context, rules: { ...context.rules, history: 'off' } };
  const out: string[] = [];
  for (const sink of entry.sinks) {
    const value = sinkValue(call.parameters, sink.parameter);
    for (const destination of readerOf(context).destinations(sink.kind, value) ?? []) {
      const [strongest] = destination.candidates;
      if (strongest === undefined || destination.weak || destination.deceptive) continue;
      if (proveDestination(state, plain, entry, sourcesOf(declared, sink.parameter), destination).proven)
        out.push(strongest);
    }
  }
  return out;
}
