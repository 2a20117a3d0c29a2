import { type Catalogue, hasLabel, kindsAgree } from './catalogue.ts';
import {
  EMPTY_MEMORY,
  MemoryWriter,
  ORIGIN,
  type ProvenanceMemory,
  recall,
  rememberedValues,
  type ValueRecord,
} from './memory.ts';
import { LINKED_TEXT, MAX_SOURCES, type MissionState } from './mission.ts';
import { MARK, OBSERVED, type Observation, stepName, stepOf } from './observe.ts';
import { SINK_KINDS, type SinkKind } from './values.ts';

/**
 * What all verifiers observed of one tree of missions, as the broker keeps it: one part for each mission and audience.
 * Who may say what about whom is decided here.
 *
 * - A verifier speaks as its own audience, and its catalogue (the broker's copy, reviewed by a person) bounds what it
 *   can say: it vouches with `system` or `counterparty` only where the catalogue has such fields, and for steps that
 *   are its own actions.
 * - At its own audience its word counts in full: whoever could lie there could as well not ask.
 * - At another audience a vouched-for value counts for a kind of destination that means the same everywhere (mail, url,
 *   account, phone), and only if its catalogue vouches for that kind; counterparties, names, ids and paths do not
 *   travel. What a mission declares as coming from a step (`origin.from`) counts wherever the step was.
 * - A value that the agent wrote somewhere, while nobody vouched for it, is an echo everywhere: what vouches for it
 *   after that stays unsettled and proves nothing. What was settled before cannot be unsettled.
 * - What could not be kept is unknown. Where an echo could not be kept, nothing is settled any more.
 */
export interface SharedProvenance {
  /** By mission and audience. */
  readonly parts: ReadonlyMap<string, ObservedPart>;
  /** Something that takes proof away may be missing: nothing new is settled. */
  readonly lossy: boolean;
}

export interface ObservedPart {
  readonly mission_id: string;
  readonly audience: string;
  readonly memory: ProvenanceMemory;
  /** Names of the declared steps that masks of the memory speak of. */
  readonly steps: readonly string[];
  readonly linked_steps: number;
  readonly vouched_kinds: readonly number[];
  /** An effect was permitted that a one-time code may complete. */
  readonly confirmable: boolean;
}

/** Beside the origins of memory.ts: nobody had echoed the value when it was first vouched for. */
const VOUCHED_FIRST = 0x8000;
/** And the same of when the text of a declared step first held it: that says nothing about a field that does later. */
const TOLD_FIRST = 0x4000;
const MARKS = VOUCHED_FIRST | TOLD_FIRST;
const VOUCHING = ORIGIN.system | ORIGIN.counterparty | ORIGIN.linked;
const ECHOED = ORIGIN.echo | ORIGIN.repeated;
/** Kinds of destination whose values mean the same at every audience. */
const TRAVELLING: readonly SinkKind[] = ['mail', 'url', 'account', 'phone'];
const DIGEST = /^[0-9a-f]{12}$/;

/** Values of one mission at one audience: 18 KB at most. */
export const PART_VALUES = 1536;
/** Beside the table: measured, with its names and maps. */
const BYTES_OF_PART = 500;

export const NOTHING_SHARED: SharedProvenance = { parts: new Map(), lossy: false };

/** @param complete false where what was observed before cannot be known: a broker that was started since */
export function beginShared(complete: boolean): SharedProvenance {
  return complete ? NOTHING_SHARED : { parts: new Map(), lossy: true };
}

function partKey(mission_id: string, audience: string): string {
  return `${mission_id} ${audience}`;
}

function emptyPart(mission_id: string, audience: string): ObservedPart {
  return {
    mission_id,
    audience,
    memory: EMPTY_MEMORY,
    steps: [],
    linked_steps: 0,
    vouched_kinds: [],
    confirmable: false,
  };
}

export interface Reported {
  readonly shared: SharedProvenance;
  /** Of what was vouched for, digests that prove nothing: the agent wrote them elsewhere, or nobody can know. */
  readonly unsettled: readonly string[];
  /** Likewise, but the text of a declared step held them before that: it still counts, and no field does. */
  readonly repeated: readonly string[];
}

