import { generateKeyPairSync, sign, verify } from 'node:crypto';
import { expect, test } from 'vitest';
import { concatenatedOfDer, derOfConcatenated } from '../../src/domain/ecdsa.ts';

test.each([
  ['P-256', 'sha256', 32],
  ['P-384', 'sha384', 48],
] as const)('%s signatures keep their meaning in both encodings', (namedCurve, hash, bytes) => {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve });
  // Enough for leading zeros and high bits in both numbers.
  for (let round = 0; round < 600; round++) {
    const input = Buffer.from(`message ${round}`);
    const der = sign(hash, input, privateKey);
    const concatenated = concatenatedOfDer(der, bytes);
    expect(concatenated).toHaveLength(2 * bytes);
    expect(verify(hash, input, { key: publicKey, dsaEncoding: 'ieee-p1363' }, concatenated)).toBe(true);
    expect(derOfConcatenated(concatenated, bytes)?.equals(der)).toBe(true);
  }
});

test('edge numbers are encoded as DER wants them', () => {
  const one = Buffer.alloc(64);
  one[31] = 1;
  one[63] = 0x80;
  expect(derOfConcatenated(one, 32)?.toString('hex')).toBe('300702010102020080');
  expect(concatenatedOfDer(Buffer.from('300702010102020080', 'hex'), 32).equals(one)).toBe(true);
  expect(derOfConcatenated(Buffer.alloc(64), 32)?.toString('hex')).toBe('3006020100020100');
});

test.each([0, 1, 63, 65, 70, 96])('a signature of %i bytes is not one for P-256', (length) => {
  expect(derOfConcatenated(Buffer.alloc(length, 1), 32)).toBeNull();
});

test.each(['', '30', '3006020100020101ff', '3106020100020101', '300602020100020101'])(
  'DER that nobody writes is refused: %s',
  (hex) => {
    expect(() => concatenatedOfDer(Buffer.from(hex, 'hex'), 32)).toThrow(RangeError);
  },
);
