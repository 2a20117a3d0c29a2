/**
 * HalfSipHash-2-4 with a 64-bit result over the UTF-16 units of a string, without allocating.
 *
 * For tables whose keys an outsider may choose (agent names, proof ids): without the seed nobody can build two
 * keys that meet, so a table can keep eight bytes instead of the string. Not a digest: never leaves the process.
 *
 * Source: Aumasson and Bernstein, SipHash; HalfSipHash as in its reference code (8-byte output).
 */
export class KeyedHash {
  /** Result of the last {@link of}: two unsigned 32-bit halves, never both 0. */
  low = 0;
  high = 0;
  readonly #k0: number;
  readonly #k1: number;

  /** @param seed two 32-bit numbers, random per process. */
  constructor(seed: readonly [number, number]) {
    this.#k0 = seed[0] | 0;
    this.#k1 = seed[1] | 0;
  }

  /** Hashes `text` within `domain` (a small number that keeps kinds of key apart) into `low` and `high`. */
  of(domain: number, text: string): void {
    let v0 = this.#k0;
    let v1 = this.#k1 ^ 0xee;
    let v2 = 0x6c796765 ^ this.#k0;
    let v3 = 0x74656462 ^ this.#k1;
    const length = text.length;
    const pairs = length >> 1;
    for (let position = -1; position <= pairs; position++) {
      // The domain first, then two units a word; the last word carries the length, so that no padding is ambiguous.
      let word: number;
      if (position < 0) word = domain | 0;
      else if (position < pairs)
        word = text.charCodeAt(position << 1) | (text.charCodeAt((position << 1) + 1) << 16);
      else word = (length << 16) ^ ((length & 1) === 1 ? text.charCodeAt(length - 1) : 0);
      v3 ^= word;
      for (let round = 0; round < 2; round++) {
        v0 = (v0 + v1) | 0;
        v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
        v0 = (v0 << 16) | (v0 >>> 16);
        v2 = (v2 + v3) | 0;
        v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
        v0 = (v0 + v3) | 0;
        v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
        v2 = (v2 + v1) | 0;
        v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
        v2 = (v2 << 16) | (v2 >>> 16);
      }
      v0 ^= word;
    }
    v2 ^= 0xee;
    let low = 0;
    for (let round = 0; round < 8; round++) {
      v0 = (v0 + v1) | 0;
      v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
      v0 = (v0 << 16) | (v0 >>> 16);
      v2 = (v2 + v3) | 0;
      v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
      v0 = (v0 + v3) | 0;
      v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
      v2 = (v2 + v1) | 0;
      v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
      v2 = (v2 << 16) | (v2 >>> 16);
      if (round === 3) {
        low = v1 ^ v3;
        v1 ^= 0xdd;
      }
    }
    const high = v1 ^ v3;
    this.low = low >>> 0;
    // (0, 0) marks an empty slot in the tables that use this.
    this.high = low === 0 && high === 0 ? 1 : high >>> 0;
  }
}
