/** How a {@link Selector} reads in SQL: over missions, and over the short tables that say who must hear of it. */
import type { FeedKind } from '../domain/revocation.ts';
import type { Selector } from '../ports.ts';
import { packDigest } from './packing.ts';

/** Named parameters of every clause here. */
export interface SelectorParameters {
  readonly key: string;
  readonly digest: Buffer;
  /** The two halves of `id@version`; empty where the key has no version. */
  readonly key_id: string;
  readonly key_version: string;
}

export function selectorParameters(key: string): SelectorParameters {
  // The last @: a template's version is a version number, its id may be anything.
  const at = key.lastIndexOf('@');
  return {
    key,
    digest: packDigest(key),
    key_id: at > 0 ? key.slice(0, at) : '',
    key_version: at > 0 ? key.slice(at + 1) : '',
  };
}

/** Grounds that match, for the kinds that missions share; null for the others. */
export function groundClause(kind: FeedKind): string | null {
  switch (kind) {
    case 'agent':
      return 'select ground_n from ground_agents where agent = @key';
    case 'template':
      return `select n from grounds where template_id = @key
        union select n from grounds where template_id = @key_id and template_version = @key_version`;
    case 'attester':
      return 'select n from grounds where attester = @key';
    case 'rule':
      return 'select n from grounds where rule = @key';
    default:
      return null;
  }
}

/** Status lists that hold missions, one index step each. */
const LISTS = `with recursive lists (list) as (
    select min(status_list) from missions
    union all select (select min(status_list) from missions where status_list > list) from lists
      where list is not null)
  select list from lists where list is not null`;

/** What a bulk step may select by: a {@link Selector}, or everything. */
export type MissionSelectorKind = Selector['kind'] | 'issuer';

/** Condition on `missions m`. */
export function missionClause(kind: MissionSelectorKind): string {
  const grounds = groundClause(kind);
  if (grounds !== null) return `m.ground_n in (${grounds})`;
  switch (kind) {
    case 'mission':
      return 'm.id = @key';
    case 'mission_tree':
      return `m.n in (select n from missions where id = @key union all
        select mission_n from mission_ancestors where ancestor_n = (select n from missions where id = @key))`;
    case 'instance':
      return `m.status_list in (${LISTS}) and m.instance = @key`;
    case 'agent_key':
      return `m.status_list in (${LISTS}) and m.jkt = @digest`;
    case 'issuer':
      return 'm.state < 2';
    default:
      // A token is not a mission: revoking one ends nothing else.
      return '0';
  }
}

/**
 * Audiences (`n`) for which a credential that matches may still be alive at `@alive_after`.
 * Null where every audience must hear: keys and issuer.
 */
export function audienceQuery(kind: FeedKind): string | null {
  const grounds = groundClause(kind);
  if (grounds !== null) {
    return `select distinct audience_n as n from ground_audiences
      where ground_n in (${grounds}) and last_exp > @alive_after`;
  }
  switch (kind) {
    case 'token':
      return 'select target_n as n from credentials where id = @key and expires_at > @alive_after';
    case 'mission':
    case 'mission_tree':
    case 'instance':
    case 'agent_key':
      return `select distinct a.audience_n as n from missions m join mission_audiences a on a.mission_n = m.n
        where ${missionClause(kind)} and a.last_exp > @alive_after`;
    default:
      return null;
  }
}
