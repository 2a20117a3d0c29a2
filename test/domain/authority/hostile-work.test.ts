/** Requests of allowed size whose comparison would take long: refused, or compared in bounded work, with the same answer. */
import { describe, expect, it } from 'vitest';
import {
  type AuthorityEntry,
  compile,
  intersect,
  normalize,
  parseAuthoritySet,
  permits,
  within,
} from '../../../src/domain/authority/index.ts';
import { Denied } from '../../../src/domain/denial.ts';
import { parseJson } from '../../../src/domain/json.ts';

const ERP = 'https://erp.example.com';
const access = (actions: readonly string[], constraints?: object): AuthorityEntry =>
  ({
    type: 'mission_resource_access',
    resource: ERP,
    actions,
    ...(constraints && { constraints }),
  }) as unknown as AuthorityEntry;
const many = <T>(count: number, one: (index: number) => T): T[] =>
  Array.from({ length: count }, (_, index) => one(index));
const named = (name: string, count: number) => many(count, (index) => `${name}${index}`);

function detail(work: () => unknown): string {
  try {
    work();
    return 'accepted';
  } catch (error) {
    if (error instanceof Denied && 'detail' in error.denial) return error.denial.detail ?? '';
    throw error;
  }
}

describe('many entries of many actions', () => {
  /** As large as one request may be; each wanted entry overlaps each of the ceiling's, and neither is within the other. */
  const wanted = (count: number) => many(count, (index) => access([...named('w', 60), `own${index}`]));
  const ceiling = (count: number) =>
    many(count, (index) => access([...named('w', 60).filter((_, at) => at !== index % 60), `c${index}`]));

  it('that all overlap are refused past 1,024 pairs, whatever little is left of them', () => {
    expect(detail(() => intersect(wanted(128), ceiling(128)))).toContain(
      'overlaps the ceiling in too many ways',
    );
    expect(detail(() => intersect(wanted(33), ceiling(32)))).toContain(
      'overlaps the ceiling in too many ways',
    );
    expect(intersect(wanted(32), ceiling(32)).granted).toHaveLength(32);
  });

  it('that are covered, or have nothing in common, are no overlaps', () => {
    const same = wanted(128);
    expect(intersect(same, same).granted).toHaveLength(128);
    expect(
      intersect(
        same,
        many(128, (index) => access([`other${index}`])),
      ).granted,
    ).toEqual([]);
    expect(within(same, same).ok).toBe(true);
    expect(normalize(same)).toHaveLength(128);
  });
});

describe('long lists of values', () => {
  it('are compared as they are, entry by entry, and read once', () => {
    const entry = (from: number) =>
      access(['a'], { parameters: { p: { one_of: many(300, (index) => `v${from + index}`) } } });
    const { granted } = intersect(
      many(30, entry),
      many(30, (index) => entry(2 * index)),
    );
    expect(within(granted, many(30, entry)).ok).toBe(true);
    expect(
      within(
        granted,
        many(30, (index) => entry(2 * index)),
      ).ok,
    ).toBe(true);
  });

  it('that were read before are read again where they are new', () => {
    const bounded = { tenant: 'a' };
    const entry = access(['a'], bounded);
    expect(within([entry], [access(['a'], { tenant: 'a' })]).ok).toBe(true);
    expect(within([access(['a'], { ...bounded, tenant: 'b' })], [entry]).ok).toBe(false);
    expect(() => within([access(['a'], { unheard_of: 1 })], [entry])).toThrow(Denied);
    expect(() => within([access(['a'], { unheard_of: 1 })], [entry])).toThrow(Denied);
  });
});

