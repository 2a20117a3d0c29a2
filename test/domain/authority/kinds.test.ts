/** The conformance suite of constraint kinds: each must pass every law, and a new one is added in one line. */
import * as fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import type { ConstraintKind } from '../../../src/domain/authority/constraints/kind.ts';
import { KINDS } from '../../../src/domain/authority/constraints/kinds.ts';
import { parameterKind } from '../../../src/domain/authority/constraints/parameters.ts';
import { canonicalize, type JsonValue } from '../../../src/domain/json.ts';
import { call, constraintValues, isAccepted, now_seconds, parameter, RUNS } from './arbitraries.ts';

// The long run takes its time; a hang is still found.
vi.setConfig({ testTimeout: 30_000 + RUNS * 30 });

const suites: readonly (readonly [ConstraintKind<unknown>, fc.Arbitrary<JsonValue>])[] = [
  ...KINDS.map((kind) => [kind, constraintValues[kind.key] ?? fc.constant(null)] as const),
  [parameterKind('p') as ConstraintKind<unknown>, parameter],
];

describe.each(suites.map(([kind, values]) => ({ key: kind.key, kind, values })))(
  'constraint kind $key',
  (suite) => {
    const { kind } = suite;
    const value = suite.values
      .filter((raw) => isAccepted(() => kind.parse(raw, 'x')))
      .map((raw) => kind.parse(raw, 'x'));
    const text = (one: unknown) => canonicalize(kind.print(one));
    const options = { numRuns: RUNS };

    it('reads back what it prints, and prints that the same', () => {
      fc.assert(
        fc.property(value, (a) => {
          const again = kind.parse(kind.print(a), 'x');
          expect(text(again)).toBe(text(a));
          expect(kind.within(a, again) && kind.within(again, a)).toBe(true);
        }),
        options,
      );
    });

    it('is within itself, and within is transitive', () => {
      fc.assert(
        fc.property(value, value, value, (a, b, c) => {
          expect(kind.within(a, a)).toBe(true);
          if (kind.within(a, b) && kind.within(b, c)) expect(kind.within(a, c)).toBe(true);
        }),
        options,
      );
    });

    it('prints values within each other the same', () => {
      fc.assert(
        fc.property(value, value, (a, b) => {
          expect(kind.within(a, b) && kind.within(b, a)).toBe(text(a) === text(b));
        }),
        options,
      );
    });

    it('intersects to the greatest value within both, or to none when there is none', () => {
      fc.assert(
        fc.property(value, value, value, (a, b, x) => {
          const both = kind.intersect(a, b);
          if (both !== null) {
            expect(kind.within(both, a) && kind.within(both, b)).toBe(true);
            expect(text(kind.intersect(b, a))).toBe(text(both));
          }
          if (kind.within(x, a) && kind.within(x, b)) {
            expect(both !== null && kind.within(x, both)).toBe(true);
          }
        }),
        options,
      );
    });

    it('never lets the narrower pass a call that the broader denies', () => {
      fc.assert(
        fc.property(value, value, call, now_seconds, (a, b, one, now) => {
          if (kind.within(a, b) && kind.evaluate(a, one, now) === 'met') {
            expect(kind.evaluate(b, one, now)).toBe('met');
          }
        }),
        options,
      );
    });

    it('lets the intersection pass exactly the calls that both pass', () => {
      fc.assert(
        fc.property(value, value, call, now_seconds, (a, b, one, now) => {
          const by_both = kind.evaluate(a, one, now) === 'met' && kind.evaluate(b, one, now) === 'met';
          const both = kind.intersect(a, b);
          expect(both !== null && kind.evaluate(both, one, now) === 'met').toBe(by_both);
        }),
        options,
      );
    });

    it('denies a call without the fact that it needs', () => {
      fc.assert(
        fc.property(value, (a) => {
          const bare = { action: 'a', resource: 'https://a.example', parameters: {}, context: {} };
          expect(kind.evaluate(a, bare, Number.NaN)).toBe('unevaluable');
        }),
        { numRuns: 50 },
      );
    });

    it('says in words what it allows', () => {
      fc.assert(
        fc.property(value, (a) => {
          expect(kind.describe(a)).toMatch(/\S/);
          expect(kind.describe(a)).not.toMatch(/undefined|\[object|NaN/);
        }),
        { numRuns: 50 },
      );
    });
  },
);
