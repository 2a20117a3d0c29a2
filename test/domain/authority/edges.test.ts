/** Edges of the algebra that a changed sign or a dropped check moves: each case is one that such a change lets through. */
import { describe, expect, it } from 'vitest';
import { audiencesOf } from '../../../src/domain/authority/families.ts';
import {
  type AuthoritySet,
  applyContainment,
  catalogueOf,
  compile,
  effective,
  expandFamilies,
  intersect,
  normalize,
  parseAuthoritySet,
  parseRemovals,
  permits,
  shownContainment,
  within,
} from '../../../src/domain/authority/index.ts';
import type { Denied } from '../../../src/domain/denial.ts';
import type { JsonObject, JsonValue } from '../../../src/domain/json.ts';

const ERP = 'https://erp.example.com/';
const access = (more: JsonObject = {}): JsonObject => ({
  type: 'mission_resource_access',
  resource: ERP,
  actions: ['a.read'],
  ...more,
});
const set = (...entries: JsonObject[]): AuthoritySet => parseAuthoritySet(entries, 'x');
function refusal(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    return (error as Denied).private_reason;
  }
  return 'accepted';
}
const parameters = (p: JsonValue) => access({ constraints: { parameters: { p } } });
const call = (change: object = {}) => ({
  action: 'a.read',
  resource: ERP,
  parameters: {},
  context: {},
  ...change,
});
const passes = (entry: JsonObject, p: JsonValue) =>
  permits(compile(set(entry)), call({ parameters: { p } }), 0) === null;

describe('families', () => {
  const named = (...names: string[]) => Object.fromEntries(names.map((name) => [name, {}]));
  const catalogue = catalogueOf([
    { resource: 'https://erp.example.com', actions: named('a.read', 'a.write', 'b.read', 'c.read') },
    { resource: `${ERP}deep`, actions: named('a.deep', 'c.deep') },
  ]);
  const expanded = (entry: JsonObject) => expandFamilies(set(entry), catalogue);

  it('become the actions of each of them, after the literal ones', () => {
    expect(expanded(access({ actions: ['z.literal', 'b.*', 'a.*'] }))).toStrictEqual([
      access({ actions: ['z.literal', 'a.read', 'a.write', 'b.read'] }),
    ]);
    expect(expanded(access({ actions: ['x.*'] }))).toStrictEqual([]);
    expect(expanded(access({ actions: ['x.*', 'z.literal'] }))).toStrictEqual([
      access({ actions: ['z.literal'] }),
    ]);
    expect(expanded(access({ resource: 'https://crm.example.com/', actions: ['a.*'] }))).toStrictEqual([]);
  });

  it('are those of the nearest audience above, and of every one below a prefix', () => {
    expect(expanded(access({ resource: `${ERP}deep/x`, actions: ['a.*'] }))).toStrictEqual([
      access({ resource: `${ERP}deep/x`, actions: ['a.deep'] }),
    ]);
    expect(expanded(access({ actions: ['c.*'], resource_match: 'prefix' }))).toStrictEqual([
      access({ actions: ['c.deep', 'c.read'], resource_match: 'prefix' }),
    ]);
    expect(audiencesOf({ resource: `${ERP}deep/x`, match: 'exact' }, catalogue)).toStrictEqual([
      `${ERP}deep`,
    ]);
    expect(audiencesOf({ resource: ERP, match: 'prefix' }, catalogue)).toStrictEqual([ERP, `${ERP}deep`]);
    expect(audiencesOf({ resource: 'https://crm.example.com/', match: 'exact' }, catalogue)).toStrictEqual(
      [],
    );
    const reversed = new Map([...catalogue].reverse());
    expect(audiencesOf({ resource: `${ERP}deep/x`, match: 'exact' }, reversed)).toStrictEqual([`${ERP}deep`]);
  });

  it('are catalogued by name, with the labels given', () => {
    const labelled = catalogueOf([
      { resource: ERP, actions: { 'a.read': { labels: ['read'] }, 'b.read': {} } },
    ]);
    expect(labelled.get(ERP)?.get('a.read')).toStrictEqual({ labels: ['read'] });
    expect(labelled.get(ERP)?.get('b.read')).toStrictEqual({ labels: [] });
    expect(refusal(() => catalogueOf([{ resource: 'erp', actions: {} }]))).toBe(
      'audience: resource is not in an accepted form',
    );
    expect(refusal(() => catalogueOf([{ resource: ERP, actions: { 'a.*': {} } }]))).toBe(
      'audience: "a.*" is not one literal action',
    );
  });
});

