/** Shapes that an attacker sends: they are refused, or judged, in bounded work, and nothing leaks out of them. */
import { describe, expect, it } from 'vitest';
import {
  type AuthorityEntry,
  type AuthoritySet,
  type Call,
  compile,
  intersect,
  parseAuthoritySet,
  permits,
  within,
} from '../../../src/domain/authority/index.ts';
import { Denied } from '../../../src/domain/denial.ts';
import { parseJson } from '../../../src/domain/json.ts';

const ERP = 'https://erp.example.com';
const access = (actions: readonly string[], more: object = {}): AuthorityEntry => ({
  type: 'mission_resource_access',
  resource: ERP,
  actions,
  ...more,
});

function detail(work: () => unknown): string {
  try {
    work();
    return 'accepted';
  } catch (error) {
    if (error instanceof Denied && 'detail' in error.denial) return error.denial.detail ?? '';
    throw error;
  }
}
const refused = (value: unknown) => detail(() => parseAuthoritySet(value, 'x'));

describe('a set', () => {
  it.each([null, undefined, 'a', 1, {}, { length: 1, 0: access(['a']) }])('is a list, not %j', (value) => {
    expect(refused(value)).toBe('x: must be a list');
  });

  it('has at most 128 entries', () => {
    expect(refused(Array.from({ length: 10_000 }, () => access(['a'])))).toBe(
      'x: must have at most 128 entries',
    );
    expect(refused(Array.from({ length: 128 }, () => access(['a'])))).toBe('accepted');
  });

  it('has at most 1,000 actions an entry, and 256 labels a list', () => {
    const names = (count: number) => Array.from({ length: count }, (_, index) => `a${index}`);
    expect(refused([access(names(1001))])).toBe('x[0].actions: must have at most 1000 elements');
    expect(refused([access(names(1000))])).toBe('accepted');
    expect(refused([access(['a'], { constraints: { regions: names(257) } })])).toContain('at most 256');
    expect(
      refused([access(['a'], { constraints: { parameters: { p: { one_of: names(1001) } } } })]),
    ).toContain('at most 1000');
  });

  it('shows an unknown key shortened and escaped', () => {
    expect(refused([{ ...access(['a']), ['k'.repeat(500)]: 1 }])).toBe(
      `x[0].${'k'.repeat(64)}: unknown member`,
    );
    expect(refused([{ ...access(['a']), '"\n': 1 }])).toBe('x[0].\\"\\n: unknown member');
    expect(refused([{ type: 'y'.repeat(500) }])).toContain(`unknown type "${'y'.repeat(64)}"`);
  });

  it('does not look at what an object inherits', () => {
    const inherited = Object.create({ resource: ERP, actions: ['a'] }) as { type: string };
    inherited.type = 'mission_resource_access';
    expect(refused([inherited])).toContain('x[0].resource');
    const constraints = Object.create({ tenant: 'a' }) as object;
    expect(refused([access(['a'], { constraints })])).toContain('must not be empty');
  });

  it('refuses values that have no JSON form', () => {
    expect(refused([access(['a'], { constraints: { tenant: undefined } })])).toContain(
      'constraints.tenant: must have a value',
    );
    expect(refused([access(['a'], { constraints: { parameters: { p: undefined } } })])).toContain(
      'must have a value',
    );
    expect(refused([access(['a'], { constraints: { parameters: { p: { exact: '\ud800' } } } })])).toContain(
      'lone surrogate',
    );
    expect(refused([access(['a'], { constraints: { tenant: '\ud800' } })])).toContain('lone surrogate');
    expect(refused([access(['a'], { constraints: { parameters: { p: { exact: Number.NaN } } } })])).not.toBe(
      'accepted',
    );
    expect(
      refused([access(['a'], { constraints: { parameters: { p: { one_of: [[Number.NaN]] } } } })]),
    ).not.toBe('accepted');
    expect(
      refused([access(['a'], { constraints: { parameters: { p: { range: { max: Number.NaN } } } } })]),
    ).not.toBe('accepted');
  });

  it('refuses a parameter named __proto__, and pollutes nothing', () => {
    const constraints = JSON.parse('{"parameters":{"__proto__":{"exact":1}}}') as object;
    expect(refused([access(['a'], { constraints })])).toContain('is not a parameter name');
    expect(refused([access(['a'], { constraints: { parameters: { ' p': { exact: 1 } } } })])).toContain(
      'parameter name',
    );
    expect(
      refused([access(['a'], { constraints: { parameters: { ['p'.repeat(129)]: { exact: 1 } } } })]),
    ).toContain('parameter name');
    expect(
      refused([access(['a'], { constraints: { parameters: { ['p'.repeat(128)]: { exact: 1 } } } })]),
    ).toBe('accepted');
    expect(({} as { exact?: number }).exact).toBeUndefined();
  });

  it('cannot be nested past the reader', () => {
    const deep = `[{"type":"mission_resource_access","constraints":${'{"a":'.repeat(40)}1${'}'.repeat(40)}}]`;
    expect(detail(() => parseJson(deep))).toContain('nests deeper than 16');
  });

  it('that overlaps in too many ways is refused, not granted in part', () => {
    const names = Array.from({ length: 26 }, (_, index) => `a${index}`);
    const wanted = names.map((own) => access([...names.map((name) => `w.${name}`), `own.${own}`]));
    const ceiling = names.map((name) => access([`w.${name}`]));
    const unlike = wanted.map((entry, index) => ({ ...entry, constraints: { tenant: `t${index}` } }));
    expect(detail(() => intersect(unlike, ceiling))).toContain('overlaps the ceiling in too many ways');
    expect(intersect(wanted, ceiling).granted).toHaveLength(26);
  });
});

