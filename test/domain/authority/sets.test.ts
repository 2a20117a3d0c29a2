/** What the laws do not say: which entry explains a refusal, sets of mixed types, and the written normal form. */
import { describe, expect, it } from 'vitest';
import {
  type AuthorityEntry,
  type AuthoritySet,
  type Call,
  compile,
  intersect,
  normalize,
  parseAuthoritySet,
  permits,
  within,
} from '../../../src/domain/authority/index.ts';
import type { JsonObject } from '../../../src/domain/json.ts';

const ERP = 'https://erp.example.com';
const CRM = 'https://crm.example.com';

function read(...raw: readonly object[]): AuthoritySet {
  return parseAuthoritySet(raw, 'x');
}
const access = (actions: readonly string[], more: object = {}): AuthorityEntry => ({
  type: 'mission_resource_access',
  resource: ERP,
  actions,
  ...more,
});
const tenant = (name: string) => ({ constraints: { tenant: name } });
const session = (action: string): AuthorityEntry => ({
  type: 'aws_session',
  role: 'arn:aws:iam::123456789012:role/data',
  statements: [{ actions: [action], resources: ['arn:aws:s3:::bucket/*'] }],
});

describe('a refusal of within', () => {
  const refusal = (a: AuthoritySet, b: AuthoritySet) => {
    const found = within(a, b);
    return found.ok ? null : found.refusal;
  };

  it('names the type when the other side has none of it', () => {
    expect(refusal(read(access(['a'])), read(session('s3:GetObject')))).toEqual({
      code: 'type_not_covered',
      entry: 0,
      value: 'mission_resource_access',
    });
    expect(refusal(read(session('s3:GetObject')), [])).toEqual({
      code: 'nothing_granted',
      entry: 0,
      value: 'aws_session',
    });
  });

  it('names the entry that came nearest, wherever it stands', () => {
    const near = access(['a'], { constraints: { tenant: 'y' } });
    const others = [access(['a'], { resource: CRM }), near, access(['b'])];
    const expected = { code: 'constraint_broader', entry: 0, key: 'tenant', value: 'x', allowed: 'y' };
    expect(refusal(read(access(['a'], tenant('x'))), read(...others))).toEqual(expected);
    expect(refusal(read(access(['a'], tenant('x'))), read(...[...others].reverse()))).toEqual(expected);
  });

  it('names the first of two that came equally near', () => {
    expect(refusal(read(access(['a'])), read(access(['b']), access(['c'])))).toEqual({
      code: 'action_not_covered',
      entry: 0,
      key: 'actions',
      value: 'a',
      allowed: ['b'],
    });
  });

  it('says what both sides have', () => {
    expect(refusal(read(access(['a'])), read(access(['a'], tenant('x'))))).toEqual({
      code: 'constraint_missing',
      entry: 0,
      key: 'tenant',
      allowed: 'x',
    });
    expect(refusal(read(access(['a'], { resource: CRM })), read(access(['a'])))).toEqual({
      code: 'resource_not_covered',
      entry: 0,
      key: 'resource',
      value: CRM,
      allowed: ERP,
    });
    const deep = { delegation: { max_depth: 2 } };
    const shallow = { delegation: { max_depth: 1 } };
    expect(refusal(read(access(['a'], deep)), read(access(['a'], shallow)))).toEqual({
      code: 'delegation_broader',
      entry: 0,
      key: 'delegation',
      value: { max_depth: 2 },
      allowed: { max_depth: 1 },
    });
    expect(refusal(read(access(['a'], deep)), read(access(['a'])))).toEqual({
      code: 'delegation_broader',
      entry: 0,
      key: 'delegation',
      value: { max_depth: 2 },
    });
  });
});

