import { isLiteralAction } from '../domain/authority/actions.ts';
import type { JsonValue } from '../domain/json.ts';
import { CatalogueError } from './catalogue.ts';

/**
 * What a service publishes about itself, read into one form: an MCP tool list or an OpenAPI 3 document. Only names,
 * descriptions and JSON schemas are looked at, references only within the document, and all of it is bounded: the
 * document may be hostile.
 */

export interface DescribedAction {
  readonly action: string;
  readonly description: string;
  /** HTTP method, where the source is OpenAPI. */
  readonly method?: string;
  /** MCP tool annotations. Hints of the server about itself: they make a reading stricter, or settle an open one. */
  readonly hints?: Hints;
  /** Leaves of the input, nested ones by dotted names. */
  readonly parameters: readonly DescribedMember[];
  /** Members of the answer, where a schema tells them; list positions left out. */
  readonly returns: readonly DescribedMember[];
}

export interface Hints {
  readonly read_only?: boolean;
  readonly destructive?: boolean;
  readonly open_world?: boolean;
}

export interface DescribedMember {
  /** Dotted where nested; list positions left out. */
  readonly name: string;
  readonly description: string;
  readonly type: string;
  readonly format: string;
  readonly required: boolean;
  /** Takes one of a fixed list of values. */
  readonly fixed: boolean;
}

const MAX_ACTIONS = 5000;
/** Leaves read of one schema. */
export const MAX_MEMBERS = 256;
const MAX_DEPTH = 6;
const MAX_HOPS = 16;
const MAX_TEXT = 4096;
/** Schema nodes looked at for the inputs of one document: references let a small one describe a huge one. */
const MAX_NODES = 1_000_000;

type Node = Readonly<Record<string, unknown>>;

function record(value: unknown): Node {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Node) : {};
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function text(value: unknown): string {
  return typeof value === 'string' ? value.slice(0, MAX_TEXT) : '';
}

function own(node: Node, name: string): unknown {
  return Object.hasOwn(node, name) ? node[name] : undefined;
}

/** A published name as authority writes actions: what it cannot hold becomes `_`. Empty where nothing is left. */
export function actionName(published: string): string {
  if (isLiteralAction(published)) return published;
  const plain = published
    .slice(0, 1024)
    .replace(/[^A-Za-z0-9_:/.-]/g, '_')
    .split('.')
    .filter((segment) => segment !== '')
    .join('.')
    .slice(0, 120);
  return isLiteralAction(plain) ? plain : '';
}

/** Reads schemas of one document: follows its references, merges its alternatives, counts what it looked at. */
class SchemaReader {
  readonly #document: unknown;
  readonly #budget: { nodes: number };

  /** @param budget nodes that may still be looked at, shared by schemas of one published document */
  constructor(document: unknown, budget: { nodes: number }) {
    this.#document = document;
    this.#budget = budget;
  }

  /** A node, followed through references within the document; one that leads nowhere or in circles is empty. */
  follow(value: unknown): Node {
    let found = record(value);
    for (let hops = 0; hops < MAX_HOPS; hops++) {
      const reference = own(found, '$ref');
      if (typeof reference !== 'string') return found;
      const [root, ...keys] = reference.slice(0, 1024).split('/');
      if (root !== '#') return {};
      let node: unknown = this.#document;
      for (const key of keys.slice(0, 32)) node = own(record(node), decodePointer(key));
      found = record(node);
    }
    return {};
  }

