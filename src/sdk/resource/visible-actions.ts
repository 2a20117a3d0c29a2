/** Which actions a token names at all, whatever its constraints: what a list may show to its holder. */
import {
  type AuthoritySet,
  isAtOrBelow,
  isFamily,
  isResourceAccess,
  normalResource,
} from '../../domain/authority/index.ts';

/** A hint for people and models, never a permit: a call is still judged in full. */
export function namesAction(set: AuthoritySet, resource: string, action: string): boolean {
  const wanted = normalResource(resource);
  if (wanted === null) return false;
  return set.some((entry) => {
    if (!isResourceAccess(entry)) return false;
    const granted = normalResource(entry.resource);
    if (granted === null) return false;
    const here = granted === wanted || (entry.resource_match === 'prefix' && isAtOrBelow(wanted, granted));
    return here && entry.actions.some((name) => name === action || isWithin(action, name));
  });
}

function isWithin(action: string, name: string): boolean {
  if (!isFamily(name)) return false;
  const stem = name.slice(0, -1);
  return action.length > stem.length && action.startsWith(stem);
}
