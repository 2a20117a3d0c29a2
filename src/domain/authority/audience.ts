/** The part of a set that one audience, or one child, gets to see. */

import { mayDelegate } from './delegation.ts';
import { type AuthoritySet, isResourceAccess } from './model.ts';
import { isAtOrBelow, normalResource } from './resource.ts';
import { scopeOf } from './resource_access.ts';
import { delegationOf } from './types/with_delegation.ts';

/**
 * What a token for the audience `resource` carries: entries at it or below it, as granted, and entries with a
 * wider prefix cut down to it. Empty for a resource in a refused form. The result is within the set.
 */
export function forAudience(set: AuthoritySet, resource: string): AuthoritySet {
  const audience = normalResource(resource);
  if (audience === null) return [];
  return set.flatMap((entry) => {
    if (!isResourceAccess(entry)) return [];
    const scope = scopeOf(entry);
    if (isAtOrBelow(scope.resource, audience)) return [entry];
    if (scope.match === 'exact' || !isAtOrBelow(audience, scope.resource)) return [];
    return [{ ...entry, resource, resource_match: 'prefix' as const }];
  });
}

/**
 * The ceiling of a child mission: entries that their `delegation` lets `delegate` exercise at `depth` (1 is a
 * direct child), carried intact so that the next hop is judged the same way.
 * @param delegate as the broker attested it, never as it describes itself
 */
export function delegable(
  set: AuthoritySet,
  delegate: { readonly sub: string; readonly sub_profile?: string },
  depth: number,
): AuthoritySet {
  return set.filter((entry) =>
    mayDelegate(isResourceAccess(entry) ? entry.delegation : delegationOf(entry), delegate, depth),
  );
}