  /** Leaves of an input: what is not read of one could be a destination. @throws CatalogueError */
  inputs(schema: unknown): DescribedMember[] {
    const leaves = this.leaves(schema);
    if (this.#budget.nodes <= 0) throw new CatalogueError('document: describes more than can be read');
    return leaves;
  }

  /** Leaves below a schema. Alternatives (`allOf`, `anyOf`, `oneOf`) add up: any of them may be what is sent. */
  leaves(schema: unknown): DescribedMember[] {
    const out = new Map<string, DescribedMember>();
    this.#walk(schema, '', true, 0, out, []);
    return [...out.values()];
  }

  #walk(
    value: unknown,
    name: string,
    required: boolean,
    depth: number,
    out: Map<string, DescribedMember>,
    above: readonly Node[],
    said = '',
  ): void {
    if (out.size >= MAX_MEMBERS || this.#budget.nodes <= 0) return;
    this.#budget.nodes--;
    const schema = this.follow(value);
    // A schema within itself adds no member that is not there already.
    const circular = above.includes(schema);
    const description = text(own(schema, 'description')) || said;
    const properties = Object.entries(record(own(schema, 'properties')));
    const options = ['allOf', 'anyOf', 'oneOf'].flatMap((word) => list(own(schema, word)));
    const items = own(schema, 'items');
    const inner = properties.length > 0 || items !== undefined || options.length > 0;
    if (name !== '' && (circular || depth >= MAX_DEPTH || !inner)) {
      if (typeOf(schema) !== 'null') this.#add(out, name, description, schema, required);
      return;
    }
    if (circular || depth >= MAX_DEPTH) return;
    const path = [...above, schema];
    const before = out.size;
    const needed = list(own(schema, 'required'));
    for (const [member, one] of properties)
      this.#walk(
        one,
        name === '' ? member : `${name}.${member}`,
        required && needed.includes(member),
        depth + 1,
        out,
        path,
      );
    for (const option of options) this.#walk(option, name, required, depth + 1, out, path, description);
    if (items !== undefined && !Array.isArray(items))
      this.#walk(items, name, required, depth + 1, out, path, description);
    // A list whose items nobody describes is a value by itself.
    if (name !== '' && out.size === before && !out.has(name))
      this.#add(out, name, description, schema, required);
  }

  #add(
    out: Map<string, DescribedMember>,
    name: string,
    description: string,
    schema: Node,
    required: boolean,
  ): void {
    const known = out.get(name);
    out.set(name, {
      name,
      description: known?.description || description,
      // Where alternatives differ, the one that can hold text counts.
      type: known !== undefined && known.type !== typeOf(schema) ? 'string' : typeOf(schema),
      format: known?.format || text(own(schema, 'format')),
      required: required || known?.required === true,
      fixed:
        (known?.fixed ?? true) && (Array.isArray(own(schema, 'enum')) || own(schema, 'const') !== undefined),
    });
  }
}

function decodePointer(key: string): string {
  const plain = key.replaceAll('~1', '/').replaceAll('~0', '~');
  try {
    return decodeURIComponent(plain);
  } catch {
    return plain;
  }
}

/** OpenAPI 3.1 and JSON Schema allow a list of types; `null` beside another says nothing. */
function typeOf(schema: Node): string {
  const type = own(schema, 'type');
  if (Array.isArray(type)) {
    const solid = type.filter((one) => one !== 'null');
    return solid.length === 1 ? text(solid[0]) : 'string';
  }
  return text(type);
}

function hint(annotations: Node, name: string): boolean | undefined {
  const value = own(annotations, name);
  return typeof value === 'boolean' ? value : undefined;
}

function hintsOf(tool: Node): Hints | null {
  const annotations = record(own(tool, 'annotations'));
  const read_only = hint(annotations, 'readOnlyHint');
  const destructive = hint(annotations, 'destructiveHint');
  const open_world = hint(annotations, 'openWorldHint');
  const hints: Hints = {
    ...(read_only === undefined ? {} : { read_only }),
    ...(destructive === undefined ? {} : { destructive }),
    ...(open_world === undefined ? {} : { open_world }),
  };
  return Object.keys(hints).length === 0 ? null : hints;
}

function checked(actions: readonly DescribedAction[]): DescribedAction[] {
  if (actions.length > MAX_ACTIONS) throw new CatalogueError(`document: more than ${MAX_ACTIONS} actions`);
  const names = new Set<string>();
  for (const { action } of actions) {
    if (names.has(action)) throw new CatalogueError(`document: two actions are called ${action}`);
    names.add(action);
  }
  return [...actions];
}

/**
 * Reads an MCP `tools/list` result: `[{name, description, inputSchema, outputSchema?, annotations?}]`, or that list as
 * `tools` or `result.tools`. @throws CatalogueError
 */
export function describeMcpTools(document: unknown): DescribedAction[] {
  const top = record(document);
  const tools = Array.isArray(document)
    ? document
    : (own(top, 'tools') ?? own(record(own(top, 'result')), 'tools'));
  if (!Array.isArray(tools)) throw new CatalogueError('tool list: expected an array of tools');
  if (tools.length > MAX_ACTIONS) throw new CatalogueError(`document: more than ${MAX_ACTIONS} actions`);
  const budget = { nodes: MAX_NODES };
  const answers = { nodes: MAX_NODES };
  return checked(
    tools.map((value: unknown, at) => {
      const tool = record(value);
      const action = actionName(text(own(tool, 'name')));
      if (action === '')
        throw new CatalogueError(`tool list: tool ${at + 1} has no name that can be an action`);
      const input = own(tool, 'inputSchema');
      const output = own(tool, 'outputSchema');
      const hints = hintsOf(tool);
      return {
        action,
        description: text(own(tool, 'description')) || text(own(tool, 'title')),
        ...(hints === null ? {} : { hints }),
        parameters: new SchemaReader(input, budget).inputs(input),
        returns: new SchemaReader(output, answers).leaves(output),
      };
    }),
  );
}