describe('sets of mixed types', () => {
  const mixed = read(access(['a']), session('s3:GetObject'));

  it('compare each entry with those of its own type', () => {
    expect(within(mixed, [...mixed].reverse())).toEqual({ ok: true });
    expect(normalize(mixed)).toHaveLength(2);
    expect(normalize([...mixed, ...mixed])).toEqual(normalize(mixed));
  });

  it('intersect each entry with those of its own type', () => {
    const ceiling = read(session('s3:GetObject'), access(['a', 'b']));
    expect(intersect(mixed, ceiling)).toEqual({ granted: mixed, narrowed: [] });
    const wanted = read(access(['a', 'z']), session('s3:GetObject'));
    expect(intersect(wanted, ceiling, 'template t')).toEqual({
      granted: [access(['a']), session('s3:GetObject')],
      narrowed: [
        {
          wanted: wanted[0],
          granted: access(['a']),
          reason: 'action_not_covered',
          rule: 'template t[1].actions',
        },
      ],
    });
  });

  it('grant nothing of a type that the ceiling does not have', () => {
    expect(intersect(read(access(['a'])), read(session('s3:GetObject')))).toEqual({
      granted: [],
      narrowed: [{ wanted: access(['a']), granted: null, reason: 'type_not_covered', rule: 'ceiling' }],
    });
  });
});

describe('the parts of an intersection', () => {
  it('keep the first of two that are equal', () => {
    const wanted = read(access(['a', 'b']));
    const ceiling = read(access(['a'], { resource: `${ERP}/` }), access(['a']));
    expect(intersect(wanted, ceiling)).toEqual({
      granted: [access(['a'], { resource: `${ERP}/` })],
      narrowed: [
        {
          wanted: wanted[0],
          granted: access(['a'], { resource: `${ERP}/` }),
          reason: 'action_not_covered',
          rule: 'ceiling[0].actions',
        },
      ],
    });
  });

  it('keep the greater of two, whichever comes first', () => {
    const wanted = read(access(['a', 'b', 'c']));
    for (const ceiling of [
      read(access(['a']), access(['a', 'b'])),
      read(access(['a', 'b']), access(['a'])),
    ]) {
      expect(intersect(wanted, ceiling).granted).toEqual([access(['a', 'b'])]);
    }
  });

  it('refuse by the first of two entries that came equally near', () => {
    const { narrowed } = intersect(read(access(['a'])), read(access(['b']), access(['c'])));
    expect(narrowed.map(({ rule }) => rule)).toEqual(['ceiling[0].actions']);
  });
});

describe('the normal form', () => {
  it('is written one way', () => {
    const set = read(
      access(['b', 'a.x', 'a.*'], {
        resource: 'HTTPS://ERP.example.com:443/%7e',
        resource_match: 'exact',
        constraints: {
          regions: ['us', 'eu'],
          parameters: {
            q: {
              origin: {
                in: ['trusted', 'mission'],
                from: [
                  { field: 'g', action: 'b' },
                  { field: 'z', action: 'a' },
                  { field: 'f', action: 'a' },
                  { field: 'z', action: 'a' },
                ],
              },
            },
          },
        },
        delegation: {
          max_depth: 1,
          allowed_delegates: [{ sub: 'b' }, { sub: 'a' }, { sub: 'a', sub_profile: 'p' }],
        },
      }),
      access(['z'], { resource_match: 'prefix' }),
      access(['z']),
    );
    expect(normalize(set)).toEqual([
      access(['a.*', 'b'], {
        resource: 'https://erp.example.com/~',
        constraints: {
          regions: ['eu', 'us'],
          parameters: {
            q: {
              origin: {
                in: ['mission', 'trusted'],
                from: [
                  { action: 'a', field: 'f' },
                  { action: 'a', field: 'z' },
                  { action: 'b', field: 'g' },
                ],
              },
            },
          },
        },
        delegation: { max_depth: 1, allowed_delegates: [{ sub: 'a' }, { sub: 'b' }] },
      }),
      access(['z'], { resource: `${ERP}/`, resource_match: 'prefix' }),
    ]);
    expect(normalize([...set].reverse())).toEqual(normalize(set));
  });
});

