import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Denied } from '../../src/domain/denial.ts';
import { canonicalize, isJsonObject, type JsonLimits, parseJson } from '../../src/domain/json.ts';
import { locate } from '../../src/domain/json_locate.ts';

/** The refusal's public detail; anything but a refusal of the right kind fails the test. */
function refusal(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (error instanceof Denied && error.denial.tag === 'invalid_request') return error.denial.detail;
    throw error;
  }
  return 'accepted';
}

const refused = (text: string, limits?: JsonLimits) => refusal(() => parseJson(text, limits));

describe('parseJson', () => {
  it('reads whatever JSON.parse reads, the same', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 6 }), fc.constantFrom(0, 2), (value, indent) => {
        const text = JSON.stringify(value, null, indent);
        fc.pre(!text.includes('"__proto__"') && !/\\ud[89a-f]/.test(text) && isExact(value));
        expect(parseJson(text)).toEqual(JSON.parse(text));
      }),
      { numRuns: 1000 },
    );
  });

  it('accepts a text that is as large, deep and full as it may be, and no more', () => {
    expect(parseJson('[[1]]', { max_depth: 2 })).toEqual([[1]]);
    expect(refused('[[[1]]]', { max_depth: 2 })).toBe('JSON nests deeper than 2 at position 2');
    expect(refused('{"a":{"b":{}}}', { max_depth: 2 })).toBe('JSON nests deeper than 2 at position 10');
    expect(parseJson('[[],[],[]]', { max_depth: 2 })).toEqual([[], [], []]);
    expect(parseJson('"aaaa"', { max_bytes: 6 })).toBe('aaaa');
    expect(refused('"aaaaa"', { max_bytes: 6 })).toBe('JSON text is larger than 6 bytes');
    expect(parseJson('"é"', { max_bytes: 4 })).toBe('é');
    expect(refused('"éé"', { max_bytes: 5 })).toBe('JSON text is larger than 5 bytes');
    expect(parseJson('[1,2,3]', { max_members: 3 })).toEqual([1, 2, 3]);
    expect(refused('[1,2,3,4]', { max_members: 3 })).toBe('JSON has more than 3 members at position 6');
    expect(refused('{"a":[1,2],"b":1}', { max_members: 3 })).toContain('JSON has more than 3 members');
  });

  it('has limits by default: 65,536 bytes, 16 deep, 10,000 members', () => {
    expect(parseJson('['.repeat(16) + ']'.repeat(16))).toBeTruthy();
    expect(refused('['.repeat(17) + ']'.repeat(17))).toBe('JSON nests deeper than 16 at position 16');
    expect(parseJson(`"${'a'.repeat(65_534)}"`)).toHaveLength(65_534);
    expect(refused(`"${'a'.repeat(65_535)}"`)).toContain('larger than 65536 bytes');
    expect(parseJson(`[${Array.from({ length: 10_000 }, () => 1).join()}]`)).toHaveLength(10_000);
    expect(refused(`[${Array.from({ length: 10_001 }, () => 1).join()}]`)).toContain(
      'more than 10000 members',
    );
  });

  it.each([
    ['{"a":1,"a":2}', 'the key "a" is repeated in $ at position 7'],
    ['{"a":1,"b":{"c":1,"c":1}}', 'the key "c" is repeated in $.b at position 18'],
    ['[{},{"x":1,"y":2,"x":3}]', 'the key "x" is repeated in $[1] at position 17'],
    ['{"a":1,"\\u0061":2}', 'the key "a" is repeated in $ at position 7'],
    ['{"":1,"":2}', 'the key "" is repeated in $ at position 6'],
    ['{"a\\"b":1,"a\\"b":2}', 'the key "a\\"b" is repeated in $ at position 10'],
    ['{"a\\\\":1,"a\\\\":2}', 'the key "a\\\\" is repeated in $ at position 9'],
    ['{ "a" : { } , "a" : [ ] }', 'the key "a" is repeated in $ at position 14'],
  ])('refuses the repeated key in %s', (text, detail) => {
    expect(refused(text)).toBe(detail);
  });

  it('is not fooled by colons, braces and quotes inside strings', () => {
    const value = { 'a:b': '{"a":1,"a":2}', c: '\\"', d: ':::[[[[[[[[[[[[[[[[[[[[[' };
    expect(parseJson(JSON.stringify(value))).toEqual(value);
  });

  it('refuses __proto__ as a key at any depth, and leaves Object.prototype alone', () => {
    expect(refused('{"__proto__":{"admin":true}}')).toBe('the key "__proto__" is not accepted');
    expect(refused('{"a":[{"\\u005f_proto__":1}]}')).toBe('the key "__proto__" is not accepted');
    expect(parseJson('{"constructor":{"prototype":{"x":1}}}')).toEqual({
      constructor: { prototype: { x: 1 } },
    });
    expect(({} as { x?: number }).x).toBeUndefined();
  });

  it.each([
    ['{"a":"\\ud800"}', 'a string holds a lone surrogate'],
    ['["\\udc00\\ud800"]', 'a string holds a lone surrogate'],
    ['"\\ud800"', 'a string holds a lone surrogate'],
    ['{"\\ud800":1}', 'a key holds a lone surrogate'],
  ])('refuses the lone surrogate in %s', (text, detail) => {
    expect(refused(text)).toBe(detail);
  });

  it.each(['1e400', '-1e400', '[9007199254740993]', '{"a":1e300}', '9007199254740992'])(
    'refuses the number in %s, which a double does not hold exactly',
    (text) => {
      expect(refused(text)).toBe('a number is too large to be exact; send it as a string');
    },
  );

  it('accepts numbers that a double holds', () => {
    expect(parseJson('[9007199254740991,-9007199254740991,0.1,1e2,-0]')).toEqual([
      9007199254740991, -9007199254740991, 0.1, 100, -0,
    ]);
  });

  it.each([
    ['', 'a value was expected at position 0'],
    ['{', 'a key was expected at position 1'],
    ['{"a"}', '":" was expected at position 4'],
    ['{"a":1', '"," or "}" was expected at position 6'],
    ['{"a":1,}', 'a key was expected at position 7'],
    ['{a:1}', 'a key was expected at position 1'],
    ['[1', '"," or "]" was expected at position 2'],
    ['[1,]', 'a value was expected at position 3'],
    ['[1] x', 'unexpected text at position 4'],
    ['"abc', 'the string at position 0 does not end'],
    ['["a\\x"]', 'the string at position 1 holds a bad escape or a control character'],
    ['["a\nb"]', 'the string at position 1 holds a bad escape or a control character'],
    ['[01]', 'a value was expected at position 1'],
    ['NaN', 'a value was expected at position 0'],
    ["{'a':1}", 'a key was expected at position 1'],
    ['\uFEFF{}', 'a value was expected at position 0'],
    ['[1}', '"," or "]" was expected at position 2'],
    ['{}{}', 'unexpected text at position 2'],
    ['tru', 'a value was expected at position 0'],
  ])('says where %j is wrong', (text, detail) => {
    expect(refused(text)).toBe(detail);
  });

  it('never quotes a value of a text that it refuses', () => {
    expect(refused('{"token":"eyJhbGciOi","token":"eyJhbGciOi"}')).not.toContain('eyJ');
    expect(refused('{"token":"eyJhbGciOi" eyJ}')).not.toContain('eyJ');
    expect(refused(`{"${'k'.repeat(500)}":1,"${'k'.repeat(500)}":2}`).length).toBeLessThan(140);
  });

  it('refuses what JSON.parse refuses, whatever the text', () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom('{', '}', '[', ']', '"', ':', ',', 'a', '1', '\\', ' ', 'null')),
        (parts) => {
          const text = parts.join('');
          let valid = true;
          try {
            JSON.parse(text);
          } catch {
            valid = false;
          }
          if (!valid) expect(refused(text)).not.toBe('accepted');
          expect(locate(text) === null || !valid || /repeated/.test(locate(text) ?? '')).toBe(true);
        },
      ),
      { numRuns: 3000 },
    );
  });

  it('finds every repeated key that a random text has', () => {
    const key = fc.constantFrom('a', 'b', 'c');
    const object = fc.array(fc.tuple(key, fc.constantFrom('1', '{}', '{"a":1}', '[{"b":2}]')), {
      maxLength: 4,
    });
    fc.assert(
      fc.property(object, (members) => {
        const text = `{${members.map(([name, value]) => `"${name}":${value}`).join()}}`;
        const repeated = new Set(members.map(([name]) => name)).size !== members.length;
        expect(refused(text) !== 'accepted').toBe(repeated);
      }),
      { numRuns: 1000 },
    );
  });
});

