/**
 * Authority as a set of pairs (verb, place): what an entry allows is the union of its pairs, and one pair is
 * covered by one pair of the other side, never by several together. Places may cover other places.
 */

export interface Pair {
  readonly verb: string;
  readonly place: string;
}

/** Whether everything at `place` is also at `by`. Reflexive, transitive, antisymmetric. */
export type Covers = (place: string, by: string) => boolean;

/** Lists of verbs times lists of places, as entries write them. */
export interface Product {
  readonly verbs: readonly string[];
  readonly places: readonly string[];
}

export function pairsOf(products: readonly Product[]): readonly Pair[] {
  return products.flatMap(({ verbs, places }) =>
    verbs.flatMap((verb) => places.map((place) => ({ verb, place }))),
  );
}

/** The first pair of `a` that no pair of `b` covers, or null. */
export function uncoveredPair(a: readonly Pair[], b: readonly Pair[], covers: Covers): Pair | null {
  const places = placesByVerb(b);
  return a.find(({ verb, place }) => !(places.get(verb)?.some((by) => covers(place, by)) ?? false)) ?? null;
}

/** The greatest set of pairs within both, reduced. */
export function intersectPairs(a: readonly Pair[], b: readonly Pair[], covers: Covers): readonly Pair[] {
  const places = placesByVerb(b);
  const met = a.flatMap(({ verb, place }) =>
    (places.get(verb) ?? []).flatMap((other) => {
      if (covers(place, other)) return [{ verb, place }];
      return covers(other, place) ? [{ verb, place: other }] : [];
    }),
  );
  return reducePairs(met, covers);
}

/** Without repeats and without what another pair covers. */
export function reducePairs(pairs: readonly Pair[], covers: Covers): readonly Pair[] {
  return [...placesByVerb(pairs)].flatMap(([verb, all]) => {
    const places = [...new Set(all)];
    return places
      .filter((place) => !places.some((by) => by !== place && covers(place, by)))
      .map((place) => ({ verb, place }));
  });
}

/** One way to write a reduced set as products: places with the same verbs together, everything sorted. */
export function productsOf(pairs: readonly Pair[]): readonly Product[] {
  const verbs_at = new Map<string, string[]>();
  for (const { verb, place } of pairs) {
    const verbs = verbs_at.get(place);
    if (verbs === undefined) verbs_at.set(place, [verb]);
    else verbs.push(verb);
  }
  const places_with = new Map<string, { readonly verbs: readonly string[]; readonly places: string[] }>();
  for (const place of [...verbs_at.keys()].sort()) {
    const verbs = [...(verbs_at.get(place) ?? [])].sort();
    const key = verbs.join('\n');
    const product = places_with.get(key);
    if (product === undefined) places_with.set(key, { verbs, places: [place] });
    else product.places.push(place);
  }
  return [...places_with].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, product]) => product);
}

function placesByVerb(pairs: readonly Pair[]): ReadonlyMap<string, readonly string[]> {
  const places = new Map<string, string[]>();
  for (const { verb, place } of pairs) {
    const known = places.get(verb);
    if (known === undefined) places.set(verb, [place]);
    else known.push(place);
  }
  return places;
}
