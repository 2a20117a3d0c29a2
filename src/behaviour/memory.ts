import { hash } from 'node:crypto';

/**
 * Per-mission memory of values, as keyed digests: a guard can tell where a value came from without keeping it, and
 * nobody who reads the memory can guess amounts or addresses. Open addressing over one byte array, 12 bytes a value:
 *
 *     6 digest | 2 origins | 2 sources that vouched | 2 sources whose text held it
 *
 * Nothing is ever evicted: an attacker who floods the memory makes later values *unknown* (refused), never clean.
 */

export const ORIGIN = {
  template: 1,
  mission: 2,
  system: 4,
  counterparty: 8,
  text: 16,
  history: 32,
  /** First seen in the agent's own words while unproven: a service repeating it later proves nothing. */
  echo: 64,
  /** A counterparty in a record that a vouched-for field ties to somebody the mission names. */
  linked: 128,
  /** Written by the agent after a declared source's text held it: that text still counts, a service's echo does not. */
  repeated: 256,
  /** A declared source's text held several values of this kind: it has not said which one is meant. */
  ambiguous: 512,
} as const;

export type OriginName = keyof typeof ORIGIN;

const VOUCHED = ORIGIN.system | ORIGIN.counterparty | ORIGIN.linked;
/** What was known before the agent could write it. */
const KNOWN = VOUCHED | ORIGIN.template | ORIGIN.mission;

export interface ValueRecord {
  readonly origins: number;
  readonly vouched: number;
  readonly text: number;
}

export interface ProvenanceMemory {
  readonly slots: Uint8Array;
  readonly count: number;
  readonly text_count: number;
  readonly overflow: boolean;
  /** A value that the agent wrote could not be noted: whatever is vouched for from then on may be its echo. */
  readonly echo_lost: boolean;
}

export const RECORD_BYTES = 12;
const MIN_SLOTS = 16;
const EMPTY: ValueRecord = { origins: 0, vouched: 0, text: 0 };

export const EMPTY_MEMORY: ProvenanceMemory = {
  slots: new Uint8Array(MIN_SLOTS * RECORD_BYTES),
  count: 0,
  text_count: 0,
  overflow: false,
  echo_lost: false,
};

export interface DigestKey {
  /** 64 bytes inner pad, then room for a message. */
  readonly inner: Buffer;
  readonly outer: Buffer;
}

const MESSAGE_ROOM = 2304;

/** Prepares HMAC-SHA-256 (RFC 2104) under a mission's key, which is HKDF(broker secret, mission, purpose). */
export function digestKey(key: Uint8Array): DigestKey {
  const block = Buffer.alloc(64);
  const short = key.length > 64 ? hash('sha256', key, 'buffer') : Buffer.from(key);
  short.copy(block);
  const inner = Buffer.alloc(64 + MESSAGE_ROOM);
  const outer = Buffer.alloc(96);
  for (let i = 0; i < 64; i++) {
    inner[i] = (block[i] ?? 0) ^ 0x36;
    outer[i] = (block[i] ?? 0) ^ 0x5c;
  }
  return { inner, outer };
}

/** First 48 bits of the HMAC, as 12 hexadecimal digits. The buffers are scratch space: calls are synchronous. */
export function keyedDigest(key: DigestKey, value: string): string {
  const written = key.inner.write(value, 64, MESSAGE_ROOM, 'utf8');
  key.outer.write(hash('sha256', key.inner.subarray(0, 64 + written), 'hex'), 64, 32, 'hex');
  return hash('sha256', key.outer, 'hex').slice(0, 12);
}

function find(slots: Uint8Array, high: number, low: number): number {
  const capacity = slots.length / RECORD_BYTES;
  let index = high % capacity;
  for (;;) {
    const at = index * RECORD_BYTES;
    if (slots[at + 6] === 0 && slots[at + 7] === 0) return -at - 1;
    const here =
      (((slots[at] ?? 0) << 24) |
        ((slots[at + 1] ?? 0) << 16) |
        ((slots[at + 2] ?? 0) << 8) |
        (slots[at + 3] ?? 0)) >>>
      0;
    if (here === high && (((slots[at + 4] ?? 0) << 8) | (slots[at + 5] ?? 0)) === low) return at;
    index = (index + 1) % capacity;
  }
}

function halves(digest: string): [number, number] {
  return [Number.parseInt(digest.slice(0, 8), 16), Number.parseInt(digest.slice(8, 12), 16)];
}

export function recall(memory: ProvenanceMemory, digest: string): ValueRecord {
  const [high, low] = halves(digest);
  const at = find(memory.slots, high, low);
  if (at < 0) return EMPTY;
  const { slots } = memory;
  return {
    origins: (slots[at + 6] ?? 0) | ((slots[at + 7] ?? 0) << 8),
    vouched: ((slots[at + 8] ?? 0) << 8) | (slots[at + 9] ?? 0),
    text: ((slots[at + 10] ?? 0) << 8) | (slots[at + 11] ?? 0),
  };
}

export interface MemoryLimits {
  /** Values a mission may hold. Default 4096 (48 KB); a typical mission holds under a hundred. */
  readonly max_values: number;
}

export const DEFAULT_MEMORY_LIMITS: MemoryLimits = { max_values: 4096 };

