/** Ceilings that allow everything, nothing, or something other than their author will have meant. */

import { actionWithin, isFamily } from './actions.ts';
import { timeWindow } from './constraints/time_window.ts';
import {
  type AuthoritySet,
  type Catalogue,
  type Delegation,
  isResourceAccess,
  type ResourceAccess,
} from './model.ts';
import { isAtOrBelow } from './resource.ts';
import { constraintsOf, scopeOf } from './resource_access.ts';
import { within } from './sets.ts';
import { delegationOf } from './types/with_delegation.ts';

export type LintRule =
  | 'allows_nothing'
  | 'allows_everything'
  | 'unbounded'
  | 'redundant'
  | 'window_past'
  | 'unknown_audience'
  | 'unknown_action'
  | 'excluding_list'
  | 'open_delegation'
  | 'untrusted_origin';

export interface Finding {
  readonly rule: LintRule;
  /** An error keeps the template from being approved; a warning is for the approver. */
  readonly severity: 'error' | 'warning';
  /** Place of the entry; absent when it concerns the whole set. */
  readonly entry?: number;
  readonly text: string;
}

/**
 * @param catalogue the registered audiences; without it, audiences and actions are not checked
 * @param now_seconds seconds since the epoch, for windows that are over
 */
export function lint(ceiling: AuthoritySet, now_seconds: number, catalogue?: Catalogue): readonly Finding[] {
  if (ceiling.length === 0) {
    return [
      {
        rule: 'allows_nothing',
        severity: 'error',
        text: 'The ceiling is empty: no mission can be dispatched.',
      },
    ];
  }
  return ceiling.flatMap((entry, index) => {
    const others = ceiling.filter(
      (_, at) => at < index || (at > index && !within([ceiling[at] ?? entry], [entry]).ok),
    );
    const found: Omit<Finding, 'entry'>[] = [];
    if (within([entry], others).ok) {
      found.push(warning('redundant', 'Another entry of this ceiling allows all of this.'));
    }
    if (isResourceAccess(entry)) {
      found.push(...breadth(entry), ...bounds(entry, now_seconds));
      if (catalogue !== undefined) found.push(...catalogued(entry, catalogue));
    }
    found.push(...delegation(isResourceAccess(entry) ? entry.delegation : delegationOf(entry)));
    return found.map((one) => ({ ...one, entry: index }));
  });
}

function warning(rule: LintRule, text: string): Omit<Finding, 'entry'> {
  return { rule, severity: 'warning', text };
}

function error(rule: LintRule, text: string): Omit<Finding, 'entry'> {
  return { rule, severity: 'error', text };
}

function breadth(entry: ResourceAccess): readonly Omit<Finding, 'entry'>[] {
  if (entry.constraints !== undefined) return [];
  const families = entry.actions.filter(isFamily);
  const { resource, match } = scopeOf(entry);
  // "https://host/" has no path: everything on the host lies below it.
  const whole_host =
    match === 'prefix' && resource.indexOf('/', resource.indexOf('://') + 3) === resource.length - 1;
  if (whole_host && families.length > 0) {
    return [error('allows_everything', `Allows ${families.join(', ')} on the whole host without any bound.`)];
  }
  if (whole_host || families.length > 0) {
    return [warning('unbounded', 'A whole host or a whole family of actions has no constraint.')];
  }
  return [];
}

function bounds(entry: ResourceAccess, now_seconds: number): readonly Omit<Finding, 'entry'>[] {
  const found: Omit<Finding, 'entry'>[] = [];
  for (const [key, { given, value }] of constraintsOf(entry)) {
    const text = JSON.stringify(given);
    if (text.includes('"not_one_of"')) {
      found.push(
        warning('excluding_list', `${key} lists what is refused; a list of what is allowed is safer.`),
      );
    }
    if (text.includes('"untrusted"')) {
      found.push(warning('untrusted_origin', `${key} accepts values that came from untrusted content.`));
    }
    if (key === timeWindow.key && (value as { not_after: number }).not_after < now_seconds * 1_000_000) {
      found.push(error('window_past', 'The time window is over: this entry allows nothing.'));
    }
  }
  return found;
}

function delegation(granted: Delegation | undefined): readonly Omit<Finding, 'entry'>[] {
  if (granted === undefined || granted.allowed_delegates !== undefined) return [];
  return [
    warning('open_delegation', 'May be passed on to anyone that policy lets in: name allowed_delegates.'),
  ];
}

function catalogued(entry: ResourceAccess, catalogue: Catalogue): readonly Omit<Finding, 'entry'>[] {
  const { resource, match } = scopeOf(entry);
  const known = [...catalogue].filter(
    ([audience]) =>
      isAtOrBelow(resource, audience) || (match === 'prefix' && isAtOrBelow(audience, resource)),
  );
  if (known.length === 0)
    return [error('unknown_audience', `${entry.resource} belongs to no registered audience.`)];
  const actions = known.flatMap(([, actions_here]) => [...actions_here.keys()]);
  const unknown = entry.actions.filter((action) => !actions.some((one) => actionWithin(one, action)));
  if (unknown.length === entry.actions.length) {
    return [error('allows_nothing', 'The audience has none of these actions: this entry allows nothing.')];
  }
  return unknown.map((action) => warning('unknown_action', `The audience has no action ${action}.`));
}