describe('permits', () => {
  const call = (
    action: string,
    resource: string,
    context: object = {},
    parameters: JsonObject = {},
  ): Call => ({
    action,
    resource,
    parameters,
    context,
  });
  const answer = (set: AuthoritySet, one: Call) => permits(compile(set), one, 0);

  it('keeps entries with one action at two resources apart', () => {
    const set = read(access(['a'], tenant('x')), access(['a'], { resource: CRM, ...tenant('y') }));
    expect(answer(set, call('a', ERP, { tenant: 'x' }))).toBeNull();
    expect(answer(set, call('a', CRM, { tenant: 'y' }))).toBeNull();
    expect(answer(set, call('a', ERP, { tenant: 'y' }))).toEqual({
      code: 'constraint_violated',
      entry: 0,
      key: 'tenant',
      allowed: 'x',
    });
    expect(answer(set, call('a', CRM, { tenant: 'x' }))).toEqual({
      code: 'constraint_violated',
      entry: 1,
      key: 'tenant',
      allowed: 'y',
    });
  });

  it('keeps an exact entry and a prefix at one resource apart', () => {
    const set = read(access(['a'], tenant('x')), access(['a'], { resource_match: 'prefix', ...tenant('y') }));
    expect(answer(set, call('a', ERP, { tenant: 'x' }))).toBeNull();
    expect(answer(set, call('a', `${ERP}/z`, { tenant: 'y' }))).toBeNull();
    expect(answer(set, call('a', `${ERP}/z`, { tenant: 'x' }))?.entry).toBe(1);
    const reversed = [...set].reverse();
    expect(answer(reversed, call('a', ERP, { tenant: 'x' }))).toBeNull();
    expect(answer(reversed, call('a', `${ERP}/z`, { tenant: 'x' }))?.code).toBe('constraint_violated');
  });

  it('asks every entry at one resource', () => {
    const set = read(...['x', 'y', 'z'].map((name) => access(['a', 'f.*'], tenant(name))));
    for (const name of ['x', 'y', 'z']) {
      expect(answer(set, call('a', ERP, { tenant: name }))).toBeNull();
      expect(answer(set, call('f.q', ERP, { tenant: name }))).toBeNull();
    }
    expect(answer(set, call('a', ERP, { tenant: 'w' }))).toMatchObject({ entry: 0, allowed: 'x' });
    expect(answer(set, call('f.q', ERP, { tenant: 'w' }))).toMatchObject({ entry: 0, allowed: 'x' });
  });

  it('explains by an entry at the resource, not by one that names the action elsewhere', () => {
    const set = read(access(['a', 'f.*'], { resource: CRM, ...tenant('x') }), access(['b'], tenant('x')));
    for (const action of ['a', 'f.q']) {
      expect(answer(set, call(action, ERP))).toEqual({
        code: 'action_not_covered',
        entry: 1,
        key: 'actions',
        value: action,
      });
    }
  });

  it('explains by the action when a family at the resource is another one', () => {
    const set = read(access(['f.*'], tenant('x')));
    expect(answer(set, call('g.q', ERP))?.code).toBe('action_not_covered');
    expect(answer(set, call('f.q', ERP))).toEqual({
      code: 'constraint_unevaluable',
      entry: 0,
      key: 'tenant',
      allowed: 'x',
    });
  });

  it('explains by the first constraint that is not met', () => {
    const rules = { tenant: 'x', regions: ['eu'], parameters: { p: { exact: 1 } } };
    const set = read(access(['a'], { constraints: rules, resource_match: 'prefix' }));
    const at = `${ERP}/d@1`;
    expect(answer(set, call('a', at, { tenant: 'x', region: 'us' }))).toMatchObject({ key: 'regions' });
    expect(answer(set, call('a', at, { tenant: 'x', region: 'eu' }))).toEqual({
      code: 'constraint_unevaluable',
      entry: 0,
      key: 'parameters.p',
      allowed: { exact: 1 },
    });
    expect(answer(set, call('a', at, { tenant: 'x', region: 'eu' }, { p: 1 }))).toBeNull();
  });
});
