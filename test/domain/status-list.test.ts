import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import {
  decodeStatusList,
  encodeStatusList,
  packStatuses,
  STATUS_BITS,
  statusAt,
} from '../../src/domain/status-list.ts';

/** Values of the vectors in draft-ietf-oauth-status-list (-20), appendix. */
const vectors = [
  {
    bits: 1,
    statuses: {
      0: 1,
      1993: 1,
      25460: 1,
      159495: 1,
      495669: 1,
      554353: 1,
      645645: 1,
      723232: 1,
      854545: 1,
      934534: 1,
      1000345: 1,
    },
    lst: 'eNrt3AENwCAMAEGogklACtKQPg9LugC9k_ACvreiogEAAKkeCQAAAAAAAAAAAAAAAAAAAIBylgQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAXG9IAAAAAAAAAPwsJAAAAAAAAAAAAAAAvhsSAAAAAAAAAAAA7KpLAAAAAAAAAAAAAAAAAAAAAJsLCQAAAAAAAAAAADjelAAAAAAAAAAAKjDMAQAAAACAZC8L2AEb',
  },
  {
    bits: 2,
    statuses: {
      0: 1,
      1993: 2,
      25460: 1,
      159495: 3,
      495669: 1,
      554353: 1,
      645645: 2,
      723232: 1,
      854545: 1,
      934534: 2,
      1000345: 3,
    },
    lst: 'eNrt2zENACEQAEEuoaBABP5VIO01fCjIHTMStt9ovGVIAAAAAABAbiEBAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAEB5WwIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAID0ugQAAAAAAAAAAAAAAAAAQG12SgAAAAAAAAAAAAAAAAAAAAAAAAAAAOCSIQEAAAAAAAAAAAAAAAAAAAAAAAD8ExIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAwJEuAQAAAAAAAAAAAAAAAAAAAAAAAMB9SwIAAAAAAAAAAAAAAAAAAACoYUoAAAAAAAAAAAAAAEBqH81gAQw',
  },
] as const;
const VECTOR_SIZE = 1_048_576;

describe('status list', () => {
  it('packs as the draft shows, least significant bits first', () => {
    const one = packStatuses(1, 16, [
      [0, 1],
      [3, 1],
      [4, 1],
      [5, 1],
      [7, 1],
      [8, 1],
      [9, 1],
      [13, 1],
      [15, 1],
    ]);
    expect(Buffer.from(one).toString('hex')).toBe('b9a3');
    expect(encodeStatusList(1, one).lst).toBe('eNrbuRgAAhcBXQ');
    const two = packStatuses(2, 12, [
      [0, 1],
      [1, 2],
      [2, 0],
      [3, 3],
      [4, 0],
      [5, 1],
      [6, 0],
      [7, 1],
      [8, 1],
      [9, 2],
      [10, 3],
      [11, 3],
    ]);
    expect(Buffer.from(two).toString('hex')).toBe('c944f9');
    expect(encodeStatusList(2, two).lst).toBe('eNo76fITAAPfAgc');
  });

  for (const vector of vectors) {
    it(`reads the draft's list of ${vector.bits} bit(s) and nothing else in it is set`, () => {
      const bytes = decodeStatusList({ bits: vector.bits, lst: vector.lst }, VECTOR_SIZE);
      const perByte = 8 / vector.bits;
      expect(bytes.length).toBeGreaterThanOrEqual(Math.ceil(1_000_346 / perByte));
      const statuses = Object.entries(vector.statuses).map(([i, s]) => [Number(i), s] as const);
      for (const [index, status] of statuses) expect(statusAt(bytes, vector.bits, index)).toBe(status);
      expect(bytes).toStrictEqual(Buffer.from(packStatuses(vector.bits, bytes.length * perByte, statuses)));
    });
  }

  for (const bits of STATUS_BITS) {
    it(`round-trips every value of ${bits} bit(s)`, () => {
      const size = 2048;
      const source = randomBytes(size);
      const statuses = [...source].map((byte, index) => [index, byte % 2 ** bits] as const);
      const bytes = decodeStatusList(encodeStatusList(bits, packStatuses(bits, size, statuses)), size);
      for (const [index, status] of statuses) expect(statusAt(bytes, bits, index)).toBe(status);
    });
  }

  it('a later status of a slot replaces the earlier one', () => {
    const bytes = packStatuses(2, 8, [
      [3, 1],
      [3, 2],
    ]);
    expect(statusAt(bytes, 2, 3)).toBe(2);
  });

  it('refuses what does not fit', () => {
    expect(() => packStatuses(2, 8, [[8, 1]])).toThrow(RangeError);
    expect(() => packStatuses(2, 8, [[-1, 1]])).toThrow(RangeError);
    expect(() => packStatuses(2, 8, [[0, 4]])).toThrow(RangeError);
    expect(() => packStatuses(2, 7, [])).toThrow(RangeError);
  });

  it('an index outside the list is an error, never valid', () => {
    const bytes = packStatuses(2, 8, []);
    expect(() => statusAt(bytes, 2, 8)).toThrow(RangeError);
    expect(() => statusAt(bytes, 2, -1)).toThrow(RangeError);
    expect(() => statusAt(bytes, 2, 0.5)).toThrow(RangeError);
  });

  it('a small list cannot unpack into more than allowed', () => {
    const bomb = encodeStatusList(1, new Uint8Array(1_000_000));
    expect(bomb.lst.length).toBeLessThan(2_000);
    expect(() => decodeStatusList(bomb, 4096)).toThrow(RangeError);
  });

  it('garbage is not a list', () => {
    expect(() => decodeStatusList({ bits: 1, lst: 'AAAA' }, 4096)).toThrow(RangeError);
    expect(() => decodeStatusList({ bits: 3 as 1, lst: 'eNrbuRgAAhcBXQ' }, 4096)).toThrow(RangeError);
  });
});
