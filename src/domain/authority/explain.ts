/** What an authority set allows, in plain words for the person who approves it. */

import { isFamily } from './actions.ts';
import { entryType } from './entry_types.ts';
import { spokenDelegation } from './explain_delegation.ts';
import { type AuthorityEntry, type AuthoritySet, isResourceAccess, type ResourceAccess } from './model.ts';
import { constraintsOf } from './resource_access.ts';

/** One sentence an entry, in order. */
export function explain(set: AuthoritySet): readonly string[] {
  if (set.length === 0) return ['Allows nothing.'];
  return set.map(explainEntry);
}

export function explainEntry(entry: AuthorityEntry): string {
  if (isResourceAccess(entry)) return explainAccess(entry);
  return entryType(entry.type, 'entry').describe?.(entry) ?? `Allows a ${entry.type} credential.`;
}

function explainAccess(entry: ResourceAccess): string {
  const below = entry.resource_match === 'prefix' ? ' and everything below it' : '';
  const bounds = [...constraintsOf(entry).values()].map(({ kind, value }) => `only ${kind.describe(value)}`);
  const parts = [
    `Allows ${joined(entry.actions.map(spokenAction))} at ${entry.resource}${below}`,
    ...(bounds.length === 0 ? ['with no further bounds'] : bounds),
    spokenDelegation(entry.delegation),
  ];
  return `${parts.join('; ')}.`;
}

function spokenAction(action: string): string {
  return isFamily(action) ? `every action under ${action.slice(0, -2)}` : action;
}

function joined(words: readonly string[]): string {
  return words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} and ${words.at(-1)}`;
}
