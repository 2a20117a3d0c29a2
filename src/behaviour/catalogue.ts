import type { JsonValue } from '../domain/json.ts';
import { SINK_KINDS, type SinkKind } from './values.ts';

/**
 * What a resource server's actions mean for provenance: which read and which act, which parameters name a
 * destination, and how far each returned field can be believed. Written as YAML, reviewed by a person, delivered
 * in the verifier bundle. Parsing is strict: an unknown member is refused, so that a misspelt `sinks` never
 * silently means "no sinks".
 */

/**
 * - `read`, `effect`: what the call does. Exactly one of them.
 * - `consequential`: hard to undo or outside the agent's own work (delete, pay, publish, change access).
 * - `external`: reaches or tells someone beyond the audience (sends, shares, fetches an address).
 * - `sensitive`: hands out or changes secrets and personal records.
 * - `local`: an effect confined to the agent's own working copy; permitted as a detour when nothing else is set.
 */
export type Label = 'read' | 'effect' | 'consequential' | 'external' | 'sensitive' | 'local';

/**
 * - `system`: the service vouches for the value and strangers do not choose it (an owner, a contact, my payee).
 * - `counterparty`: the service vouches for it, but a stranger can put himself there (the sender of a mail).
 * - `third_party`: text that strangers wrote.
 * - `unknown`: nobody said; treated as third-party text.
 */
export type FieldTrust = 'system' | 'counterparty' | 'third_party' | 'unknown';

export interface Sink {
  readonly parameter: string;
  readonly kind: SinkKind;
}

export interface ReturnedField {
  /**
   * Dotted member names, array positions left out; matches at the end of a path. `*` is any one member, `.` the
   * answer itself or the items of its list.
   */
  readonly field: string;
  readonly trust: FieldTrust;
  readonly kind?: SinkKind;
  /** The object's member *names* are the values (a map from address to permission). */
  readonly keys?: boolean;
  /** Who wrote the record's text: a mission that names the author ties the text to itself. */
  readonly author?: boolean;
}

export interface CataloguedAction {
  readonly action: string;
  readonly labels: readonly Label[];
  readonly sinks: readonly Sink[];
  readonly fields: readonly ReturnedField[];
  /** Trust of everything that no field entry names. */
  readonly default_trust: FieldTrust;
  /** The call points at one object by name (a file, a page), so that its text is what the caller asked for. */
  readonly names_one_object: boolean;
  /** Completes an effect that was already permitted (a one-time code); has no destination of its own. */
  readonly confirms: boolean;
}

export interface Catalogue {
  readonly audience: string;
  readonly version: string;
  readonly actions: ReadonlyMap<string, CataloguedAction>;
}

export class CatalogueError extends Error {
  override readonly name = 'CatalogueError';
  /** The member at fault, such as `actions.mail.send.sinks[0].kind`. */
  readonly at: string;

  constructor(message: string, at = '') {
    super(message);
    this.at = at;
  }
}

export const LABELS: readonly Label[] = ['read', 'effect', 'consequential', 'external', 'sensitive', 'local'];
const TRUST: readonly FieldTrust[] = ['system', 'counterparty', 'third_party', 'unknown'];

function fail(at: string, why: string): never {
  throw new CatalogueError(`catalogue: ${at}: ${why}`, at);
}

function asObject(value: unknown, at: string, members: readonly string[]): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) fail(at, 'expected an object');
  const record = value as Record<string, unknown>;
  for (const member of Object.keys(record)) {
    if (!members.includes(member))
      fail(
        at === 'catalogue' ? member : `${at}.${member}`,
        `unknown member; known are ${members.join(', ')}`,
      );
  }
  return record;
}

function asText(value: unknown, at: string): string {
  if (typeof value !== 'string' || value === '' || value.length > 256) fail(at, 'expected a short text');
  return value;
}

function asList(value: unknown, at: string): readonly unknown[] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) fail(at, 'expected a list');
  return value;
}

function asFlag(value: unknown, at: string): boolean {
  if (value === undefined) return false;
  if (typeof value !== 'boolean') fail(at, 'expected true or false');
  return value;
}

function oneOf<T extends string>(value: unknown, known: readonly T[], at: string): T {
  const found = known.find((item) => item === value);
  if (found === undefined) fail(at, `expected one of ${known.join(', ')}`);
  return found;
}

function parseSink(value: unknown, at: string): Sink {
  const record = asObject(value, at, ['parameter', 'kind']);
  return {
    parameter: asText(record['parameter'], `${at}.parameter`),
    kind: oneOf(record['kind'], SINK_KINDS, `${at}.kind`),
  };
}