describe('a removal', () => {
  const secret = { type: 'vault_secret', server: 'main', role: 'reader', paths: ['kv/a'] };
  const session = {
    type: 'aws_session',
    role: 'arn:aws:iam::123456789012:role/reader',
    statements: [{ actions: ['s3:GetObject'], resources: ['*'] }],
  };
  const granted = set(access({ actions: ['a.read', 'a.write'] }), secret, session);
  const left = (remove: JsonObject) =>
    effective(granted, [
      { event_id: 'e', at: 't', actor: 'a', reason: 'r', remove: parseRemovals([remove], 'remove') },
    ]).map(({ type }) => type);
  const all = ['mission_resource_access', 'vault_secret', 'aws_session'];

  it('of an audience reaches what providers hand out there', () => {
    expect(left({ audience: 'vault://main/reader' })).toStrictEqual([
      'mission_resource_access',
      'aws_session',
    ]);
    expect(left({ audience: 'vault://main' })).toStrictEqual(['mission_resource_access', 'aws_session']);
    expect(left({ audience: 'vault://other' })).toStrictEqual(all);
    expect(left({ audience: 'vault://main/reader/x' })).toStrictEqual(all);
    expect(left({ audience: 'arn:aws:iam::123456789012:role/reader' })).toStrictEqual(all.slice(0, 2));
    expect(left({ audience: ERP })).toStrictEqual(['vault_secret', 'aws_session']);
  });

  it('of an action or a type takes that and nothing else', () => {
    expect(left({ type: 'vault_secret' })).toStrictEqual(['mission_resource_access', 'aws_session']);
    expect(left({ action: 'a.*' })).toStrictEqual(['vault_secret', 'aws_session']);
    expect(left({ action: 'a.*', resource: 'https://crm.example.com' })).toStrictEqual(all);
    expect(left({ action: 'b.read' })).toStrictEqual(all);
    expect(left({ entry: 1 })).toStrictEqual(['mission_resource_access', 'aws_session']);
  });

  it('without anything to remove leaves the set as it was granted', () => {
    const shorter = { event_id: 'e', at: 't', actor: 'a', reason: 'r', expires_at: '2026-01-01T00:00:00Z' };
    expect(effective(granted, [shorter])).toBe(granted);
    expect(applyContainment(granted, [], shorter)).toStrictEqual({ overlay: [shorter], changed: true });
    expect(shownContainment(shorter)).toStrictEqual({
      event_id: 'e',
      at: 't',
      expires_at: '2026-01-01T00:00:00Z',
    });
    const { expires_at: _, ...removing } = { ...shorter, remove: [{ entry: 0 }] };
    expect(shownContainment(removing)).toStrictEqual({ event_id: 'e', at: 't', remove: [{ entry: 0 }] });
  });

  it('is one of five shapes, at most 64 at once', () => {
    expect(
      parseRemovals(
        Array.from({ length: 64 }, () => ({ entry: 0 })),
        'remove',
      ),
    ).toHaveLength(64);
    expect(
      refusal(() =>
        parseRemovals(
          Array.from({ length: 65 }, () => ({ entry: 0 })),
          'remove',
        ),
      ),
    ).toBe('remove must have at most 64 elements');
    expect(parseRemovals([{ resource: ERP, action: 'a.read' }], 'remove')).toHaveLength(1);
    for (const action of [1, null, ['a.read'], '', '*', 'a b'])
      expect(refusal(() => parseRemovals([{ action }], 'remove'))).toBe(
        'remove[0].action must be an action or a family',
      );
  });
});

