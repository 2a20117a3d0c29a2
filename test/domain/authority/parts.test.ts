/** Families, audiences, delegation: the parts of a set that a token or a child gets. */
import { describe, expect, it } from 'vitest';
import {
  type AuthorityEntry,
  type AuthoritySet,
  catalogueOf,
  delegable,
  expandFamilies,
  forAudience,
} from '../../../src/domain/authority/index.ts';
import { Denied } from '../../../src/domain/denial.ts';

const ERP = 'https://erp.example.com';
const catalogue = catalogueOf([
  { resource: ERP, actions: { 'i.write': { labels: ['effect'] }, 'i.read': {}, 'j.post': {} } },
  { resource: `${ERP}/reports/`, actions: { 'i.print': {} } },
  { resource: 'https://crm.example.com', actions: { 'i.read': {}, 'i.call': {} } },
]);

function access(resource: string, actions: readonly string[], match?: 'exact' | 'prefix'): AuthorityEntry {
  return {
    type: 'mission_resource_access',
    resource,
    ...(match === undefined ? {} : { resource_match: match }),
    actions,
  };
}
const provider: AuthorityEntry = { type: 'aws_session', actions: ['i.*'] };
const actionsOf = (set: AuthoritySet) => set.map((entry) => entry['actions' as never]);

describe('families', () => {
  it('become the catalogued actions under them, sorted after the literal ones', () => {
    expect(actionsOf(expandFamilies([access(ERP, ['j.post', 'i.*', 'i.write'])], catalogue))).toEqual([
      ['j.post', 'i.write', 'i.read'],
    ]);
    expect(actionsOf(expandFamilies([access(ERP, ['i.*'])], catalogue))).toEqual([['i.read', 'i.write']]);
  });

  it('are those of the nearest audience at or above the resource', () => {
    expect(actionsOf(expandFamilies([access(`${ERP}/reports/7`, ['i.*'])], catalogue))).toEqual([
      ['i.print'],
    ]);
    expect(actionsOf(expandFamilies([access(`${ERP}/other`, ['i.*'])], catalogue))).toEqual([
      ['i.read', 'i.write'],
    ]);
  });

  it('of a prefix take in the audiences below it, of an exact resource they do not', () => {
    expect(actionsOf(expandFamilies([access(ERP, ['i.*'], 'prefix')], catalogue))).toEqual([
      ['i.print', 'i.read', 'i.write'],
    ]);
    expect(actionsOf(expandFamilies([access(`${ERP}/rep`, ['i.*'], 'prefix')], catalogue))).toEqual([
      ['i.read', 'i.write'],
    ]);
  });

  it('without a catalogued action grant nothing, and an entry left with none goes', () => {
    expect(expandFamilies([access(ERP, ['x.*']), access(ERP, ['x.*', 'a'])], catalogue)).toEqual([
      access(ERP, ['a']),
    ]);
    expect(expandFamilies([access('https://unknown.example', ['i.*'])], catalogue)).toEqual([]);
  });

  it('leave entries without a family as they are, known or not', () => {
    const set = [access(ERP, ['z.unknown']), access('https://unknown.example', ['a']), provider];
    expect(expandFamilies(set, catalogue)).toEqual(set);
    expect(expandFamilies(set, catalogue)[0]).toBe(set[0]);
  });

  it('come from a catalogue of literal actions at accepted resources', () => {
    expect(catalogue.get(`${ERP}/`)?.get('i.write')).toEqual({ labels: ['effect'] });
    expect(catalogue.get(`${ERP}/`)?.get('i.read')).toEqual({ labels: [] });
    expect(() => catalogueOf([{ resource: 'erp', actions: {} }])).toThrow(Denied);
    expect(() => catalogueOf([{ resource: ERP, actions: { 'i.*': {} } }])).toThrow(Denied);
  });
});

describe('the part of an audience', () => {
  it('is what lies at it or below it, as granted', () => {
    const set = [
      access(ERP, ['a']),
      access(`${ERP}/x`, ['b']),
      access('https://crm.example.com', ['c']),
      provider,
    ];
    expect(forAudience(set, `${ERP}/`)).toEqual([set[0], set[1]]);
    expect(forAudience(set, `${ERP}/x`)).toEqual([set[1]]);
    expect(forAudience(set, `${ERP}/x/y`)).toEqual([]);
  });

  it('is cut out of a wider prefix', () => {
    expect(forAudience([access(ERP, ['a'], 'prefix')], `${ERP}/x`)).toEqual([
      access(`${ERP}/x`, ['a'], 'prefix'),
    ]);
    expect(forAudience([access(`${ERP}/x`, ['a'], 'prefix')], ERP)).toEqual([
      access(`${ERP}/x`, ['a'], 'prefix'),
    ]);
    expect(forAudience([access(`${ERP}/y`, ['a'], 'prefix')], `${ERP}/x`)).toEqual([]);
  });

  it('is empty for a resource in a refused form', () => {
    expect(forAudience([access(ERP, ['a'], 'prefix')], `${ERP}/%2e%2e`)).toEqual([]);
  });
});

describe('what a child may receive', () => {
  const delegated = (
    max_depth: number,
    ...allowed: { sub?: string; sub_profile?: string }[]
  ): AuthorityEntry => ({
    ...access(ERP, ['a']),
    delegation: allowed.length === 0 ? { max_depth } : { max_depth, allowed_delegates: allowed },
  });
  const may = (entry: AuthorityEntry, sub: string, depth: number, sub_profile?: string) =>
    delegable([entry], sub_profile === undefined ? { sub } : { sub, sub_profile }, depth).length === 1;

  it('is nothing that is not marked delegable', () => {
    expect(may(access(ERP, ['a']), 'x', 1)).toBe(false);
    expect(may(provider, 'x', 1)).toBe(false);
    expect(may({ ...provider, delegation: { max_depth: 7 } }, 'x', 1)).toBe(true);
  });

  it('ends at the depth', () => {
    expect(may(delegated(2), 'x', 1)).toBe(true);
    expect(may(delegated(2), 'x', 2)).toBe(true);
    expect(may(delegated(2), 'x', 3)).toBe(false);
    expect(may(delegated(2), 'x', 0)).toBe(false);
  });

  it('goes only to a delegate that some matcher matches whole', () => {
    expect(may(delegated(1, { sub: 'x' }), 'x', 1)).toBe(true);
    expect(may(delegated(1, { sub: 'x' }), 'y', 1)).toBe(false);
    expect(may(delegated(1, { sub: 'y' }, { sub_profile: 'ai_agent' }), 'x', 1, 'tool ai_agent')).toBe(true);
    expect(may(delegated(1, { sub_profile: 'ai_agent' }), 'x', 1, 'ai_agent2')).toBe(false);
    expect(may(delegated(1, { sub_profile: 'ai_agent' }), 'x', 1)).toBe(false);
    expect(may(delegated(1, { sub: 'x', sub_profile: 'ai_agent' }), 'x', 1, 'tool')).toBe(false);
    expect(may(delegated(1, { sub: 'x', sub_profile: 'ai_agent' }), 'y', 1, 'ai_agent')).toBe(false);
  });

  it('is carried intact, so that the next hop is judged the same way', () => {
    const entry = delegated(2, { sub: 'x' });
    expect(delegable([entry], { sub: 'x' }, 1)[0]).toBe(entry);
  });
});
