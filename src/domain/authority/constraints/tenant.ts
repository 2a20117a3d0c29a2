/** `tenant`: the call concerns this tenant and no other, as the verifier sets it in `context.tenant`. */

import { readText } from '../parse.ts';
import type { ConstraintKind } from './kind.ts';

export const tenant: ConstraintKind<string> = {
  key: 'tenant',
  parse: (value, path) => readText(value, path),
  print: (value) => value,
  within: (a, b) => a === b,
  intersect: (a, b) => (a === b ? a : null),
  evaluate: (value, { context }) => {
    if (typeof context.tenant !== 'string' || context.tenant === '') return 'unevaluable';
    return context.tenant === value ? 'met' : 'violated';
  },
  describe: (value) => `for the tenant ${value}`,
};
