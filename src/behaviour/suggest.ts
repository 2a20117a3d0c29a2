import type { JsonValue } from '../domain/json.ts';
import {
  type Catalogue,
  type CataloguedAction,
  CatalogueError,
  type Label,
  type ReturnedField,
  type Sink,
} from './catalogue.ts';
import {
  CHANGING_VERBS,
  CONFIRMATION_WORDS,
  CONSEQUENTIAL_NOUNS,
  DESCRIBED_KINDS,
  DESTRUCTIVE_VERBS,
  FACT_NOUNS,
  FIELD_WORDS,
  FILE_NOUNS,
  OPINION_NOUNS,
  OUTSIDE_NOUNS,
  READ_VERBS,
  SENDING_VERBS,
  SENSITIVE_NOUNS,
  SENSITIVE_PHRASES,
  SINK_WORDS,
  STAGING_NOUNS,
  WORKING_COPY_VERBS,
  wordsOf,
} from './lexicon.ts';
import type { SinkKind } from './values.ts';

/**
 * Proposes a catalogue from what a service publishes about itself: an MCP tool list or an OpenAPI document. The
 * proposal is for a person to review; it reads names, descriptions and JSON schemas, nothing else.
 */

export interface DescribedAction {
  readonly action: string;
  readonly description: string;
  /** HTTP method, where the source is OpenAPI. */
  readonly method?: string;
  readonly parameters: readonly DescribedParameter[];
  /** Member names of the answer, where a schema tells them. */
  readonly returns: readonly string[];
}

export interface DescribedParameter {
  readonly name: string;
  readonly description: string;
  readonly type: string;
  readonly format: string;
  readonly required: boolean;
}

function verbsOf(action: DescribedAction): { readonly name: string | null; readonly said: string | null } {
  const known = (word: string): boolean =>
    READ_VERBS.has(word) ||
    DESTRUCTIVE_VERBS.has(word) ||
    SENDING_VERBS.has(word) ||
    CHANGING_VERBS.has(word);
  const stem = (word: string): string => {
    if (known(word)) return word;
    for (const ending of ['es', 's', 'ing', 'ed', 'd']) {
      if (word.endsWith(ending) && known(word.slice(0, -ending.length))) return word.slice(0, -ending.length);
    }
    if (word.endsWith('ies') && known(word.slice(0, -3) + 'y')) return word.slice(0, -3) + 'y';
    return word;
  };
  const name = wordsOf(action.action).map(stem).find(known) ?? null;
  const said = wordsOf(action.description).slice(0, 3).map(stem).find(known) ?? null;
  return { name, said };
}

type Effect = 'read' | 'change' | 'send' | 'destroy';

function rank(verb: string | null): Effect | null {
  if (verb === null) return null;
  if (READ_VERBS.has(verb)) return 'read';
  if (DESTRUCTIVE_VERBS.has(verb)) return 'destroy';
  if (SENDING_VERBS.has(verb)) return 'send';
  return 'change';
}

function effectOf(action: DescribedAction): Effect {
  const { name, said } = verbsOf(action);
  if (action.method === 'get' || action.method === 'head') return 'read';
  if (action.method === 'delete') return 'destroy';
  const own = rank(name);
  const told = rank(said);
  // An unknown verb acts until someone says otherwise; a name that reads is believed unless the text says it acts.
  if (own === null) return told ?? 'change';
  if (own === 'read') return told === 'destroy' || told === 'send' ? told : 'read';
  return told === 'destroy' ? 'destroy' : own;
}

function kindOf(parameter: DescribedParameter): SinkKind | null {
  if (parameter.format === 'email') return 'mail';
  if (parameter.format === 'uri' || parameter.format === 'url') return 'url';
  if (['boolean', 'number'].includes(parameter.type)) return null;
  const words = wordsOf(parameter.name);
  const last = words[words.length - 1] ?? '';
  const singular = last.endsWith('s') ? last.slice(0, -1) : last;
  if (last === 'id' || last === 'ids' || last === 'uuid') return 'id';
  for (const { kind, words: known } of SINK_WORDS) {
    const hit = words.some((word) => known.has(word));
    if (!hit) continue;
    if (['name', 'names'].includes(last) && kind === 'handle' && words.length > 1) continue;
    if (kind === 'any' || kind === 'handle') {
      if (FILE_NOUNS.has(last)) return 'path';
      const said = new Set(wordsOf(parameter.description));
      for (const described of DESCRIBED_KINDS) {
        if (kind === 'handle' && described.kind !== 'mail') continue;
        if ([...described.words].some((word) => said.has(word))) return described.kind;
      }
    }
    return kind;
  }
  if (FILE_NOUNS.has(last) || FILE_NOUNS.has(singular) || words.includes('path')) return 'path';
  return null;
}

