/** Encodings at their edges: status lists, signatures, and strings in JSON. */
import { describe, expect, it } from 'vitest';
import { concatenatedOfDer, derOfConcatenated } from '../../src/domain/ecdsa.ts';
import { canonicalize, parseJson } from '../../src/domain/json.ts';
import { locate } from '../../src/domain/json_locate.ts';
import { decodeStatusList, packStatuses, statusAt } from '../../src/domain/status-list.ts';

const wrong = (run: () => unknown): string => {
  try {
    run();
  } catch (error) {
    return (error as { private_reason?: string }).private_reason ?? (error as Error).message;
  }
  return 'accepted';
};

describe('a status list', () => {
  it('has a size that fills its bytes', () => {
    for (const size of [0, -8, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 7])
      expect(wrong(() => packStatuses(1, size, []))).toBe(
        'status list size must be a positive multiple of the slots in a byte',
      );
    expect(packStatuses(1, 8, [])).toHaveLength(1);
    expect(packStatuses(8, 1, [])).toHaveLength(1);
  });

  it('holds only statuses that fit, in slots that are there', () => {
    for (const index of [-1, 8, 0.5, Number.NaN])
      expect(wrong(() => packStatuses(1, 8, [[index, 1]]))).toBe('status index outside the list');
    for (const status of [-1, 4, 0.5, Number.NaN])
      expect(wrong(() => packStatuses(2, 8, [[0, status]]))).toBe(
        'status does not fit in the bits of the list',
      );
    const bytes = packStatuses(2, 8, [
      [0, 3],
      [7, 3],
    ]);
    expect([statusAt(bytes, 2, 0), statusAt(bytes, 2, 1), statusAt(bytes, 2, 7)]).toStrictEqual([3, 0, 3]);
    for (const index of [-1, -0.5, 8, 0.5, Number.NaN])
      expect(wrong(() => statusAt(bytes, 2, index))).toBe('status index outside the list');
  });

  it('is refused in a form that is none', () => {
    expect(wrong(() => decodeStatusList({ bits: 3 as 1, lst: 'eNrbuRgAAhcBXQ' }, 9))).toBe(
      'bits must be 1, 2, 4 or 8',
    );
    expect(wrong(() => decodeStatusList({ bits: 1, lst: 'AAAA' }, 9))).toBe(
      'not a compressed status list of the allowed size',
    );
  });
});

describe('a signature in DER', () => {
  const der = (r: string, s: string, change: { tag?: string; length?: number } = {}) => {
    const body = `02${(r.length / 2).toString(16).padStart(2, '0')}${r}02${(s.length / 2).toString(16).padStart(2, '0')}${s}`;
    return Buffer.from(
      `${change.tag ?? '30'}${(change.length ?? body.length / 2).toString(16).padStart(2, '0')}${body}`,
      'hex',
    );
  };
  const full = `00${'ff'.repeat(32)}`;

  it('is read to its last byte', () => {
    const raw = concatenatedOfDer(der(full, '01'), 32);
    expect(raw.toString('hex')).toBe(`${'ff'.repeat(32)}${'00'.repeat(31)}01`);
    expect(derOfConcatenated(raw, 32)?.equals(der(full, '01'))).toBe(true);
    const small = Buffer.from(`${'00'.repeat(31)}7f${'00'.repeat(31)}80`, 'hex');
    expect(derOfConcatenated(small, 32)?.toString('hex')).toBe('300702017f02020080');
  });

  it('is refused in every form that OpenSSL does not write', () => {
    const good = der('01', '02');
    const bytes = (change: (copy: Buffer) => unknown) => {
      const copy = Buffer.from(good);
      change(copy);
      return copy;
    };
    for (const bad of [
      der('01', '02', { tag: '31' }),
      der('01', '02', { length: 5 }),
      der('01', '02', { length: 7 }),
      bytes((copy) => copy.writeUInt8(3, 2)),
      bytes((copy) => copy.writeUInt8(3, 5)),
      bytes((copy) => copy.writeUInt8(0, 6)),
      bytes((copy) => copy.writeUInt8(2, 6)),
      Buffer.concat([good, Buffer.from([0])]),
      der(`00${full}`, '01'),
      der('01', `00${full}`),
      der('11'.repeat(34), '01'),
    ])
      expect(
        wrong(() => concatenatedOfDer(bad, 32)),
        bad.toString('hex'),
      ).toBe('not an ECDSA signature in DER');
    // A content of 128 bytes would need a length of two bytes.
    const long = Buffer.concat([Buffer.from([0x30, 0x80]), Buffer.alloc(128)]);
    expect(wrong(() => concatenatedOfDer(long, 48))).toBe('not an ECDSA signature in DER');
  });
});

