/** What admins read: explain, diff and lint. */
import { describe, expect, it } from 'vitest';
import {
  type AuthorityEntry,
  type AuthoritySet,
  catalogueOf,
  diff,
  explain,
  lint,
  parseAuthoritySet,
} from '../../../src/domain/authority/index.ts';
import type { JsonObject } from '../../../src/domain/json.ts';

const ERP = 'https://erp.example.com';
const NOW = Date.UTC(2026, 7, 1) / 1000;

function access(actions: readonly string[], more: object = {}): AuthorityEntry {
  const raw = { type: 'mission_resource_access', resource: ERP, actions, ...more };
  const [entry] = parseAuthoritySet([raw], 'x');
  if (entry === undefined) throw new Error('no entry');
  return entry;
}
const bounded = (constraints: JsonObject) => access(['a.read'], { constraints });
const parameter = (operators: JsonObject) => bounded({ parameters: { p: operators } });

describe('explain', () => {
  it('says that an empty set allows nothing', () => {
    expect(explain([])).toEqual(['Allows nothing.']);
  });

  it('says one sentence an entry', () => {
    const set = [
      access(['a.read', 'b.*', 'c'], { resource_match: 'prefix', delegation: { max_depth: 1 } }),
      access(['a.read'], {
        delegation: { max_depth: 3, allowed_delegates: [{ sub: 'x', sub_profile: 'y' }, { sub: 'z' }] },
      }),
    ];
    expect(explain(set)).toEqual([
      `Allows a.read, every action under b and c at ${ERP} and everything below it; with no further bounds; ` +
        'may be passed on one level deep to whoever policy lets in.',
      `Allows a.read at ${ERP}; with no further bounds; may be passed on up to 3 levels deep to x that is any y or z.`,
    ]);
  });

  it.each([
    [{ max_amount: { amount: '500.00', currency: 'EUR' } }, 'only up to 500.00 EUR a call'],
    [{ tenant: 'acme' }, 'only for the tenant acme'],
    [{ recipient_domain: 'Example.com' }, 'only to recipients in example.com'],
    [{ regions: ['us', 'eu'] }, 'only in the regions eu, us'],
    [{ allowed_tools: ['t'] }, 'only through the tools t'],
    [{ data_classification: ['public'] }, 'only on data classified as public'],
    [
      { resource_issued_after: '2026-07-01T00:00:00Z' },
      'only what was issued on or after 2026-07-01T00:00:00Z',
    ],
    [
      { resource_issued_before: '2026-07-01T02:00:00.5+02:00' },
      'only what was issued on or before 2026-07-01T00:00:00.5Z',
    ],
    [{ time_window: { not_before: '2026-07-01T00:00:00Z' } }, 'only in the time from 2026-07-01T00:00:00Z;'],
    [{ time_window: { not_after: '2026-07-01T00:00:00Z' } }, 'only in the time until 2026-07-01T00:00:00Z;'],
    [{ parameters: { p: { exact: 'a' } } }, 'only with p a;'],
    [{ parameters: { p: { one_of: [2, 'a', null] } } }, 'only with p one of a, 2, null;'],
    [{ parameters: { p: { not_one_of: ['b', 'a'] } } }, 'only with p anything but a, b;'],
    [{ parameters: { p: { range: { min: 1, max: 2 } } } }, 'only with p from 1 to 2;'],
    [{ parameters: { p: { range: { min: 1 } } } }, 'only with p at least 1;'],
    [{ parameters: { p: { range: { max: '2.0' } } } }, 'only with p at most 2.0;'],
    [{ parameters: { p: { prefix: 'ab' } } }, 'only with p starting with ab;'],
    [{ parameters: { p: { subset: ['a', 'b'] } } }, 'only with p a list whose every element is one of a, b;'],
    [{ parameters: { p: { subset: [] } } }, 'only with p an empty list;'],
    [
      { parameters: { p: { contains: ['a'], prefix: 'x' } } },
      'only with p starting with x, and a list with an element that is a;',
    ],
    [
      { parameters: { p: { origin: { in: ['trusted', 'mission'] } } } },
      'only with p known from mission, trusted;',
    ],
    [
      {
        parameters: {
          p: {
            exact: 1,
            origin: {
              in: ['trusted'],
              from: [
                { action: 'a', field: 'f' },
                { action: 'b', field: 'g' },
              ],
            },
          },
        },
      },
      'only with p 1, known from trusted and taken from a (f) or b (g);',
    ],
  ])('says %j', (constraints, words) => {
    expect(explain([bounded(constraints)])[0]).toContain(words);
  });

  it('refuses to explain what the build does not know', () => {
    expect(() => explain([{ type: 'unheard_of' }])).toThrow();
  });
});

