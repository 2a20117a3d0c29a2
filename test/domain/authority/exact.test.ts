/** Decimals and instants against arithmetic done another way. */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compareDecimals, isDecimal, normalDecimal } from '../../../src/domain/authority/decimal.ts';
import { type AuthoritySet, intersect, parseAuthoritySet } from '../../../src/domain/authority/index.ts';
import { instantMicros, printInstant } from '../../../src/domain/authority/instant.ts';
import { isAtOrBelow, isCertainlyNormal, normalResource } from '../../../src/domain/authority/resource.ts';
import { Denied } from '../../../src/domain/denial.ts';

const digits = (max: number) =>
  fc
    .array(fc.constantFrom('0', '0', '1', '5', '9'), { minLength: 1, maxLength: max })
    .map((found) => found.join(''));
const unsigned = fc
  .tuple(digits(22), fc.option(digits(18), { nil: null }))
  .map(([whole, fraction]) => (fraction === null ? whole : `${whole}.${fraction}`));
const signed = fc.tuple(fc.boolean(), unsigned).map(([minus, text]) => (minus ? `-${text}` : text));

/** The value times 10^18, by another way than the code's. */
function scaled(text: string): bigint {
  const [whole = '', fraction = ''] = text.replace('-', '').split('.');
  const magnitude = BigInt(whole) * 10n ** 18n + BigInt(fraction.padEnd(18, '0'));
  return text.startsWith('-') ? -magnitude : magnitude;
}

describe('decimals', () => {
  it('compare as the numbers that they write', () => {
    fc.assert(
      fc.property(signed, signed, (a, b) => {
        const expected = scaled(a) < scaled(b) ? -1 : scaled(a) > scaled(b) ? 1 : 0;
        expect(Math.sign(compareDecimals(a, b))).toBe(expected);
      }),
      { numRuns: 2000 },
    );
  });

  it.each(['-1', '-0', '-0.50', '0', '7.1'])('%s equals itself, without a sign', (text) => {
    expect(compareDecimals(text, text)).toBe(0);
    expect(compareDecimals(text, `${text}${text.includes('.') ? '' : '.'}00`)).toBe(0);
  });

  it('have one normal form for each number', () => {
    fc.assert(
      fc.property(signed, signed, (a, b) => {
        expect(isDecimal(a, true)).toBe(true);
        expect(scaled(normalDecimal(a))).toBe(scaled(a));
        expect(normalDecimal(a)).toMatch(/^(0|-?(0|[1-9][0-9]*)(\.[0-9]*[1-9])?)$/);
        expect(normalDecimal(a) === normalDecimal(b)).toBe(scaled(a) === scaled(b));
      }),
      { numRuns: 2000 },
    );
  });

  it.each([
    ['-0', true],
    ['-0.50', true],
    ['-', false],
    ['-.5', false],
    ['--5', false],
    ['5-', false],
    ['', false],
    ['1.', false],
    [`0.${'1'.repeat(18)}`, true],
    [`0.${'1'.repeat(19)}`, false],
    ['1'.repeat(64), true],
    ['1'.repeat(65), false],
  ])('%j is one, with a sign allowed: %s', (text, expected) => {
    expect(isDecimal(text, true)).toBe(expected);
    if (text.startsWith('-')) expect(isDecimal(text)).toBe(false);
  });
});

describe('instants', () => {
  const first = Date.UTC(1900, 0, 1) * 1000;
  const last = Date.UTC(2199, 11, 31, 23, 59, 59) * 1000 + 999_999;
  const micros = fc.oneof(
    fc.integer({ min: first, max: last }),
    fc
      .integer({ min: Math.ceil(first / 1e9), max: Math.floor(last / 1e9) })
      .map((kiloseconds) => kiloseconds * 1e9),
  );

  it('read back what is printed, as the engine reads it', () => {
    fc.assert(
      fc.property(micros, (value) => {
        const text = printInstant(value);
        expect(instantMicros(text)).toBe(value);
        expect(Date.parse(text)).toBe(Math.floor(value / 1000));
        expect(text).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,5}[1-9])?Z$/);
      }),
      { numRuns: 2000 },
    );
  });

  it('read every day of four hundred years as the engine does, and no other day', () => {
    for (let year = 1900; year < 2200; year++) {
      for (let month = 1; month <= 12; month++) {
        for (const day of [1, 28, 29, 30, 31]) {
          const text = `${year}-${String(month).padStart(2, '0')}-${String(day).padStart(2, '0')}T12:34:56Z`;
          const date = new Date(Date.UTC(year, month - 1, day, 12, 34, 56));
          const exists = date.getUTCMonth() === month - 1;
          expect(instantMicros(text)).toBe(exists ? date.getTime() * 1000 : Number.NaN);
        }
      }
    }
  });

  it.each([
    ['2026-07-01T00:00:00.1Z', 100_000],
    ['2026-07-01T00:00:00.123456Z', 123_456],
    ['2026-07-01T00:00:00.000001Z', 1],
    ['2026-07-01T01:30:00+01:30', 0],
    ['2026-06-30T22:30:00-01:30', 0],
    ['2026-07-01T23:59:00+23:59', 0],
    ['2026-07-01T00:00:00+00:00', 0],
    ['2026-07-01T00:00:00.5+00:00', 500_000],
  ])('reads %s', (text, offset) => {
    expect(instantMicros(text)).toBe(Date.UTC(2026, 6, 1) * 1000 + offset);
  });

  it.each([
    '2026-07-01T00:00:00ZZ',
    '2026-07-01T00:00:00+01:00Z',
    '2026-07-01T00:00:00*01:00',
    '2026-07-01T00:00:00+1:000',
    '2026-07-01T00:00:00+0a:00',
    '2026-07-01T00:00:00+00:0a',
    '2026-07-01T0a:00:00Z',
    '2026-07-01T00:0a:00Z',
    '2026-07-01T00:00:0aZ',
    '202a-07-01T00:00:00Z',
    '2026-0a-01T00:00:00Z',
    '2026-07-0aT00:00:00Z',
  ])('refuses %s', (text) => {
    expect(instantMicros(text)).toBeNaN();
  });
});

