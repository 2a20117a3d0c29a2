import { expect, it } from 'vitest';
import { diffLimits, explainLimits } from '../../src/domain/template-limits.ts';

const template = { limits: { max_calls: 10, max_egress_volume: 500 }, lifetime_seconds: 3600, max_active: 5 };

it('says each limit in words, and the lifetime always', () => {
  expect(explainLimits(template)).toEqual([
    'a mission lives for at most 3600 seconds',
    'at most 5 missions live at once',
    'a mission has at most 10 calls',
    'a mission has at most 500 bytes of answers',
  ]);
  expect(explainLimits({ limits: {}, lifetime_seconds: 60, max_active: null })).toEqual([
    'a mission lives for at most 60 seconds',
  ]);
});

it('a limit that is raised or gone widens, one that is new or lower narrows', () => {
  expect(diffLimits(template, template)).toEqual({ widened: [], narrowed: [] });
  const after = {
    limits: { max_egress_volume: 400, max_children: 2, max_descendants: 0 },
    lifetime_seconds: 7200,
    max_active: null,
  };
  expect(diffLimits(template, after)).toEqual({
    widened: [
      'lifetime in seconds from 3600 to 7200',
      'max_active from 5 to no limit',
      'limits.max_calls from 10 to no limit',
    ],
    narrowed: [
      'limits.max_egress_volume from 500 to 400',
      'limits.max_children from no limit to 2',
      'limits.max_descendants from no limit to 0',
    ],
  });
  expect(diffLimits(after, template).narrowed).toHaveLength(3);
});
