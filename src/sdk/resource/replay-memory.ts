/**
 * Proofs seen, so that each works once (RFC 9449 section 11.1). Two generations, each as long as a proof can be
 * accepted: a proof is in one of them for as long as its `iat` lets it pass. Eight bytes a proof, seeded hashes;
 * two proofs that met would refuse one of them, never accept a replay. A full generation accepts nothing.
 */
import { KeyedHash } from '../../domain/keyed-hash.ts';

const SMALLEST = 1024;
const MAX_LOAD = 0.75;

export type Remembered = 'new' | 'seen' | 'full';

class Generation {
  #words = new Uint32Array(SMALLEST * 2);
  #mask = SMALLEST - 1;
  size = 0;
  /** Until when proofs are put in here, seconds. */
  readonly ends_at: number;

  constructor(ends_at: number) {
    this.ends_at = ends_at;
  }

  get bytes(): number {
    return this.#words.byteLength;
  }

  has(low: number, high: number): boolean {
    const words = this.#words;
    for (let slot = low & this.#mask; ; slot = (slot + 1) & this.#mask) {
      const there = words[slot * 2] ?? 0;
      const beside = words[slot * 2 + 1] ?? 0;
      if (there === low && beside === high) return true;
      if (there === 0 && beside === 0) return false;
    }
  }

  add(low: number, high: number): void {
    if ((this.size + 1) / (this.#mask + 1) > MAX_LOAD) this.#grow();
    this.#put(low, high);
    this.size++;
  }

  #put(low: number, high: number): void {
    const words = this.#words;
    let slot = low & this.#mask;
    while ((words[slot * 2] ?? 0) !== 0 || (words[slot * 2 + 1] ?? 0) !== 0) slot = (slot + 1) & this.#mask;
    words[slot * 2] = low;
    words[slot * 2 + 1] = high;
  }

  #grow(): void {
    const old = this.#words;
    this.#words = new Uint32Array(old.length * 2);
    this.#mask = this.#mask * 2 + 1;
    for (let at = 0; at < old.length; at += 2) {
      const low = old[at] ?? 0;
      const high = old[at + 1] ?? 0;
      if (low !== 0 || high !== 0) this.#put(low, high);
    }
  }
}

export class ReplayMemory {
  readonly #hash: KeyedHash;
  readonly #span_seconds: number;
  readonly #capacity: number;
  #current: Generation;
  #previous: Generation;

  /**
   * @param span_seconds from the earliest to the latest moment that one proof is accepted.
   * @param capacity proofs in one span; more are refused.
   */
  constructor(seed: readonly [number, number], span_seconds: number, capacity: number) {
    this.#hash = new KeyedHash(seed);
    this.#span_seconds = span_seconds;
    this.#capacity = capacity;
    this.#current = new Generation(Number.NEGATIVE_INFINITY);
    this.#previous = this.#current;
  }

  /** Bytes held. */
  get bytes(): number {
    return this.#current.bytes + (this.#previous === this.#current ? 0 : this.#previous.bytes);
  }

  /** Remembers the proof `jti` of the key `jkt`, if it was not seen. Call it last: only a proof that holds counts. */
  remember(jkt: string, jti: string, now: number): Remembered {
    if (!(now < this.#current.ends_at)) this.#turn(now);
    this.#hash.of(0, jkt);
    // The key's own hash keeps equal ids of different keys apart.
    this.#hash.of(this.#hash.low ^ this.#hash.high, jti);
    const { low, high } = this.#hash;
    if (this.#current.has(low, high) || this.#previous.has(low, high)) return 'seen';
    if (this.#current.size >= this.#capacity) return 'full';
    this.#current.add(low, high);
    return 'new';
  }

  #turn(now: number): void {
    // After a silence of a whole span nothing that was remembered could be accepted again.
    const idle = !(now < this.#current.ends_at + this.#span_seconds);
    this.#previous = idle ? new Generation(now) : this.#current;
    this.#current = new Generation(now + this.#span_seconds);
  }
}
