import type { JsonValue } from '../domain/json.ts';
import { type CataloguedAction, fieldFor } from './catalogue.ts';
import { proofForm } from './forms.ts';
import {
  canInstruct,
  isDocumentText,
  isPlainName,
  isProse,
  isTitle,
  isVouched,
  type Leaf,
  leafText,
} from './leaf.ts';
import { type DigestKey, keyedDigest, MemoryWriter, ORIGIN, recall } from './memory.ts';
import { LINKED_TEXT, linkedName, type MissionState, nameBearer, nameToken, ownerWords } from './mission.ts';
import type { BehaviourRules } from './rules.ts';
import { scanText, type ValueKind } from './scan.ts';
import { COUNTED_KINDS, destinationsOf, SINK_KINDS, type SinkKind, scannedKey, valueKey } from './values.ts';

/**
 * What a mission learns from one answer. Fields that the service vouches for become known values; everything else
 * is text that strangers may have written: it taints the mission, and its values are remembered only as such.
 */
export interface IngestLimits {
  /** Values remembered of one answer's text; the rest are unknown. */
  readonly max_text_values: number;
  /** Leaves looked at in one answer. */
  readonly max_leaves: number;
  /** Characters of text inspected in one answer. */
  readonly max_chars: number;
}

export const DEFAULT_INGEST_LIMITS: IngestLimits = {
  max_text_values: 96,
  max_leaves: 20_000,
  max_chars: 1_000_000,
};

export interface Answer {
  readonly action: CataloguedAction;
  readonly body: JsonValue;
  /** The call pointed at what the mission or a vouched-for value named, so its text is the declared source's. */
  readonly pointed_at: boolean;
  /**
   * Sources that read one named document. A record whose own title the mission names is that document, whichever
   * plain read returned it.
   */
  readonly documents: number;
}

const MAX_VOUCHED_CHARS = 400;
const MAX_CACHED = 2048;
/** People that one tied record may name in turn. */
const MAX_LINKED_NAMES = 24;

export function ingestAnswer(
  state: MissionState,
  answer: Answer,
  key: DigestKey,
  rules: BehaviourRules,
  limits: IngestLimits = DEFAULT_INGEST_LIMITS,
): MissionState {
  const ingestion = new Ingestion(state, answer, key, rules, limits);
  ingestion.read(answer.body);
  return ingestion.done();
}

/** An answer that arrives in pieces. Nothing but the last unfinished word is kept between them. */
export interface OpenAnswer {
  /** Takes in the next piece, before it is released. Returns whether the mission is tainted by now. */
  text(piece: string): boolean;
  /** State after the whole answer. */
  end(): MissionState;
}

/** Longest word carried over to the next piece; longer ones are cut, and unknown. */
const MAX_CARRY = 2048;

/** Opens a plain-text answer for reading piece by piece: the whole body is never held. */
export function openAnswer(
  state: MissionState,
  answer: Omit<Answer, 'body'>,
  key: DigestKey,
  rules: BehaviourRules,
  limits: IngestLimits = DEFAULT_INGEST_LIMITS,
): OpenAnswer {
  const ingestion = new Ingestion(state, { ...answer, body: '' }, key, rules, limits);
  let carry = '';
  return {
    text(piece) {
      const whole = carry + piece;
      let cut = whole.length;
      while (cut > 0 && whole.length - cut < MAX_CARRY && whole.charCodeAt(cut - 1) > 0x20) cut--;
      if (whole.length - cut >= MAX_CARRY) cut = whole.length;
      carry = whole.slice(cut);
      return ingestion.readPiece(whole.slice(0, cut));
    },
    end() {
      ingestion.readPiece(carry);
      return ingestion.done();
    },
  };
}

/** One answer on its way into memory: records are collected first, so that one can tie another to the mission. */
class Ingestion {
  readonly #state: MissionState;
  readonly #answer: Answer;
  readonly #key: DigestKey;
  readonly #rules: BehaviourRules;
  readonly #limits: IngestLimits;
  readonly #writer: MemoryWriter;
  readonly #slots: readonly { readonly field: string | null; readonly bit: number }[];
  readonly #records: Leaf[][] = [];
  readonly #digests = new Map<string, string>();
  readonly #named = new Map<string, boolean>();
  #tainted: boolean;
  #linked: number;
  #vouchedKinds: readonly number[];
  /** Values of a declared source's text in this answer, by kind. */
  readonly #offered = new Map<ValueKind, Set<string>>();
  #tied = false;
  #leaves = 0;
  #chars = 0;
  #texts = 0;