export interface Reporter {
  readonly mission_id: string;
  readonly audience: string;
  /** Of the audience; null where it has none: then it speaks of text and echoes alone. */
  readonly catalogue: Catalogue | null;
}

/** Takes in what one verifier observed. What it may not say is left out. */
export function observe(
  shared: SharedProvenance,
  reporter: Reporter,
  observations: readonly Observation[],
): Reported {
  const key = partKey(reporter.mission_id, reporter.audience);
  const before = shared.parts.get(key) ?? emptyPart(reporter.mission_id, reporter.audience);
  const draft = new Draft(before, reporter);
  const unsettled = new Set<string>();
  const others = [...shared.parts].filter(([other]) => other !== key).map(([, part]) => part.memory);
  const isEchoed = (digest: string): boolean =>
    others.some((memory) => (recall(memory, digest).origins & ECHOED) !== 0);
  for (const observation of observations) {
    if (observation.digests.length === 0) draft.fact(observation);
    for (const digest of observation.digests) {
      if (!DIGEST.test(digest)) continue;
      const outcome = draft.value(observation, digest, () => !shared.lossy && !isEchoed(digest));
      if (outcome === 'unsettled') unsettled.add(digest);
    }
  }
  const after = draft.done();
  const toldFirst = (digest: string): boolean => (recall(after.memory, digest).origins & TOLD_FIRST) !== 0;
  return {
    shared: { parts: new Map([...shared.parts, [key, after]]), lossy: shared.lossy || draft.lossy },
    unsettled: [...unsettled].filter((digest) => !toldFirst(digest)),
    repeated: [...unsettled].filter(toldFirst),
  };
}

/** One part while a report is taken in. */
class Draft {
  readonly #reporter: Reporter;
  readonly #part: ObservedPart;
  readonly #writer: MemoryWriter;
  readonly #steps: string[];
  readonly #kinds: number[];
  #linked: number;
  #confirmable: boolean;
  lossy = false;

  constructor(part: ObservedPart, reporter: Reporter) {
    this.#reporter = reporter;
    this.#part = part;
    this.#writer = new MemoryWriter(part.memory, { max_values: PART_VALUES });
    this.#steps = [...part.steps];
    this.#kinds = [...part.vouched_kinds];
    this.#linked = part.linked_steps;
    this.#confirmable = part.confirmable;
  }

  value(
    { origin, field }: Observation,
    digest: string,
    mayBeSettled: () => boolean,
  ): 'kept' | 'refused' | 'unsettled' {
    const added = this.#maySay(origin, field);
    if (added === null) return 'refused';
    const { origins, vouched, text } = added;
    const known = this.#writer.recall(digest);
    if ((origins & ECHOED) !== 0) {
      if ((known.origins & VOUCHED_FIRST) !== 0) return 'kept';
      if (!this.#writer.add(digest, origins)) this.lossy = true;
      return 'kept';
    }
    const first = (origins & VOUCHING) !== 0 || vouched !== 0 ? VOUCHED_FIRST : text !== 0 ? TOLD_FIRST : 0;
    if (first === 0 || (text & LINKED_TEXT) !== 0)
      return this.#writer.add(digest, origins, 0, text) ? 'kept' : 'refused';
    const echoed = (known.origins & (first === VOUCHED_FIRST ? ECHOED : ORIGIN.echo)) !== 0;
    const settled = (known.origins & first) !== 0 || (!echoed && mayBeSettled());
    const kept = this.#writer.add(digest, origins | (settled ? first : 0), vouched, text);
    return kept && settled ? 'kept' : 'unsettled';
  }

  fact({ origin, field }: Observation): void {
    if (origin === 'confirmable') this.#confirmable = true;
    const kind = SINK_KINDS.findIndex((one) => origin === `kind_${one}`);
    if (kind < 0 && origin !== 'linked_source') return;
    const slot = this.#slot(field);
    if (slot < 0) return;
    if (kind >= 0) this.#kinds[slot] = (this.#kinds[slot] ?? 0) | (1 << kind);
    else this.#linked |= 1 << slot;
  }

  done(): ObservedPart {
    return {
      ...this.#part,
      memory: this.#writer.done(),
      steps: this.#steps,
      linked_steps: this.#linked,
      vouched_kinds: this.#kinds,
      confirmable: this.#confirmable,
    };
  }

  /** What an observation adds to a value, or null where this verifier may not say so. */
  #maySay(origin: string, field: string): ValueRecord | null {
    if (origin === 'heard' || origin === MARK) return { origins: ORIGIN.text, vouched: 0, text: 0 };
    if (!OBSERVED.some((known) => known === origin)) return null;
    switch (origin) {
      case 'system':
      case 'counterparty':
        return this.#vouches(origin) ? { origins: ORIGIN[origin], vouched: 0, text: 0 } : null;
      case 'linked':
        return this.#vouches('counterparty') || this.#vouches('system')
          ? { origins: ORIGIN.linked, vouched: 0, text: 0 }
          : null;
      case 'vouched':
      case 'told': {
        const slot = this.#slot(field);
        if (slot < 0) return null;
        const bit = 1 << slot;
        return { origins: 0, vouched: origin === 'vouched' ? bit : 0, text: origin === 'told' ? bit : 0 };
      }
      case 'linked_text':
        return { origins: ORIGIN.text, vouched: 0, text: LINKED_TEXT };
      case 'echo':
      case 'repeated':
      case 'ambiguous':
        return { origins: ORIGIN[origin], vouched: 0, text: 0 };
      default:
        return null;
    }
  }

