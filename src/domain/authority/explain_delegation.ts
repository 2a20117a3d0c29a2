/** Whom an entry may be passed on to, in plain words. */

import type { Delegation } from './model.ts';

export function spokenDelegation(delegation: Delegation | undefined): string {
  if (delegation === undefined) return 'not to be passed on to a child mission';
  const times = delegation.max_depth === 1 ? 'one level deep' : `up to ${delegation.max_depth} levels deep`;
  const who = delegation.allowed_delegates?.map(({ sub, sub_profile }) =>
    [...(sub === undefined ? [] : [sub]), ...(sub_profile === undefined ? [] : [`any ${sub_profile}`])].join(
      ' that is ',
    ),
  );
  return `may be passed on ${times}${who === undefined ? ' to whoever policy lets in' : ` to ${who.join(' or ')}`}`;
}