describe('canonicalize', () => {
  it('sorts members by UTF-16 code units and writes no white space (RFC 8785, 3.2.3)', () => {
    const value = { '\u20ac': 1, '\r': 2, '\ufb33': 3, '1': 4, '\u{1f600}': 5, '\u0080': 6, '\u00f6': 7 };
    expect(canonicalize(value)).toBe('{"\\r":2,"1":4,"\u0080":6,"ö":7,"€":1,"\u{1f600}":5,"\ufb33":3}');
  });

  it('writes numbers as ECMAScript does (RFC 8785, appendix B)', () => {
    expect(
      canonicalize([
        0,
        -0,
        5e-324,
        1.7976931348623157e308,
        1e21,
        1e23,
        295147905179352830000,
        Number('333333333.33333329'),
      ]),
    ).toBe('[0,0,5e-324,1.7976931348623157e+308,1e+21,1e+23,295147905179352830000,333333333.3333333]');
  });

  it('writes strings with the shortest escapes', () => {
    expect(canonicalize('€$\u000f\nA\'B"\\\\"/\u2028')).toBe('"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/\u2028"');
  });

  it('is stable: canonical text reads back to itself', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const text = canonicalize(value);
        expect(canonicalize(JSON.parse(text))).toBe(text);
      }),
      { numRuns: 1000 },
    );
  });

  it('takes objects without a prototype, and own __proto__ members', () => {
    expect(canonicalize(Object.assign(Object.create(null), { b: 1, a: [null, true, false] }))).toBe(
      '{"a":[null,true,false],"b":1}',
    );
    expect(canonicalize(JSON.parse('{"__proto__":1}'))).toBe('{"__proto__":1}');
  });

  const cycle: { self?: unknown } = {};
  cycle.self = cycle;
  it.each([
    ['NaN', Number.NaN, 'a number that is not finite has no canonical form'],
    ['Infinity', { a: Number.POSITIVE_INFINITY }, 'a number that is not finite has no canonical form'],
    ['undefined', { a: undefined }, 'a value of type undefined has no canonical form'],
    ['a hole', new Array(1), 'a value of type undefined has no canonical form'],
    ['a bigint', 1n, 'a value of type bigint has no canonical form'],
    ['a function', () => 1, 'a value of type function has no canonical form'],
    ['a lone surrogate', '\ud800', 'a lone surrogate has no canonical form'],
    ['a lone surrogate as a key', { '\ud800': 1 }, 'a lone surrogate has no canonical form'],
    ['a date', new Date(0), 'an object of a class has no canonical form'],
    ['a map', new Map(), 'an object of a class has no canonical form'],
    ['a cycle', cycle, 'nests too deep for a canonical form'],
  ])('refuses %s', (_name, value, detail) => {
    expect(refusal(() => canonicalize(value))).toBe(detail);
  });

  it('tells objects from lists and null', () => {
    expect([{}, [], null, 'a', 1].map(isJsonObject)).toEqual([true, false, false, false, false]);
  });
});

/** Generated numbers may be integers that a double has rounded: those are refused on purpose. */
function isExact(value: unknown): boolean {
  if (typeof value === 'number') return Number.isSafeInteger(value) || !Number.isInteger(value);
  return typeof value !== 'object' || value === null || Object.values(value).every(isExact);
}