function parseField(value: unknown, at: string): ReturnedField {
  const record = asObject(value, at, ['field', 'trust', 'kind', 'keys', 'author']);
  const kind = record['kind'];
  return {
    field: asText(record['field'], `${at}.field`),
    trust: oneOf(record['trust'], TRUST, `${at}.trust`),
    ...(kind === undefined ? {} : { kind: oneOf(kind, SINK_KINDS, `${at}.kind`) }),
    ...(record['keys'] === undefined ? {} : { keys: asFlag(record['keys'], `${at}.keys`) }),
    ...(record['author'] === undefined ? {} : { author: asFlag(record['author'], `${at}.author`) }),
  };
}

function parseAction(action: string, value: unknown, shared: readonly ReturnedField[]): CataloguedAction {
  const at = `actions.${action}`;
  const record = asObject(value, at, ['labels', 'sinks', 'returns', 'names_one_object', 'confirms']);
  const labels = asList(record['labels'], `${at}.labels`).map((label) =>
    oneOf(label, LABELS, `${at}.labels`),
  );
  if (labels.includes('read') === labels.includes('effect'))
    fail(`${at}.labels`, 'exactly one of read, effect');
  if (
    labels.includes('local') &&
    (labels.includes('external') || labels.includes('consequential') || labels.includes('read'))
  ) {
    fail(`${at}.labels`, 'a local effect is neither read, external nor consequential');
  }
  const returns = asObject(record['returns'] ?? {}, `${at}.returns`, ['default', 'fields']);
  const own = asList(returns['fields'], `${at}.returns.fields`).map((field, n) =>
    parseField(field, `${at}.returns.fields[${n}]`),
  );
  const said = new Set(own.map(memberKey));
  return {
    action,
    labels,
    sinks: asList(record['sinks'], `${at}.sinks`).map((sink, i) => parseSink(sink, `${at}.sinks[${i}]`)),
    // What an action says of a member itself counts for it.
    fields: [...own, ...shared.filter((field) => !said.has(memberKey(field)))],
    default_trust:
      returns['default'] === undefined
        ? 'unknown'
        : oneOf(returns['default'], TRUST, `${at}.returns.default`),
    names_one_object: asFlag(record['names_one_object'], `${at}.names_one_object`),
    confirms: asFlag(record['confirms'], `${at}.confirms`),
  };
}

function memberKey(field: ReturnedField): string {
  return `${field.keys === true ? 'k' : 'v'}${field.field}`;
}

/** The commonest form of each member that every action says something of. */
function commonFields(entries: readonly CataloguedAction[]): ReturnedField[] {
  const forms = new Map<string, Map<string, { readonly field: ReturnedField; count: number }>>();
  for (const { fields } of entries) {
    for (const field of fields) {
      const known = forms.get(memberKey(field)) ?? new Map();
      forms.set(memberKey(field), known);
      const text = JSON.stringify(field);
      const form = known.get(text) ?? { field, count: 0 };
      form.count++;
      known.set(text, form);
    }
  }
  const out: ReturnedField[] = [];
  for (const known of forms.values()) {
    const list = [...known.values()];
    if (list.reduce((sum, { count }) => sum + count, 0) !== entries.length) continue;
    const [first, ...rest] = list;
    if (first !== undefined)
      out.push(rest.reduce((best, form) => (form.count > best.count ? form : best), first).field);
  }
  return out;
}

/**
 * Reads a catalogue from already parsed YAML or JSON; `fields` at the top hold for every action that says nothing
 * else of that member. Throws `CatalogueError` naming the member at fault.
 */
export function parseCatalogue(value: unknown): Catalogue {
  const record = asObject(value, 'catalogue', ['audience', 'version', 'about', 'fields', 'actions']);
  const entries = record['actions'];
  if (typeof entries !== 'object' || entries === null || Array.isArray(entries))
    fail('actions', 'expected an object');
  const shared = asList(record['fields'], 'fields').map((field, i) => parseField(field, `fields[${i}]`));
  const actions = new Map<string, CataloguedAction>();
  for (const [action, entry] of Object.entries(entries))
    actions.set(action, parseAction(action, entry, shared));
  return {
    audience: asText(record['audience'], 'audience'),
    version: asText(record['version'] === undefined ? undefined : String(record['version']), 'version'),
    actions,
  };
}

/** The object form that `parseCatalogue` reads back to the same catalogue; what `suggest` prints for review. */
export function catalogueDocument(catalogue: Catalogue): JsonValue {
  const entries = [...catalogue.actions.values()];
  const shared = commonFields(entries);
  const common = new Set(shared.map((field) => JSON.stringify(field)));
  const actions = entries.map((entry): [string, JsonValue] => {
    const own = entry.fields.filter((field) => !common.has(JSON.stringify(field)));
    const written: JsonValue = {
      labels: [...entry.labels],
      ...(entry.sinks.length === 0 ? {} : { sinks: entry.sinks.map((sink) => ({ ...sink })) }),
      returns: {
        default: entry.default_trust,
        ...(own.length === 0 ? {} : { fields: own.map((field) => ({ ...field })) }),
      },
      ...(entry.names_one_object ? { names_one_object: true } : {}),
      ...(entry.confirms ? { confirms: true } : {}),
    };
    return [entry.action, written];
  });
  return {
    audience: catalogue.audience,
    version: catalogue.version,
    fields: shared.map((field) => ({ ...field })),
    // As own members: an action may be called `__proto__`.
    actions: Object.fromEntries(actions),
  };
}

