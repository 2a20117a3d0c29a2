/** The keyed hash of tables whose keys outsiders choose, against HalfSipHash written out from its paper. */
import { describe, expect, it } from 'vitest';
import { KeyedHash } from '../../src/domain/keyed-hash.ts';

const rotate = (word: bigint, by: bigint) => ((word << by) | (word >> (32n - by))) & 0xffffffffn;
const plus = (a: bigint, b: bigint) => (a + b) & 0xffffffffn;

/** HalfSipHash-2-4 with 64 bits out (Aumasson and Bernstein), over 32-bit words. */
function halfSipHash(k0: bigint, k1: bigint, words: readonly bigint[]): readonly [number, number] {
  let [v0, v1, v2, v3] = [k0, k1 ^ 0xeen, 0x6c796765n ^ k0, 0x74656462n ^ k1];
  const rounds = (count: number) => {
    for (let round = 0; round < count; round++) {
      v0 = plus(v0, v1);
      v1 = rotate(v1, 5n) ^ v0;
      v0 = rotate(v0, 16n);
      v2 = plus(v2, v3);
      v3 = rotate(v3, 8n) ^ v2;
      v0 = plus(v0, v3);
      v3 = rotate(v3, 7n) ^ v0;
      v2 = plus(v2, v1);
      v1 = rotate(v1, 13n) ^ v2;
      v2 = rotate(v2, 16n);
    }
  };
  for (const word of words) {
    v3 ^= word;
    rounds(2);
    v0 ^= word;
  }
  v2 ^= 0xeen;
  rounds(4);
  const low = v1 ^ v3;
  v1 ^= 0xddn;
  rounds(4);
  return [Number(low), Number(v1 ^ v3)];
}

/** The domain, pairs of UTF-16 units, then the length and what is left over. */
function wordsOf(domain: number, text: string): readonly bigint[] {
  const units = Array.from({ length: text.length }, (_, at) => BigInt(text.charCodeAt(at)));
  const words = [BigInt(domain)];
  for (let at = 0; at + 1 < units.length; at += 2)
    words.push((units[at] ?? 0n) | ((units[at + 1] ?? 0n) << 16n));
  const left = units.length % 2 === 1 ? (units.at(-1) ?? 0n) : 0n;
  return [...words, ((BigInt(units.length) << 16n) & 0xffffffffn) ^ left];
}

const TEXTS = [
  '',
  'a',
  'ab',
  'abc',
  'mission',
  'k8s/payments/reconciler',
  '\uffff\uffff',
  '\u0000',
  '\u0000\u0000',
  'é😀',
  'x'.repeat(1001),
];
const SEEDS: readonly (readonly [number, number])[] = [
  [0, 0],
  [1, 2],
  [0xffffffff, 0x80000000],
  [0x12345678, 0x9abcdef0],
];

describe('the keyed hash', () => {
  it('is HalfSipHash-2-4: weaker rounds would let outsiders build keys that meet', () => {
    for (const seed of SEEDS) {
      const hash = new KeyedHash(seed);
      for (const domain of [0, 1, 7])
        for (const text of TEXTS) {
          hash.of(domain, text);
          const wanted = halfSipHash(BigInt(seed[0]), BigInt(seed[1]), wordsOf(domain, text));
          expect([hash.low, hash.high], `${seed} ${domain} ${text.slice(0, 30)}`).toStrictEqual(wanted);
        }
    }
  });

  it('is nothing before its first use', () => {
    const hash = new KeyedHash([1, 2]);
    expect([hash.low, hash.high]).toStrictEqual([0, 0]);
  });
});