const TEXT_WORDS = new Set(
  'body content text subject title message description comment query note summary prompt input inputs values data'.split(
    ' ',
  ),
);

function sinksOf(action: DescribedAction, effect: Effect): Sink[] {
  const out: Sink[] = [];
  const verbs = wordsOf(action.action);
  const creates = verbs.includes('create') || verbs.includes('new');
  for (const parameter of action.parameters) {
    const words = wordsOf(parameter.name);
    if (words.some((word) => TEXT_WORDS.has(word)) && !words.includes('recipients')) continue;
    const kind = kindOf(parameter);
    if (kind === null) continue;
    // Reads send nothing but the address they fetch.
    if (effect === 'read' && kind !== 'url') continue;
    if (kind === 'path' && effect !== 'destroy') continue;
    // What one logs in with opens the caller's own door; it sends nothing anywhere.
    if (verbs.includes('login') || verbs.includes('signin')) continue;
    if (kind === 'name' && (creates || effect === 'read')) continue;
    if (kind === 'id' && effect === 'read') continue;
    out.push({ parameter: parameter.name, kind });
  }
  return out;
}

function labelsOf(
  action: DescribedAction,
  effect: Effect,
  sinks: readonly Sink[],
  confirms: boolean,
): Label[] {
  const name = wordsOf(action.action);
  const said = wordsOf(action.description);
  const described = action.description.toLowerCase();
  const parameters = action.parameters.flatMap((parameter) => wordsOf(parameter.name));
  const labels: Label[] = [effect === 'read' ? 'read' : 'effect'];
  const outside = sinks.some((sink) => ['mail', 'url', 'phone'].includes(sink.kind));
  const sensitive =
    [...name, ...(effect === 'read' ? [] : parameters)].some((word) => SENSITIVE_NOUNS.has(word)) ||
    SENSITIVE_PHRASES.some((phrase) => described.includes(phrase)) ||
    said.some((word) =>
      ['password', 'passport', 'ssh', 'credential', 'credentials', 'secret'].includes(word),
    );
  if (effect === 'read') {
    if (outside) labels.push('external');
    if (sensitive) labels.push('sensitive');
    return labels;
  }
  const files = name.some((word) => FILE_NOUNS.has(word));
  const workingCopy =
    files &&
    effect === 'change' &&
    name.some((word) => WORKING_COPY_VERBS.has(word)) &&
    !outside &&
    (said.includes('local') ||
      action.parameters.some((parameter) => wordsOf(parameter.name).includes('path')));
  const staged = effect !== 'send' && name.some((word) => STAGING_NOUNS.has(word)) && !outside;
  const added = name[0] === 'add' && name.some((word) => STAGING_NOUNS.has(word)) && !outside;
  if ((workingCopy || staged || added) && !sensitive) return [...labels, 'local'];
  const tells = effect !== 'destroy' && [...name, ...said].some((word) => OUTSIDE_NOUNS.has(word));
  if (!confirms && (outside || effect === 'send' || tells)) labels.push('external');
  const form = sinks.length === 1 && sinks[0]?.kind === 'url';
  const grave = name.some((word) => CONSEQUENTIAL_NOUNS.has(word));
  if (!confirms && (effect === 'destroy' || (effect === 'send' && !form) || grave))
    labels.push('consequential');
  if (sensitive && !confirms) labels.push('sensitive');
  return labels;
}

function confirmsOnly(action: DescribedAction): boolean {
  const [only] = action.parameters.filter((parameter) => parameter.required);
  if (action.parameters.length !== 1 || only === undefined) return false;
  const name = wordsOf(only.name);
  // "One Time Password" describes a code; a parameter called password is one.
  return (
    [...name, ...wordsOf(only.description)].some((word) => CONFIRMATION_WORDS.has(word)) &&
    !name.includes('password')
  );
}

