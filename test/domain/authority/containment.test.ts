import { describe, expect, it } from 'vitest';
import {
  type AuthoritySet,
  applyContainment,
  type Containment,
  effective,
  effectiveEnd,
  parseRemovals,
  type Removal,
  shownContainment,
} from '../../../src/domain/authority/index.ts';
import { Denied } from '../../../src/domain/denial.ts';

const ERP = 'https://erp.example.com';
const granted: AuthoritySet = [
  {
    type: 'mission_resource_access',
    resource: ERP,
    resource_match: 'prefix',
    actions: ['a.read', 'a.write', 'b.*'],
  },
  { type: 'mission_resource_access', resource: `${ERP}/x`, actions: ['a.read'] },
  { type: 'mission_resource_access', resource: 'https://crm.example.com', actions: ['a.read'] },
];

function containment(remove: readonly Removal[], event_id = 'evt_1'): Containment {
  return { event_id, at: '2026-07-01T00:00:00Z', actor: 'ops', reason: 'odd calls', remove };
}

const left = (...remove: Removal[]) => effective(granted, [containment(remove)]);

function refusal(work: () => unknown): string {
  try {
    work();
    return 'accepted';
  } catch (error) {
    if (error instanceof Denied && 'detail' in error.denial)
      return `${error.denial.tag}: ${error.denial.detail}`;
    throw error;
  }
}

describe('containment', () => {
  it('without any, leaves the granted set itself', () => {
    expect(effective(granted, [])).toBe(granted);
    expect(effective(granted, [{ ...containment([]), expires_at: '2026-07-02T00:00:00Z' }])).toBe(granted);
  });

  it('removes one action everywhere', () => {
    expect(left({ action: 'a.read' })).toEqual([{ ...granted[0], actions: ['a.write', 'b.*'] }]);
  });

  it('removes one action at one resource, and from every prefix that reaches it', () => {
    expect(left({ action: 'a.read', resource: `${ERP}/x` })).toEqual([
      { ...granted[0], actions: ['a.write', 'b.*'] },
      granted[2],
    ]);
    expect(left({ action: 'a.read', resource: 'https://crm.example.com/' })).toEqual([
      granted[0],
      granted[1],
    ]);
  });

  it('removes a family and everything under it', () => {
    expect(left({ action: 'a.*' })).toEqual([{ ...granted[0], actions: ['b.*'] }]);
  });

  it('removes a family whole when only one of its actions is meant: never less than asked', () => {
    expect(left({ action: 'b.q.read' })[0]).toEqual({ ...granted[0], actions: ['a.read', 'a.write'] });
    expect(left({ action: 'b' })).toEqual(granted);
  });

  it('removes an audience with everything below it and every prefix over it', () => {
    expect(left({ audience: ERP })).toEqual([granted[2]]);
    expect(left({ audience: `${ERP}/x` })).toEqual([granted[2]]);
    expect(left({ audience: `${ERP}/y` })).toEqual([granted[1], granted[2]]);
    expect(left({ audience: 'urn:other' })).toEqual(granted);
  });

  it('removes everything that a removal in a refused form could have meant', () => {
    expect(left({ audience: 'not a uri' })).toEqual([]);
  });

  it('removes one entry by its place in the granted set, whatever else was removed', () => {
    expect(left({ entry: 1 })).toEqual([granted[0], granted[2]]);
    expect(left({ entry: 0 }, { entry: 2 })).toEqual([granted[1]]);
    expect(effective(granted, [containment([{ entry: 0 }]), containment([{ entry: 1 }], 'evt_2')])).toEqual([
      granted[2],
    ]);
  });

  it('removes a type', () => {
    expect(left({ type: 'mission_resource_access' })).toEqual([]);
    expect(left({ type: 'aws_session' })).toEqual(granted);
  });

  it('does not touch provider entries by action', () => {
    const set: AuthoritySet = [{ type: 'aws_session', actions: ['a.read'] }];
    expect(effective(set, [containment([{ action: 'a.read' }])])).toEqual(set);
  });

  it('never changes the set that it is computed from', () => {
    const before = JSON.stringify(granted);
    left({ action: 'a.*' }, { entry: 2 });
    expect(JSON.stringify(granted)).toBe(before);
  });
});

