/**
 * `prefix`: a string that starts with this one, unit for unit. Where the prefix has a slash, the value is a
 * path, and one that could step out of it (dot segments, backslashes, encoded dots or slashes) denies.
 */

import { readText } from '../../parse.ts';
import type { Operator } from './operator.ts';

export const prefix: Operator<string> = {
  key: 'prefix',
  parse: (value, path) => readText(value, path, 1024),
  print: (value) => value,
  within: (a, b) => a.startsWith(b),
  intersect: (a, b) => {
    if (a.startsWith(b)) return a;
    return b.startsWith(a) ? b : null;
  },
  evaluate(value, found) {
    if (typeof found !== 'string') return 'unevaluable';
    if (!found.startsWith(value)) return 'violated';
    return value.includes('/') && canStepOut(found) ? 'unevaluable' : 'met';
  },
  describe: (value) => `starting with ${value}`,
};

/** A percent sign is enough: "%2e", "%252e" and overlong forms all need one, and a plain path needs none. */
function canStepOut(text: string): boolean {
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    if (unit === 0x25 || unit === 0x5c || unit < 0x20 || unit === 0x7f) return true;
    if (unit !== 0x2e || (at > 0 && text.charCodeAt(at - 1) !== 0x2f)) continue;
    const next = text.charCodeAt(at + 1) === 0x2e ? at + 2 : at + 1;
    if (next === text.length || text.charCodeAt(next) === 0x2f) return true;
  }
  return false;
}
