/** Includes of an audience's catalogue: resolved exactly, once, or refused. */
import { describe, expect, it } from 'vitest';
import { catalogueOf, parseAuthoritySet, resolveIncludes } from '../../../src/domain/authority/index.ts';
import { Denied } from '../../../src/domain/denial.ts';
import type { JsonValue } from '../../../src/domain/json.ts';

const ERP = 'https://erp.example.com';
const catalogue = catalogueOf([
  {
    resource: ERP,
    actions: {
      'invoices.read': { labels: ['read'] },
      'invoices.approve': { labels: ['effect', 'consequential'] },
      'journal.read': { labels: ['read'] },
      invoices: { labels: ['read'] },
    },
  },
  { resource: `${ERP}/archive`, actions: { 'boxes.read': { labels: ['read'] } } },
]);

const entry = (actions: JsonValue, more: object = {}): JsonValue => ({
  type: 'mission_resource_access',
  resource: ERP,
  actions,
  ...more,
});
const resolve = (...entries: JsonValue[]) => resolveIncludes(entries, catalogue, 'ceiling');

function refusal(...entries: JsonValue[]): string {
  try {
    resolve(...entries);
    return 'resolved';
  } catch (cause) {
    if (cause instanceof Denied && 'detail' in cause.denial) return cause.denial.detail ?? '';
    throw cause;
  }
}
const include = (of: JsonValue): JsonValue => entry([{ include: of }]);

describe('an include', () => {
  it.each([
    ['a label', { label: 'read' }, ['invoices', 'invoices.read', 'journal.read']],
    ['a family, not its own name', { family: 'invoices.*' }, ['invoices.approve', 'invoices.read']],
    ['both at once', { family: 'invoices.*', label: 'read' }, ['invoices.read']],
  ])('becomes the actions of %s, sorted', (_, of, actions) => {
    expect(resolve(include(of))).toEqual([entry(actions)]);
  });

  it('stands beside plain actions and other includes, and repeats none', () => {
    const mixed = [
      'journal.read',
      'journal.post',
      { include: { label: 'read' } },
      { include: { family: 'invoices.*' } },
    ];
    expect(resolve(entry(mixed, { constraints: { tenant: 'a' } }))).toEqual([
      entry(['journal.read', 'journal.post', 'invoices', 'invoices.read', 'invoices.approve'], {
        constraints: { tenant: 'a' },
      }),
    ]);
    expect(resolve(entry([{ include: { label: 'read' } }, 'invoices.read']))).toEqual([
      entry(['invoices', 'journal.read', 'invoices.read']),
    ]);
  });

  it('is of the nearest audience that the entry lies at or below', () => {
    const below = { resource: `${ERP}/archive/2024`, resource_match: 'prefix' };
    expect(resolve(entry([{ include: { label: 'read' } }], below))).toEqual([entry(['boxes.read'], below)]);
  });

  it('gives what the reader of sets accepts', () => {
    expect(parseAuthoritySet(resolve(include({ label: 'read' })), 'ceiling')).toHaveLength(1);
  });

  it('leaves everything else as it is written, for the reader to judge', () => {
    for (const ceiling of [null, 'x', {}, [], [1], [entry(['a', 'a'])], [entry('all')], [{ type: 'other' }]])
      expect(resolveIncludes(ceiling as JsonValue, null, 'ceiling')).toEqual(ceiling);
    const other = { type: 'aws_session', actions: [{ include: { label: 'read' } }] };
    expect(resolve(other, entry(['a', 'a']))).toEqual([other, entry(['a', 'a'])]);
  });

  it.each([
    ['nothing that exists', include({ label: 'raed' }), 'names no action of its audience'],
    [
      'a label that no action of the family has',
      include({ family: 'journal.*', label: 'effect' }),
      'names no',
    ],
    ['neither', include({}), 'must name a label, a family or both'],
    ['another member', include({ label: 'read', except: 'x' }), 'unknown member'],
    ['another member beside', entry([{ include: { label: 'read' }, why: 'x' }]), 'unknown member'],
    ['another element', entry([{ exclude: { label: 'read' } }]), 'unknown member'],
    ['no object', include('read'), 'must be an object'],
    ['an empty label', include({ label: '' }), 'must have 1 to 128 characters'],
    ['a label that is no text', include({ label: ['read'] }), 'must be a string'],
    ['one action, not a family', include({ family: 'invoices.read' }), 'must be a family'],
    ['everything', include({ family: '*' }), 'must be a family'],
    ['an inherited name', include({ label: 'toString' }), 'names no action'],
    [
      'an unknown audience',
      entry([{ include: { label: 'read' } }], { resource: 'https://other.example' }),
      'one registered audience, and exactly one',
    ],
    [
      'several audiences',
      entry([{ include: { label: 'read' } }], { resource_match: 'prefix' }),
      'one registered audience, and exactly one',
    ],
    [
      'a resource in no accepted form',
      entry([{ include: { label: 'read' } }], { resource: 'erp' }),
      'is not in an accepted form',
    ],
    [
      'no resource',
      { type: 'mission_resource_access', actions: [{ include: { label: 'read' } }] },
      'accepted',
    ],
  ] as [string, JsonValue, string][])('of %s is refused', (_, one, why) => {
    expect(refusal(entry(['invoices.read']), one)).toContain(why);
    expect(refusal(entry(['invoices.read']), one)).toContain('ceiling[1]');
  });

  it('without the audiences is refused, and says what is missing', () => {
    expect(() => resolveIncludes([include({ label: 'read' })], null, 'ceiling')).toThrow(Denied);
    expect(resolveIncludes([entry(['invoices.read'])], null, 'ceiling')).toEqual([entry(['invoices.read'])]);
  });
});
