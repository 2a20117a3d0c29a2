/** The laws of whole sets, on random authority. A million cases: SORTIE_PROPERTY_RUNS=1000000. */
import { isDeepStrictEqual } from 'node:util';
import * as fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import {
  type AuthoritySet,
  type Call,
  catalogueOf,
  compile,
  effective,
  expandFamilies,
  forAudience,
  intersect,
  normalize,
  parseAuthoritySet,
  permits,
  within,
} from '../../../src/domain/authority/index.ts';
import { canonicalize } from '../../../src/domain/json.ts';
import { call, entry, isAccepted, now_seconds, RUNS, resources, set } from './arbitraries.ts';

// The long run takes its time; a hang is still found.
vi.setConfig({ testTimeout: 30_000 + RUNS * 30 });

const options = { numRuns: RUNS };
/** Strict, and quick enough for a million cases. */
const same = isDeepStrictEqual;
const ok = (a: AuthoritySet, b: AuthoritySet) => within(a, b).ok;
const allows = (a: AuthoritySet, one: Call, now: number) => permits(compile(a), one, now) === null;

/** Pairs that are related more often than two random sets are. */
const related = fc.oneof(
  fc.tuple(set, set),
  fc.tuple(set, set).map(([a, b]) => [intersect(a, b).granted, b] as const),
  fc.tuple(set, set).map(([a, b]) => [a, [...b, ...a]] as const),
);

describe('within', () => {
  it('is reflexive', () => {
    fc.assert(
      fc.property(set, (a) => {
        expect(ok(a, a)).toBe(true);
      }),
      options,
    );
  });

  it('is transitive', () => {
    fc.assert(
      fc.property(set, related, (a, [b, c]) => {
        const first = intersect(a, b).granted;
        if (ok(first, b) && ok(b, c)) expect(ok(first, c)).toBe(true);
        if (ok(a, b) && ok(b, c)) expect(ok(a, c)).toBe(true);
      }),
      options,
    );
  });

  it('is antisymmetric on normal forms, and normal forms tell sets apart', () => {
    fc.assert(
      fc.property(related, ([a, b]) => {
        expect(ok(a, b) && ok(b, a)).toBe(canonicalize(normalize(a)) === canonicalize(normalize(b)));
      }),
      options,
    );
  });

  it('names the entry that is not covered', () => {
    fc.assert(
      fc.property(set, set, (a, b) => {
        const found = within(a, b);
        if (found.ok) return;
        const one = a[found.refusal.entry ?? -1];
        expect(one !== undefined && !ok([one], b)).toBe(true);
      }),
      options,
    );
  });
});

describe('normal forms', () => {
  it('are equal to what they came from, and are their own normal form', () => {
    fc.assert(
      fc.property(set, (a) => {
        const normal = normalize(a);
        expect(same(parseAuthoritySet(normal, 'x'), normal)).toBe(true);
        expect(ok(normal, a) && ok(a, normal)).toBe(true);
        expect(canonicalize(normalize(normal))).toBe(canonicalize(normal));
      }),
      options,
    );
  });
});

describe('intersect', () => {
  it('is within both, and everything within both is within it', () => {
    fc.assert(
      fc.property(set, set, set, (a, b, x) => {
        const { granted } = intersect(a, b);
        expect(ok(granted, a) && ok(granted, b)).toBe(true);
        const below = intersect(intersect(x, a).granted, b).granted;
        for (const candidate of [x, below]) {
          if (ok(candidate, a) && ok(candidate, b)) expect(ok(candidate, granted)).toBe(true);
        }
      }),
      options,
    );
  });

  it('gives what its own reader accepts', () => {
    fc.assert(
      fc.property(set, set, (a, b) => {
        const { granted } = intersect(a, b);
        expect(same(parseAuthoritySet(granted, 'x'), granted)).toBe(true);
      }),
      options,
    );
  });

  it('grants the same whichever side asks', () => {
    fc.assert(
      fc.property(set, set, (a, b) => {
        expect(canonicalize(normalize(intersect(a, b).granted))).toBe(
          canonicalize(normalize(intersect(b, a).granted)),
        );
      }),
      options,
    );
  });

  it('grants a covered entry exactly as it was written and reports no cut', () => {
    fc.assert(
      fc.property(set, set, (a, b) => {
        const both = [...b, ...a];
        const { granted, narrowed } = intersect(a, both);
        expect(narrowed.length).toBe(0);
        const written = new Set(a.map((one) => canonicalize(one)));
        expect(same(new Set(granted.map((one) => canonicalize(one))), written)).toBe(true);
      }),
      options,
    );
  });

  it('reports a cut for every entry that is not granted whole', () => {
    fc.assert(
      fc.property(set, set, (a, b) => {
        const { granted, narrowed } = intersect(a, b);
        for (const one of a) {
          const whole = granted.some((other) => canonicalize(other) === canonicalize(one));
          expect(whole || narrowed.some(({ wanted }) => wanted === one)).toBe(true);
        }
        for (const cut of narrowed) {
          expect(ok([cut.wanted], b)).toBe(false);
          if (cut.granted !== null) expect(ok([cut.granted], [cut.wanted])).toBe(true);
        }
      }),
      options,
    );
  });

  it('permits exactly the calls that both permit, where entries stand alone', () => {
    fc.assert(
      fc.property(entry, entry, call, now_seconds, (a, b, one, now) => {
        const { granted } = intersect([a], [b]);
        expect(allows(granted, one, now)).toBe(allows([a], one, now) && allows([b], one, now));
      }),
      options,
    );
  });
});

