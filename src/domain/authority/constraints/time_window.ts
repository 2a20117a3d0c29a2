/** `time_window`: the call happens within the window, by the verifier's clock in UTC. Both ends are included. */

import type { JsonObject } from '../../json.ts';
import { instantMicros, printInstant } from '../instant.ts';
import { badAuthority, member, readObject } from '../parse.ts';
import type { ConstraintKind } from './kind.ts';

/** Microseconds; an end that is not given is infinite. */
interface Window {
  readonly not_before: number;
  readonly not_after: number;
}

export const timeWindow: ConstraintKind<Window> = {
  key: 'time_window',
  parse(value, path) {
    const object = readObject(value, path, ['not_before', 'not_after']);
    if (Object.keys(object).length === 0) throw badAuthority(path, 'must have not_before or not_after');
    const window = {
      not_before: readEnd(object, 'not_before', path, Number.NEGATIVE_INFINITY),
      not_after: readEnd(object, 'not_after', path, Number.POSITIVE_INFINITY),
    };
    if (isEmpty(window)) throw badAuthority(path, 'is empty: not_after lies before not_before');
    return window;
  },
  print: ({ not_before, not_after }) => ({
    ...(Number.isFinite(not_before) ? { not_before: printInstant(not_before) } : {}),
    ...(Number.isFinite(not_after) ? { not_after: printInstant(not_after) } : {}),
  }),
  within: (a, b) => a.not_before >= b.not_before && a.not_after <= b.not_after,
  intersect(a, b) {
    const window = {
      not_before: Math.max(a.not_before, b.not_before),
      not_after: Math.min(a.not_after, b.not_after),
    };
    return isEmpty(window) ? null : window;
  },
  evaluate({ not_before, not_after }, _call, now_seconds) {
    const now = now_seconds * 1_000_000;
    if (!Number.isFinite(now)) return 'unevaluable';
    return now >= not_before && now <= not_after ? 'met' : 'violated';
  },
  describe({ not_before, not_after }) {
    const from = Number.isFinite(not_before) ? ` from ${printInstant(not_before)}` : '';
    const to = Number.isFinite(not_after) ? ` until ${printInstant(not_after)}` : '';
    return `in the time${from}${to}`;
  },
};

function readEnd(object: JsonObject, name: string, path: string, absent: number): number {
  const value = member(object, name);
  if (value === undefined) return absent;
  const micros = typeof value === 'string' ? instantMicros(value) : Number.NaN;
  if (Number.isNaN(micros)) throw badAuthority(`${path}.${name}`, 'must be an RFC 3339 date-time');
  return micros;
}

function isEmpty({ not_before, not_after }: Window): boolean {
  return not_before > not_after;
}
