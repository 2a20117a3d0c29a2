/** `parameters.<name>`: one parameter of the call, by its value and by where the value came from. */

import type { JsonObject, JsonValue } from '../../json.ts';
import { badAuthority, member, readObject } from '../parse.ts';
import type { ConstraintKind } from './kind.ts';
import {
  describeOrigin,
  evaluateOrigin,
  intersectOrigin,
  type OriginRule,
  originWithin,
  parseOrigin,
  printOrigin,
} from './operators/origin.ts';
import {
  describePredicate,
  intersectPredicates,
  judge,
  type Predicate,
  parsePredicate,
  predicateWithin,
  printPredicate,
} from './predicate.ts';

/** At least one of both is given. */
export interface ParameterRule {
  readonly value: Predicate | null;
  readonly origin: OriginRule | null;
}

export function parameterKind(name: string): ConstraintKind<ParameterRule> {
  return {
    key: `parameters.${name}`,
    parse: parseRule,
    print: ({ value, origin }): JsonValue => ({
      ...(value === null ? {} : printPredicate(value)),
      ...(origin === null ? {} : { origin: printOrigin(origin) }),
    }),
    within(a, b) {
      if (!originWithin(a.origin, b.origin)) return false;
      return b.value === null || (a.value !== null && predicateWithin(a.value, b.value));
    },
    intersect(a, b) {
      const origin = intersectOrigin(a.origin, b.origin);
      if (origin === undefined) return null;
      if (a.value === null || b.value === null) return { value: a.value ?? b.value, origin };
      const value = intersectPredicates(a.value, b.value);
      return value === null ? null : { value, origin };
    },
    evaluate({ value, origin }, call) {
      const { parameters } = call;
      // An inherited member is not what the caller sent.
      if (typeof parameters !== 'object' || parameters === null || !Object.hasOwn(parameters, name)) {
        return 'unevaluable';
      }
      if (value !== null) {
        const found = parameters[name];
        const verdict = found === undefined ? 'unevaluable' : judge(value, found);
        if (verdict !== 'met') return verdict;
      }
      return origin === null ? 'met' : evaluateOrigin(origin, call, name);
    },
    describe({ value, origin }) {
      const parts = [
        ...(value === null ? [] : [describePredicate(value)]),
        ...(origin === null ? [] : [describeOrigin(origin)]),
      ];
      return `with ${name} ${parts.join(', ')}`;
    },
  };
}

function parseRule(value: JsonValue, path: string): ParameterRule {
  const object: JsonObject = readObject(value, path);
  const { origin: _origin, ...rest } = object;
  const origin = member(object, 'origin');
  const has_rest = Object.keys(rest).length > 0;
  if (!has_rest && origin === undefined) throw badAuthority(path, 'must have an operator');
  return {
    value: has_rest ? parsePredicate(rest, path) : null,
    origin: origin === undefined ? null : parseOrigin(origin, `${path}.origin`),
  };
}
