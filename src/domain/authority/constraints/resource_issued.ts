/**
 * `resource_issued_after` and `resource_issued_before`: when the thing that the call concerns was issued. Both
 * ends are included (draft: "at or after", "at or before").
 */

import { instantMicros, printInstant } from '../instant.ts';
import { badAuthority } from '../parse.ts';
import type { ConstraintKind } from './kind.ts';

export const resourceIssuedAfter = issued('resource_issued_after', 1, 'on or after');
export const resourceIssuedBefore = issued('resource_issued_before', -1, 'on or before');

/** @param direction 1 when later is narrower, -1 when earlier is */
function issued(key: string, direction: 1 | -1, words: string): ConstraintKind<number> {
  return {
    key,
    parse(value, path) {
      const micros = typeof value === 'string' ? instantMicros(value) : Number.NaN;
      if (Number.isNaN(micros)) {
        throw badAuthority(path, 'must be an RFC 3339 date-time such as "2026-07-01T00:00:00Z"');
      }
      return micros;
    },
    print: printInstant,
    within: (a, b) => (a - b) * direction >= 0,
    intersect: (a, b) => ((a - b) * direction >= 0 ? a : b),
    evaluate(bound, { context }) {
      const issued_at: unknown = context.resource_issued_at;
      const micros = typeof issued_at === 'string' ? instantMicros(issued_at) : Number.NaN;
      if (Number.isNaN(micros)) return 'unevaluable';
      return (micros - bound) * direction >= 0 ? 'met' : 'violated';
    },
    describe: (micros) => `what was issued ${words} ${printInstant(micros)}`,
  };
}
