/** The laws that every type of provider entry keeps, on random entries of a small world. */
import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import type { EntryType } from '../../../../src/domain/authority/index.ts';
import { type AuthorityEntry, intersect, within } from '../../../../src/domain/authority/index.ts';
import { Denied } from '../../../../src/domain/denial.ts';
import { canonicalize, type JsonObject, type JsonValue } from '../../../../src/domain/json.ts';

const RUNS = Math.min(Number(process.env['SORTIE_PROPERTY_RUNS'] ?? 2000), 100_000);
const options = { numRuns: RUNS };

export interface EntryCases<E extends AuthorityEntry> {
  readonly type: EntryType<E>;
  /** Random entries over few names, so that they overlap and nest; all must parse. */
  readonly entries: fc.Arbitrary<JsonObject>;
  /** What must be refused: a change of a good entry, and the path that the refusal names. */
  readonly good: JsonObject;
  readonly bad: readonly (readonly [change: JsonObject, path: string])[];
  /** Members that may be left out. */
  readonly optional: readonly string[];
  /** Members that may be left out and are no bounds: without them less is allowed. */
  readonly needless?: readonly string[];
}

export function keepsTheLaws<E extends AuthorityEntry>({
  type,
  entries,
  good,
  bad,
  optional,
  needless = [],
}: EntryCases<E>): void {
  const parsed = entries.map((entry) => type.parse(entry, 'entry'));
  const ok = (a: E, b: E) => type.within(a, b) === null;
  const canonical = (entry: E) => canonicalize(entry as JsonValue);
  const meet = (a: E, b: E): E | null => {
    if (ok(a, b)) return a;
    if (ok(b, a)) return b;
    const met = type.intersect(a, b);
    return 'entry' in met ? met.entry : null;
  };

  it('covers itself', () => {
    fc.assert(
      fc.property(parsed, (a) => {
        expect(ok(a, a)).toBe(true);
      }),
      options,
    );
  });

  it('is transitive', () => {
    fc.assert(
      fc.property(parsed, parsed, parsed, (a, b, c) => {
        if (ok(a, b) && ok(b, c)) expect(ok(a, c)).toBe(true);
        const ab = meet(a, b);
        const abc = ab === null ? null : meet(ab, c);
        if (abc !== null) expect(ok(abc, a) && ok(abc, b) && ok(abc, c)).toBe(true);
      }),
      options,
    );
  });

  it('has one normal form for entries within each other, which parses and is stable', () => {
    fc.assert(
      fc.property(parsed, parsed, (a, b) => {
        const normal = type.normalize(a);
        expect(type.parse(normal as unknown as JsonObject, 'entry')).toEqual(normal);
        expect(ok(a, normal) && ok(normal, a)).toBe(true);
        expect(canonical(type.normalize(normal))).toBe(canonical(normal));
        expect(ok(a, b) && ok(b, a)).toBe(canonical(normal) === canonical(type.normalize(b)));
      }),
      options,
    );
  });

  it('intersects to the greatest entry within both', () => {
    fc.assert(
      fc.property(parsed, parsed, parsed, (a, b, c) => {
        const met = meet(a, b);
        if (met !== null) expect(ok(met, a) && ok(met, b)).toBe(true);
        if (ok(c, a) && ok(c, b)) {
          expect(met).not.toBeNull();
          if (met !== null) expect(ok(c, met)).toBe(true);
        }
      }),
      options,
    );
  });

  it('narrows inside a set as it does alone', () => {
    fc.assert(
      fc.property(parsed, fc.array(parsed, { maxLength: 3 }), (a, ceiling) => {
        const { granted } = intersect([a], ceiling);
        expect(within(granted, ceiling).ok).toBe(true);
        expect(within(granted, [a]).ok).toBe(true);
      }),
      options,
    );
  });

  it('never drops a member that the ceiling has', () => {
    fc.assert(
      fc.property(parsed, fc.constantFrom(...optional), (ceiling, name) => {
        if (!(name in ceiling)) return;
        const { [name]: _gone, ...wanted } = ceiling as JsonObject;
        expect(type.within(wanted as unknown as E, ceiling)).toMatchObject({
          code: 'member_broader',
          key: name,
        });
        const { granted } = intersect([wanted as unknown as E], [ceiling]);
        expect(granted.map((entry) => (entry as JsonObject)[name])).toEqual([(ceiling as JsonObject)[name]]);
      }),
      options,
    );
  });

  it('takes the good entry as it is', () => {
    expect(type.parse(good, 'entry')).toBe(good);
  });

  it.each([...bad, [{ unheard_of: true }, 'entry.unheard_of'] as const])('refuses %j', (change, path) => {
    let refusal: unknown;
    try {
      type.parse({ ...good, ...change }, 'entry');
    } catch (cause) {
      refusal = cause;
    }
    expect(refusal).toBeInstanceOf(Denied);
    const { denial } = refusal as Denied;
    expect(denial.tag).toBe('invalid_authorization_details');
    expect('detail' in denial ? denial.detail : '').toContain(`${path}:`);
  });

  it('refuses an entry without a member that it needs', () => {
    for (const name of Object.keys(good)) {
      if (name === 'type' || optional.includes(name) || needless.includes(name)) continue;
      const { [name]: _gone, ...rest } = good;
      expect(() => type.parse(rest, 'entry')).toThrow(Denied);
    }
  });
}