describe('a containment overlay', () => {
  it('grows by one, once an event', () => {
    const first = containment([{ action: 'a.read' }]);
    const one = applyContainment(granted, [], first);
    expect(one).toEqual({ overlay: [first], changed: true });
    const again = applyContainment(granted, one.overlay, {
      ...first,
      at: '2026-07-02T00:00:00Z',
      actor: 'other',
    });
    expect(again).toEqual({ overlay: [first], changed: false });
    const second = containment([{ entry: 1 }], 'evt_2');
    expect(applyContainment(granted, one.overlay, second).overlay).toEqual([first, second]);
  });

  it('refuses an event_id that was used for something else', () => {
    const overlay = [containment([{ action: 'a.read' }])];
    expect(refusal(() => applyContainment(granted, overlay, containment([{ action: 'a.write' }])))).toBe(
      'conflict: event_id was used for another containment',
    );
    const shorter = { ...containment([{ action: 'a.read' }]), expires_at: '2026-07-02T00:00:00Z' };
    expect(refusal(() => applyContainment(granted, overlay, shorter))).toContain('conflict');
  });

  it('refuses a containment that would do nothing', () => {
    const { remove: _remove, ...nothing } = containment([]);
    expect(refusal(() => applyContainment(granted, [], nothing))).toContain(
      'removes something or shortens the end',
    );
    expect(refusal(() => applyContainment(granted, [], { ...nothing, expires_at: 'soon' }))).toContain(
      'RFC 3339',
    );
    expect(refusal(() => applyContainment(granted, [], containment([{ entry: 3 }])))).toBe(
      'invalid_request: there is no entry 3; 3 were granted',
    );
    expect(applyContainment(granted, [], containment([{ entry: 2 }])).changed).toBe(true);
  });

  it('only ever shortens the end', () => {
    const until = (expires_at: string): Containment => ({ ...containment([]), expires_at });
    const end = Date.UTC(2026, 6, 10) / 1000;
    expect(effectiveEnd(end, [])).toBe(end);
    expect(effectiveEnd(end, [containment([{ entry: 0 }])])).toBe(end);
    expect(effectiveEnd(end, [until('2026-07-20T00:00:00Z')])).toBe(end);
    expect(effectiveEnd(end, [until('2026-07-05T00:00:00.9Z'), until('2026-07-07T00:00:00Z')])).toBe(
      Date.UTC(2026, 6, 5) / 1000,
    );
    expect(effectiveEnd(end, [until('unreadable')])).toBe(0);
  });

  it('is shown without who asked and why', () => {
    const shown = shownContainment({ ...containment([{ entry: 1 }]), expires_at: '2026-07-02T00:00:00Z' });
    expect(shown).toEqual({
      event_id: 'evt_1',
      at: '2026-07-01T00:00:00Z',
      remove: [{ entry: 1 }],
      expires_at: '2026-07-02T00:00:00Z',
    });
    const { remove: _remove, ...bare } = containment([]);
    expect(shownContainment(bare)).toEqual({ event_id: 'evt_1', at: '2026-07-01T00:00:00Z' });
  });
});

describe('removals as an admin writes them', () => {
  it('are read in every shape', () => {
    const removals = [
      { audience: ERP },
      { action: 'a.read' },
      { action: 'a.*', resource: ERP },
      { entry: 0 },
      { type: 'mission_resource_access' },
    ];
    expect(parseRemovals(removals, 'remove')).toEqual(removals);
  });

  it.each([
    ['no list', {}, 'remove must be a non-empty list'],
    ['an empty list', [], 'remove must be a non-empty list'],
    ['65 removals', Array.from({ length: 65 }, () => ({ entry: 0 })), 'remove must have at most 64 elements'],
    ['a string', ['a'], 'remove[0] must be an object'],
    ['an empty object', [{}], 'remove[0] must be {audience}'],
    ['an unknown member', [{ entry: 0 }, { entry: 0, note: 'x' }], 'remove[1] must be {audience}'],
    ['two shapes at once', [{ audience: ERP, entry: 0 }], 'remove[0] must be {audience}'],
    ['a bad audience', [{ audience: 'erp' }], 'remove[0] names a resource'],
    ['a bad resource', [{ action: 'a', resource: 5 }], 'remove[0] names a resource'],
    ['a bad action', [{ action: '*' }], 'remove[0].action must be an action or a family'],
    ['an action that is no string', [{ action: 1 }], 'remove[0].action must be an action or a family'],
    ['a negative entry', [{ entry: -1 }], 'remove[0].entry must be the place of an entry'],
    ['half an entry', [{ entry: 0.5 }], 'remove[0].entry must be the place of an entry'],
    ['an unknown type', [{ type: 'x' }], 'remove[0].type: unknown type "x"'],
    ['a type that is no string', [{ type: 1 }], 'remove[0].type: unknown type;'],
  ])('refuse %s', (_name, value, detail) => {
    expect(refusal(() => parseRemovals(value, 'remove'))).toContain(detail);
  });
});
