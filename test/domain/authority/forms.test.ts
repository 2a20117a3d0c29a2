/** Texts at their edges: decimals, instants and resources that two readers could take for two things. */
import { describe, expect, it } from 'vitest';
import {
  addDecimals,
  compareDecimals,
  isDecimal,
  normalDecimal,
  subtractDecimals,
} from '../../../src/domain/authority/decimal.ts';
import { instantMicros, normalResource } from '../../../src/domain/authority/index.ts';
import { printInstant } from '../../../src/domain/authority/instant.ts';
import { canBePrefix, isAtOrBelow, isCertainlyNormal } from '../../../src/domain/authority/resource.ts';

const ERP = 'https://erp.example.com/';

describe('decimals', () => {
  it('with different signs are ordered by them, and only both zero are equal', () => {
    for (const [a, b] of [
      ['-5', '0'],
      ['-0.5', '0.00'],
      ['-5', '5'],
      ['-0', '5'],
      ['-10', '-9'],
      ['-0.02', '-0.01'],
    ] as const) {
      expect(compareDecimals(a, b), `${a} ${b}`).toBeLessThan(0);
      expect(compareDecimals(b, a), `${b} ${a}`).toBeGreaterThan(0);
    }
    for (const [a, b] of [
      ['-0', '0'],
      ['0.0', '-0.00'],
      ['-1', '-1.0'],
    ] as const)
      expect(compareDecimals(a, b)).toBe(0);
  });

  it('are written shortest in one way', () => {
    for (const [given, normal] of [
      ['0', '0'],
      ['-0.00', '0'],
      ['00.10', '0.1'],
      ['010', '10'],
      ['100', '100'],
      ['-0100.500', '-100.5'],
      ['0.05', '0.05'],
      ['1.0', '1'],
      ['-0.9', '-0.9'],
      ['9.9', '9.9'],
    ] as const)
      expect(normalDecimal(given), given).toBe(normal);
  });

  it('are added exactly', () => {
    expect(addDecimals('0.1', '0.2')).toBe('0.3');
    expect(addDecimals('0', '0.0')).toBe('0');
    expect(addDecimals('999999999999999999.9', '0.1')).toBe('1000000000000000000');
    expect(addDecimals('0.000000000000000001', '7')).toBe('7.000000000000000001');
    expect(addDecimals('12', '0.50')).toBe('12.5');
    expect(addDecimals('0.000000000000000001', '0')).toBe('0.000000000000000001');
  });

  it('are subtracted exactly', () => {
    expect(subtractDecimals('0.3', '0.1')).toBe('0.2');
    expect(subtractDecimals('10', '0.000000000000000001')).toBe('9.999999999999999999');
    expect(subtractDecimals('7.50', '7.5')).toBe('0');
    expect(subtractDecimals('1', '0.999999999999999999')).toBe('0.000000000000000001');
  });

  it('end with their last digit', () => {
    for (const text of [
      '1/',
      '1:',
      '/',
      ':',
      '1.',
      '.1',
      '1.2.3',
      '1e2',
      '+1',
      '-1',
      '1,5',
      ' 1',
      '',
      `1.${'1'.repeat(19)}`,
      '1'.repeat(65),
    ])
      expect(isDecimal(text), text).toBe(false);
    for (const text of ['0', '9', `1.${'1'.repeat(18)}`, '1'.repeat(64)]) expect(isDecimal(text)).toBe(true);
    expect([isDecimal('-1', true), isDecimal('-', true), isDecimal('--1', true)]).toStrictEqual([
      true,
      false,
      false,
    ]);
  });
});

describe('instants', () => {
  it.each([
    '2026/08-22T10:00:00Z',
    '2026-08/22T10:00:00Z',
    '2026-08-22 10:00:00Z',
    '2026-08-22T10-00:00Z',
    '2026-08-22T10:00-00Z',
    '2026-08-22T10:00:00',
    '2026-08-22T10:00:00ZZ',
    '2026-08-22T10:00:00.Z',
    '2026-08-22T10:00:00.1234567Z',
    '2026-08-22T10:00:00.1',
    '2026-08-22T10:00:00+02.00',
    '2026-08-22T10:00:00+0200',
    '2026-08-22T10:00:00+02:00Z',
    '2026-08-22T10:00:00 02:00',
    '2026-08-22T10:00:00-00:00',
    '2026-08-22T10:00:00.000000+02:000',
    '26-08-22T10:00:00Z',
    '',
  ])('are never read from "%s"', (text) => {
    expect(instantMicros(text)).toBeNaN();
  });

  it('are read with every digit of the second, and printed as short as they are', () => {
    for (const [text, micros] of [
      ['1970-01-01T00:00:00.000001Z', 1],
      ['1970-01-01T00:00:00.1+00:00', 100_000],
      ['1970-01-01T00:00:01.123456+00:00', 1_123_456],
      ['1970-01-01T00:00:00.100000-00:01', 60_100_000],
      ['1970-01-01T23:59:00+23:59', 0],
    ] as const)
      expect(instantMicros(text), text).toBe(micros);
    expect(printInstant(1_100_000)).toBe('1970-01-01T00:00:01.1Z');
    expect(printInstant(-1)).toBe('1969-12-31T23:59:59.999999Z');
    expect(printInstant(2_000_000)).toBe('1970-01-01T00:00:02Z');
  });
});

