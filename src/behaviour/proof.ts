import type { JsonValue } from '../domain/json.ts';
import { type Catalogue, type CataloguedAction, hasLabel, kindsAgree } from './catalogue.ts';
import { type DigestKey, ORIGIN, recall, type ValueRecord } from './memory.ts';
import {
  type DeclaredSource,
  linkedName,
  type MissionState,
  nameBearer,
  nameToken,
  scopedValue,
  sourceSlot,
} from './mission.ts';
import { PLAIN_READER, type ValueReader } from './reading.ts';
import type { BehaviourRules } from './rules.ts';
import { type Destination, SINK_KINDS, type SinkKind } from './values.ts';

/**
 * Whether a destination is positively known: from the template, the untainted mission, a vouched-for field, a
 * declared source or, where the template says so, history. Everything else is unknown, and unknown is never clean.
 */

/** What one call looks like to the rules. */
export interface Call {
  readonly action: string;
  readonly parameters: Readonly<Record<string, JsonValue>>;
}

export interface Context {
  readonly catalogue: Catalogue;
  readonly rules: BehaviourRules;
  readonly key: DigestKey;
  /** What clean missions of the same template and agent used before (history.ts), by value key. */
  readonly history?: { readonly version: number; readonly vouches: (valueKey: string) => boolean };
  /** Default: reads the values themselves. */
  readonly reader?: ValueReader;
  /** What other audiences told of a value (shared.ts), as far as they may speak of this kind of destination. */
  readonly elsewhere?: (digest: string, kind: SinkKind) => ValueRecord;
}

export function readerOf(context: Context): ValueReader {
  return context.reader ?? PLAIN_READER;
}

export interface Proof {
  readonly proven: boolean;
  /** Known from the mission or template themselves. */
  readonly declared: boolean;
  readonly record: ValueRecord;
  readonly digest: string;
}

const NOTHING: ValueRecord = { origins: 0, vouched: 0, text: 0 };

/** What is known of a value: here, and where somebody asked, elsewhere. */
export function knownOf(state: MissionState, context: Context, digest: string, kind: SinkKind): ValueRecord {
  const here = recall(state.memory, digest);
  if (context.elsewhere === undefined) return here;
  const there = context.elsewhere(digest, kind);
  return {
    origins: here.origins | there.origins,
    vouched: here.vouched | there.vouched,
    text: here.text | there.text,
  };
}

/** Whether a declared source vouches for a value of this kind, by the fields that it can vouch with. */
function sourceVouches(
  state: MissionState,
  context: Context,
  source: DeclaredSource,
  kind: SinkKind,
  record: ValueRecord,
  single: boolean,
  tied: boolean,
): boolean {
  const slot = sourceSlot(state, source);
  if (slot < 0) return false;
  const bit = 1 << slot;
  const entry = context.catalogue.actions.get(source.action);
  const ambiguous = single && (record.origins & ORIGIN.ambiguous) !== 0;
  if (source.implied === true) {
    if (entry === undefined || !entry.names_one_object || hasLabel(entry, 'external')) return false;
    return !ambiguous && !state.named_kinds.includes(kind) && (record.text & bit) !== 0;
  }
  if (source.field !== undefined && (record.vouched & bit) === 0)
    return !ambiguous && (record.text & bit) !== 0;
  if ((record.vouched & bit) !== 0) {
    const stranger = (record.origins & ORIGIN.system) === 0 && !tied;
    return !stranger || (state.linked_sources & bit) === 0;
  }
  // A listing that did vouch for destinations of this kind is believed only where it does; of one named document,
  // or of a step with no such field, the declaration can only have meant the text.
  const seen = state.vouched_kinds[slot] ?? 0;
  const vouches = SINK_KINDS.some((known, at) => (seen & (1 << at)) !== 0 && kindsAgree(kind, known));
  if (entry !== undefined && !entry.names_one_object && vouches) return false;
  // One parameter takes one value: a text that offers several of its kind has not said which.
  return !ambiguous && (record.text & bit) !== 0;
}

