import type { JsonValue } from '../domain/json.ts';
import { type CataloguedAction, type FieldTrust, fieldFor, type ReturnedField } from './catalogue.ts';
import { proofForm } from './forms.ts';
import { type DigestKey, keyedDigest, MemoryWriter, ORIGIN, recall } from './memory.ts';
import { type MissionState, nameToken } from './mission.ts';
import type { BehaviourRules } from './rules.ts';
import { scanText } from './scan.ts';
import { destinationsOf, type SinkKind, scannedKey, valueKey } from './values.ts';

/**
 * What a mission learns from one answer. Fields that the service vouches for become known values; everything else
 * is text that strangers may have written: it taints the mission, and its values are remembered only as such.
 */

export interface IngestLimits {
  /** Values remembered of one answer's text; the rest are unknown. Default 96. */
  readonly max_text_values: number;
  /** Leaves looked at in one answer. Default 20,000. */
  readonly max_leaves: number;
  /** Characters of text inspected in one answer. Default 1,000,000. */
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

interface Leaf {
  readonly text: string;
  readonly field: ReturnedField | null;
  readonly trust: FieldTrust;
  readonly path: readonly string[];
}

/** Prose can carry an instruction; a number, a date or one word of a fixed vocabulary cannot. */
function canInstruct(text: string, trust: FieldTrust): boolean {
  if (trust === 'third_party') return text.length > 1;
  if (text.length > 48) return true;
  let gaps = 0;
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) <= 0x20) gaps++;
  return gaps >= 2;
}

/** Names have few words: longer text in a vouched-for field is somebody's prose, whoever keeps the field. */
function isProse(text: string): boolean {
  let gaps = 0;
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) <= 0x20) gaps++;
  return gaps > 7;
}

/** Shape of a leaf that is its own kind of value whatever its field: numbers and truth values never instruct. */
function leafText(value: JsonValue): string | null {
  if (typeof value === 'string') return value;
  if (typeof value === 'number') return String(value);
  return null;
}