describe('a resource', () => {
  const label = (length: number) => 'a'.repeat(length);
  const far = [63, 63, 63, 61].map(label).join('.');

  it.each([
    ['https://h.example:65535/', 'https://h.example:65535/'],
    ['https://h.example:1/', 'https://h.example:1/'],
    ['http://h.example:443/', 'http://h.example:443/'],
    ['http://h.example:80/', 'http://h.example/'],
    ['HTTPS://H.Example', 'https://h.example/'],
    [`https://${far}/`, `https://${far}/`],
    ['https://a_b-c.9/', 'https://a_b-c.9/'],
    ['https://[::1]/', 'https://[::1]/'],
    ['https://[::]/', 'https://[::]/'],
    ['https://[::FFFF:1.2.3.4]:8443/', 'https://[::ffff:1.2.3.4]:8443/'],
    ['https://h.example/%25', 'https://h.example/%25'],
    ['https://h.example/%25zz', 'https://h.example/%25zz'],
    ['https://h.example/%25%41', 'https://h.example/%25A'],
    ['https://h.example/%C3%a9', 'https://h.example/%C3%A9'],
    ["https://h.example/:@!$&'()*+,;=~", "https://h.example/:@!$&'()*+,;=~"],
    ['https://h.example/a/./b/../c', 'https://h.example/a/c'],
    ['https://h.example/a/..', 'https://h.example/'],
    ['https://h.example/a/.', 'https://h.example/a/'],
    ['https://h.example/../..', 'https://h.example/'],
    ['https://h.example/.a/b..', 'https://h.example/.a/b..'],
    ['a+b-c.1:x', 'a+b-c.1:x'],
    ['urn:a:b/c', 'urn:a:b/c'],
    ['urn:%41%c3', 'urn:A%C3'],
    ['x:y', 'x:y'],
    ['urn:a.b/.c', 'urn:a.b/.c'],
    ['https://h.example/%c3abc', 'https://h.example/%C3abc'],
  ])('%s has the normal form %s', (text, normal) => {
    expect(normalResource(text)).toBe(normal);
    expect(normalResource(normal)).toBe(normal);
  });

  it.each([
    'https://h.example:/',
    'https://h.example:0/',
    'https://h.example:080/',
    'https://h.example:65536/',
    'https://h.example:100000/',
    'https://h.example:1e2/',
    'https://h.example:+80/',
    'https://h.example:8.0/',
    'https://h.example:-1/',
    'https://h.example:80:80/',
    `https://${far}a/`,
    `https://${label(64)}/`,
    'https:///a',
    'https://',
    'https://a..b/',
    'https://-a/',
    'https://a-/',
    'https://a.-b/',
    'https://a+b/',
    'https://a`b/',
    'https://a{b/',
    'https://[]/',
    'https://[:]/',
    'https://[::1/',
    'https://[::1]a/',
    'https://[g::1]/',
    'https://[::1`]/',
    'https://[::1+]/',
    'https://x[::1]/',
    'https://u@h.example/',
    'https://h.example/%2541',
    'https://h.example/%252e',
    'https://h.example/%2e',
    'https://h.example/%2F',
    'https://h.example/%5C',
    'https://h.example/%1f',
    'https://h.example/%7F',
    'https://h.example/%',
    'https://h.example/%4',
    'https://h.example/%4g',
    'https://h.example/%g4',
    'https://h.example/%`1',
    'https://h.example/%1`',
    'https://h.example/a b',
    'https://h.example/a\u007f',
    'https://h.example/\u0080',
    'https://h.example/é',
    'https://h.example/a?b',
    'https://h.example/a#b',
    'https://h.example/a[b',
    'https://h.example/a"b',
    'urn:a/../b',
    'urn:.',
    'urn:a/.',
    'urn:/a',
    'urn:',
    ':a',
    '1a:b',
    'a_b:c',
    'a/b:c',
    'é:a',
    'h.example',
    '',
  ])('%s is refused', (text) => {
    expect(normalResource(text)).toBeNull();
  });

  it('has at most 2,048 characters', () => {
    const long = `${ERP}${'a'.repeat(2048 - ERP.length)}`;
    expect(normalResource(long)).toBe(long);
    expect(normalResource(`${long}a`)).toBeNull();
    expect(isCertainlyNormal(long, 8)).toBe(true);
    expect(isCertainlyNormal(`${long}a`, 8)).toBe(false);
  });

  it('is certainly normal only where nothing in it is ever rewritten', () => {
    for (const text of ['/a.b', '/a-_~9Z', '/', ''])
      expect(isCertainlyNormal(text, 0) || text === '', text).toBe(true);
    for (const text of [
      '/.',
      '/a/..',
      '/..a',
      '/%41',
      '/a:b',
      '/a b',
      '/é',
      '/a..b',
      '/a@b',
      '/a[b',
      '/a`b',
      '/a{b',
    ])
      expect(isCertainlyNormal(text, 0), text).toBe(false);
    expect(isCertainlyNormal('https://h/.a', 10)).toBe(false);
    expect(isCertainlyNormal('https://h/x.a', 11)).toBe(true);
  });

  it('lies below another at a slash, never in the middle of a name', () => {
    expect(isAtOrBelow('https://h/ab', 'https://h/a')).toBe(false);
    expect(isAtOrBelow('https://h/a/b', 'https://h/a')).toBe(true);
    expect(isAtOrBelow('https://h/a', 'https://h/a')).toBe(true);
    expect(isAtOrBelow('https://h/a', 'https://h/')).toBe(true);
    expect(isAtOrBelow('https://h', 'https://h/a')).toBe(false);
    expect([canBePrefix('urn:a'), canBePrefix('https://h/')]).toStrictEqual([false, true]);
  });
});
