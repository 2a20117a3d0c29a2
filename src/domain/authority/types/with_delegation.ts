/**
 * What a mission may pass on to a child, said in one way for every type of provider entry: the `delegation` member
 * beside the type's own, with the same rule as in `mission_resource_access`. Absent means that nobody gets it.
 */

import type { JsonObject, JsonValue } from '../../json.ts';
import { delegationWithin, intersectDelegation, normalDelegation, readDelegation } from '../delegation.ts';
import type { EntryType } from '../entry_type.ts';
import { spokenDelegation } from '../explain_delegation.ts';
import type { Delegation, ProviderEntry, Refusal } from '../model.ts';
import { member } from '../parse.ts';

export function delegationOf(entry: ProviderEntry): Delegation | undefined {
  return member(entry as JsonObject, 'delegation') as Delegation | undefined;
}

export function withDelegation<E extends ProviderEntry>(type: EntryType<E>): EntryType<E> {
  const refusal = (a: E, b: E): Refusal | null => {
    const [wanted, allowed] = [delegationOf(a), delegationOf(b)];
    if (delegationWithin(wanted, allowed)) return null;
    return {
      code: 'delegation_broader',
      key: 'delegation',
      ...(wanted === undefined ? {} : { value: wanted as unknown as JsonValue }),
      ...(allowed === undefined ? {} : { allowed: allowed as unknown as JsonValue }),
    };
  };
  const { resourceOf, describe } = type;
  return {
    type: type.type,

    parse(value, path) {
      const delegation = member(value, 'delegation');
      if (delegation === undefined) return type.parse(value, path);
      readDelegation(delegation, `${path}.delegation`);
      type.parse(bare(value), path);
      return value as unknown as E;
    },

    within: (a, b) => type.within(bare(a), bare(b)) ?? refusal(a, b),

    intersect(a, b) {
      const [ours, theirs] = [bare(a), bare(b)];
      const met =
        type.within(ours, theirs) === null
          ? { entry: ours }
          : type.within(theirs, ours) === null
            ? { entry: theirs }
            : type.intersect(ours, theirs);
      if ('refusal' in met) return met;
      return { entry: joined(met.entry, intersectDelegation(delegationOf(a), delegationOf(b))) };
    },

    normalize(entry) {
      const delegation = delegationOf(entry);
      return joined(
        type.normalize(bare(entry)),
        delegation === undefined ? undefined : normalDelegation(delegation),
      );
    },

    ...(resourceOf !== undefined && { resourceOf: (entry: E) => resourceOf(bare(entry)) }),
    ...(describe !== undefined && {
      describe: (entry: E) => {
        const delegation = delegationOf(entry);
        const said = describe(bare(entry));
        return delegation === undefined ? said : `${said.slice(0, -1)}; ${spokenDelegation(delegation)}.`;
      },
    }),
  };
}

/** The entry as its own type knows it. */
function bare<E extends JsonObject>(entry: E): E {
  if (!Object.hasOwn(entry, 'delegation')) return entry;
  const { delegation: _, ...rest } = entry;
  return rest as unknown as E;
}

function joined<E extends ProviderEntry>(entry: E, delegation: Delegation | undefined): E {
  return delegation === undefined ? entry : { ...entry, delegation: delegation as unknown as JsonValue };
}