export function ingestAnswer(
  state: MissionState,
  answer: Answer,
  key: DigestKey,
  rules: BehaviourRules,
  limits: IngestLimits = DEFAULT_INGEST_LIMITS,
): MissionState {
  const { action } = answer;
  const writer = new MemoryWriter(state.memory);
  let tainted = state.tainted;
  let linked = state.linked_sources;
  let leaves = 0;
  let chars = 0;
  let texts = 0;

  const slots = rules.declared_sources
    ? state.sources.flatMap((source, slot) =>
        source.action === action.action ? [{ source, bit: 1 << slot }] : [],
      )
    : [];
  const maskFor = (path: readonly string[]): number => {
    let mask = 0;
    for (const { source, bit } of slots) {
      if (source.field === undefined || path.join('.').endsWith(source.field)) mask |= bit;
    }
    return mask;
  };
  const put = (form: string, origins: number, vouched: number, text: number): boolean =>
    writer.add(keyedDigest(key, form), origins, vouched, text);

  const vouch = (leaf: Leaf, isLinked: boolean): void => {
    const mask = maskFor(leaf.path);
    let origins: number = leaf.trust === 'system' ? ORIGIN.system : ORIGIN.counterparty;
    if (leaf.trust === 'counterparty' && isLinked) {
      origins |= ORIGIN.linked;
      linked |= mask;
    }
    const kind: SinkKind = leaf.field?.kind ?? 'any';
    if (leaf.text.length <= MAX_VOUCHED_CHARS) {
      for (const destination of destinationsOf(kind, leaf.text) ?? []) {
        const strongest = destination.candidates[0];
        if (strongest !== undefined) put(strongest, origins, mask, 0);
      }
      const whole = proofForm(leaf.text);
      if (whole !== null && kind !== 'id') put(valueKey('any', whole), origins, mask, 0);
    }
    if (kind === 'any' && leaf.text.length > 3) {
      // A directory printed as text: "Hotels: A\nB", "x, y": its lines and items are values too. Longer pieces are
      // prose, and prose is nobody's vouched-for value even in a vouched-for field.
      for (const piece of leaf.text.split(/[\n,;|]/).slice(0, 400)) {
        const form = proofForm(piece);
        if (form !== null && form.length <= 60) put(valueKey('any', form), origins, mask, 0);
        const colon = piece.indexOf(': ');
        const tail = colon < 0 ? null : proofForm(piece.slice(colon + 2));
        if (tail !== null && tail.length <= 60) put(valueKey('any', tail), origins, mask, 0);
      }
    }
  };

  const hear = (leaf: Leaf, titled: boolean): void => {
    if (!tainted && canInstruct(leaf.text, leaf.trust)) tainted = true;
    const heard = leaf.trust === 'third_party' || leaf.trust === 'unknown';
    const mask =
      (answer.pointed_at && heard ? maskFor(leaf.path) : 0) | (titled && heard ? answer.documents : 0);
    let most = titled ? limits.max_text_values : limits.max_text_values - texts;
    const room = limits.max_chars - chars;
    chars += leaf.text.length;
    if (room <= 0) {
      writer.overflowed();
      return;
    }
    const whole = leaf.text.length <= 120 ? proofForm(leaf.text) : null;
    texts++;
    if (whole !== null && most-- > 0) put(valueKey('any', whole), ORIGIN.text, 0, mask);
    const outcome = scanText(
      leaf.text,
      (kind, form) => {
        texts++;
        if (most-- <= 0) return false;
        return put(scannedKey(kind, form), ORIGIN.text, 0, mask);
      },
      { max_chars: room },
    );
    if (!outcome.complete) writer.overflowed();
  };

  const isNamed = (leaf: Leaf): boolean => {
    const local = leaf.text.includes('@') ? leaf.text.slice(0, leaf.text.indexOf('@')) : leaf.text;
    for (const word of local.toLowerCase().split(/[^\p{L}]+/u)) {
      if (word.length < 3) continue;
      const record = recall(state.memory, keyedDigest(key, nameToken(word)));
      if ((record.origins & ORIGIN.mission) !== 0) return true;
    }
    return false;
  };

  /** Every longer word of the title stands in the mission, and there are at least two: the mission means this one. */
  const isTitledByMission = (text: string): boolean => {
    let words = 0;
    for (const word of text.toLowerCase().split(/[^\p{L}\p{N}]+/u)) {
      if (word.length < 4 || /^\d+$/.test(word)) continue;
      const record = recall(state.memory, keyedDigest(key, valueKey('any', word)));
      if ((record.origins & ORIGIN.mission) === 0) return false;
      words++;
    }
    return words >= 2;
  };

  const settle = (group: readonly Leaf[]): void => {
    // The identities of one record stand or fall together: a contact's name ties its address to the mission.
    const identities = group.filter(
      (leaf) => (leaf.trust === 'system' || leaf.trust === 'counterparty') && isIdentity(leaf),
    );
    const named = identities.some((other) => other.field?.kind === 'name' && isNamed(other));
    const titled =
      answer.documents !== 0 && group.some((leaf) => isTitle(leaf) && isTitledByMission(leaf.text));
    for (const leaf of group) {
      const vouched = leaf.trust === 'system' || leaf.trust === 'counterparty';
      // A listed name is a value as a whole even where somebody made it a paragraph; its prose still taints.
      const prose = !vouched || (leaf.field?.kind !== undefined && isProse(leaf.text));
      if (vouched) vouch(leaf, leaf.trust === 'counterparty' && (isNamed(leaf) || named));
      if (prose) hear(leaf, titled);
    }
  };

  const walk = (node: JsonValue, path: readonly string[], group: Leaf[]): void => {
    if (++leaves > limits.max_leaves || path.length > 24) {
      writer.overflowed();
      tainted = true;
      return;
    }
    const text = leafText(node);
    if (text !== null) {
      const field = rules.field_trust ? fieldFor(action, path, false) : null;
      const trust = rules.field_trust ? (field?.trust ?? action.default_trust) : 'unknown';
      group.push({ text, field, trust, path });
    } else if (Array.isArray(node)) {
      for (const item of node) {
        if (item !== null && typeof item === 'object' && !Array.isArray(item)) {
          const record: Leaf[] = [];
          walk(item, path, record);
          settle(record);
        } else walk(item, path, group);
      }
    } else if (node !== null && typeof node === 'object') {
      const keyed = rules.field_trust ? fieldFor(action, path, true) : null;
      for (const [member, value] of Object.entries(node)) {
        if (keyed !== null && path.length > 0)
          group.push({ text: member, field: keyed, trust: keyed.trust, path });
        walk(value, [...path, member], group);
      }
    }
  };

  const top: Leaf[] = [];
  walk(answer.body, [], top);
  settle(top);
  return { ...state, memory: writer.done(), tainted, linked_sources: linked };
}

/** The short name that a record goes by. */
function isTitle(leaf: Leaf): boolean {
  const member = leaf.path[leaf.path.length - 1] ?? '';
  return (
    leaf.text.length <= 120 &&
    (leaf.field?.kind === 'file' || member === 'filename' || member === 'file_name')
  );
}

function isIdentity(leaf: Leaf): boolean {
  return leaf.text.length <= 80;
}
