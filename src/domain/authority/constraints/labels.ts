/** The shared body of the kinds whose value is a list of labels, of which a call's must be among. */

import type { JsonValue } from '../../json.ts';
import type { CallContext } from '../model.ts';
import { readTexts } from '../parse.ts';
import { common, isSubsetOf } from '../subset.ts';
import type { ConstraintKind, Verdict } from './kind.ts';

const MAX_LABELS = 256;

type Labels = ReadonlySet<string>;

/** @param fact reads what the call has: one label, several, or none that can be judged */
export function labelsKind(
  key: string,
  fact: (context: CallContext) => unknown,
  words: string,
): ConstraintKind<Labels> {
  return {
    key,
    parse: (value, path) => new Set(readTexts(value, path, MAX_LABELS)),
    print: (labels): JsonValue => [...labels].sort(),
    within: (a, b) => isSubsetOf(a, b),
    intersect: (a, b) => {
      const both = common(a, b);
      return both.size === 0 ? null : both;
    },
    evaluate: (labels, call) => judge(labels, fact(call.context)),
    describe: (labels) => `${words} ${[...labels].sort().join(', ')}`,
  };
}

/** Every label of the call must be in the list; a call with none cannot be judged. */
function judge(labels: Labels, found: unknown): Verdict {
  if (typeof found === 'string') return labels.has(found) ? 'met' : 'violated';
  if (!Array.isArray(found) || found.length === 0) return 'unevaluable';
  for (let at = 0; at < found.length; at++) {
    const label: unknown = found[at];
    if (typeof label !== 'string') return 'unevaluable';
    if (!labels.has(label)) return 'violated';
  }
  return 'met';
}
