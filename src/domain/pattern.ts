/**
 * The only pattern language of the configuration: exact strings, or `*` standing for one whole segment between
 * slashes. It cannot be written so that it matches more than it seems to, and it runs in linear time.
 */

/** `k8s/payments/*` matches `k8s/payments/reconciler`, not `k8s/payments`, not `k8s/payments/a/b`. */
export function matchesPattern(pattern: string, value: string): boolean {
  const wanted = pattern.split('/');
  const segments = value.split('/');
  return (
    wanted.length === segments.length &&
    wanted.every((segment, index) => (segment === '*' ? segments[index] !== '' : segment === segments[index]))
  );
}

/** Null if `pattern` is well formed, else what is wrong: `*` beside other characters would look like a wildcard. */
export function patternFault(pattern: string): string | null {
  if (pattern === '') return 'is empty';
  for (const segment of pattern.split('/'))
    if (segment !== '*' && segment.includes('*')) return 'has a * that is not a whole segment between slashes';
  return null;
}