/** Plural nouns and query parameters mean many records by many hands; one path, id or address means one object. */
function namesOneObject(action: DescribedAction): boolean {
  const name = wordsOf(action.action);
  if (
    name.some((word) =>
      ['search', 'list', 'find', 'query', 'inbox', 'feed', 'messages', 'emails', 'history'].includes(word),
    )
  )
    return false;
  return action.parameters.some((parameter) => {
    const words = wordsOf(parameter.name);
    const kind = kindOf(parameter);
    return (
      parameter.required && (kind === 'path' || kind === 'url' || kind === 'id' || words.includes('file'))
    );
  });
}

function fieldsOf(action: DescribedAction): ReturnedField[] {
  const own = wordsOf(action.action + ' ' + action.description);
  const sent = own.includes('sent') || own.includes('outgoing');
  const fields: ReturnedField[] = [];
  for (const { trust, kind, author, names } of FIELD_WORDS) {
    for (const field of names) {
      // What the principal itself sent, it addressed itself.
      const addressed = sent && ['recipients', 'recipient', 'to', 'cc', 'bcc'].includes(field);
      fields.push({
        field,
        trust: addressed ? 'system' : trust,
        ...(kind === undefined ? {} : { kind }),
        ...(author === undefined ? {} : { author }),
      });
    }
  }
  const listed = listedKind(action);
  if (listed !== null) fields.push({ field: '.', trust: 'system', kind: listed });
  fields.push({ field: 'shared_with', trust: 'system', kind: 'mail', keys: true });
  return fields;
}

const PREPOSITIONS = new Set('in of for by with from to on at'.split(' '));

function singular(noun: string): string {
  if (noun.endsWith('ies')) return noun.slice(0, -3) + 'y';
  return noun.endsWith('s') ? noun.slice(0, -1) : noun;
}

/** `get_channels`, `list_members_of_group`: the plural noun before the preposition says what the items are. */
function listedKind(action: DescribedAction): SinkKind | null {
  const [verb, ...rest] = wordsOf(action.action);
  if (verb === undefined || !READ_VERBS.has(verb)) return null;
  const end = rest.findIndex((word) => PREPOSITIONS.has(word));
  const noun = (end < 0 ? rest : rest.slice(0, end)).at(-1);
  if (noun === undefined || !noun.endsWith('s')) return null;
  for (const { kind, words } of SINK_WORDS) {
    const known = words.has(noun) || words.has(singular(noun));
    if (known && ['channel', 'handle', 'account', 'name'].includes(kind)) return kind;
  }
  return null;
}

function statesFacts(action: DescribedAction): boolean {
  const name = wordsOf(action.action);
  return name.some((word) => FACT_NOUNS.has(word)) && !name.some((word) => OPINION_NOUNS.has(word));
}

function entryOf(action: DescribedAction): CataloguedAction {
  const effect = effectOf(action);
  const sinks = sinksOf(action, effect);
  const confirms = effect !== 'read' && confirmsOnly(action);
  return {
    action: action.action,
    labels: labelsOf(action, effect, sinks, confirms),
    sinks: confirms ? [] : sinks,
    fields: fieldsOf(action),
    default_trust: effect === 'read' && statesFacts(action) ? 'system' : 'unknown',
    names_one_object: effect === 'read' && namesOneObject(action),
    confirms,
  };
}

/** Proposes a catalogue for described actions. */
export function suggestCatalogue(audience: string, actions: readonly DescribedAction[]): Catalogue {
  return {
    audience,
    version: 'suggested-1',
    actions: new Map(actions.map((action) => [action.action, entryOf(action)])),
  };
}