describe('diff', () => {
  const limit = (amount: string) => bounded({ max_amount: { amount, currency: 'EUR' } });

  it('finds nothing between two ways of writing the same', () => {
    expect(diff([limit('500')], [limit('500.00'), limit('5')])).toEqual({
      widened: [],
      narrowed: [],
      equivalent: true,
    });
  });

  it('tells what a change widens from what it narrows', () => {
    const wider = diff([limit('500')], [limit('900')]);
    expect(wider.equivalent).toBe(false);
    expect(wider.widened.map(({ entry, refusal }) => [entry, refusal.code])).toEqual([
      [0, 'constraint_broader'],
    ]);
    expect(wider.narrowed).toEqual([]);
    expect(wider.widened[0]?.text).toBe(
      `New: Allows a.read at ${ERP}; only up to 900 EUR a call; not to be passed on to a child mission. ` +
        '(constraint_broader max_amount {"amount":"900","currency":"EUR"}; ' +
        'the other side has {"amount":"500","currency":"EUR"})',
    );
    const narrower = diff([limit('900')], [limit('500')]);
    expect(narrower.widened).toEqual([]);
    expect(narrower.equivalent).toBe(false);
    expect(narrower.narrowed[0]?.text).toMatch(/^Gone: Allows a\.read/);
    expect(diff([], [limit('5')]).widened[0]?.text).toContain('(nothing_granted "mission_resource_access")');
  });

  it('names entries by their place on their own side', () => {
    const found = diff([access(['a']), access(['b'])], [access(['b']), access(['c'])]);
    expect(found.widened.map(({ entry, value }) => [entry, value])).toEqual([[1, access(['c'])]]);
    expect(found.narrowed.map(({ entry, value }) => [entry, value])).toEqual([[0, access(['a'])]]);
  });
});

describe('lint', () => {
  const rules = (set: AuthoritySet, catalogue?: Parameters<typeof lint>[2]) =>
    lint(set, NOW, catalogue).map(({ rule, severity, entry }) => [rule, severity, entry]);

  it('finds nothing in a ceiling that says what it means', () => {
    expect(rules([bounded({ tenant: 'acme' }), access(['b.write'])])).toEqual([]);
  });

  it('finds a ceiling that allows nothing', () => {
    expect(rules([])).toEqual([['allows_nothing', 'error', undefined]]);
  });

  it('finds a ceiling that allows everything', () => {
    const whole = { resource_match: 'prefix' };
    expect(rules([access(['a.*'], whole)])).toEqual([['allows_everything', 'error', 0]]);
    expect(rules([access(['a.read'], whole)])).toEqual([['unbounded', 'warning', 0]]);
    expect(rules([access(['a.*'])])).toEqual([['unbounded', 'warning', 0]]);
    expect(rules([access(['a.*'], { ...whole, resource: `${ERP}/x` })])).toEqual([
      ['unbounded', 'warning', 0],
    ]);
    expect(rules([access(['a.read'], { ...whole, resource: `${ERP}/x` })])).toEqual([]);
    expect(rules([access(['a.*'], { ...whole, constraints: { tenant: 'a' } })])).toEqual([]);
  });

  it('finds what another entry allows already, once', () => {
    expect(rules([access(['a']), access(['a', 'b'])])).toEqual([['redundant', 'warning', 0]]);
    expect(rules([access(['a', 'b']), access(['a'])])).toEqual([['redundant', 'warning', 1]]);
    expect(rules([access(['a']), access(['a'])])).toEqual([['redundant', 'warning', 1]]);
  });

  it('finds windows that are over', () => {
    expect(rules([bounded({ time_window: { not_after: '2026-07-31T23:59:59Z' } })])).toEqual([
      ['window_past', 'error', 0],
    ]);
    expect(rules([bounded({ time_window: { not_after: '2026-08-01T00:00:00Z' } })])).toEqual([]);
    expect(rules([bounded({ time_window: { not_before: '2026-07-01T00:00:00Z' } })])).toEqual([]);
  });

  it('finds weak constraints', () => {
    expect(rules([parameter({ not_one_of: ['a'] })])).toEqual([['excluding_list', 'warning', 0]]);
    expect(rules([parameter({ all: { not_one_of: ['a'] } })])).toEqual([['excluding_list', 'warning', 0]]);
    expect(rules([parameter({ origin: { in: ['untrusted'] } })])).toEqual([
      ['untrusted_origin', 'warning', 0],
    ]);
    expect(rules([access(['a'], { delegation: { max_depth: 1 } })])).toEqual([
      ['open_delegation', 'warning', 0],
    ]);
    expect(
      rules([access(['a'], { delegation: { max_depth: 1, allowed_delegates: [{ sub: 'x' }] } })]),
    ).toEqual([]);
  });

  it('checks audiences and actions against the catalogue', () => {
    const catalogue = catalogueOf([{ resource: `${ERP}/x`, actions: { 'a.read': {} } }]);
    const at = (actions: readonly string[], resource: string, match = 'exact') =>
      rules([access(actions, { resource, resource_match: match, constraints: { tenant: 'a' } })], catalogue);
    expect(at(['a.read'], `${ERP}/x/y`)).toEqual([]);
    expect(at(['a.*'], `${ERP}/x`)).toEqual([]);
    expect(at(['a.read', 'a.write'], `${ERP}/x`)).toEqual([['unknown_action', 'warning', 0]]);
    expect(at(['a.write', 'b.*'], `${ERP}/x`)).toEqual([['allows_nothing', 'error', 0]]);
    expect(at(['a.read'], `${ERP}/z`)).toEqual([['unknown_audience', 'error', 0]]);
    expect(at(['a.read'], ERP)).toEqual([['unknown_audience', 'error', 0]]);
    expect(at(['a.read'], ERP, 'prefix')).toEqual([]);
  });

  it('says in words what is wrong', () => {
    const all = [
      ...lint([], NOW),
      ...lint(
        [access(['a.*'], { resource_match: 'prefix' }), access(['a']), access(['a'])],
        NOW,
        catalogueOf([]),
      ),
      ...lint(
        [
          parameter({ not_one_of: ['a'], origin: { in: ['untrusted'] } }),
          access(['c'], { delegation: { max_depth: 1 } }),
        ],
        NOW,
      ),
    ];
    for (const { text } of all) expect(text).toMatch(/^[A-Zhp].{20,}[.]$/);
  });
});
