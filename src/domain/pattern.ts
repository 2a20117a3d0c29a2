/** Patterns of the configuration as text; the language is that of trust rules (`trust.ts`). */
import { matchesPattern as matchesParsed, parsePattern } from './trust.ts';

/** `k8s/payments/*` matches `k8s/payments/reconciler`, not `k8s/payments`, not `k8s/payments/a/b`. */
export function matchesPattern(pattern: string, value: string): boolean {
  return matchesParsed(parsePattern(pattern), value);
}

/** Null if `pattern` is well formed, else what is wrong with it. */
export function patternFault(pattern: string): string | null {
  try {
    parsePattern(pattern);
    return null;
  } catch (cause) {
    return (cause as Error).message;
  }
}
