import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { type Catalogue, type CataloguedAction, parseCatalogue } from '../../src/behaviour/catalogue.ts';
import { describeMcpTools, suggestCatalogue } from '../../src/behaviour/suggest.ts';
import { type ScoredTrace, suiteKey } from './traces.ts';

/** What each suite's actions mean: reviewed, proposed from its tool list, or proposed from recorded names alone. */
export type SuiteOrigin = 'configured' | 'suggested' | 'recorded names only';

export interface Suites {
  /** By `suiteKey`. */
  readonly catalogues: ReadonlyMap<string, Catalogue>;
  readonly origin: ReadonlyMap<string, SuiteOrigin>;
  /** Recorded tools that a suite's tool list does not have. */
  readonly undocumented: readonly string[];
}

/** A suite's own file, or the one of its dataset where two datasets have a suite of that name. */
function fileOf(folder: string | null, key: string, ending: string): string | null {
  if (folder === null) return null;
  const suite = key.slice(key.indexOf('/') + 1);
  return (
    [`${key}.${ending}`, `${suite}.${ending}`]
      .map((name) => join(folder, name))
      .find((path) => !suite.includes('..') && existsSync(path)) ?? null
  );
}

/** MCP form of a tool list: an export by name with bare parameters, or a `tools/list` result as it is. */
function toolsOf(document: unknown): unknown[] {
  const tools = (document as { tools?: unknown } | null)?.tools ?? document;
  if (Array.isArray(tools)) return tools as unknown[];
  if (typeof tools !== 'object' || tools === null) throw new Error('no tools');
  return Object.entries(tools as Record<string, Record<string, unknown> | null>).map(([name, tool]) => ({
    name,
    description: tool?.['description'],
    annotations: tool?.['annotations'],
    outputSchema: tool?.['outputSchema'],
    inputSchema: tool?.['inputSchema'] ?? {
      properties: tool?.['parameters'] ?? {},
      required: tool?.['required'] ?? [],
      $defs: tool?.['defs'] ?? {},
    },
  }));
}

function proposed(key: string, toolsDir: string): Catalogue | null {
  const file = fileOf(toolsDir, key, 'json');
  if (file === null) return null;
  try {
    return suggestCatalogue(key, describeMcpTools(toolsOf(JSON.parse(readFileSync(file, 'utf8')))));
  } catch (cause) {
    throw new Error(`${file}: ${(cause as Error).message}`);
  }
}

function configured(key: string, configDir: string | null): Catalogue | null {
  const file = fileOf(configDir, key, 'yaml');
  if (file === null) return null;
  try {
    return parseCatalogue(parse(readFileSync(file, 'utf8')));
  } catch (cause) {
    throw new Error(`${file}: ${(cause as Error).message}`);
  }
}

/** Names and parameters of every recorded tool of a suite. */
function recordedTools(traces: readonly ScoredTrace[]): Map<string, Map<string, Set<string>>> {
  const out = new Map<string, Map<string, Set<string>>>();
  for (const { trace } of traces) {
    const key = suiteKey(trace);
    const tools = out.get(key) ?? new Map<string, Set<string>>();
    out.set(key, tools);
    for (const call of trace.calls) {
      const names = tools.get(call.tool) ?? new Set();
      for (const name of Object.keys(call.args)) names.add(name);
      tools.set(call.tool, names);
    }
  }
  return out;
}

export function loadSuites(
  traces: readonly ScoredTrace[],
  toolsDir: string,
  configDir: string | null,
): Suites {
  const catalogues = new Map<string, Catalogue>();
  const origin = new Map<string, SuiteOrigin>();
  const undocumented: string[] = [];
  for (const [key, tools] of [...recordedTools(traces)].sort(([a], [b]) => a.localeCompare(b))) {
    const own = configured(key, configDir);
    const known = own ?? proposed(key, toolsDir);
    const missing = [...tools].filter(([name]) => known?.actions.has(name) !== true);
    // A recorded tool that no list has is proposed from its name and its arguments' names.
    const guessed = suggestCatalogue(
      key,
      describeMcpTools(
        missing.map(([name, args]) => ({
          name,
          inputSchema: { properties: Object.fromEntries([...args].map((arg) => [arg, {}])) },
        })),
      ),
    );
    if (known !== null) undocumented.push(...missing.map(([name]) => `${key}/${name}`));
    catalogues.set(key, {
      audience: key,
      version: known?.version ?? guessed.version,
      actions: new Map<string, CataloguedAction>([...(known?.actions ?? []), ...guessed.actions]),
    });
    origin.set(key, own !== null ? 'configured' : known !== null ? 'suggested' : 'recorded names only');
  }
  return { catalogues, origin, undocumented };
}
