import type { JsonValue } from '../domain/json.ts';
import type { FieldTrust, ReturnedField } from './catalogue.ts';

/** One text or number of an answer, with the trust of the field it stands in. */
export interface Leaf {
  readonly text: string;
  readonly field: ReturnedField | null;
  readonly trust: FieldTrust;
  readonly path: readonly string[];
}

/** Prose can carry an instruction; a number, a date or one word of a fixed vocabulary cannot. */
export function canInstruct(text: string, trust: FieldTrust): boolean {
  if (trust === 'third_party') return text.length > 1;
  if (text.length > 48) return true;
  let gaps = 0;
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) <= 0x20) gaps++;
  return gaps >= 2;
}

/** Names have few words: longer text in a vouched-for field is somebody's prose, whoever keeps the field. */
export function isProse(text: string): boolean {
  let gaps = 0;
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) <= 0x20) gaps++;
  return gaps > 7;
}

/** Shape of a leaf that is its own kind of value whatever its field: numbers and truth values never instruct. */
export function leafText(value: JsonValue): string | null {
  if (typeof value === 'string') return value;
  if (typeof value === 'number') return String(value);
  return null;
}

/** A line of a directory: words, not an address or a number that somebody slipped in. */
export function isPlainName(piece: string): boolean {
  let digits = 0;
  for (let i = 0; i < piece.length; i++) {
    const code = piece.charCodeAt(i);
    if (code === 0x40 || code === 0x2f || code === 0x5c) return false;
    if (code >= 0x30 && code <= 0x39) digits++;
  }
  return digits < 6 && !piece.includes('www.');
}

export function isVouched(leaf: Leaf): boolean {
  return leaf.trust === 'system' || leaf.trust === 'counterparty';
}

/** The short name that a record goes by. */
export function isTitle(leaf: Leaf): boolean {
  const member = leaf.path[leaf.path.length - 1] ?? '';
  return (
    leaf.text.length <= 120 &&
    (leaf.field?.kind === 'file' || member === 'filename' || member === 'file_name')
  );
}

const BODY_MEMBERS = new Set(
  'content contents text body markdown html raw value data output result results lines line stdout document'.split(
    ' ',
  ),
);

/**
 * Whether a text is the document itself: a plain text, or the member of a record that holds it. A note or a comment
 * beside it is what somebody else put there.
 */
export function isDocumentText(leaf: Leaf): boolean {
  const member = leaf.path.at(-1);
  if (member === undefined) return true;
  const words = member
    .replace(/([a-z])([A-Z])/g, '$1_$2')
    .toLowerCase()
    .split(/[_-]/);
  return BODY_MEMBERS.has(words.at(-1) ?? '');
}