describe('strings in JSON', () => {
  it('end where they end, so that no repeated key hides behind an escape', () => {
    for (const text of [
      String.raw`{"a\\":1,"b":2}`,
      String.raw`{"a\"":1,"b":2}`,
      String.raw`{"a\\\"":1,"b":2}`,
      String.raw`["\\",{"a":"\\\\"},"\"",":"]`,
      String.raw`"\\"`,
    ])
      expect(parseJson(text)).toStrictEqual(JSON.parse(text));
    for (const text of [
      String.raw`{"a\\":1,"a\\":2}`,
      String.raw`{"a\"":1,"a\"":2}`,
      String.raw`{"x":"\\","a":1,"a":":"}`,
      String.raw`{"x":"\":","a":1,"a":2}`,
    ])
      expect(
        wrong(() => parseJson(text)),
        text,
      ).toContain('is repeated in $');
  });

  it('are bounded by their bytes, whatever their characters', () => {
    const max_bytes = 12;
    expect(parseJson('"1234567890"', { max_bytes })).toBe('1234567890');
    expect(wrong(() => parseJson('"12345678901"', { max_bytes }))).not.toBe('accepted');
    expect(parseJson('"ééééé"', { max_bytes })).toBe('ééééé');
    expect(wrong(() => parseJson('"éééééa"', { max_bytes }))).not.toBe('accepted');
    expect(wrong(() => parseJson('"€€€€"', { max_bytes }))).not.toBe('accepted');
    expect(parseJson('"€€€"', { max_bytes })).toBe('€€€');
  });

  it('and single values are read alone', () => {
    for (const text of ['null', 'true', '1', '"x"', '[]', '{}', ' 1 '])
      expect(parseJson(text)).toEqual(JSON.parse(text));
    for (const text of [
      '"\\ud800"',
      '9007199254740993',
      '1e400',
      '{"__proto__":1}',
      '{"\\ud800":1}',
      '[1,',
      '"',
      '{"a":1,}',
    ])
      expect(
        wrong(() => parseJson(text)),
        text,
      ).not.toBe('accepted');
    expect(canonicalize([-0, [[], {}], { b: 1, a: [null] }])).toBe('[0,[[],{}],{"a":[null],"b":1}]');
  });

  it('that are refused are located', () => {
    for (const [text, where] of [
      ['{"a" 1}', '":" was expected at position 5'],
      ['{"a":1 "b"}', '"," or "}" was expected at position 7'],
      ['[1 2]', '"," or "]" was expected at position 3'],
      ['[1,]', 'a value was expected at position 3'],
      ['{a:1}', 'a key was expected at position 1'],
      ['{ "a":1, }', 'a key was expected at position 9'],
      ['"a', 'the string at position 0 does not end'],
      ['["\\x"]', 'the string at position 1 holds a bad escape or a control character'],
      ['[] x', 'unexpected text at position 3'],
      ['tru', 'a value was expected at position 0'],
      ['', 'a value was expected at position 0'],
      [`{"a":{"b":1,"b":2}}`, 'the key "b" is repeated in $.a at position 12'],
      [`{"l":[{},{"b":1,"b":2}]}`, 'the key "b" is repeated in $.l[1] at position 16'],
    ] as const)
      expect(locate(text), text).toBe(where);
    for (const text of ['[ ]', '{ }', ' [ 1 , { "a" : [ ] } ] ', '[[],{},"\\""]', '-1.5e3', 'null'])
      expect(locate(text), text).toBeNull();
    const long = 'k'.repeat(70);
    expect(locate(`{"${long}":{"b":1,"b":2}}`)).toContain(`in $.${'k'.repeat(64)} at`);
    expect(locate(`{"${long}":1,"${long}":2}`)).toContain(`the key "${'k'.repeat(64)}" is repeated`);
  });
});