describe('constraints', () => {
  it('of parameters are at most 64, each with a value', () => {
    const many = (length: number) =>
      Object.fromEntries(Array.from({ length }, (_, at) => [`p${at}`, { exact: 1 }]));
    expect(refusal(() => set(access({ constraints: { parameters: many(64) } })))).toBe('accepted');
    expect(refusal(() => set(access({ constraints: { parameters: many(65) } })))).toBe(
      'x[0].constraints.parameters: must have at most 64 members',
    );
    expect(
      refusal(() => set(access({ constraints: { parameters: { p: undefined as unknown as JsonValue } } }))),
    ).toBe('x[0].constraints.parameters.p: must have a value');
  });

  it('are checked in the order of the kinds, so that a refusal does not depend on how they are written', () => {
    const constraints = {
      parameters: { p: { exact: 1 } },
      allowed_tools: ['t'],
      tenant: 'acme',
      max_amount: { amount: '1', currency: 'EUR' },
    };
    const entries = Object.entries(constraints);
    const orders = [entries, [...entries].reverse(), [...entries.slice(2), ...entries.slice(0, 2)]];
    const keys = orders.map(
      (order) =>
        permits(compile(set(access({ constraints: Object.fromEntries(order) as JsonObject }))), call(), 0)
          ?.key,
    );
    expect(new Set(keys).size).toBe(1);
    expect(keys[0]).not.toBe('parameters.p');
  });

  it('keep what survives as it was written, and reduce the rest', () => {
    const one = access({ constraints: { parameters: { p: { one_of: [2, 1] } } } });
    const other = access({ constraints: { parameters: { p: { one_of: [3, 2, 1] } } } });
    for (const [a, b] of [
      [one, other],
      [other, one],
    ] as const) {
      const granted = intersect(
        set({ ...a, actions: ['a.read', 'x.y'] }),
        set({ ...b, actions: ['a.read', 'z.y'] }),
      ).granted;
      expect(JSON.stringify(granted)).toContain('{"one_of":[2,1]}');
    }
    const overlapping = intersect(
      set(one),
      set(access({ constraints: { parameters: { p: { one_of: [2, 3] } } } })),
    );
    expect(overlapping.granted[0]).toMatchObject({ constraints: { parameters: { p: { exact: 2 } } } });
  });

  it('compare lists and objects by what they hold', () => {
    const p = (...one_of: JsonValue[]) => set(parameters({ one_of }));
    expect(within(p([1], { a: 1 }), p({ a: 1 }, [1], [2])).ok).toBe(true);
    expect(within(p([1], { a: 1 }), p({ a: 2 }, [1])).ok).toBe(false);
    expect(within(p([1]), p(1)).ok).toBe(false);
    expect(within(p(1), p([1])).ok).toBe(false);
    expect(passes(parameters({ one_of: [{ a: [1] }] }), { a: [1] })).toBe(true);
    expect(passes(parameters({ one_of: [{ a: [1] }] }), { a: [2] })).toBe(false);
    expect(passes(parameters({ one_of: ['[1]'] }), [1])).toBe(false);
    expect(passes(parameters({ exact: 0 }), -0)).toBe(true);
    expect(passes(parameters({ exact: -0 }), 0)).toBe(true);
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY])
      expect(refusal(() => set(parameters({ one_of: [bad] })))).toBe(
        'x[0].constraints.parameters.p.one_of[0]: is not a finite number',
      );
    expect(refusal(() => set(parameters({ exact: Number.NaN })))).toBe(
      'x[0].constraints.parameters.p.exact: is not a finite number',
    );
    expect(refusal(() => set(parameters({ contains: ['\ud800'] })))).toBe(
      'x[0].constraints.parameters.p.contains[0]: holds a lone surrogate',
    );
    expect(refusal(() => set(parameters({ subset: [1, 1] })))).toBe(
      'x[0].constraints.parameters.p.subset: holds a repeated value',
    );
  });

  it('nest two levels and no deeper, by every and by some', () => {
    const nested = (operator: string, depth: number): JsonObject =>
      depth === 0 ? { exact: 1 } : { [operator]: nested(operator, depth - 1) };
    for (const operator of ['all', 'any']) {
      expect(refusal(() => set(parameters(nested(operator, 2))))).toBe('accepted');
      expect(refusal(() => set(parameters(nested(operator, 3))))).toContain(': nests too deep');
    }
  });

  it('on one side only are those of the intersection', () => {
    const every = parameters({ all: { range: { max: 5 } } });
    const some = parameters({ any: { range: { min: 3 } } });
    const both = intersect(set(every), set(some)).granted;
    expect(both).toStrictEqual([parameters({ all: { range: { max: 5 } }, any: { range: { min: 3 } } })]);
    expect(intersect(set(some), set(every)).granted).toStrictEqual(both);
    const twice = intersect(
      set(parameters({ any: { range: { min: 3 } } })),
      set(parameters({ any: { range: { min: 4 } } })),
    ).granted;
    expect(normalize(twice)).toStrictEqual([parameters({ any: { range: { min: 4 } } })]);
    expect(
      normalize(
        set(
          parameters({
            any: [{ range: { min: 3 } }, { range: { min: 3 } }, { range: { max: 1 } }, { range: { min: 4 } }],
          }),
        ),
      ),
    ).toStrictEqual([parameters({ any: [{ range: { max: 1 } }, { range: { min: 4 } }] })]);
  });

  it('of a range are met at both ends, and need no other end', () => {
    const range = (more: JsonObject) => set(parameters(more));
    const met = (a: JsonObject, b: JsonObject) =>
      intersect(range(a), range(b)).granted[0]?.['constraints' as never] as unknown;
    expect(met({ range: { min: 1 } }, { range: { max: 1 } })).toStrictEqual({
      parameters: { p: { range: { min: 1, max: 1 } } },
    });
    expect(met({ range: { min: 2 } }, { range: { max: 1 } })).toBeUndefined();
    expect(met({ range: { min: 1 } }, { range: { min: 2 } })).toStrictEqual({
      parameters: { p: { range: { min: 2 } } },
    });
    expect(met({ range: { max: 1 } }, { range: { max: 2 } })).toStrictEqual({
      parameters: { p: { range: { max: 1 } } },
    });
    expect(met({ range: { min: 1, max: 5 } }, { range: { min: 3, max: 9 } })).toStrictEqual({
      parameters: { p: { range: { min: 3, max: 5 } } },
    });
    expect(within(range({ range: { max: 5 } }), range({ range: { min: 1 } })).ok).toBe(false);
    expect(within(range({ range: { min: 1 } }), range({ range: { max: 5 } })).ok).toBe(false);
    expect(within(range({ range: { min: 1 } }), range({ range: { min: 1 } })).ok).toBe(true);
  });
});