  #vouches(trust: 'system' | 'counterparty'): boolean {
    return this.#reporter.catalogue !== null && vouchesWith(this.#reporter.catalogue, trust);
  }

  /** A step is an action of the reporter's own audience. */
  #slot(field: string): number {
    const known = this.#steps.indexOf(field);
    if (known >= 0) return known;
    const { catalogue } = this.#reporter;
    if (catalogue === null || !catalogue.actions.has(stepOf(field).action)) return -1;
    if (this.#steps.length >= MAX_SOURCES) return -1;
    return this.#steps.push(field) - 1;
  }
}

function vouchesWith(catalogue: Catalogue, trust: 'system' | 'counterparty'): boolean {
  for (const { default_trust, fields } of catalogue.actions.values())
    if (default_trust === trust || fields.some((field) => field.trust === trust)) return true;
  return false;
}

/** Whether an audience may vouch, at other audiences, for destinations of this kind. */
export function mayVouchElsewhere(catalogue: Catalogue, kind: SinkKind): boolean {
  if (!TRAVELLING.includes(kind)) return false;
  for (const { fields, labels } of catalogue.actions.values()) {
    if (!labels.includes('read')) continue;
    if (
      fields.some(
        (field) =>
          field.trust === 'system' &&
          field.kind !== undefined &&
          field.kind !== 'any' &&
          kindsAgree(kind, field.kind),
      )
    )
      return true;
  }
  return false;
}

/** What the broker looks at when it judges one mission at one audience. */
export interface View {
  readonly state: MissionState;
  readonly elsewhere: (digest: string, kind: SinkKind) => ValueRecord;
}

/**
 * @param begun the mission's first state at this audience, from its declaration
 * @param tainted any mission of the tree has taken in untrusted content
 * @param catalogueOf of another audience
 * @param ownerOf the one other audience that a declared step can only mean; null for a step of this one, or for none
 */
