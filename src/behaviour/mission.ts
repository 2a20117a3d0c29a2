import type { JsonValue } from '../domain/json.ts';
import {
  type DigestKey,
  EMPTY_MEMORY,
  keyedDigest,
  MemoryWriter,
  ORIGIN,
  type ProvenanceMemory,
} from './memory.ts';
import { scanText } from './scan.ts';
import { compoundParts, destinationsOf, type SinkKind, scannedKey, valueKey } from './values.ts';

/** A step that the mission declared as the origin of a value: `origin.from` of the wire profile, 2.3. */
export interface DeclaredSource {
  readonly action: string;
  /** Dotted member names; without it, the vouched-for fields of the right kind, or the text where there are none. */
  readonly field?: string;
  /**
   * Nobody declared it: the mission merely plans to read this before it acts. Such a source vouches with vouched-for
   * fields tied to the mission and with named documents of the audience itself, never with what strangers wrote.
   */
  readonly implied?: boolean;
}

export interface DeclaredParameter {
  /** Values that the proposal fixed (`exact`, `one_of`). */
  readonly literals: readonly JsonValue[];
  readonly sources: readonly DeclaredSource[];
}

export interface DeclaredAction {
  /** An action or a dot family (`invoices.*`). */
  readonly action: string;
  readonly parameters: Readonly<Record<string, DeclaredParameter>>;
  /** Sources for parameters that name none of their own. */
  readonly sources: readonly DeclaredSource[];
}

/** A destination that the template itself vouches for. */
export interface TemplateValue {
  readonly kind: SinkKind;
  readonly value: JsonValue;
  /** Only in these actions; without it, in every one. */
  readonly actions?: readonly string[];
}

/** What the guard needs of a mission: no prose is kept, only digests of its salient values. */
export interface DeclaredMission {
  readonly mission_id: string;
  /** Goal, constraints and the like. Read once for values, never for authority. */
  readonly texts: readonly string[];
  readonly actions: readonly DeclaredAction[];
  /** Destinations that the template itself names. */
  readonly template_values: readonly TemplateValue[];
  /** Declared by an instance that had already taken in untrusted content: nothing it says vouches for anything. */
  readonly born_tainted: boolean;
  /** Steps of this audience that effects at another one name as origins: what they return is kept apart for those. */
  readonly sources_for_others?: readonly DeclaredSource[];
}

/** At most this many steps can be told apart as sources; further ones vouch for nothing. */
export const MAX_SOURCES = 15;

/** Text written by an author whom the mission names; flavours content, and never proves a destination. */
export const LINKED_TEXT = 1 << MAX_SOURCES;

export interface MissionState {
  readonly mission_id: string;
  readonly actions: readonly DeclaredAction[];
  readonly sources: readonly DeclaredSource[];
  /** Sources that returned a counterparty whom the mission names: then only such counterparties count. */
  readonly linked_sources: number;
  /** Sources that somebody declared, as a mask. */
  readonly explicit_sources: number;
  /** Kinds of destination that each source was seen to vouch for, as masks over `SINK_KINDS`. */
  readonly vouched_kinds: readonly number[];
  /** Kinds of destination that the mission itself names: implied sources add none of these. */
  readonly named_kinds: readonly SinkKind[];
  /** Some destinations of the template count in certain actions only. */
  readonly scoped_values: boolean;
  readonly memory: ProvenanceMemory;
  readonly born_tainted: boolean;
  readonly tainted: boolean;
  readonly seq: number;
  /** Calls outside the mission that were let through, and those that were refused. */
  readonly detours: number;
  readonly strays: number;
  readonly refusals: number;
  /** Permitted effects that a one-time code may still complete. */
  readonly pending: number;
}

function sameSource(a: DeclaredSource, b: DeclaredSource): boolean {
  return a.action === b.action && a.field === b.field;
}

export function sourceSlot(state: Pick<MissionState, 'sources'>, source: DeclaredSource): number {
  return state.sources.findIndex((known) => sameSource(known, source));
}

function collectSources(actions: readonly DeclaredAction[]): DeclaredSource[] {
  const out: DeclaredSource[] = [];
  for (const action of actions) {
    for (const source of [
      ...action.sources,
      ...Object.values(action.parameters).flatMap((one) => one.sources),
    ]) {
      if (out.length < MAX_SOURCES && !out.some((known) => sameSource(known, source))) out.push(source);
    }
  }
  return out;
}

function explicitMask(
  actions: readonly Omit<DeclaredAction, 'action'>[],
  sources: readonly DeclaredSource[],
): number {
  let mask = 0;
  for (const action of actions) {
    for (const source of [
      ...action.sources,
      ...Object.values(action.parameters).flatMap((one) => one.sources),
    ]) {
      const slot = sources.findIndex((known) => sameSource(known, source));
      if (slot >= 0 && source.implied !== true) mask |= 1 << slot;
    }
  }
  return mask;
}

function namedKinds(texts: readonly string[]): SinkKind[] {
  const kinds = new Set<SinkKind>();
  for (const text of texts) {
    scanText(text, (kind, form) => {
      if (kind === 'mail' || kind === 'url' || kind === 'account' || kind === 'phone') kinds.add(kind);
      if (kind === 'path' && compoundParts(form).length > 0) kinds.add('name');
      return true;
    });
  }
  return [...kinds].sort();
}