describe('resources', () => {
  const path = fc.array(fc.constantFrom('a', 'b', '/', '.', '..', '%41', '-', '~', '@', 'Z', '0', '_'), {
    maxLength: 8,
  });

  it('that look certainly normal are normal, below any base', () => {
    fc.assert(
      fc.property(path, (parts) => {
        const base = 'https://a.example/x';
        const text = `${base}/${parts.join('')}`;
        if (isCertainlyNormal(text, base.length)) expect(normalResource(text)).toBe(text);
      }),
      { numRuns: 3000 },
    );
  });

  it('with plain characters are seen to be normal without another look', () => {
    const base = 'https://a.example/';
    for (const text of ['azAZ09-_~', 'a.b', 'x/y', 'v1.2/a']) {
      expect(isCertainlyNormal(base + text, base.length)).toBe(true);
    }
    for (const text of [
      '.',
      '..',
      'a/.',
      'a/..b',
      'a..b',
      '%41',
      'a@b',
      'é',
      'a b',
      '{',
      '`',
      '[',
      '@',
      ':',
    ]) {
      expect(isCertainlyNormal(base + text, base.length)).toBe(false);
    }
    expect(isCertainlyNormal(base + 'a'.repeat(2048), base.length)).toBe(false);
  });

  it('lie below a base only at a slash', () => {
    expect(isAtOrBelow('https://a/b', 'https://a/b')).toBe(true);
    expect(isAtOrBelow('https://a/b/c', 'https://a/b')).toBe(true);
    expect(isAtOrBelow('https://a/b/c', 'https://a/b/')).toBe(true);
    expect(isAtOrBelow('https://a/bc', 'https://a/b')).toBe(false);
    expect(isAtOrBelow('https://a/b', 'https://a/b/')).toBe(false);
    expect(isAtOrBelow('https://x/b/c', 'https://a/b')).toBe(false);
  });
});

describe('ranges', () => {
  const bounded = (range: object) =>
    [
      {
        type: 'mission_resource_access',
        resource: 'https://erp.example.com',
        actions: ['pay'],
        constraints: { parameters: { x: { range } } },
      },
    ] as unknown as AuthoritySet;
  const both = (a: object, b: object) => intersect(bounded(a), bounded(b)).granted;

  it('may be one point, and meet in one', () => {
    expect(parseAuthoritySet(bounded({ min: 5, max: 5 }), 'x')).toEqual(bounded({ min: 5, max: 5 }));
    expect(both({ max: 5 }, { min: 5 })).toEqual(bounded({ min: 5, max: 5 }));
    expect(() => parseAuthoritySet(bounded({ min: '5.01', max: '5.00' }), 'x')).toThrow(Denied);
  });

  it('take the nearer end on each side, below zero as above', () => {
    expect(both({ min: 1 }, { max: -9 })).toEqual([]);
    expect(both({ min: 1 }, { max: 9 })).toEqual(bounded({ min: 1, max: 9 }));
    expect(both({ max: 9 }, { min: 1 })).toEqual(bounded({ min: 1, max: 9 }));
    expect(both({ min: -9 }, { max: -1 })).toEqual(bounded({ min: -9, max: -1 }));
    expect(both({ max: -1 }, { min: -9 })).toEqual(bounded({ min: -9, max: -1 }));
    expect(both({ max: -5 }, { max: -3 })).toEqual(bounded({ max: -5 }));
    expect(both({ max: -3 }, { max: -5 })).toEqual(bounded({ max: -5 }));
    expect(both({ min: 3 }, { min: 5 })).toEqual(bounded({ min: 5 }));
    expect(both({ min: 5 }, { min: 3 })).toEqual(bounded({ min: 5 }));
  });

  it('keep an end as it was written where both are equal', () => {
    const written = { min: '1.00', max: '5.0' };
    expect(both(written, { min: '1', max: '5.00' })).toEqual(bounded(written));
  });
});
