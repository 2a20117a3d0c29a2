/** `mission_resource_access` (wire profile 2.3): resource, actions, constraints, delegation. */

import type { JsonValue } from '../json.ts';
import { intersectActions, readActions, reduceActions, uncoveredAction } from './actions.ts';
import {
  type Constraints,
  constraintsRefusal,
  intersectConstraints,
  normalConstraints,
  readConstraints,
  writeConstraints,
} from './constraints/kinds.ts';
import { delegationWithin, intersectDelegation, normalDelegation, readDelegation } from './delegation.ts';
import type { EntryType } from './entry_type.ts';
import { RESOURCE_ACCESS, type Refusal, type ResourceAccess } from './model.ts';
import { badAuthority, member, readObject } from './parse.ts';
import { canBePrefix, normalResource, type Scope, scopeWithin } from './resource.ts';

const MEMBERS = ['type', 'resource', 'resource_match', 'actions', 'constraints', 'delegation'];

export const resourceAccess: EntryType<ResourceAccess> = {
  type: RESOURCE_ACCESS,

  parse(value, path) {
    const object = readObject(value, path, MEMBERS);
    const resource = member(object, 'resource');
    const normal = typeof resource === 'string' ? normalResource(resource) : null;
    if (normal === null) {
      throw badAuthority(
        `${path}.resource`,
        'must be an absolute URI without userinfo, query, fragment, or encoded dots and slashes',
      );
    }
    const match = member(object, 'resource_match');
    if (match !== undefined && match !== 'exact' && match !== 'prefix') {
      throw badAuthority(`${path}.resource_match`, 'must be "exact" or "prefix"');
    }
    if (match === 'prefix' && !canBePrefix(normal)) {
      throw badAuthority(`${path}.resource_match`, 'only a hierarchical URI can be a prefix');
    }
    readActions(member(object, 'actions'), `${path}.actions`);
    readConstraints(member(object, 'constraints'), `${path}.constraints`);
    const delegation = member(object, 'delegation');
    if (delegation !== undefined) readDelegation(delegation, `${path}.delegation`);
    return object as unknown as ResourceAccess;
  },

  within(a, b) {
    if (!isPlacedWithin(a, b)) {
      return { code: 'resource_not_covered', key: 'resource', value: a.resource, allowed: b.resource };
    }
    const uncovered = uncoveredAction(a.actions, b.actions);
    if (uncovered !== null) {
      return { code: 'action_not_covered', key: 'actions', value: uncovered, allowed: b.actions };
    }
    const refusal = constraintsRefusal(constraintsOf(a), constraintsOf(b));
    if (refusal !== null) return refusal;
    if (!delegationWithin(a.delegation, b.delegation)) {
      return {
        code: 'delegation_broader',
        key: 'delegation',
        ...(a.delegation === undefined ? {} : { value: a.delegation as unknown as JsonValue }),
        ...(b.delegation === undefined ? {} : { allowed: b.delegation as unknown as JsonValue }),
      };
    }
    return null;
  },

  intersect(a, b) {
    const narrow = narrower(a, b);
    if (narrow === null) {
      return refused({
        code: 'resource_not_covered',
        key: 'resource',
        value: a.resource,
        allowed: b.resource,
      });
    }
    const actions = intersectActions(a.actions, b.actions);
    if (actions.length === 0) {
      return refused({ code: 'action_not_covered', key: 'actions', value: a.actions, allowed: b.actions });
    }
    const constraints = intersectConstraints(constraintsOf(a), constraintsOf(b));
    if ('contradiction' in constraints) {
      return refused({ code: 'constraint_contradiction', key: constraints.contradiction });
    }
    const delegation = intersectDelegation(a.delegation, b.delegation);
    return { entry: write(narrow, actions, constraints, delegation) };
  },

  normalize(entry) {
    const { resource, match } = scopeOf(entry);
    return write(
      {
        type: RESOURCE_ACCESS,
        resource,
        actions: [],
        ...(match === 'prefix' ? { resource_match: match } : {}),
      },
      [...reduceActions(entry.actions)].sort(),
      normalConstraints(constraintsOf(entry)),
      entry.delegation === undefined ? undefined : normalDelegation(entry.delegation),
    );
  },

  resourceOf: (entry) => entry.resource,
};

/** An entry is compared with many others, and never changes: what constrains it is read once. */
const READ = new WeakMap<object, Constraints>();

/** Equal texts need no normalization, and in most comparisons they are equal. */
function isPlacedWithin(a: ResourceAccess, b: ResourceAccess): boolean {
  if (a.resource === b.resource) return b.resource_match === 'prefix' || a.resource_match !== 'prefix';
  return scopeWithin(scopeOf(a), scopeOf(b));
}

function refused(refusal: Refusal): { readonly refusal: Refusal } {
  return { refusal };
}

/** The one whose resource lies within the other's; the first of both when they are equal. */
function narrower(a: ResourceAccess, b: ResourceAccess): ResourceAccess | null {
  if (isPlacedWithin(a, b)) return a;
  return isPlacedWithin(b, a) ? b : null;
}

function write(
  { resource, resource_match }: ResourceAccess,
  actions: readonly string[],
  constraints: Constraints,
  delegation: ResourceAccess['delegation'],
): ResourceAccess {
  return {
    type: RESOURCE_ACCESS,
    resource,
    ...(resource_match === undefined ? {} : { resource_match }),
    actions,
    ...(constraints.size === 0 ? {} : { constraints: writeConstraints(constraints) }),
    ...(delegation === undefined ? {} : { delegation }),
  };
}

/** @throws Denied for a resource that never passed `parse` */
export function scopeOf(entry: ResourceAccess): Scope {
  const resource = normalResource(entry.resource);
  if (resource === null) throw badAuthority('resource', 'is not in an accepted form');
  return { resource, match: entry.resource_match ?? 'exact' };
}

export function constraintsOf({ constraints }: ResourceAccess): Constraints {
  if (typeof constraints !== 'object' || constraints === null)
    return readConstraints(constraints, 'constraints');
  const known = READ.get(constraints);
  if (known !== undefined) return known;
  const read = readConstraints(constraints, 'constraints');
  READ.set(constraints, read);
  return read;
}