const COMMON = new Set(
  'the and for you your with that this from are can please could would about into them they have has who what when where how all any our his her its not but out get new let was were will then than also each make sure need want there here their'.split(
    ' ',
  ),
);

/** Key of a capitalised word of the mission, by which a record is tied to somebody the mission names. */
export function nameToken(word: string): string {
  return 'w:' + word;
}

/** Key of somebody named in text whose author the mission names. */
export function linkedName(word: string): string {
  return 'n:' + word;
}

/** Key of a destination that counts in one action only. */
export function scopedValue(action: string, valueKey: string): string {
  return `a:${action} ${valueKey}`;
}

/** Words of an address or handle by which the mission may name its owner. */
export function ownerWords(text: string): string[] {
  const at = text.indexOf('@');
  const local = (at < 0 ? text : text.slice(0, at)).toLowerCase();
  return local.split(/[^\p{L}]+/u).filter((word) => word.length >= 3);
}

/** Key under which it is noted that a name has led to a counterparty; marked ambiguous once it led to two. */
export function nameBearer(word: string, form = ''): string {
  return form === '' ? 'l:' + word : `l:${word}=${form}`;
}

function rememberText(writer: MemoryWriter, key: DigestKey, text: string, origin: number): void {
  scanText(
    text,
    (kind, form) => {
      if (kind === 'word' && (form.length < 2 || COMMON.has(form))) return true;
      writer.add(keyedDigest(key, scannedKey(kind, form)), origin);
      if (kind === 'path')
        for (const part of compoundParts(form)) writer.add(keyedDigest(key, valueKey('name', part)), origin);
      if (kind === 'number' || (kind === 'id' && form.length < 12))
        writer.add(keyedDigest(key, 'i:' + form), origin);
      return true;
    },
    { words: true, max_chars: 16_384 },
  );
  for (const word of text.split(/[^\p{L}]+/u)) {
    const first = word[0] ?? '';
    if (word.length < 3 || first !== first.toUpperCase() || first === first.toLowerCase()) continue;
    const token = word.toLowerCase();
    if (!COMMON.has(token)) writer.add(keyedDigest(key, nameToken(token)), origin);
  }
}

/** Remembers a literal of the proposal both whole and by what it contains. */
function rememberLiteral(writer: MemoryWriter, key: DigestKey, value: JsonValue, origin: number): void {
  if (typeof value === 'string') {
    for (const kind of ['any', 'account', 'id', 'mail', 'handle', 'path'] as const) {
      for (const destination of destinationsOf(kind, value) ?? []) {
        const strongest = destination.candidates[0];
        if (strongest !== undefined) writer.add(keyedDigest(key, strongest), origin);
      }
    }
    if (value.length > 3) rememberText(writer, key, value, origin);
  } else if (typeof value === 'number') {
    writer.add(keyedDigest(key, 'i:' + String(value)), origin);
    writer.add(keyedDigest(key, 'v:' + String(value)), origin);
  } else if (Array.isArray(value)) for (const item of value) rememberLiteral(writer, key, item, origin);
  else if (value !== null && typeof value === 'object')
    for (const item of Object.values(value)) rememberLiteral(writer, key, item, origin);
}

/** First state of a mission at a guard or in the broker. */
export function beginMission(mission: DeclaredMission, key: DigestKey): MissionState {
  const writer = new MemoryWriter(EMPTY_MEMORY);
  const sources = mission.born_tainted ? [] : collectSources(mission.actions);
  const for_others = mission.born_tainted ? [] : (mission.sources_for_others ?? []);
  for (const source of for_others)
    if (sources.length < MAX_SOURCES && !sources.some((known) => sameSource(known, source)))
      sources.push(source);
  const spoken = mission.born_tainted ? ORIGIN.text : ORIGIN.mission;
  for (const { kind, value, actions } of mission.template_values) {
    for (const destination of destinationsOf(kind, value) ?? []) {
      const strongest = destination.candidates[0];
      if (strongest === undefined) continue;
      const known = actions?.map((action) => scopedValue(action, strongest)) ?? [strongest];
      for (const one of known) writer.add(keyedDigest(key, one), ORIGIN.template);
    }
  }
  for (const text of mission.texts) rememberText(writer, key, text, spoken);
  for (const action of mission.actions) {
    for (const parameter of Object.values(action.parameters)) {
      for (const literal of parameter.literals) rememberLiteral(writer, key, literal, spoken);
    }
  }
  return {
    mission_id: mission.mission_id,
    actions: mission.actions,
    sources,
    linked_sources: 0,
    explicit_sources: explicitMask([...mission.actions, { sources: for_others, parameters: {} }], sources),
    vouched_kinds: sources.map(() => 0),
    named_kinds: mission.born_tainted ? [] : namedKinds(mission.texts),
    scoped_values: mission.template_values.some(({ actions }) => actions !== undefined),
    memory: writer.done(),
    born_tainted: mission.born_tainted,
    tainted: mission.born_tainted,
    seq: 0,
    detours: 0,
    strays: 0,
    refusals: 0,
    pending: 0,
  };
}

/** The declared entry that covers an action: exact, or a dot family. */
export function declaredAction(state: MissionState, action: string): DeclaredAction | null {
  for (const entry of state.actions) {
    if (entry.action === action) return entry;
    if (entry.action.endsWith('.*') && action.startsWith(entry.action.slice(0, -1))) return entry;
  }
  return null;
}
