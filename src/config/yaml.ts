/**
 * YAML that people wrote, read strictly: each fault is reported with file, line, key and, for a typo, the key
 * that was probably meant.
 */
import { readFileSync } from 'node:fs';
import { isMap, isNode, isScalar, isSeq, LineCounter, type Node, parseDocument } from 'yaml';
import { z } from 'zod';

/** What is wrong with a file, one line a fault; safe to print (names keys and places, never values). */
export class ConfigFault extends Error {
  readonly faults: readonly string[];

  constructor(faults: readonly string[]) {
    super(faults.join('\n'));
    this.name = 'ConfigFault';
    this.faults = faults;
  }
}

/** @throws ConfigFault */
export function readYaml<Schema extends z.ZodType>(path: string, schema: Schema): z.output<Schema> {
  return parseYaml(readText(path), path, schema);
}

/** @throws ConfigFault */
export function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    throw new ConfigFault([
      `${path}: cannot be read (${(cause as NodeJS.ErrnoException).code ?? 'unknown'})`,
    ]);
  }
}

/** @throws ConfigFault */
export function parseYaml<Schema extends z.ZodType>(
  text: string,
  path: string,
  schema: Schema,
): z.output<Schema> {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true, strict: true });
  if (document.errors.length > 0)
    throw new ConfigFault(
      document.errors.map((error) => {
        const [at] = error.linePos ?? [];
        return `${path}:${at?.line ?? 1}:${at?.col ?? 1}: ${error.message.split('\n')[0]}`;
      }),
    );
  // Aliases can blow a small file up to a huge one; nobody needs many here.
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: 100 });
  } catch {
    throw new ConfigFault([`${path}: too many aliases, or one that names nothing`]);
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;

  const known = keysOf(schema);
  const place = (keys: readonly PropertyKey[], key?: string) => {
    const { line, col } = lines.linePos(offsetOf(document.contents, keys, key));
    return `${path}:${line}:${col}`;
  };
  throw new ConfigFault(
    parsed.error.issues.flatMap(flatten).map((issue) => {
      if (issue.code === 'unrecognized_keys') {
        const [key = ''] = issue.keys;
        const meant = nearest(key, known);
        return `${place(issue.path, key)}: unknown key ${JSON.stringify(key)}${meant ? `; did you mean ${JSON.stringify(meant)}?` : ''}`;
      }
      const name = issue.path.length === 0 ? 'the file' : issue.path.map(String).join('.');
      return `${place(issue.path)}: ${name}: ${issue.message}`;
    }),
  );
}

/** Issues inside a union are those of the branch that came nearest; several unknown keys become one fault each. */
function flatten(issue: z.core.$ZodIssue): z.core.$ZodIssue[] {
  if (issue.code === 'unrecognized_keys' && issue.keys.length > 1)
    return issue.keys.map((key) => ({ ...issue, keys: [key] }));
  if (issue.code !== 'invalid_union' || issue.errors.length === 0) return [issue];
  const nearestBranch = [...issue.errors].sort((a, b) => a.length - b.length)[0] ?? [];
  return nearestBranch.flatMap((inner) => flatten({ ...inner, path: [...issue.path, ...inner.path] }));
}

/** `line:column` of the value at `keys` in a file that parses. */
export function placeOf(text: string, keys: readonly PropertyKey[]): string {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines });
  const { line, col } = lines.linePos(offsetOf(document.contents, keys));
  return `${line}:${col}`;
}

/** Where the value at `keys` (or its member `key`) begins; the nearest existing parent if it is missing. */
function offsetOf(root: unknown, keys: readonly PropertyKey[], key?: string): number {
  let node: unknown = root;
  let offset = isNode(root) ? (root.range?.[0] ?? 0) : 0;
  for (const step of key === undefined ? keys : [...keys, key]) {
    if (isMap(node)) {
      const pair = node.items.find((item) => isScalar(item.key) && item.key.value === step);
      if (!pair) return offset;
      offset = (pair.key as Node).range?.[0] ?? offset;
      node = pair.value;
    } else if (isSeq(node) && typeof step === 'number') {
      const item = node.items[step];
      if (!isNode(item)) return offset;
      offset = item.range?.[0] ?? offset;
      node = item;
    } else return offset;
  }
  return offset;
}

/** Every key that the schema knows anywhere: enough to guess what a typo meant. */
function keysOf(schema: z.ZodType): readonly string[] {
  const keys = new Set<string>();
  const walk = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) return;
    for (const [key, inner] of Object.entries(value)) {
      if (key === 'properties' && typeof inner === 'object' && inner !== null)
        for (const name of Object.keys(inner)) keys.add(name);
      walk(inner);
    }
  };
  walk(z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }));
  return [...keys];
}

function nearest(word: string, candidates: readonly string[]): string | null {
  let best: string | null = null;
  let least = Math.max(2, Math.floor(word.length / 3)) + 1;
  for (const candidate of candidates) {
    // Known elsewhere, but not here.
    if (candidate === word) continue;
    const distance = editDistance(word, candidate);
    if (distance < least) {
      least = distance;
      best = candidate;
    }
  }
  return best;
}

/** Optimal string alignment: one insertion, deletion, substitution or swap of neighbours each. Keys are short. */
function editDistance(a: string, b: string): number {
  let before: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const substituted = (previous[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      const swapped =
        a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1] ? (before[j - 2] ?? 0) + 1 : Number.POSITIVE_INFINITY;
      row.push(Math.min(substituted, swapped, (previous[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1));
    }
    before = previous;
    previous = row;
  }
  return previous[b.length] ?? 0;
}
