/** Delegation: to whom, how deep, and never to one whom only one of two sides names. */
import { describe, expect, it } from 'vitest';
import {
  intersectDelegation,
  mayDelegate,
  normalDelegation,
  readDelegation,
} from '../../../src/domain/authority/delegation.ts';
import type { Denied } from '../../../src/domain/denial.ts';
import type { JsonObject } from '../../../src/domain/json.ts';

function refusal(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    return (error as Denied).private_reason;
  }
  return 'accepted';
}

describe('delegation', () => {
  const to = (max_depth: number, ...allowed_delegates: JsonObject[]) => ({ max_depth, allowed_delegates });

  it('of both is to those that both name, as deep as both say', () => {
    expect(
      intersectDelegation(to(3, { sub: 'a' }, { sub: 'b' }), to(2, { sub: 'b' }, { sub: 'c' })),
    ).toStrictEqual(to(2, { sub: 'b' }));
    expect(intersectDelegation(to(3, { sub: 'a' }), to(2, { sub: 'b' }))).toBeUndefined();
    expect(intersectDelegation(to(3, { sub_profile: 'p' }), to(2, { sub_profile: 'q' }))).toBeUndefined();
    expect(intersectDelegation(to(3, { sub: 'a' }), to(2, { sub_profile: 'p' }))).toStrictEqual(
      to(2, { sub: 'a', sub_profile: 'p' }),
    );
    expect(
      intersectDelegation(to(3, { sub: 'a', sub_profile: 'p' }), to(2, { sub: 'a', sub_profile: 'q' })),
    ).toBeUndefined();
    expect(
      intersectDelegation(to(3, { sub: 'a', sub_profile: 'p' }), to(2, { sub_profile: 'p' }, { sub: 'z' })),
    ).toStrictEqual(to(2, { sub: 'a', sub_profile: 'p' }));
    expect(intersectDelegation({ max_depth: 3 }, to(2, { sub: 'a' }))).toStrictEqual(to(2, { sub: 'a' }));
    expect(intersectDelegation({ max_depth: 1 }, to(2, { sub: 'a' }))).toStrictEqual(to(1, { sub: 'a' }));
    expect(intersectDelegation(to(1, { sub: 'a' }), { max_depth: 2 })).toStrictEqual(to(1, { sub: 'a' }));
    expect(intersectDelegation(undefined, { max_depth: 2 })).toBeUndefined();
    expect(intersectDelegation({ max_depth: 2 }, undefined)).toBeUndefined();
  });

  it('in normal form names nobody twice, and nobody whom another matcher names', () => {
    expect(
      normalDelegation(to(2, { sub: 'b' }, { sub: 'a' }, { sub: 'b' }, { sub: 'a', sub_profile: 'p' })),
    ).toStrictEqual(to(2, { sub: 'a' }, { sub: 'b' }));
    expect(normalDelegation({ max_depth: 2 })).toStrictEqual({ max_depth: 2 });
  });

  it('is to one who is named, by what the broker attested', () => {
    const one = to(2, { sub: 'a', sub_profile: 'p' });
    expect(mayDelegate(one, { sub: 'a', sub_profile: 'o p' }, 1)).toBe(true);
    expect(mayDelegate(one, { sub: 'a', sub_profile: 'op' }, 1)).toBe(false);
    expect(mayDelegate(one, { sub: 'a' }, 1)).toBe(false);
    expect(mayDelegate(one, { sub: 'b', sub_profile: 'p' }, 1)).toBe(false);
    expect(mayDelegate(one, { sub: 'a', sub_profile: 'p' }, 2)).toBe(true);
    expect(mayDelegate(one, { sub: 'a', sub_profile: 'p' }, 3)).toBe(false);
    expect(mayDelegate(one, { sub: 'a', sub_profile: 'p' }, 0)).toBe(false);
    expect(mayDelegate(undefined, { sub: 'a' }, 1)).toBe(false);
    expect(mayDelegate({ max_depth: 1 }, { sub: 'a' }, 1)).toBe(true);
  });

  it('is read strictly', () => {
    for (const [value, wrong] of [
      [{ max_depth: 1, allowed_delegates: [{}] }, 'd.allowed_delegates[0]: must name sub or sub_profile'],
      [{ max_depth: 1, allowed_delegates: [{ sub: 1 }] }, 'd.allowed_delegates[0].sub: must be a string'],
      [{ max_depth: 1, allowed_delegates: [{ who: 'a' }] }, 'd.allowed_delegates[0].who: unknown member'],
      [{ max_depth: 1, more: 1 }, 'd.more: unknown member'],
    ] as const)
      expect(refusal(() => readDelegation(value, 'd'))).toBe(wrong);
    expect(
      refusal(() =>
        readDelegation(
          { max_depth: 1, allowed_delegates: Array.from({ length: 64 }, (_, at) => ({ sub: `${at}` })) },
          'd',
        ),
      ),
    ).toBe('accepted');
  });
});
