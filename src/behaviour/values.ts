import { compactForm, isDeceptive, proofForm, urlAncestors, urlForm } from './forms.ts';
import { classifyToken } from './scan.ts';

/** What a destination parameter names. It decides how values are compared and how much a match is worth. */
export type SinkKind =
  | 'mail'
  | 'url'
  | 'account'
  | 'phone'
  | 'handle'
  | 'channel'
  | 'path'
  | 'file'
  | 'id'
  | 'name'
  | 'key'
  | 'any';

export const SINK_KINDS: readonly SinkKind[] = [
  'mail',
  'url',
  'account',
  'phone',
  'handle',
  'channel',
  'path',
  'file',
  'id',
  'name',
  'key',
  'any',
];

/** One destination of a call. `candidates` are the forms any of which proves it, strongest first. */
export interface Destination {
  readonly kind: SinkKind;
  readonly candidates: readonly string[];
  /** Parts of a compound name (`owner/name`): known where every part is. Empty where it has none. */
  readonly parts: readonly string[];
  /** The only value of its parameter, not an item of a list. */
  readonly single: boolean;
  /** Written so that it reads as another destination; never proven. */
  readonly deceptive: boolean;
  /** A short id or plain word matches by accident; it never carries an action that the mission did not name. */
  readonly weak: boolean;
}

const MAX_DESTINATIONS = 64;

/** Domain tag + form. Ids are tagged apart, so that file 13 is not proven by the 13th of May. */
export function valueKey(kind: SinkKind, form: string): string {
  if (kind === 'url') return 'u:' + form;
  if (kind === 'id') return 'i:' + form;
  return 'v:' + form;
}

function destinationOf(kind: SinkKind, raw: string): Omit<Destination, 'single'> {
  const deceptive = isDeceptive(raw);
  if (kind === 'url') {
    const form = urlForm(raw);
    const candidates = form === null ? [] : urlAncestors(form).map((ancestor) => valueKey('url', ancestor));
    return { kind, candidates, parts: [], deceptive, weak: false };
  }
  if (kind === 'account' || kind === 'phone') {
    const form = compactForm(raw);
    return {
      kind,
      candidates: form === '' ? [] : [valueKey(kind, form)],
      parts: [],
      deceptive,
      weak: form.length < 6,
    };
  }
  const plain = proofForm(raw);
  if (plain === null) return { kind, candidates: [], parts: [], deceptive, weak: true };
  if (kind === 'path' || kind === 'file') {
    const form = plain.length > 1 && plain.endsWith('/') ? plain.slice(0, -1) : plain;
    return { kind, candidates: [valueKey(kind, form)], parts: [], deceptive, weak: form.length < 4 };
  }
  if (kind === 'handle' || kind === 'channel') {
    const form = plain.startsWith('@') || plain.startsWith('#') ? plain.slice(1) : plain;
    return { kind, candidates: [valueKey(kind, form)], parts: [], deceptive, weak: !form.includes('@') };
  }
  if (kind === 'id') {
    const short = plain.length < 6;
    return {
      kind,
      candidates: short ? [valueKey('id', plain)] : [valueKey('id', plain), 'v:' + plain],
      parts: [],
      deceptive,
      weak: short,
    };
  }
  const web = kind === 'any' ? urlKeys(raw) : [];
  return {
    kind,
    candidates: [...web, valueKey(kind, plain)],
    parts: kind === 'name' ? compoundParts(plain).map((part) => valueKey(kind, part)) : [],
    deceptive,
    weak: !plain.includes('@') && web.length === 0,
  };
}

/** `owner/name` in its parts; a rooted path or an address is not one. */
export function compoundParts(form: string): string[] {
  if (!form.includes('/') || form.includes(':') || form.includes('@') || form.includes(' ')) return [];
  const parts = form.split('/');
  return parts.length <= 4 && parts.every((part) => part.length > 1 && part !== '..') ? parts : [];
}

function urlKeys(raw: string): string[] {
  let keys: string[] = [];
  classifyToken(raw, (kind, form) => {
    if (kind === 'url') keys = urlAncestors(form).map((ancestor) => valueKey('url', ancestor));
    return true;
  });
  return keys;
}

/** `Name <a@b>, c@d; e@f` is three addresses: each must be proven, and a display name proves nothing. */
function splitAddresses(raw: string): string[] {
  const out: string[] = [];
  for (const entry of raw.split(/[,;\n\r]/)) {
    const addresses = entry.split(/[\s<]/).filter((part) => part.includes('@'));
    if (addresses.length > 0) out.push(...addresses);
    else if (entry.trim() !== '') out.push(entry);
  }
  // Nothing but separators is not nothing: it stays one destination, which nobody can prove.
  return out.length > 0 ? out : [raw];
}

/**
 * Every destination that a sink parameter's value names, lists and separators flattened.
 * Returns `null` where the value cannot be read as destinations (too many, or nested objects): unknown, so unproven.
 */
export function destinationsOf(kind: SinkKind, value: unknown): Destination[] | null {
  const out: Omit<Destination, 'single'>[] = [];
  const add = (raw: string): void => {
    if (kind === 'mail') for (const part of splitAddresses(raw)) out.push(destinationOf(kind, part));
    else if (kind === 'url' && /[\s,]/.test(raw.trim())) {
      for (const part of raw.split(/[\s,]/)) if (part !== '') out.push(destinationOf(kind, part));
    } else out.push(destinationOf(kind, raw));
  };
  const walk = (node: unknown, depth: number): boolean => {
    if (node === null || node === undefined || node === '') return true;
    if (out.length > MAX_DESTINATIONS || depth > 4) return false;
    if (typeof node === 'string') add(node);
    else if (typeof node === 'number' || typeof node === 'boolean') add(String(node));
    else if (Array.isArray(node)) return node.every((item) => walk(item, depth + 1));
    else if (typeof node === 'object') return Object.values(node).every((item) => walk(item, depth + 1));
    else return false;
    return true;
  };
  if (!walk(value, 0) || out.length > MAX_DESTINATIONS) return null;
  const single = !Array.isArray(value) && out.length === 1;
  return out.map((one) => ({ ...one, single }));
}

/** Kinds of which a text can be asked whether it names exactly one. */
export const COUNTED_KINDS = ['mail', 'url', 'account', 'phone', 'key'] as const;

/** Key under which an extracted value is remembered. */
export function scannedKey(kind: string, form: string): string {
  if (kind === 'url') return 'u:' + form;
  return 'v:' + form;
}
