/** Strict readers: an instant that two readers take for two times would be a mission that ends twice. */
import { describe, expect, it } from 'vitest';
import { instant, readInstant, rfc3339 } from '../../src/domain/reader.ts';

describe('an instant', () => {
  it('is RFC 3339 with its offset, to the fraction', () => {
    expect(instant('1970-01-01T00:00:00Z')).toBe(0);
    expect(instant('2026-08-22T10:00:00+02:00')).toBe(1787385600);
    expect(instant('2026-08-22T08:00:00.25Z')).toBe(1787385600.25);
    expect(instant('2026-08-22T08:00:00.123456789Z')).toBeCloseTo(1787385600.123, 3);
    expect(instant('2024-02-29T23:59:59Z')).toBe(1709251199);
    expect(instant('2026-12-31T23:59:59-00:30')).toBe(1798763399);
  });

  it.each([
    '2026-02-29T00:00:00Z',
    '2026-02-30T00:00:00Z',
    '2026-04-31T00:00:00Z',
    '2026-00-10T00:00:00Z',
    '2026-13-01T00:00:00Z',
    '2026-01-00T00:00:00Z',
    '2026-01-32T00:00:00Z',
    '2026-01-01T24:00:00Z',
    '2026-01-01T23:60:00Z',
    '2026-01-01T23:59:60Z',
    '2026-01-01T23:59:59',
    '2026-01-01t23:59:59Z',
    '2026-01-01T23:59:59z',
    '2026-01-01 23:59:59Z',
    '2026-01-01T23:59Z',
    '2026-01-01T23:59:59.Z',
    '2026-01-01T23:59:59.1234567890Z',
    '2026-01-01T23:59:59+2:00',
    '2026-01-01T23:59:59+0200',
    '2026-01-01T23:59:59+99:00',
    ' 2026-01-01T23:59:59Z',
    '2026-01-01T23:59:59Z ',
    '02026-01-01T23:59:59Z',
    '26-01-01T23:59:59Z',
    '2026-1-01T23:59:59Z',
    '2026-01-1T23:59:59Z',
    '+2026-01-01T23:59:59Z',
    '1767312000',
    '',
  ])('is never read from "%s"', (text) => {
    expect(instant(text)).toBeNull();
  });

  it('says in a refusal which member is wrong and how it is written', () => {
    expect(readInstant('2026-01-01T00:00:00Z', 'at')).toBe(1767225600);
    expect(() => readInstant(1767225600, 'at')).toThrow(
      expect.objectContaining({ private_reason: 'at must be a non-empty string' }),
    );
    expect(() => readInstant('2'.repeat(41), 'at')).toThrow(
      expect.objectContaining({ private_reason: 'at is longer than 40 characters' }),
    );
    expect(() => readInstant('tomorrow', 'at')).toThrow(
      expect.objectContaining({
        private_reason: 'at must be an RFC 3339 time with an offset, such as 2026-12-31T23:59:59Z',
      }),
    );
  });

  it('is printed in UTC and whole seconds, never later than it is', () => {
    expect(rfc3339(1787385600)).toBe('2026-08-22T08:00:00Z');
    expect(rfc3339(1787385600.999)).toBe('2026-08-22T08:00:00Z');
  });
});