describe('a set', () => {
  it('below a resource is not within the resource alone, however either is written', () => {
    const [below, alone] = [
      access({ resource: 'HTTPS://ERP.example.com', resource_match: 'prefix' }),
      access(),
    ];
    expect(within(set(below), set(alone)).ok).toBe(false);
    expect(within(set(alone), set(below)).ok).toBe(true);
    expect(within(set(access({ resource_match: 'prefix' })), set(alone)).ok).toBe(false);
    expect(intersect(set(below), set(alone)).granted).toStrictEqual([alone]);
  });

  it('may grow to 512 entries where it overlaps another, and no further', () => {
    const wanted = (length: number) =>
      set(
        ...Array.from({ length }, (_, at) =>
          access({ resource: `${ERP}${at}`, constraints: { parameters: { q: { range: { min: 1 } } } } }),
        ),
      );
    const ceiling = set(
      ...Array.from({ length: 4 }, (_, at) =>
        access({ resource_match: 'prefix', constraints: { parameters: { p: { exact: at } } } }),
      ),
    );
    expect(intersect(wanted(128), ceiling).granted).toHaveLength(512);
    const five = set(
      ...(ceiling as unknown as JsonObject[]),
      access({ resource_match: 'prefix', constraints: { parameters: { p: { exact: 9 } } } }),
    );
    expect(refusal(() => intersect(wanted(103), five))).toBe(
      'authorization_details: overlaps the ceiling in too many ways',
    );
    expect(intersect(wanted(102), five).granted).toHaveLength(510);
  });

  it('says of an entry of another type that its type is not covered', () => {
    const secret = { type: 'vault_secret', server: 'main', role: 'reader', paths: ['kv/a'] };
    expect(intersect(set(secret), set(access())).narrowed).toStrictEqual([
      { wanted: secret, granted: null, reason: 'type_not_covered', rule: 'ceiling' },
    ]);
    expect(within(set(secret), set(access()))).toStrictEqual({
      ok: false,
      refusal: { code: 'type_not_covered', value: 'vault_secret', entry: 0 },
    });
    expect(intersect(set(secret), set(), 'template t').narrowed).toStrictEqual([
      { wanted: secret, granted: null, reason: 'nothing_granted', rule: 'template t' },
    ]);
  });

  it('is normal without repeats, also of three', () => {
    const one = access({ actions: ['b.read', 'a.read'] });
    const normal = access({ actions: ['a.read', 'b.read'] });
    expect(normalize(set(one, normal, one))).toStrictEqual([normal]);
    expect(normalize(set(access({ actions: ['b.read'] }), normal, access()))).toStrictEqual([normal]);
  });
});
