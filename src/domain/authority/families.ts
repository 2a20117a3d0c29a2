/** Families become the audience's catalogued actions at issuance, so that a containment can take out a single one. */

import { actionWithin, isFamily, isLiteralAction } from './actions.ts';
import {
  type AuthoritySet,
  type Catalogue,
  type CataloguedAction,
  isResourceAccess,
  type ResourceAccess,
} from './model.ts';
import { badAuthority } from './parse.ts';
import { isAtOrBelow, normalResource, type Scope } from './resource.ts';
import { scopeOf } from './resource_access.ts';

/**
 * Builds a catalogue from registered audiences.
 * @throws Denied for a resource or an action that is not in an accepted form
 */
export function catalogueOf(
  audiences: Iterable<{
    readonly resource: string;
    readonly actions: Readonly<Record<string, { readonly labels?: readonly string[] }>>;
  }>,
): Catalogue {
  const catalogue = new Map<string, ReadonlyMap<string, CataloguedAction>>();
  for (const { resource, actions } of audiences) {
    const normal = normalResource(resource);
    if (normal === null) throw badAuthority('audience', 'resource is not in an accepted form');
    const found = new Map<string, CataloguedAction>();
    for (const [action, { labels }] of Object.entries(actions)) {
      if (!isLiteralAction(action)) throw badAuthority('audience', `"${action}" is not one literal action`);
      found.set(action, { labels: labels ?? [] });
    }
    catalogue.set(normal, found);
  }
  return catalogue;
}

/**
 * Replaces each family by the catalogued actions under it, sorted after the literal ones; the result is within
 * the set. A family with no catalogued action grants nothing and goes, and with it an entry left with none.
 */
export function expandFamilies(set: AuthoritySet, catalogue: Catalogue): AuthoritySet {
  return set.flatMap((entry) => {
    if (!isResourceAccess(entry) || !entry.actions.some(isFamily)) return [entry];
    const actions = expand(entry, catalogue);
    return actions.length === 0 ? [] : [{ ...entry, actions }];
  });
}

function expand(entry: ResourceAccess, catalogue: Catalogue): readonly string[] {
  const families = entry.actions.filter(isFamily);
  const found = new Set(entry.actions.filter((action) => !isFamily(action)));
  const catalogued = new Set<string>();
  for (const resource of audiencesOf(scopeOf(entry), catalogue)) {
    for (const action of catalogue.get(resource)?.keys() ?? []) {
      if (families.some((family) => actionWithin(action, family))) catalogued.add(action);
    }
  }
  for (const action of [...catalogued].sort()) found.add(action);
  return [...found];
}

/** The audience that the scope is at or below (the nearest), and those that a prefix has below it. */
export function audiencesOf({ resource, match }: Scope, catalogue: Catalogue): readonly string[] {
  let nearest: string | null = null;
  const below: string[] = [];
  for (const audience of catalogue.keys()) {
    if (isAtOrBelow(resource, audience)) {
      if (nearest === null || audience.length > nearest.length) nearest = audience;
    } else if (match === 'prefix' && isAtOrBelow(audience, resource)) below.push(audience);
  }
  return nearest === null ? below : [nearest, ...below];
}
