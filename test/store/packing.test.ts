import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  keyOf,
  packDigest,
  packDigests,
  rowNumberOf,
  unpackDigest,
  unpackDigests,
} from '../../src/store/packing.ts';

const digest = fc
  .uint8Array({ minLength: 32, maxLength: 32 })
  .map((bytes) => Buffer.from(bytes).toString('base64url'));
const anyDigest = fc.oneof(
  digest,
  digest.map((text) => `sha-256:${text}`),
  // One character off the canonical form, and anything else.
  digest.map((text) => `${text.slice(0, -1)}B`),
  fc.string({ unit: 'grapheme' }),
  fc.constantFrom('', '\0', '\0\0', '\u0001', '\u0002\u0002', 'sha-256:', 'A'.repeat(33), 'A'.repeat(32)),
);

describe('packing', () => {
  it('never changes a value, whatever it is', () => {
    fc.assert(
      fc.property(anyDigest, (text) => {
        expect(unpackDigest(packDigest(text))).toBe(text);
      }),
    );
    fc.assert(
      fc.property(fc.array(fc.option(anyDigest), { maxLength: 6 }), (texts) => {
        expect(unpackDigests(packDigests(texts))).toEqual(texts);
      }),
    );
  });

  it('gives different values different bytes', () => {
    fc.assert(
      fc.property(anyDigest, anyDigest, (one, other) => {
        expect(packDigest(one).equals(packDigest(other))).toBe(one === other);
      }),
    );
  });

  it('keeps a real digest as its 32 bytes', () => {
    const text = Buffer.alloc(32, 200).toString('base64url');
    expect(packDigest(text)).toHaveLength(32);
    expect(packDigest(`sha-256:${text}`)).toHaveLength(33);
  });

  it('never reads two lists of parts as one', () => {
    expect(keyOf('a', 'bc').equals(keyOf('ab', 'c'))).toBe(false);
    expect(keyOf('a,b').equals(keyOf('a', 'b'))).toBe(false);
    expect(rowNumberOf('dpop', 'x')).not.toBe(rowNumberOf('dpo', 'px'));
  });

  it('gives row numbers that fit', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        const n = rowNumberOf(text);
        expect(n >= 0n && n < 2n ** 63n).toBe(true);
      }),
    );
  });
});
