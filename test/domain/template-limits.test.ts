import { describe, expect, it } from 'vitest';
import { diffLimits, explainLimits } from '../../src/domain/template-limits.ts';

const plain = { limits: {}, lifetime_seconds: 60, max_active: null };
const limits = {
  max_derivations: 1,
  max_calls: 2,
  max_egress_volume: 3,
  max_children: 4,
  max_descendants: 5,
};

describe("a template's limits", () => {
  it('are said one by one, and one that is not there is not said', () => {
    expect(explainLimits(plain)).toStrictEqual(['a mission lives for at most 60 seconds']);
    expect(explainLimits({ ...plain, limits, max_active: 9 })).toStrictEqual([
      'a mission lives for at most 60 seconds',
      'at most 9 missions live at once',
      'a mission has at most 1 tokens',
      'a mission has at most 2 calls',
      'a mission has at most 3 bytes of answers',
      'a mission has at most 4 live missions directly below it',
      'a mission has at most 5 missions below it',
    ]);
  });

  it('are widened when they are gone: no limit is more than any', () => {
    expect(diffLimits(plain, plain)).toStrictEqual({ widened: [], narrowed: [] });
    const limited = { limits: { max_calls: 5 }, lifetime_seconds: 30, max_active: 2 };
    const wider = [
      'lifetime in seconds from 30 to 60',
      'max_active from 2 to no limit',
      'limits.max_calls from 5 to no limit',
    ];
    const closer = [
      'lifetime in seconds from 60 to 30',
      'max_active from no limit to 2',
      'limits.max_calls from no limit to 5',
    ];
    expect(diffLimits(limited, plain)).toStrictEqual({ widened: wider, narrowed: [] });
    expect(diffLimits(plain, limited)).toStrictEqual({ widened: [], narrowed: closer });
    expect(diffLimits(limited, { ...limited, max_active: 3, limits: { max_calls: 4 } })).toStrictEqual({
      widened: ['max_active from 2 to 3'],
      narrowed: ['limits.max_calls from 5 to 4'],
    });
  });
});