export function viewOf(
  shared: SharedProvenance,
  begun: MissionState,
  audience: string,
  tainted: boolean,
  catalogueOf: (audience: string) => Catalogue | null,
  ownerOf: (action: string) => string | null,
): View {
  const own = shared.parts.get(partKey(begun.mission_id, audience));
  const others = [...shared.parts.values()].filter((part) => part !== own);
  const steps = begun.sources.map(stepName);
  const slots = (part: ObservedPart, owner?: (action: string) => string | null) =>
    part.steps.map((step) =>
      owner === undefined || owner(stepOf(step).action) === part.audience ? steps.indexOf(step) : -1,
    );
  const first = (digest: string): boolean =>
    others.some((part) => (recall(part.memory, digest).origins & MARKS) !== 0);
  const state = own === undefined ? begun : withOwn(begun, own, slots(own), first);
  const views = others.map((part) => ({
    part,
    // Only what this very mission declares as coming from a step counts as that.
    slots: part.mission_id === begun.mission_id ? slots(part, ownerOf) : [],
    catalogue: catalogueOf(part.audience),
  }));
  return {
    state: { ...state, tainted: state.tainted || tainted },
    elsewhere(digest, kind) {
      let [origins, vouched, text] = [0, 0, 0];
      for (const { part, slots, catalogue } of views) {
        const known = recall(part.memory, digest);
        const settled = settledOf(known);
        origins |= settled.origins & (ORIGIN.text | ORIGIN.ambiguous);
        if (
          (settled.origins & ORIGIN.system) !== 0 &&
          catalogue !== null &&
          mayVouchElsewhere(catalogue, kind)
        )
          origins |= ORIGIN.system;
        vouched |= remapped(settled.vouched, slots);
        text |= remapped(settled.text, slots) | (slots.length > 0 ? settled.text & LINKED_TEXT : 0);
      }
      return { origins, vouched, text };
    },
  };
}

/** @param first whether another audience vouched for a value before anybody had written it */
function withOwn(
  begun: MissionState,
  own: ObservedPart,
  slots: readonly number[],
  first: (digest: string) => boolean,
): MissionState {
  const writer = new MemoryWriter(begun.memory);
  for (const { digest, origins, vouched, text } of rememberedValues(own.memory)) {
    const settled = settledOf({ origins, vouched, text });
    const masks = [
      remapped(settled.vouched, slots),
      remapped(settled.text, slots) | (text & LINKED_TEXT),
    ] as const;
    // What came too late is left out above: here an echo only says why, and must not speak against an earlier word.
    const kept = settled.origins & ((settled.origins & ECHOED) !== 0 && first(digest) ? ~ECHOED : -1);
    if (kept !== 0 || masks[0] !== 0 || masks[1] !== 0) writer.add(digest, kept, ...masks);
  }
  const kinds = [...begun.vouched_kinds];
  for (const [at, slot] of slots.entries())
    if (slot >= 0) kinds[slot] = (kinds[slot] ?? 0) | (own.vouched_kinds[at] ?? 0);
  return {
    ...begun,
    memory: writer.done(),
    vouched_kinds: kinds,
    linked_sources: begun.linked_sources | remapped(own.linked_steps, slots),
    pending: Math.max(begun.pending, own.confirmable ? 1 : 0),
  };
}

/** What counts of a value: without what vouched for it, or told it, after it had been echoed. */
function settledOf({ origins, vouched, text }: ValueRecord): ValueRecord {
  const first = (origins & VOUCHED_FIRST) !== 0;
  return {
    origins: origins & ~MARKS & (first ? -1 : ~VOUCHING),
    vouched: first ? vouched : 0,
    text: (origins & TOLD_FIRST) !== 0 ? text : text & LINKED_TEXT,
  };
}

function remapped(mask: number, slots: readonly number[]): number {
  let out = 0;
  for (const [at, slot] of slots.entries()) if (slot >= 0 && (mask & (1 << at)) !== 0) out |= 1 << slot;
  return out;
}

/**
 * A catalogue that also knows the steps of other audiences that this mission names as origins, so that they are read
 * as what they are (a listing, one document). None of them can be called here.
 */
export function withSteps(
  catalogue: Catalogue,
  steps: readonly { readonly action: string; readonly catalogue: Catalogue }[],
): Catalogue {
  const actions = new Map(catalogue.actions);
  for (const { action, catalogue: theirs } of steps) {
    const entry = theirs.actions.get(action);
    if (entry !== undefined && hasLabel(entry, 'read') && !actions.has(action)) actions.set(action, entry);
  }
  return actions.size === catalogue.actions.size ? catalogue : { ...catalogue, actions };
}

/** Bytes that one tree takes, maps included. */
export function bytesOf(shared: SharedProvenance): number {
  let bytes = 0;
  for (const part of shared.parts.values()) bytes += part.memory.slots.length + BYTES_OF_PART;
  return bytes;
}
