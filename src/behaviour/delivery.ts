import type { JsonObject, JsonValue } from '../domain/json.ts';
import { type Catalogue, CatalogueError, catalogueDocument, LABELS, parseCatalogue } from './catalogue.ts';
import type { TemplateValue } from './mission.ts';
import { type BehaviourRules, DEFAULT_RULES, type RequestedResponse, RULE_NAMES } from './rules.ts';
import { HISTORY_MODES, RULE_MODES } from './section.ts';
import { SINK_KINDS } from './values.ts';

/**
 * The catalogue as it travels in a verifier bundle (wire profile 3), beside `actions[{name, labels}]`:
 *
 *     catalogue_version: "3"
 *     sinks:       [{action, parameter, kind}, ...]
 *     field_trust: [{fields: [{field, trust, kind?, keys?, author?}, ...]},              for every action
 *                   {action, default, fields?: [...], names_one_object?, confirms?}, ...]
 *
 * An action without a `field_trust` entry of its own is uncatalogued: an effect of every kind.
 */
export interface DeliveredCatalogue {
  readonly catalogue_version: string;
  readonly sinks: readonly JsonValue[];
  readonly field_trust: readonly JsonValue[];
}

/** What a received bundle has of it. */
export interface CatalogueParts {
  readonly aud: string;
  readonly catalogue_version?: string;
  readonly actions: readonly { readonly name: string; readonly labels: readonly string[] }[];
  readonly sinks: readonly JsonValue[];
  readonly field_trust: readonly JsonValue[];
}

function objectOf(value: JsonValue | undefined, at: string): JsonObject {
  if (value === null || value === undefined || typeof value !== 'object' || Array.isArray(value))
    throw new CatalogueError(`catalogue: ${at}: expected an object`);
  return value as JsonObject;
}

/** `labels` travel with the bundle's actions; the rest is this. */
export function deliverCatalogue(catalogue: Catalogue): DeliveredCatalogue {
  const document = objectOf(catalogueDocument(catalogue), 'catalogue');
  const actions = objectOf(document['actions'], 'actions');
  return {
    catalogue_version: catalogue.version,
    sinks: [...catalogue.actions.values()].flatMap(({ action, sinks }) =>
      sinks.map(({ parameter, kind }) => ({ action, parameter, kind })),
    ),
    field_trust: [
      { fields: document['fields'] ?? [] },
      ...Object.entries(actions).map(([action, entry]): JsonValue => {
        const { labels: _labels, sinks: _sinks, returns, ...flags } = objectOf(entry, action);
        return { action, ...objectOf(returns, action), ...flags };
      }),
    ],
  };
}

/**
 * The catalogue of a bundle, read as strictly as the file it came from; null where the audience has none.
 * @throws CatalogueError
 */
export function receiveCatalogue(bundle: CatalogueParts): Catalogue | null {
  if (bundle.catalogue_version === undefined) return null;
  const labels = new Map(
    bundle.actions.map(({ name, labels }) => [
      name,
      // An audience may have labels of its own, which mean nothing to the engine.
      labels.filter((label) => LABELS.some((known) => known === label)),
    ]),
  );
  const sinks = new Map<string, JsonValue[]>();
  for (const sink of bundle.sinks) {
    const { action, ...rest } = objectOf(sink, 'sinks');
    if (typeof action !== 'string') throw new CatalogueError('catalogue: sinks: expected an action');
    sinks.set(action, [...(sinks.get(action) ?? []), rest]);
  }
  let fields: JsonValue = [];
  const actions = new Map<string, JsonValue>();
  for (const entry of bundle.field_trust) {
    const { action, default: trust, fields: own, ...flags } = objectOf(entry, 'field_trust');
    if (action === undefined) {
      fields = own ?? [];
      continue;
    }
    if (typeof action !== 'string' || !labels.has(action))
      throw new CatalogueError('catalogue: field_trust: an action that the bundle does not have');
    actions.set(action, {
      labels: labels.get(action) ?? [],
      sinks: sinks.get(action) ?? [],
      returns: { ...(trust !== undefined && { default: trust }), ...(own !== undefined && { fields: own }) },
      ...flags,
    });
  }
  for (const action of sinks.keys())
    if (!actions.has(action)) throw new CatalogueError('catalogue: sinks: an action without field_trust');
  return parseCatalogue({
    audience: bundle.aud,
    version: bundle.catalogue_version,
    fields,
    actions: Object.fromEntries(actions),
  });
}

/**
 * What a mission's template says of its behaviour, as it travels with the facts of the mission: the rules with their
 * version, and the destinations that the template vouches for at this audience. The broker judges by the same record.
 */
export interface MissionBehaviour {
  readonly rules: BehaviourRules;
  readonly values: readonly TemplateValue[];
}

const MODE_MEMBERS = new Set<string>(RULE_NAMES);
const FLAG_MEMBERS = new Set([
  'ambient_reads',
  'local_detours',
  'declared_destinations',
  'confirmations',
  'follow_one_link',
  'field_trust',
  'declared_sources',
]);
const REQUESTS: readonly RequestedResponse[] = ['none', 'contain', 'suspend', 'revoke'];

export function deliverBehaviour({ rules, values }: MissionBehaviour): JsonObject {
  return JSON.parse(JSON.stringify({ rules, values })) as JsonObject;
}

/**
 * Read strictly: a rule that this guard does not know was approved by a person, and must not be left out in silence.
 * @throws CatalogueError
 */
export function receiveBehaviour(value: JsonValue): MissionBehaviour {
  const { rules, values, ...unknown } = objectOf(value, 'behaviour');
  if (Object.keys(unknown).length > 0) throw new CatalogueError('behaviour: unknown member');
  if (!Array.isArray(values)) throw new CatalogueError('behaviour: values: expected a list');
  return { rules: receiveRules(rules), values: values.map(receiveValue) };
}

/** @throws CatalogueError */
export function receiveRules(value: JsonValue | undefined): BehaviourRules {
  const given = objectOf(value, 'rules');
  for (const [name, member] of Object.entries(given)) {
    const good =
      name === 'version'
        ? typeof member === 'string' && member !== ''
        : name === 'history'
          ? HISTORY_MODES.some((mode) => mode === member)
          : name === 'stray_effect_response'
            ? REQUESTS.some((request) => request === member)
            : name === 'responses'
              ? Object.entries(objectOf(member, 'responses')).every(
                  ([rule, request]) => MODE_MEMBERS.has(rule) && REQUESTS.some((known) => known === request),
                )
              : FLAG_MEMBERS.has(name)
                ? typeof member === 'boolean'
                : MODE_MEMBERS.has(name) && RULE_MODES.some((mode) => mode === member);
    if (!good) throw new CatalogueError(`rules: ${name}`);
  }
  const missing = Object.keys(DEFAULT_RULES).filter((name) => !Object.hasOwn(given, name));
  if (missing.length > 0) throw new CatalogueError(`rules: ${missing.join(', ')} is missing`);
  return given as unknown as BehaviourRules;
}

function receiveValue(value: JsonValue): TemplateValue {
  const { kind, value: named, actions } = objectOf(value, 'values');
  const known = SINK_KINDS.find((one) => one === kind);
  if (known === undefined || named === undefined) throw new CatalogueError('values: expected kind and value');
  if (actions === undefined) return { kind: known, value: named };
  if (!Array.isArray(actions) || !actions.every((action) => typeof action === 'string'))
    throw new CatalogueError('values: actions: expected names');
  return { kind: known, value: named, actions: actions as string[] };
}
