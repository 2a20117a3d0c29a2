/**
 * The evidence behind one verdict: what the rules looked at, with a keyed digest in place of every value. The same
 * rules give the same bytes again from it, anywhere and without the mission's key; nobody learns a value from it.
 *
 * A value stands as `#n#`, one name for each value in one verdict. Forms that the rules build of it (`v:#1#`) are
 * listed with their digest under the mission's key, and digests with what the mission knew of them.
 */
import { isJsonObject, type JsonObject, type JsonValue } from '../domain/json.ts';
import { type Catalogue, catalogueDocument, parseCatalogue } from './catalogue.ts';
import { receiveRules } from './delivery.ts';
import { verdictOf } from './engine.ts';
import { digestKey, EMPTY_MEMORY, MemoryWriter, recall, type ValueRecord } from './memory.ts';
import { type DeclaredAction, type DeclaredSource, declaredAction, type MissionState } from './mission.ts';
import { type Call, type Context, readerOf } from './proof.ts';
import type { ValueReader } from './reading.ts';
import type { BehaviourRules } from './rules.ts';
import type { ScanVisitor } from './scan.ts';
import type { Destination } from './values.ts';
import { type Verdict, type VerdictRecord, verdictBytes } from './verdict.ts';

/** Changed whenever evidence of before could be read as something else. */
const FORMAT = 1;
/** More is not written down: then a verdict has no evidence. */
export const EVIDENCE_MAX_CHARS = 16_384;
/** Texts longer than this do not steer (judge.ts), so that they are no more than their place. */
const MAX_TEXT = 160;

type Known = readonly [origins: number, vouched: number, text: number];

/** JSON. Everything that a verdict depends on, and no value. */
export interface Evidence {
  readonly format: typeof FORMAT;
  readonly state: JsonObject;
  readonly catalogue: JsonValue;
  readonly rules: BehaviourRules;
  readonly history: { readonly version: number; readonly vouches: readonly string[] } | null;
  readonly action: string;
  /** By name: `$n` for a short text, `["$n"]` for anything else, null. */
  readonly parameters: JsonObject;
  readonly digests: Readonly<Record<string, string>>;
  readonly memory: Readonly<Record<string, Known>>;
  readonly elsewhere: Readonly<Record<string, Known>>;
  /** By kind and value. */
  readonly destinations: Readonly<Record<string, readonly Destination[] | null>>;
  readonly owners: Readonly<Record<string, readonly string[]>>;
  readonly scans: Readonly<Record<string, readonly (readonly [string, string])[]>>;
  readonly phrases: Readonly<Record<string, string | null>>;
}

/** What was given cannot be judged again. */
export class EvidenceFault extends Error {
  override readonly name = 'EvidenceFault';
}

/**
 * Judges a call once more, writing down what was looked at.
 * @param state as before the call
 * @returns canonical text; null where it would be too long
 */