describe('a call', () => {
  const authority = compile(parseAuthoritySet([access(['a.read']), access(['b.*'])], 'x'));
  const call = { action: 'a.read', resource: ERP, parameters: {}, context: {} };
  const code = (value: unknown) => permits(authority, value as Call, 0)?.code ?? 'permitted';

  it('is permitted in its right form', () => {
    expect(code(call)).toBe('permitted');
    expect(code({ ...call, action: 'b.x' })).toBe('permitted');
  });

  it.each([
    null,
    undefined,
    'a.read',
    { ...call, action: 5 },
    { ...call, action: ['a.read'] },
    { ...call, resource: undefined },
    { ...call, resource: [ERP] },
    { ...call, parameters: undefined },
    { ...call, parameters: null },
    { ...call, parameters: 'p' },
    { ...call, context: undefined },
    { ...call, context: null },
    { ...call, context: 'c' },
  ])('in a wrong form is refused, never an error: %#', (value) => {
    expect(code(value)).toBe('call_refused');
  });

  it('is not judged by entries that never passed the reader', () => {
    expect(() => compile([access(['a'], { constraints: { unknown: 1 } })])).toThrow(Denied);
    expect(() => compile([access(['a'], { resource: 'erp' })])).toThrow(Denied);
    expect(() => within([access(['a'], { resource: 'a b' })], [access(['a'])])).toThrow(Denied);
  });

  it('is refused by a set of provider entries alone', () => {
    expect(permits(compile([{ type: 'aws_session' } as AuthorityEntry]), call, 0)).toEqual({
      code: 'nothing_granted',
    });
  });

  it('keeps the clock honest: a time that is no number decides nothing', () => {
    const windowed = compile([
      access(['a.read'], { constraints: { time_window: { not_before: '2026-01-01T00:00:00Z' } } }),
    ]);
    expect(permits(windowed, call, Number.NaN)?.code).toBe('constraint_unevaluable');
    expect(permits(windowed, call, Number.POSITIVE_INFINITY)?.code).toBe('constraint_unevaluable');
  });

  it('with a value that is no JSON equals nothing, and is no error', () => {
    const cycle: { self?: unknown } = {};
    cycle.self = cycle;
    const rule = { parameters: { p: { one_of: [{ a: 1 }, 'x'] } } };
    const compiled = compile(parseAuthoritySet([access(['a.read'], { constraints: rule })], 'x'));
    for (const p of [
      cycle,
      new Date(0),
      { a: Number.NaN },
      { a: undefined },
      ['\ud800'],
      () => 1,
      1n,
      Number.NaN,
    ]) {
      const odd = { ...call, parameters: { p } } as unknown as Call;
      expect(permits(compiled, odd, 0)?.code).toBe('constraint_violated');
    }
    expect(permits(compiled, { ...call, parameters: { p: { a: 1 } } }, 0)).toBeNull();
  });

  it('with facts in a wrong form is not judged by them', () => {
    const rule = { parameters: { p: { origin: { in: ['mission'], from: [{ action: 'a', field: 'f' }] } } } };
    const compiled = compile(parseAuthoritySet([access(['a.read'], { constraints: rule })], 'x'));
    const from = { action: 'a', field: 'f' };
    const judged = (origins: unknown) =>
      permits(compiled, { ...call, parameters: { p: 1 }, context: { origins } } as unknown as Call, 0)?.code;
    expect(judged({ p: { origin: 'mission', from } })).toBeUndefined();
    const wrong = [
      null,
      'p',
      { p: null },
      { p: 'mission' },
      { p: [null] },
      { p: [undefined] },
      { p: undefined },
      { p: { from } },
    ];
    for (const origins of [
      ...wrong,
      { p: { origin: 'mission', from: null } },
      { p: { origin: 'mission', from: 'a' } },
    ]) {
      expect(judged(origins)).toBe('constraint_unevaluable');
    }
    expect(judged(Object.create({ p: { origin: 'mission', from } }))).toBe('constraint_unevaluable');
  });

  it('with 10,000 list elements is judged element by element', () => {
    const set: AuthoritySet = [
      access(['a.read'], { constraints: { parameters: { p: { subset: [1, 2] } } } }),
    ];
    const elements = Array.from({ length: 10_000 }, (_, index) => (index % 2) + 1);
    expect(permits(compile(set), { ...call, parameters: { p: elements } }, 0)).toBeNull();
    expect(permits(compile(set), { ...call, parameters: { p: [...elements, 3] } }, 0)?.code).toBe(
      'constraint_violated',
    );
  });
});

describe('a type of entry', () => {
  it('that is unknown is refused by every operation', () => {
    const unknown = [{ type: 'unheard_of' }];
    for (const work of [
      () => parseAuthoritySet(unknown, 'x'),
      () => within(unknown, unknown),
      () => intersect(unknown, unknown),
    ]) {
      expect(detail(work)).toContain('unknown type "unheard_of"');
    }
  });
});
