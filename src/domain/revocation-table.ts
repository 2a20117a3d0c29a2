/**
 * The memory of revocations: an open-addressing table in one typed array, 20 bytes a slot and at most 54 bytes an
 * entry at any load it grows through (42 at one million), because a guard may hold a million of them.
 *
 * Keys are kept as 64-bit seeded hashes. Two keys that met would deny too much, never too little, and without the
 * seed nobody can make them meet.
 */
import type { KeyedHash } from './keyed-hash.ts';
import { FEED_KINDS, FEED_REASONS, type FeedEntry, type FeedKind, type FeedReason } from './revocation.ts';

/** Slot layout, 32-bit words: key, key, first `iat` that is not denied, reason and `min_version`, `not_after`. */
const WORDS = 5;
const LOW = 0;
const HIGH = 1;
const DENY = 2;
const VERSION = 3;
const NOT_AFTER = 4;

const SMALLEST = 64;
const MAX_LOAD = 0.75;
const FOREVER = 0xffffffff;

/** Kinds whose denial refuses whatever `iat` says. */
const WHATEVER_IAT: ReadonlySet<FeedKind> = new Set<FeedKind>([
  'token',
  'mission',
  'mission_tree',
  'agent_key',
  'signing_key',
]);

const kindNumbers = new Map<FeedKind, number>(FEED_KINDS.map((kind, index) => [kind, index + 1]));
const reasonNumbers = new Map<FeedReason, number>(FEED_REASONS.map((reason, index) => [reason, index]));

/** Number that keeps the keys of one kind apart from those of another. */
export function kindNumber(kind: FeedKind): number {
  return kindNumbers.get(kind) ?? 0;
}

function clampSeconds(seconds: number): number {
  return Math.min(Math.max(Math.ceil(seconds), 0), FOREVER);
}

export class RevocationTable {
  readonly #hash: KeyedHash;
  #words = new Uint32Array(SMALLEST * WORDS);
  #mask = SMALLEST - 1;
  #size = 0;

  constructor(hash: KeyedHash) {
    this.#hash = hash;
  }

  /** Slots in use, lifted ones included until the next rebuild. */
  get size(): number {
    return this.#size;
  }

  /** Bytes held. */
  get bytes(): number {
    return this.#words.byteLength;
  }

  /** Offset of the slot of a hashed key in the table, or -1. */
  find(low: number, high: number): number {
    const words = this.#words;
    let slot = low & this.#mask;
    for (;;) {
      const offset = slot * WORDS;
      const there = words[offset] ?? 0;
      const beside = words[offset + HIGH] ?? 0;
      if (there === low && beside === high) return offset;
      if (there === 0 && beside === 0) return -1;
      slot = (slot + 1) & this.#mask;
    }
  }

  /** `true` if the slot at `offset` denies a token issued at `iat`. */
  denies(offset: number, iat: number): boolean {
    return iat < (this.#words[offset + DENY] ?? FOREVER);
  }

  /** `true` if the slot at `offset` asks for a newer version of the mission. */
  narrows(offset: number, version: number): boolean {
    return version < ((this.#words[offset + VERSION] ?? 0) & 0xffffff);
  }

  reasonAt(offset: number): FeedReason {
    return FEED_REASONS[(this.#words[offset + VERSION] ?? 0) >>> 24] ?? 'admin_revoked';
  }

  /** Applies one entry. Bounds only ever rise, except by a `lift`. */
  put(entry: Omit<FeedEntry, 'prev'>, now: number): void {
    if ((this.#size + 1) / (this.#mask + 1) > MAX_LOAD) this.#rebuild(now);
    this.#hash.of(kindNumber(entry.kind), entry.key);
    const { low, high } = this.#hash;
    let offset = this.find(low, high);
    if (offset < 0) {
      if (entry.effect === 'lift') return;
      offset = this.#claim(low, high);
    }
    const words = this.#words;
    const deny = words[offset + DENY] ?? 0;
    const version = words[offset + VERSION] ?? 0;
    switch (entry.effect) {
      case 'deny': {
        words[offset + DENY] = Math.max(deny, firstAllowed(entry));
        words[offset + VERSION] = (version & 0xffffff) | ((reasonNumbers.get(entry.reason_code) ?? 0) << 24);
        break;
      }
      case 'lift':
        // With a bound, an unblock leaves what was revoked before the block refused.
        words[offset + DENY] =
          entry.issued_before === undefined ? 0 : Math.min(deny, firstAllowed({ ...entry, effect: 'deny' }));
        break;
      case 'narrow':
        words[offset + VERSION] =
          (version & 0xff000000) | Math.max(version & 0xffffff, entry.min_version ?? 0xffffff);
        break;
    }
    words[offset + NOT_AFTER] = Math.max(words[offset + NOT_AFTER] ?? 0, clampSeconds(entry.not_after));
  }

  /** Makes room for `entries` at once, so that a snapshot is not rehashed as it loads. */
  reserve(entries: number): void {
    let slots = this.#mask + 1;
    while (entries / slots > MAX_LOAD) slots *= 2;
    if (slots > this.#mask + 1) this.#resize(slots, 0);
  }

  /** Drops what no living token can match: expired entries and fully lifted ones. */
  drop(now: number): void {
    this.#resize(this.#mask + 1, now);
  }

  #claim(low: number, high: number): number {
    const words = this.#words;
    let slot = low & this.#mask;
    while ((words[slot * WORDS] ?? 0) !== 0 || (words[slot * WORDS + HIGH] ?? 0) !== 0)
      slot = (slot + 1) & this.#mask;
    const offset = slot * WORDS;
    words[offset + LOW] = low;
    words[offset + HIGH] = high;
    this.#size++;
    return offset;
  }

  /** Full: first drop what has expired; grow only if that did not free a quarter. */
  #rebuild(now: number): void {
    this.drop(now);
    const slots = this.#mask + 1;
    if (this.#size / slots > MAX_LOAD * 0.75) this.#resize(slots * 2, now);
  }

  #resize(slots: number, now: number): void {
    const old = this.#words;
    this.#words = new Uint32Array(slots * WORDS);
    this.#mask = slots - 1;
    this.#size = 0;
    for (let from = 0; from < old.length; from += WORDS) {
      const low = old[from + LOW] ?? 0;
      const high = old[from + HIGH] ?? 0;
      if (low === 0 && high === 0) continue;
      const spent = old[from + DENY] === 0 && ((old[from + VERSION] ?? 0) & 0xffffff) === 0;
      if (spent || (old[from + NOT_AFTER] ?? 0) < now) continue;
      const offset = this.#claim(low, high);
      this.#words[offset + DENY] = old[from + DENY] ?? FOREVER;
      this.#words[offset + VERSION] = old[from + VERSION] ?? 0;
      this.#words[offset + NOT_AFTER] = old[from + NOT_AFTER] ?? FOREVER;
    }
  }
}

/** The least `iat` that an entry does not refuse: `iat <= issued_before` is refused, and `iat` is whole. */
function firstAllowed(entry: Omit<FeedEntry, 'prev'>): number {
  if (WHATEVER_IAT.has(entry.kind) || entry.issued_before === undefined) return FOREVER;
  return Math.min(Math.floor(entry.issued_before) + 1, FOREVER);
}