export function recordEvidence(state: MissionState, call: Call, context: Context): string | null {
  const plain = readerOf(context);
  const names = new Map<string, string>();
  const values: string[] = [];
  const nameOf = (value: string): string => {
    const known = names.get(value);
    if (known !== undefined) return known;
    const name = `#${values.length}#`;
    values.push(value);
    names.set(value, name);
    return name;
  };
  const real = (text: string): string =>
    text.replace(/#([0-9]+)#/g, (whole, index: string) => values[Number(index)] ?? whole);
  // The first two characters of a form tell its family and are no part of the value.
  const tagged = (form: string): string => form.slice(0, 2) + nameOf(form.slice(2));

  const handles = new Map<JsonValue, string>();
  const parameters: Record<string, JsonValue> = {};
  for (const [name, value] of Object.entries(call.parameters)) {
    const handle = handles.get(value) ?? `$${handles.size}`;
    handles.set(value, handle);
    const shown =
      value === null ? null : typeof value === 'string' && value.length <= MAX_TEXT ? handle : [handle];
    Object.defineProperty(parameters, name, { value: shown, enumerable: true });
  }
  const handleOf = (value: unknown): string => handles.get(value as JsonValue) ?? '$';

  const digests: Record<string, string> = {};
  const memory: Record<string, Known> = {};
  const elsewhere: Record<string, Known> = {};
  const destinations: Record<string, readonly Destination[] | null> = {};
  const owners: Record<string, readonly string[]> = {};
  const scans: Record<string, (readonly [string, string])[]> = {};
  const phrases: Record<string, string | null> = {};
  const vouches: string[] = [];
  const reader: ValueReader = {
    digest(key, text) {
      const digest = plain.digest(key, real(text));
      digests[text] = digest;
      const known = recall(state.memory, digest);
      if (known.origins !== 0) memory[digest] = [known.origins, known.vouched, known.text];
      return digest;
    },
    destinations(kind, value) {
      const found = plain.destinations(kind, value);
      const shown =
        found?.map((one) => ({
          ...one,
          candidates: one.candidates.map(tagged),
          parts: one.parts.map(tagged),
        })) ?? null;
      destinations[`${kind} ${handleOf(value)}`] = shown;
      return shown;
    },
    owners(form) {
      const shown = plain.owners(real(form)).map(nameOf);
      owners[form] = shown;
      return shown;
    },
    scan(text, visit) {
      const seen: (readonly [string, string])[] = [];
      plain.scan(text, (kind, form) => {
        seen.push([kind, nameOf(form)]);
        return true;
      });
      scans[handleOf(text)] = seen;
      play(seen, visit);
    },
    phrase(text) {
      const whole = plain.phrase(text);
      const shown = whole === null ? null : nameOf(whole);
      phrases[handleOf(text)] = shown;
      return shown;
    },
  };
  const { history, elsewhere: ask } = context;
  verdictOf(state, call, {
    ...context,
    reader,
    ...(history !== undefined && {
      history: {
        version: history.version,
        vouches: (key: string) => {
          const does = history.vouches(real(key));
          if (does && !vouches.includes(key)) vouches.push(key);
          return does;
        },
      },
    }),
    ...(ask !== undefined && {
      elsewhere: (digest, kind) => {
        const known = ask(digest, kind);
        if (known.origins !== 0) elsewhere[`${digest} ${kind}`] = [known.origins, known.vouched, known.text];
        return known;
      },
    }),
  });
  const evidence: Evidence = {
    format: FORMAT,
    state: stateOf(state, call.action),
    catalogue: partOf(context.catalogue, state, call.action),
    rules: context.rules,
    history: history === undefined ? null : { version: history.version, vouches },
    action: call.action,
    parameters,
    digests,
    memory,
    elsewhere,
    destinations,
    owners,
    scans,
    phrases,
  };
  const text = JSON.stringify(evidence);
  return text.length > EVIDENCE_MAX_CHARS ? null : text;
}

function play(seen: readonly (readonly [string, string])[], visit: ScanVisitor): void {
  for (const [kind, form] of seen) if (!visit(kind as Parameters<ScanVisitor>[0], form)) return;
}

/** What the rules read of a state, without the values that the proposal fixed. */
function stateOf(state: MissionState, action: string): JsonObject {
  const declared = declaredAction(state, action);
  const { memory, ...rest } = state;
  return JSON.parse(
    JSON.stringify({
      ...rest,
      actions: declared === null ? [] : [withoutLiterals(declared)],
      memory: { ...memory, slots: undefined },
    }),
  ) as JsonObject;
}

function withoutLiterals(declared: DeclaredAction): DeclaredAction {
  return {
    ...declared,
    parameters: Object.fromEntries(
      Object.entries(declared.parameters).map(([name, { sources }]) => [name, { literals: [], sources }]),
    ),
  };
}

/** The actions that this verdict depends on: the call's own, and those that are sources. */
function partOf(catalogue: Catalogue, state: MissionState, action: string): JsonValue {
  const named = new Set([action, ...state.sources.map((source: DeclaredSource) => source.action)]);
  const actions = [...catalogue.actions].filter(([name]) => named.has(name));
  return catalogueDocument({
    ...catalogue,
    actions: new Map(actions.map(([name, entry]) => [name, { ...entry, fields: [] }])),
  });
}

/**
 * The verdict again, from its evidence alone.
 * @param rules others than those that judged: what would they have said?
 * @throws EvidenceFault for text that is no evidence, or where other rules ask what was not written down
 */
export function replayEvidence(text: string, rules?: BehaviourRules): Verdict {
  try {
    const evidence = readEvidence(text);
    const { state, context, call } = stageOf(evidence, rules);
    return verdictOf(state, call, context);
  } catch (cause) {
    if (cause instanceof EvidenceFault) throw cause;
    throw new EvidenceFault(cause instanceof Error ? cause.message : 'not evidence');
  }
}

function readEvidence(text: string): Evidence {
  if (text.length > EVIDENCE_MAX_CHARS) throw new EvidenceFault('too long');
  const value = JSON.parse(text) as JsonValue;
  if (!isJsonObject(value) || value['format'] !== FORMAT)
    throw new EvidenceFault(`not evidence of format ${FORMAT}`);
  for (const member of ['state', 'parameters', 'digests', 'memory', 'elsewhere', 'destinations', 'owners'])
    if (!isJsonObject(value[member])) throw new EvidenceFault(`${member} is missing`);
  return value as unknown as Evidence;
}

function stageOf(
  evidence: Evidence,
  rules: BehaviourRules | undefined,
): { readonly state: MissionState; readonly context: Context; readonly call: Call } {
  const writer = new MemoryWriter(EMPTY_MEMORY);
  for (const [digest, [origins, vouched, told]] of Object.entries(evidence.memory))
    writer.add(digest, origins, vouched, told);
  const stored = evidence.state as unknown as MissionState;
  const state = { ...stored, memory: { ...stored.memory, slots: writer.done().slots } };
  const from = <T>(listed: Readonly<Record<string, T>>, name: string): T => {
    if (!Object.hasOwn(listed, name)) throw new EvidenceFault('these rules ask what was not written down');
    return listed[name] as T;
  };
  const handleOf = (value: unknown): string => String(Array.isArray(value) ? value[0] : value);
  const reader: ValueReader = {
    digest: (_, form) => from(evidence.digests, form),
    destinations: (kind, value) => from(evidence.destinations, `${kind} ${handleOf(value)}`),
    owners: (form) => from(evidence.owners, form),
    scan: (value, visit) => play(from(evidence.scans, handleOf(value)), visit),
    phrase: (value) => from(evidence.phrases, handleOf(value)),
  };
  const { history, elsewhere } = evidence;
  return {
    state,
    call: { action: evidence.action, parameters: evidence.parameters },
    context: {
      catalogue: parseCatalogue(evidence.catalogue),
      rules: rules ?? receiveRules(evidence.rules as unknown as JsonValue),
      key: digestKey(new Uint8Array(32)),
      reader,
      ...(history !== null && {
        history: { version: history.version, vouches: (key: string) => history.vouches.includes(key) },
      }),
      elsewhere: (digest, kind): ValueRecord => {
        const [origins, vouched, told] = elsewhere[`${digest} ${kind}`] ?? [0, 0, 0];
        return { origins, vouched, text: told };
      },
    },
  };
}

/** Whether a verdict follows from its evidence. */
export function followsFrom(record: VerdictRecord, evidence: string): boolean {
  try {
    return verdictBytes(replayEvidence(evidence).record) === verdictBytes(record);
  } catch {
    return false;
  }
}
