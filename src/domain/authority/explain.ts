/** What an authority set allows, in plain words for the person who approves it. */

import { isFamily } from './actions.ts';
import { entryType } from './entry_types.ts';
import {
  type AuthorityEntry,
  type AuthoritySet,
  type Delegation,
  isResourceAccess,
  type ResourceAccess,
} from './model.ts';
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

function spokenDelegation(delegation: Delegation | undefined): string {
  if (delegation === undefined) return 'not to be passed on to a child mission';
  const times = delegation.max_depth === 1 ? 'one level deep' : `up to ${delegation.max_depth} levels deep`;
  const who = delegation.allowed_delegates?.map(({ sub, sub_profile }) =>
    [...(sub === undefined ? [] : [sub]), ...(sub_profile === undefined ? [] : [`any ${sub_profile}`])].join(
      ' that is ',
    ),
  );
  return `may be passed on ${times}${who === undefined ? ' to whoever policy lets in' : ` to ${who.join(' or ')}`}`;
}

function joined(words: readonly string[]): string {
  return words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} and ${words.at(-1)}`;
}