const METHODS = ['get', 'head', 'query', 'post', 'put', 'patch', 'delete'];

/** `get.users.id` of `GET /users/{id}`: the form that actions have in authority. */
function nameOf(method: string, path: string): string {
  const segments = path.split('/').map((segment) => segment.replace(/[^A-Za-z0-9_-]/g, ''));
  return actionName([method, ...segments.filter((segment) => segment !== '')].join('.'));
}

/** The JSON schema of a body, whatever its media type is called: `application/json`, `application/vnd.x+json`, forms. */
function bodySchema(holder: Node): unknown {
  const content = record(own(holder, 'content'));
  const types = Object.keys(content);
  const chosen =
    types.find((type) => type === 'application/json') ??
    types.find((type) => type.includes('json')) ??
    types[0];
  return chosen === undefined ? undefined : own(record(own(content, chosen)), 'schema');
}

function answerOf(reader: SchemaReader, operation: Node): DescribedMember[] {
  for (const [status, answer] of Object.entries(record(own(operation, 'responses')))) {
    if (!status.startsWith('2')) continue;
    const leaves = reader.leaves(bodySchema(reader.follow(answer)));
    if (leaves.length > 0) return leaves;
  }
  return [];
}

/** Reads an OpenAPI 3.0 or 3.1 document; an action is its `operationId`, or method and path. @throws CatalogueError */
export function describeOpenApi(document: unknown): DescribedAction[] {
  const reader = new SchemaReader(document, { nodes: MAX_NODES });
  // What is not read of an answer stays unknown, and that is safe.
  const answers = new SchemaReader(document, { nodes: MAX_NODES });
  const out: DescribedAction[] = [];
  const names = new Set<string>();
  for (const [path, value] of Object.entries(record(own(record(document), 'paths')))) {
    const item = reader.follow(value);
    for (const method of METHODS) {
      const operation = record(own(item, method));
      if (Object.keys(operation).length === 0) continue;
      if (out.length >= MAX_ACTIONS) throw new CatalogueError(`document: more than ${MAX_ACTIONS} actions`);
      const published = actionName(text(own(operation, 'operationId')));
      const action = published === '' || names.has(published) ? nameOf(method, path) : published;
      names.add(action);
      const parameters = new Map<string, DescribedMember>();
      for (const given of [...list(own(item, 'parameters')), ...list(own(operation, 'parameters'))].slice(
        0,
        MAX_MEMBERS,
      )) {
        const parameter = reader.follow(given);
        const name = text(own(parameter, 'name'));
        // Who calls and how the answer is written is not what the call is about.
        if (name === '' || ['header', 'cookie'].includes(text(own(parameter, 'in')))) continue;
        const wrapped = { properties: { [name]: own(parameter, 'schema') ?? {} } };
        const [leaf] = reader.inputs(wrapped);
        parameters.set(name, {
          name,
          description: text(own(parameter, 'description')) || (leaf?.description ?? ''),
          type: leaf?.type ?? '',
          format: leaf?.format ?? '',
          required: own(parameter, 'required') === true,
          fixed: leaf?.fixed ?? false,
        });
      }
      for (const leaf of reader.inputs(bodySchema(reader.follow(own(operation, 'requestBody')))))
        if (!parameters.has(leaf.name)) parameters.set(leaf.name, leaf);
      out.push({
        action,
        description: [text(own(operation, 'summary')), text(own(operation, 'description'))]
          .filter((one) => one !== '')
          .join('. '),
        method,
        parameters: [...parameters.values()],
        returns: answerOf(answers, operation),
      });
    }
  }
  return checked(out);
}

/** One reader for both: an object with `paths` is OpenAPI, a list or `tools` is MCP. @throws CatalogueError */
export function describeService(document: JsonValue): DescribedAction[] {
  const paths = own(record(document), 'paths');
  return paths !== undefined && Object.keys(record(paths)).length > 0
    ? describeOpenApi(document)
    : describeMcpTools(document);
}