describe('nesting, numbers, keys and look-alikes', () => {
  const refused = (constraints: object) => detail(() => parseAuthoritySet([access(['a'], constraints)], 'x'));
  const parameter = (p: object) => refused({ parameters: { p } });

  it('operators nest twice, whichever they are', () => {
    const nest = (depth: number, inner: object): object =>
      depth === 0
        ? inner
        : depth % 2 === 0
          ? { any: nest(depth - 1, inner) }
          : { all: nest(depth - 1, inner) };
    expect(parameter(nest(2, { exact: 1 }))).toBe('accepted');
    expect(parameter(nest(3, { exact: 1 }))).toContain('nests too deep');
    expect(parameter(nest(2000, { exact: 1 }))).toContain('nests too deep');
  });

  it('values nest as deep as JSON may, and no deeper', () => {
    const deep = `[{"type":"mission_resource_access","resource":"${ERP}","actions":["a"],"constraints":{"parameters":{"p":{"exact":${'['.repeat(5000)}${']'.repeat(5000)}}}}}]`;
    expect(detail(() => parseJson(deep))).toContain('nests deeper than 16');
  });

  it('numbers that JSON readers disagree about decide nothing', () => {
    for (const max of [1e308 * 10, Number.NaN]) expect(parameter({ range: { max } })).not.toBe('accepted');
    expect(parameter({ range: { max: `${'9'.repeat(65)}` } })).not.toBe('accepted');
    expect(refused({ max_amount: { amount: '9'.repeat(64), currency: 'EUR' } })).toBe('accepted');
    expect(refused({ max_amount: { amount: '9'.repeat(65), currency: 'EUR' } })).not.toBe('accepted');
    const set = parseAuthoritySet(
      [access(['a'], { max_amount: { amount: '9'.repeat(64), currency: 'EUR' } })],
      'x',
    );
    const judged = (amount: string) =>
      permits(
        compile(set),
        { action: 'a', resource: ERP, parameters: {}, context: { amount: { amount, currency: 'EUR' } } },
        0,
      )?.code;
    expect(judged('9'.repeat(64))).toBeUndefined();
    expect(judged(`1${'0'.repeat(64)}`)).toBe('constraint_unevaluable');
  });

  it('a member that comes twice is refused by the reader of the text', () => {
    const twice = `[{"type":"mission_resource_access","resource":"${ERP}","actions":["a"],"constraints":{"tenant":"a","tenant":"b"}}]`;
    expect(detail(() => parseJson(twice))).not.toBe('accepted');
    expect(detail(() => parseJson(twice.replace('"tenant":"b"', '"ten\\u0061nt":"b"')))).not.toBe('accepted');
  });

  it('names of every object are names like any other, or none', () => {
    for (const name of ['constructor', 'toString', 'hasOwnProperty', 'valueOf']) {
      expect(refused({ [name]: 1 })).not.toBe('accepted');
      expect(parameter({ [name]: 1 })).not.toBe('accepted');
      expect(refused({ parameters: { [name]: { exact: 1 } } })).toBe('accepted');
      const set = compile(parseAuthoritySet([access(['a'], { parameters: { [name]: { exact: 1 } } })], 'x'));
      expect(permits(set, { action: 'a', resource: ERP, parameters: {}, context: {} }, 0)?.code).toBe(
        'constraint_unevaluable',
      );
    }
  });

  it('look-alikes are other names, and where only ASCII can be meant they are refused', () => {
    // Cyrillic, fullwidth, dotless, combining, and a zero-width joiner.
    for (const action of ['\u0430', '\uff41', '\u0131', 'a\u0301', 'a\u200d', 'a\u00ad'])
      expect(detail(() => parseAuthoritySet([access([action])], 'x'))).toContain('must be an action');
    for (const currency of ['\u0415UR', 'EU\u211d', 'E\u200dUR'])
      expect(refused({ max_amount: { amount: '1', currency } })).not.toBe('accepted');
    for (const domain of ['ex\u0430mple', 'example\u3002com', 'ex\u200dample'])
      expect(refused({ recipient_domain: domain })).not.toBe('accepted');
    for (const amount of ['\u0661', '\uff11', '1\u066b5'])
      expect(refused({ max_amount: { amount, currency: 'EUR' } })).not.toBe('accepted');
    const composed = access(['a'], { tenant: '\u00e9' });
    const decomposed = access(['a'], { tenant: 'e\u0301' });
    expect(within([composed], [decomposed]).ok).toBe(false);
  });
});