describe('permits', () => {
  it('never permits under the narrower what the broader denies', () => {
    fc.assert(
      fc.property(related, call, now_seconds, ([a, b], one, now) => {
        if (ok(a, b) && allows(a, one, now)) expect(allows(b, one, now)).toBe(true);
      }),
      options,
    );
  });

  it('says why not, by an entry of the set', () => {
    fc.assert(
      fc.property(set, call, now_seconds, (a, one, now) => {
        const refusal = permits(compile(a), one, now);
        if (refusal?.entry !== undefined) expect(refusal.entry).toBeLessThan(a.length);
        if (refusal?.code.startsWith('constraint_')) expect(refusal.key).toBeTruthy();
      }),
      options,
    );
  });

  it('never permits more for an unknown key: it refuses the entry', () => {
    fc.assert(
      fc.property(entry, fc.string({ minLength: 1 }), (one, key) => {
        const known = 'constraints' in one ? (one['constraints'] as object) : {};
        const raw = { ...one, constraints: { ...known, [`x_${key}`]: 1 } };
        expect(isAccepted(() => parseAuthoritySet([raw], 'x'))).toBe(false);
        expect(isAccepted(() => compile([raw]))).toBe(false);
      }),
      options,
    );
  });
});

describe('everything that narrows', () => {
  const catalogue = catalogueOf([
    { resource: 'https://erp.example.com', actions: { 'i.read': {}, 'i.q.read': {}, 'j.post': {} } },
    { resource: 'https://erp.example.com/a', actions: { 'i.write': {}, 'ix.read': {} } },
  ]);
  const removal = fc.oneof(
    fc.constantFrom(...resources).map((audience) => ({ audience })),
    fc.constantFrom('i.read', 'i.*', 'i.q.read').map((action) => ({ action })),
    fc
      .tuple(fc.constantFrom('i.read', 'j.*'), fc.constantFrom(...resources))
      .map(([action, resource]) => ({ action, resource })),
    fc.nat({ max: 3 }).map((index) => ({ entry: index })),
    fc.constant({ type: 'mission_resource_access' }),
  );
  const containment = fc
    .tuple(fc.uuid(), fc.array(removal, { minLength: 1, maxLength: 3 }))
    .map(([event_id, remove]) => ({ event_id, at: '2026-07-01T00:00:00Z', actor: 'a', reason: 'r', remove }));

  it('keeps within: families, audiences, containment', () => {
    fc.assert(
      fc.property(
        set,
        fc.constantFrom(...resources),
        fc.array(containment, { maxLength: 3 }),
        (a, audience, overlay) => {
          const expanded = expandFamilies(a, catalogue);
          expect(ok(expanded, a)).toBe(true);
          expect(same(expandFamilies(expanded, catalogue), expanded)).toBe(true);
          expect(ok(forAudience(a, audience), a)).toBe(true);
          expect(ok(effective(a, overlay), a)).toBe(true);
        },
      ),
      options,
    );
  });

  it('removes more with more containments, never less', () => {
    fc.assert(
      fc.property(set, fc.array(containment, { maxLength: 3 }), containment, (a, overlay, next) => {
        expect(ok(effective(a, [...overlay, next]), effective(a, overlay))).toBe(true);
      }),
      options,
    );
  });

  it('denies every call that a containment was meant to stop', () => {
    fc.assert(
      fc.property(set, call, now_seconds, (a, one, now) => {
        const by_action = { event_id: 'e', at: '', actor: '', reason: '', remove: [{ action: one.action }] };
        const by_audience = { ...by_action, remove: [{ audience: one.resource }] };
        expect(allows(effective(a, [by_action]), one, now)).toBe(false);
        expect(allows(effective(a, [by_audience]), one, now)).toBe(false);
      }),
      options,
    );
  });
});