/** What the engine assumes of an action that no catalogue names: an effect of every kind, whose every answer is text. */
export function uncatalogued(action: string): CataloguedAction {
  return {
    action,
    labels: ['effect', 'consequential', 'external'],
    sinks: [],
    fields: [],
    default_trust: 'unknown',
    names_one_object: false,
    confirms: false,
  };
}

const MAX_JSON_CHARS = 65_536;
const MAX_ITEMS = 256;

/**
 * What a call gives for a sink's parameter: a top-level one, or a nested one by dotted names with list positions left
 * out (`attendees.email`), also within a text that holds JSON. Where the call is built otherwise than its schema says,
 * whatever stands there is the value: it names a destination until it is shown not to.
 */
export function sinkValue(
  parameters: Readonly<Record<string, JsonValue>>,
  parameter: string,
): JsonValue | undefined {
  if (Object.hasOwn(parameters, parameter)) return parameters[parameter];
  const [first, ...rest] = parameter.split('.');
  if (first === undefined || rest.length === 0 || !Object.hasOwn(parameters, first)) return undefined;
  return below(parameters[first], rest);
}

function below(value: JsonValue | undefined, path: readonly string[]): JsonValue | undefined {
  const [member, ...rest] = path;
  if (member === undefined || value === undefined || value === null) return value;
  if (Array.isArray(value)) {
    // More than anybody addresses at once: given back whole, which names too many destinations to prove.
    if (value.length > MAX_ITEMS) return value;
    const found = (value as readonly JsonValue[])
      .map((item) => below(item, path))
      .filter((item): item is JsonValue => item !== undefined && item !== null);
    return found.length === 0 ? undefined : found;
  }
  if (typeof value === 'object')
    return Object.hasOwn(value, member)
      ? below((value as { readonly [name: string]: JsonValue })[member], rest)
      : undefined;
  if (
    typeof value === 'string' &&
    (value.startsWith('{') || value.startsWith('[')) &&
    value.length < MAX_JSON_CHARS
  ) {
    try {
      return below(JSON.parse(value) as JsonValue, path);
    } catch {
      return value;
    }
  }
  return value;
}

export function hasLabel(action: CataloguedAction, label: Label): boolean {
  return action.labels.includes(label);
}

function matchesEnd(path: readonly string[], field: string): number {
  if (field === '.') return path.length === 0 ? 1 : -1;
  const wanted = field.split('.');
  if (wanted.length > path.length) return -1;
  let exact = 0;
  for (let i = 0; i < wanted.length; i++) {
    const want = wanted[wanted.length - 1 - i];
    if (want === '*') continue;
    if (want !== path[path.length - 1 - i]) return -1;
    exact++;
  }
  return exact * 2 + wanted.length;
}

/** Per action, because a service answers with the same few paths over and over. */
const MEMO = new WeakMap<CataloguedAction, Map<string, ReturnedField | null>>();
const MAX_MEMO = 512;

/** The most specific field entry for a path of member names; `keys` entries are asked for apart. */
export function fieldFor(
  action: CataloguedAction,
  path: readonly string[],
  keys: boolean,
): ReturnedField | null {
  // A member name with a slash could pose as a deeper path in the memo's key.
  if (path.some((member) => member.includes('/'))) return searchField(action, path, keys);
  let memo = MEMO.get(action);
  if (memo === undefined) {
    memo = new Map();
    MEMO.set(action, memo);
  }
  const name = (keys ? 'k' : 'v') + path.join('/');
  const known = memo.get(name);
  if (known !== undefined) return known;
  const found = searchField(action, path, keys);
  // Paths come from answers: an endless supply of new ones must not become an endless memory.
  if (memo.size < MAX_MEMO) memo.set(name, found);
  return found;
}

function searchField(action: CataloguedAction, path: readonly string[], keys: boolean): ReturnedField | null {
  let best: ReturnedField | null = null;
  let rank = -1;
  for (const field of action.fields) {
    if ((field.keys === true) !== keys) continue;
    const score = matchesEnd(path, field.field);
    if (score > rank) {
      best = field;
      rank = score;
    }
  }
  return best;
}

const PERSON_KINDS: readonly SinkKind[] = ['mail', 'handle', 'name'];

/** Whether a returned field of one kind can stand for a destination of another. */
export function kindsAgree(wanted: SinkKind, offered: SinkKind | undefined): boolean {
  if (offered === undefined || wanted === 'any' || offered === 'any') return true;
  if (wanted === offered) return true;
  if (wanted === 'path' || wanted === 'file') return offered === 'path' || offered === 'file';
  return wanted === 'handle' && PERSON_KINDS.includes(offered) && offered !== 'name';
}
