/** Catalogue files (docs/containment.md): what an audience's actions mean for provenance, faults with file and line. */
import { z } from 'zod';
import {
  type Catalogue,
  type CataloguedAction,
  CatalogueError,
  parseCatalogue,
} from '../behaviour/catalogue.ts';
import { ConfigFault, parseYaml, placeOf, readText } from './yaml.ts';

/**
 * @param labels what the broker's configuration says of the same actions; added to the file's own
 * @throws ConfigFault
 */
export function readCatalogue(
  path: string,
  audience: string,
  labels: Readonly<Record<string, { readonly labels: readonly string[] }>> = {},
): Catalogue {
  const text = readText(path);
  const value = parseYaml(text, path, z.unknown());
  const fault = (at: string, why: string) =>
    new ConfigFault([`${path}:${placeOf(text, keysOf(value, at))}: ${why}`]);
  let catalogue: Catalogue;
  try {
    catalogue = parseCatalogue(value);
  } catch (cause) {
    if (cause instanceof CatalogueError) throw fault(cause.at, cause.message);
    throw cause;
  }
  if (catalogue.audience !== audience) throw fault('audience', `audience: must be ${audience}`);
  const actions = new Map<string, CataloguedAction>();
  for (const [name, entry] of catalogue.actions) {
    const own = labels[name]?.labels ?? [];
    const other = entry.labels.includes('read') ? 'effect' : 'read';
    // Two places that disagree are one mistake, and nobody can tell which.
    if (own.includes(other)) throw fault(`actions.${name}.labels`, `labels: the audience calls it ${other}`);
    actions.set(name, entry);
  }
  return { ...catalogue, actions };
}

/** `actions.mail.send.sinks[0]` as keys of the value: names may hold dots, so the longest that is there is taken. */
function keysOf(value: unknown, at: string): PropertyKey[] {
  const keys: PropertyKey[] = [];
  let node = value;
  let rest = at;
  while (rest !== '' && typeof node === 'object' && node !== null) {
    const inside: object = node;
    const key = Object.keys(inside)
      .filter((name) => {
        const written = Array.isArray(inside) ? `[${name}]` : name;
        return rest.startsWith(written) && ['', '.', '['].includes(rest.charAt(written.length));
      })
      .sort((a, b) => b.length - a.length)[0];
    if (key === undefined) break;
    rest = rest.slice(Array.isArray(inside) ? key.length + 2 : key.length).replace(/^\./, '');
    keys.push(Array.isArray(inside) ? Number(key) : key);
    node = (inside as Record<string, unknown>)[key];
  }
  return keys;
}