/** Whether the mission's words lead to this counterparty and to no other who bears the same name. */
function isBearerClear(state: MissionState, context: Context, candidate: string): boolean {
  const reader = readerOf(context);
  const origins = (key: string): number => recall(state.memory, reader.digest(context.key, key)).origins;
  const words = reader
    .owners(candidate.slice(2))
    .filter(
      (word) =>
        (origins(nameToken(word)) & ORIGIN.mission) !== 0 ||
        (origins(linkedName(word)) & ORIGIN.linked) !== 0,
    );
  return words.every((word) => (origins(nameBearer(word)) & ORIGIN.ambiguous) === 0);
}

export function proveDestination(
  state: MissionState,
  context: Context,
  entry: CataloguedAction,
  sources: readonly DeclaredSource[],
  destination: Destination,
): Proof {
  const reader = readerOf(context);
  let last: Proof = { proven: false, declared: false, record: NOTHING, digest: '' };
  for (const candidate of destination.candidates) {
    const digest = reader.digest(context.key, candidate);
    const record = knownOf(state, context, digest, destination.kind);
    const { origins } = record;
    if ((origins & ORIGIN.template) !== 0) return { proven: true, declared: true, record, digest };
    if (state.scoped_values) {
      const scoped = reader.digest(context.key, scopedValue(entry.action, candidate));
      if ((recall(state.memory, scoped).origins & ORIGIN.template) !== 0)
        return {
          proven: true,
          declared: true,
          record: { ...record, origins: origins | ORIGIN.template },
          digest,
        };
    }
    if (last.digest === '' || (last.record.origins === 0 && origins !== 0))
      last = { proven: false, declared: false, record, digest };
    if (state.born_tainted) continue;
    if ((origins & ORIGIN.mission) !== 0) return { proven: true, declared: true, record, digest };
    const echoed = (origins & ORIGIN.echo) !== 0;
    const repeated = echoed || (origins & ORIGIN.repeated) !== 0;
    const tied = (origins & ORIGIN.linked) !== 0 && isBearerClear(state, context, candidate);
    if (!repeated && ((origins & ORIGIN.system) !== 0 || tied))
      return { proven: true, declared: false, record, digest };
    if (
      !echoed &&
      sources.some((source) =>
        sourceVouches(state, context, source, destination.kind, record, destination.single, tied),
      )
    ) {
      return { proven: true, declared: false, record, digest };
    }
    const allowed =
      context.rules.history === 'all' ||
      (context.rules.history === 'internal' && !hasLabel(entry, 'external'));
    if (allowed && context.history?.vouches(candidate) === true) {
      return {
        proven: true,
        declared: false,
        record: { ...record, origins: origins | ORIGIN.history },
        digest,
      };
    }
  }
  return last;
}

/** A compound name that is not known itself is known where each of its parts is, on its own. */
export function proveParts(
  state: MissionState,
  context: Context,
  entry: CataloguedAction,
  sources: readonly DeclaredSource[],
  destination: Destination,
  whole: Proof,
): Proof {
  if (destination.parts.length < 2) return whole;
  const parts = destination.parts.map((part) =>
    proveDestination(state, context, entry, sources, { ...destination, candidates: [part], parts: [] }),
  );
  return parts.every((part) => part.proven)
    ? { ...whole, proven: true, declared: parts.every((part) => part.declared) }
    : whole;
}

/** The link stands in prose of a step that the mission declared as a source, and the mission reads it itself. */
export function isDeclaredLink(
  state: MissionState,
  context: Context,
  entry: CataloguedAction,
  destination: Destination,
): boolean {
  if (
    !context.rules.follow_one_link ||
    state.born_tainted ||
    destination.kind !== 'url' ||
    !hasLabel(entry, 'read')
  )
    return false;
  const candidate = destination.candidates[0];
  if (candidate === undefined) return false;
  const record = recall(state.memory, readerOf(context).digest(context.key, candidate));
  // A page that was fetched does not lead on to the next: only what the audience itself holds does.
  let own = 0;
  for (const [slot, source] of state.sources.entries()) {
    const from = context.catalogue.actions.get(source.action);
    if (from !== undefined && !hasLabel(from, 'external')) own |= 1 << slot;
  }
  return (record.text & state.explicit_sources & own) !== 0;
}