function record(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : {};
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function typeOf(schema: Record<string, unknown>): Record<string, unknown> {
  for (const member of ['anyOf', 'oneOf', 'allOf']) {
    const options = schema[member];
    if (!Array.isArray(options)) continue;
    const solid = options.map(record).find((option) => option['type'] !== 'null');
    if (solid !== undefined) return { ...solid, description: schema['description'] ?? solid['description'] };
  }
  return schema;
}

function parametersOf(properties: Record<string, unknown>, required: unknown): DescribedParameter[] {
  const needed = Array.isArray(required) ? required : [];
  return Object.entries(properties).map(([name, value]) => {
    const schema = typeOf(record(value));
    return {
      name,
      description: text(schema['description']),
      type: text(schema['type']),
      format: text(schema['format']),
      required: needed.includes(name),
    };
  });
}

/** Reads an MCP `tools/list` result: `[{name, description, inputSchema, outputSchema?}]` or `{tools: [...]}`. */
export function describeMcpTools(list: unknown): DescribedAction[] {
  const tools = Array.isArray(list) ? list : record(list)['tools'];
  if (!Array.isArray(tools)) throw new CatalogueError('tool list: expected an array of tools');
  return tools.map((value) => {
    const tool = record(value);
    const input = record(tool['inputSchema']);
    const output = record(record(tool['outputSchema'])['properties']);
    return {
      action: text(tool['name']),
      description: text(tool['description']),
      parameters: parametersOf(record(input['properties']), input['required']),
      returns: Object.keys(output),
    };
  });
}

const METHODS = ['get', 'head', 'post', 'put', 'patch', 'delete'];

/** `get.users.id` of `GET /users/{id}`: the form that actions have in authority. */
function nameOf(method: string, path: string): string {
  const segments = path.split('/').map((segment) => segment.replace(/[^A-Za-z0-9_-]/g, ''));
  return [method, ...segments.filter((segment) => segment !== '')].join('.');
}

/** A schema, followed through references within the document; one that leads nowhere or in circles is empty. */
function resolved(document: unknown, value: unknown): Record<string, unknown> {
  let found = record(value);
  for (let hops = 0; typeof found['$ref'] === 'string' && hops < 8; hops++) {
    const [root, ...keys] = found['$ref'].split('/');
    if (root !== '#') return {};
    found = record(
      keys.reduce<unknown>(
        (node, key) => record(node)[key.replaceAll('~1', '/').replaceAll('~0', '~')],
        document,
      ),
    );
  }
  return found['$ref'] === undefined ? found : {};
}

/** Member names that a 2xx answer has, of the object itself or of the items of its lists. */
function returnsOf(document: unknown, operation: Record<string, unknown>): string[] {
  const names = new Set<string>();
  const walk = (value: unknown, depth: number): void => {
    if (depth > 4 || names.size > 256) return;
    const schema = resolved(document, value);
    if (schema['items'] !== undefined) walk(schema['items'], depth + 1);
    for (const part of Array.isArray(schema['allOf']) ? schema['allOf'] : []) walk(part, depth + 1);
    for (const [name, inner] of Object.entries(record(schema['properties']))) {
      names.add(name);
      walk(inner, depth + 1);
    }
  };
  for (const [status, answer] of Object.entries(record(operation['responses'])))
    if (status.startsWith('2'))
      walk(record(record(resolved(document, answer)['content'])['application/json'])['schema'], 0);
  return [...names];
}

/** Reads an OpenAPI 3 document; an action is its `operationId`, or method and path. */
export function describeOpenApi(document: unknown): DescribedAction[] {
  const paths = record(record(document)['paths']);
  const out: DescribedAction[] = [];
  for (const [path, item] of Object.entries(paths)) {
    for (const method of METHODS) {
      const operation = record(record(item)[method]);
      if (Object.keys(operation).length === 0) continue;
      const listed = Array.isArray(operation['parameters']) ? operation['parameters'] : [];
      const content = record(resolved(document, operation['requestBody'])['content']);
      const body = resolved(document, record(content['application/json'])['schema']);
      out.push({
        action: text(operation['operationId']) || nameOf(method, path),
        description: text(operation['summary']) || text(operation['description']),
        method,
        parameters: [
          ...listed.map((given) => {
            const parameter = resolved(document, given);
            const schema = typeOf(record(parameter['schema']));
            return {
              name: text(parameter['name']),
              description: text(parameter['description']),
              type: text(schema['type']),
              format: text(schema['format']),
              required: parameter['required'] === true,
            };
          }),
          ...parametersOf(record(body['properties']), body['required']),
        ],
        returns: returnsOf(document, operation),
      });
    }
  }
  return out;
}

/** One reader for both: an object with `paths` is OpenAPI, a list or `tools` is MCP. */
export function describeService(document: JsonValue): DescribedAction[] {
  return Object.keys(record(record(document)['paths'])).length > 0
    ? describeOpenApi(document)
    : describeMcpTools(document);
}