  constructor(
    state: MissionState,
    answer: Answer,
    key: DigestKey,
    rules: BehaviourRules,
    limits: IngestLimits,
  ) {
    this.#state = state;
    this.#answer = answer;
    this.#key = key;
    this.#rules = rules;
    this.#limits = limits;
    this.#writer = new MemoryWriter(state.memory);
    this.#tainted = state.tainted;
    this.#linked = state.linked_sources;
    this.#vouchedKinds = state.vouched_kinds;
    this.#slots = rules.declared_sources
      ? state.sources.flatMap((source, slot) =>
          source.action === answer.action.action ? [{ field: source.field ?? null, bit: 1 << slot }] : [],
        )
      : [];
  }

  read(body: JsonValue): void {
    const top: Leaf[] = [];
    this.#walk(body, [], top);
    this.#records.push(top);
    const linked = this.#records.map((record) => this.#linkRecord(record));
    this.#tied = true;
    this.#records.forEach((record, i) => {
      this.#settle(record, linked[i] === true);
    });
  }

  /** Reads one piece of a plain text; returns whether the mission is tainted by now. */
  readPiece(text: string): boolean {
    if (text === '') return this.#tainted;
    const { action } = this.#answer;
    const field = this.#rules.field_trust ? fieldFor(action, [], false) : null;
    const trust = this.#rules.field_trust ? (field?.trust ?? action.default_trust) : 'unknown';
    // Whoever streams text streams prose, even where a single piece is too short to look like it.
    if (trust === 'third_party' || trust === 'unknown') this.#tainted = true;
    this.#settle([{ text, field, trust, path: [] }], false);
    return this.#tainted;
  }

  done(): MissionState {
    this.#markAmbiguous();
    return {
      ...this.#state,
      memory: this.#writer.done(),
      tainted: this.#tainted,
      linked_sources: this.#linked,
      vouched_kinds: this.#vouchedKinds,
    };
  }

  #walk(node: JsonValue, path: readonly string[], group: Leaf[]): void {
    if (++this.#leaves > this.#limits.max_leaves || path.length > 24) {
      this.#writer.overflowed();
      this.#tainted = true;
      return;
    }
    const { action } = this.#answer;
    const text = leafText(node);
    if (text !== null) {
      const field = this.#rules.field_trust ? fieldFor(action, path, false) : null;
      const trust = this.#rules.field_trust ? (field?.trust ?? action.default_trust) : 'unknown';
      group.push({ text, field, trust, path });
    } else if (Array.isArray(node)) {
      for (const item of node) {
        if (item !== null && typeof item === 'object' && !Array.isArray(item)) {
          const record: Leaf[] = [];
          this.#walk(item, path, record);
          this.#records.push(record);
        } else this.#walk(item, path, group);
      }
    } else if (node !== null && typeof node === 'object') {
      const keyed = this.#rules.field_trust && path.length > 0 ? fieldFor(action, path, true) : null;
      for (const [member, value] of Object.entries(node)) {
        if (keyed !== null) group.push({ text: member, field: keyed, trust: keyed.trust, path });
        this.#walk(value, [...path, member], group);
      }
    }
  }

  /** Whether the mission names the record's author; then those whom its text names count as named too. */
  #linkRecord(record: readonly Leaf[]): boolean {
    const authored = record.some((leaf) => leaf.field?.author === true && this.#isNamed(leaf, false));
    if (!authored) return false;
    let room = MAX_LINKED_NAMES;
    for (const leaf of record) {
      if (isVouched(leaf)) continue;
      for (const word of leaf.text.slice(0, 4096).split(/[^\p{L}]+/u)) {
        const first = word[0] ?? '';
        if (word.length < 3 || first === first.toLowerCase() || room-- <= 0) continue;
        this.#writer.add(keyedDigest(this.#key, linkedName(word.toLowerCase())), ORIGIN.linked);
      }
    }
    return true;
  }

  #settle(record: readonly Leaf[], linked: boolean): void {
    // The identities of one record stand or fall together: a contact's name ties its address to the mission.
    const named = record.some(
      (leaf) => leaf.field?.kind === 'name' && isVouched(leaf) && this.#isNamed(leaf, true),
    );
    const titled =
      this.#answer.documents !== 0 &&
      record.some((leaf) => isTitle(leaf) && this.#isTitledByMission(leaf.text));
    for (const leaf of record) {
      const vouched = isVouched(leaf);
      if (vouched) this.#vouch(leaf, leaf.trust === 'counterparty' && (named || this.#isNamed(leaf, true)));
      // A listed name is a value as a whole even where somebody made it a paragraph; its prose still taints.
      if (!vouched || (leaf.field?.kind !== undefined && isProse(leaf.text))) {
        this.#hear(leaf, !vouched && linked ? LINKED_TEXT : 0, !vouched && titled);
      }
    }
  }

  #vouch(leaf: Leaf, isLinked: boolean): void {
    const mask = this.#maskFor(leaf.path);
    let origins: number = leaf.trust === 'system' ? ORIGIN.system : ORIGIN.counterparty;
    if (isLinked) {
      this.#noteBearer(leaf);
      origins |= ORIGIN.linked;
      this.#linked |= mask;
    }
    const kind: SinkKind = leaf.field?.kind ?? 'any';
    if (mask !== 0 && leaf.field?.kind !== undefined) {
      const bit = 1 << SINK_KINDS.indexOf(kind);
      this.#vouchedKinds = this.#vouchedKinds.map((seen, slot) =>
        (mask & (1 << slot)) === 0 ? seen : seen | bit,
      );
    }
    const put = (form: string): boolean => this.#put(form, origins, mask, 0);
    if (leaf.text.length <= MAX_VOUCHED_CHARS) {
      for (const destination of destinationsOf(kind, leaf.text) ?? []) {
        const strongest = destination.candidates[0];
        if (strongest !== undefined) put(strongest);
        for (const part of destination.parts) put(part);
      }
      const whole = proofForm(leaf.text);
      if (whole !== null && kind !== 'id' && kind !== 'mail') put(valueKey('any', whole));
    }
    if ((kind !== 'any' && kind !== 'name') || leaf.text.length <= 3) return;
    // A directory printed as text: "Hotels: A\nB", "x, y": its lines and items are values too. Longer pieces are
    // prose, and prose is nobody's vouched-for value even in a vouched-for field.
    for (const piece of leaf.text.split(/[\n,;|]/).slice(0, 400)) {
      if (!isPlainName(piece)) continue;
      const form = proofForm(piece);
      if (form !== null && form.length <= 60) put(valueKey('any', form));
      const colon = piece.indexOf(': ');
      const tail = colon < 0 ? null : proofForm(piece.slice(colon + 2));
      if (tail !== null && tail.length <= 60) put(valueKey('any', tail));
    }
  }

  #hear(leaf: Leaf, extra: number, titled: boolean): void {
    if (!this.#tainted && canInstruct(leaf.text, leaf.trust)) this.#tainted = true;
    const declared = this.#answer.pointed_at && !isVouched(leaf) ? this.#maskFor(leaf.path) : 0;
    const meant = declared | extra | (titled ? this.#answer.documents : 0);
    // What nobody declared, but the mission plans to read, is the document and nothing that stands beside it.
    const mask = isDocumentText(leaf) ? meant : meant & (this.#state.explicit_sources | LINKED_TEXT);
    // What the mission itself points at is read with a budget of its own, so that others cannot use it up.
    let most =
      titled || extra !== 0 ? this.#limits.max_text_values : this.#limits.max_text_values - this.#texts;
    const room = this.#limits.max_chars - this.#chars;
    this.#chars += leaf.text.length;
    if (room <= 0 || most <= 0) {
      this.#writer.overflowed();
      return;
    }
    const put = (form: string): boolean => {
      this.#texts++;
      return most-- > 0 && this.#put(form, ORIGIN.text, 0, mask);
    };
    const whole = leaf.text.length <= 120 ? proofForm(leaf.text) : null;
    if (whole !== null) put(valueKey('any', whole));
    const outcome = scanText(
      leaf.text,
      (kind, form) => {
        if ((mask & ~LINKED_TEXT) !== 0) this.#offer(kind, form);
        return put(scannedKey(kind, form));
      },
      { max_chars: room },
    );
    if (!outcome.complete) this.#writer.overflowed();
  }

  #offer(kind: ValueKind, form: string): void {
    if (!COUNTED_KINDS.some((known) => known === kind)) return;
    const known = this.#offered.get(kind) ?? new Set();
    if (known.size < this.#limits.max_text_values) this.#offered.set(kind, known.add(form));
  }

  #markAmbiguous(): void {
    for (const [kind, forms] of this.#offered) {
      if (forms.size < 2) continue;
      for (const form of forms) this.#put(scannedKey(kind, form), ORIGIN.ambiguous, 0, 0);
    }
  }

  #put(form: string, origins: number, vouched: number, text: number): boolean {
    return this.#writer.add(this.#digest(form), origins, vouched, text);
  }

  /** One answer repeats itself: the same mailbox owner, the same hosts. */
  #digest(form: string): string {
    const known = this.#digests.get(form);
    if (known !== undefined) return known;
    const digest = keyedDigest(this.#key, form);
    if (this.#digests.size < MAX_CACHED) this.#digests.set(form, digest);
    return digest;
  }

  #maskFor(path: readonly string[]): number {
    let mask = 0;
    for (const { field, bit } of this.#slots)
      if (field === null || path.join('.').endsWith(field)) mask |= bit;
    return mask;
  }

  /** Whether the mission names somebody in this leaf: itself, or (`byLinkedText`) by way of a tied author's text. */
  #isNamed(leaf: Leaf, byLinkedText: boolean): boolean {
    return this.#namingWords(leaf, byLinkedText).length > 0;
  }

  #namingWords(leaf: Leaf, byLinkedText: boolean): string[] {
    if (leaf.text.length > 120) return [];
    return ownerWords(leaf.text).filter(
      (word) =>
        this.#knows(nameToken(word), ORIGIN.mission) ||
        (byLinkedText && this.#knows(linkedName(word), ORIGIN.linked)),
    );
  }

  /** Two strangers who bear one name: a name anybody can take has then not said whom the mission means. */
  #noteBearer(leaf: Leaf): void {
    const form = proofForm(leaf.text);
    if (form === null) return;
    for (const word of this.#namingWords(leaf, true)) {
      const own = this.#digest(nameBearer(word, form));
      if (this.#writer.recall(own).origins !== 0) continue;
      const any = this.#digest(nameBearer(word));
      const taken = this.#writer.recall(any).origins !== 0;
      this.#writer.add(any, taken ? ORIGIN.linked | ORIGIN.ambiguous : ORIGIN.linked);
      this.#writer.add(own, ORIGIN.linked);
    }
  }

  #knows(token: string, origin: number): boolean {
    const cached = this.#named.get(token);
    if (cached !== undefined) return cached;
    const known = (this.#writer.recall(this.#digest(token)).origins & origin) !== 0;
    // A linked name may still be learned while records are tied; only what can no longer change is kept.
    if ((known || token.startsWith('w:') || this.#tied) && this.#named.size < MAX_CACHED)
      this.#named.set(token, known);
    return known;
  }

  /** Every longer word of the title stands in the mission, and there are at least two: the mission means this one. */
  #isTitledByMission(text: string): boolean {
    let words = 0;
    const dot = text.lastIndexOf('.');
    const bare = dot > 0 && text.length - dot <= 6 ? text.slice(0, dot) : text;
    for (const word of bare.toLowerCase().split(/[^\p{L}\p{N}]+/u)) {
      if (word.length < 4 || /^\d+$/.test(word)) continue;
      const record = recall(this.#state.memory, keyedDigest(this.#key, valueKey('any', word)));
      if ((record.origins & ORIGIN.mission) === 0) return false;
      words++;
    }
    return words >= 2;
  }
}
