/** Two set operations that the language has only from ES2025 on. */

export function isSubsetOf<T>(a: ReadonlySet<T>, b: ReadonlySet<T>): boolean {
  for (const element of a) if (!b.has(element)) return false;
  return true;
}

export function common<T>(a: ReadonlySet<T>, b: ReadonlySet<T>): ReadonlySet<T> {
  return new Set([...a].filter((element) => b.has(element)));
}
