/**
 * Ceilings that name actions by the audience's catalogue (docs/authority.md, Includes). Resolved once, where a
 * template is read: what is hashed, approved and compared holds plain actions only, so that an action that an
 * audience gains later is in no template until somebody approves it there.
 */
import type { JsonObject, JsonValue } from '../json.ts';
import { isJsonObject } from '../json.ts';
import { actionWithin, isFamily, isLiteralAction } from './actions.ts';
import { audiencesOf } from './families.ts';
import { type Catalogue, type CataloguedAction, RESOURCE_ACCESS, type ResourceMatch } from './model.ts';
import { badAuthority, member, readObject, readText } from './parse.ts';
import { normalResource } from './resource.ts';

/**
 * Puts actions in place of every `{include: {label?, family?}}` among the actions of a ceiling's entries.
 * @param ceiling as read from a file; anything but includes is left for the set's own reader to judge
 * @param catalogue of the registered audiences; null where they are not known, and then an include is refused
 * @throws Denied for an include of another form, of nothing, or of more than one audience
 */
export function resolveIncludes(ceiling: JsonValue, catalogue: Catalogue | null, path: string): JsonValue {
  if (!Array.isArray(ceiling)) return ceiling;
  return ceiling.map((entry: JsonValue, index) => {
    if (!isJsonObject(entry) || member(entry, 'type') !== RESOURCE_ACCESS) return entry;
    const actions = member(entry, 'actions');
    if (!Array.isArray(actions) || !actions.some(isJsonObject)) return entry;
    return { ...entry, actions: resolved(entry, actions, catalogue, `${path}[${index}]`) };
  });
}

function resolved(
  entry: JsonObject,
  actions: readonly JsonValue[],
  catalogue: Catalogue | null,
  path: string,
): readonly JsonValue[] {
  const found: JsonValue[] = [];
  for (const [index, action] of actions.entries()) {
    if (!isJsonObject(action)) {
      // Repeated ones are the reader's to refuse, as without includes.
      found.push(action);
      continue;
    }
    const at = `${path}.actions[${index}]`;
    const named = included(action, cataloguedAt(entry, catalogue, path), at);
    for (const name of named) if (!actions.includes(name) && !found.includes(name)) found.push(name);
  }
  return found;
}

function included(
  element: JsonObject,
  catalogued: ReadonlyMap<string, CataloguedAction>,
  path: string,
): readonly string[] {
  const include = readObject(member(readObject(element, path, ['include']), 'include'), `${path}.include`, [
    'label',
    'family',
  ]);
  const label = optionalText(include, 'label', path);
  const family = optionalText(include, 'family', path);
  if (label === undefined && family === undefined)
    throw badAuthority(`${path}.include`, 'must name a label, a family or both');
  if (family !== undefined && !isFamily(family))
    throw badAuthority(`${path}.include.family`, 'must be a family such as "invoices.*"');
  const found = [...catalogued]
    .filter(
      ([name, { labels }]) =>
        (label === undefined || labels.includes(label)) &&
        (family === undefined || actionWithin(name, family)),
    )
    .map(([name]) => name)
    .filter(isLiteralAction)
    .sort();
  // A misspelt label must not read as an entry that was meant to be small.
  if (found.length === 0) throw badAuthority(`${path}.include`, 'names no action of its audience');
  return found;
}

function optionalText(include: JsonObject, name: string, path: string): string | undefined {
  const value = member(include, name);
  return value === undefined ? undefined : readText(value, `${path}.include.${name}`, 128);
}

/** The actions of the one audience that the entry is about. */
function cataloguedAt(
  entry: JsonObject,
  catalogue: Catalogue | null,
  path: string,
): ReadonlyMap<string, CataloguedAction> {
  if (catalogue === null)
    throw badAuthority(`${path}.actions`, 'an include needs the configuration with the audiences');
  const written = member(entry, 'resource');
  const resource = typeof written === 'string' ? normalResource(written) : null;
  if (resource === null) throw badAuthority(`${path}.resource`, 'is not in an accepted form');
  const match: ResourceMatch = member(entry, 'resource_match') === 'prefix' ? 'prefix' : 'exact';
  const [audience, ...others] = audiencesOf({ resource, match }, catalogue);
  const found = audience === undefined ? undefined : catalogue.get(audience);
  if (found === undefined || others.length > 0)
    throw badAuthority(`${path}.resource`, 'an include needs one registered audience, and exactly one');
  return found;
}