/** Copy-on-write editor: the memory it was opened on never changes. */
export class MemoryWriter {
  #slots: Uint8Array;
  #count: number;
  #textCount: number;
  #overflow: boolean;
  #echoLost: boolean;
  #owned = false;
  readonly #limits: MemoryLimits;

  constructor(memory: ProvenanceMemory, limits: MemoryLimits = DEFAULT_MEMORY_LIMITS) {
    this.#slots = memory.slots;
    this.#count = memory.count;
    this.#textCount = memory.text_count;
    this.#overflow = memory.overflow;
    this.#echoLost = memory.echo_lost;
    this.#limits = limits;
  }

  recall(digest: string): ValueRecord {
    return recall({ ...EMPTY_MEMORY, slots: this.#slots }, digest);
  }

  /** Adds origins to a value. Returns false where there is no room: its origins stay unknown. */
  add(digest: string, given: number, vouched = 0, text = 0): boolean {
    const [high, low] = halves(digest);
    let at = find(this.#slots, high, low);
    let origins = given;
    if (this.#echoLost && (given & VOUCHED) !== 0) {
      const before = at < 0 ? 0 : (this.#slots[at + 6] ?? 0) | ((this.#slots[at + 7] ?? 0) << 8);
      if ((before & KNOWN) === 0) origins |= ORIGIN.echo;
    }
    if (at < 0) {
      const fromStrangers =
        (origins & (ORIGIN.system | ORIGIN.mission | ORIGIN.template | ORIGIN.history)) === 0;
      // Strangers may fill at most half, so that what they write cannot crowd out what is vouched for.
      if (
        this.#count >= this.#limits.max_values ||
        (fromStrangers && this.#textCount * 2 >= this.#limits.max_values)
      ) {
        this.#overflow = true;
        return false;
      }
      if ((this.#count + 1) * RECORD_BYTES * 8 > this.#slots.length * 7) this.#grow();
      this.#own();
      at = -find(this.#slots, high, low) - 1;
      this.#write(at, high, low);
      this.#count++;
      if (fromStrangers) this.#textCount++;
    } else this.#own();
    const slots = this.#slots;
    slots[at + 6] = (slots[at + 6] ?? 0) | (origins & 0xff);
    slots[at + 7] = (slots[at + 7] ?? 0) | (origins >> 8);
    slots[at + 8] = (slots[at + 8] ?? 0) | (vouched >> 8);
    slots[at + 9] = (slots[at + 9] ?? 0) | (vouched & 0xff);
    slots[at + 10] = (slots[at + 10] ?? 0) | (text >> 8);
    slots[at + 11] = (slots[at + 11] ?? 0) | (text & 0xff);
    return true;
  }

  overflowed(): void {
    this.#overflow = true;
  }

  /** There was no room to note what the agent wrote. */
  lostEcho(): void {
    this.#overflow = true;
    this.#echoLost = true;
  }

  done(): ProvenanceMemory {
    return {
      slots: this.#slots,
      count: this.#count,
      text_count: this.#textCount,
      overflow: this.#overflow,
      echo_lost: this.#echoLost,
    };
  }

  #own(): void {
    if (this.#owned) return;
    this.#slots = this.#slots.slice();
    this.#owned = true;
  }

  #write(at: number, high: number, low: number): void {
    const slots = this.#slots;
    slots[at] = high >>> 24;
    slots[at + 1] = (high >>> 16) & 0xff;
    slots[at + 2] = (high >>> 8) & 0xff;
    slots[at + 3] = high & 0xff;
    slots[at + 4] = low >>> 8;
    slots[at + 5] = low & 0xff;
  }

  #grow(): void {
    const old = this.#slots;
    // Small steps: a table is rarely more than a third larger than it must be.
    const next = new Uint8Array(Math.ceil(old.length / RECORD_BYTES / 3) * 4 * RECORD_BYTES);
    for (let at = 0; at < old.length; at += RECORD_BYTES) {
      if (old[at + 6] === 0 && old[at + 7] === 0) continue;
      const high =
        (((old[at] ?? 0) << 24) |
          ((old[at + 1] ?? 0) << 16) |
          ((old[at + 2] ?? 0) << 8) |
          (old[at + 3] ?? 0)) >>>
        0;
      const low = ((old[at + 4] ?? 0) << 8) | (old[at + 5] ?? 0);
      next.set(old.subarray(at, at + RECORD_BYTES), -find(next, high, low) - 1);
    }
    this.#slots = next;
    this.#owned = true;
  }
}

/** Names of the origins in a record, in a fixed order (explanations replay to the same bytes). */
export function originNames(origins: number): OriginName[] {
  const out: OriginName[] = [];
  for (const name of Object.keys(ORIGIN) as OriginName[]) if ((origins & ORIGIN[name]) !== 0) out.push(name);
  return out;
}

export interface RememberedValue extends ValueRecord {
  readonly digest: string;
}

/** What a memory holds, for observations and for audit: digests and origins, never values. */
export function* rememberedValues(memory: ProvenanceMemory): Generator<RememberedValue> {
  const { slots } = memory;
  for (let at = 0; at < slots.length; at += RECORD_BYTES) {
    if (slots[at + 6] === 0 && slots[at + 7] === 0) continue;
    let digest = '';
    for (let i = 0; i < 6; i++) digest += (slots[at + i] ?? 0).toString(16).padStart(2, '0');
    yield { digest, ...recall(memory, digest) };
  }
}
