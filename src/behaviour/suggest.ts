import type { Catalogue, CataloguedAction, Label } from './catalogue.ts';
import { type DescribedAction, MAX_MEMBERS } from './describe.ts';
import {
  CODE_WORDS,
  CONSEQUENTIAL_NOUNS,
  FACT_NOUNS,
  FILE_NOUNS,
  OPINION_NOUNS,
  OUTSIDE_NOUNS,
  RUNNING_VERBS,
  SENSITIVE_NOUNS,
  SENSITIVE_PHRASES,
  STAGING_NOUNS,
  VISIBILITY_WORDS,
  WEB_NOUNS,
  WORKING_COPY_VERBS,
  wordsOf,
} from './lexicon.ts';
import { type FieldStyle, fieldStyle, fieldsOf } from './suggest-fields.ts';
import { confirmsOnly, kindOf, ownIdentities, type ProposedSink, sinksOf } from './suggest-sinks.ts';
import { type Reading, readingOf, runsCode, sharedPrefix } from './verbs.ts';

export { describeMcpTools, describeOpenApi, describeService } from './describe.ts';

/**
 * Proposes a catalogue from what a service publishes about itself: an MCP tool list or an OpenAPI document. The
 * proposal is for a person to review; it reads names, descriptions and JSON schemas, nothing else.
 */

/** Why an entry was proposed as it was, for the person who reviews it. */
export interface ReviewNote {
  readonly why: readonly string[];
  /** What may be wrong. An entry with doubts is to be looked at first. */
  readonly doubts: readonly string[];
}

export interface Proposal {
  readonly catalogue: Catalogue;
  readonly notes: ReadonlyMap<string, ReviewNote>;
}

function isSensitive(action: DescribedAction, reading: Reading): boolean {
  const described = action.description.toLowerCase();
  const parameters = action.parameters.flatMap(({ name }) => wordsOf(name));
  // A flag called private keeps nothing secret.
  const taken = parameters.filter((word) => word !== 'private');
  const named = reading.effect === 'read' ? reading.name : [...reading.name, ...taken];
  return (
    named.some((word) => SENSITIVE_NOUNS.has(word)) ||
    SENSITIVE_PHRASES.some((phrase) => described.includes(phrase)) ||
    reading.said.some((word) =>
      ['password', 'passport', 'ssh', 'credential', 'credentials', 'secret'].includes(word),
    )
  );
}

const FINAL_PHRASES = ['permanent', 'irreversibl', 'cannot be undone', "can't be undone", 'not reversible'];

/** Stays in the agent's own working copy: files by path that nobody else's container holds, or things only staged. */
function isLocal(action: DescribedAction, reading: Reading, sinks: readonly ProposedSink[]): boolean {
  const { name, said, effect } = reading;
  const staged = name.some((word) => STAGING_NOUNS.has(word));
  const people = sinks.some((sink) => sink.kind !== 'id' && sink.kind !== 'path' && sink.kind !== 'name');
  if (staged && !people) return effect !== 'send' || name.includes('add');
  const container = sinks.some((sink) => sink.kind !== 'path');
  return (
    name.some((word) => FILE_NOUNS.has(word)) &&
    effect === 'change' &&
    name.some((word) => WORKING_COPY_VERBS.has(word)) &&
    !container &&
    (said.includes('local') ||
      name.some((word) => word === 'move' || word === 'copy' || word === 'rename') ||
      action.parameters.some((parameter) => kindOf(parameter) === 'path' && parameter.type !== 'object'))
  );
}

function labelsOf(
  action: DescribedAction,
  reading: Reading,
  sinks: readonly ProposedSink[],
  confirms: boolean,
): Label[] {
  const { effect, name, said } = reading;
  const labels: Label[] = [effect === 'read' ? 'read' : 'effect'];
  const outside = sinks.some((sink) => ['mail', 'url', 'phone'].includes(sink.kind));
  const sensitive = isSensitive(action, reading);
  if (effect === 'read') {
    if (outside || wordsOf(action.action).some((word) => WEB_NOUNS.has(word))) labels.push('external');
    if (sensitive) labels.push('sensitive');
    return labels;
  }
  if (!sensitive && isLocal(action, reading, sinks)) return [...labels, 'local'];
  const people = sinks.some((sink) => !['id', 'path', 'name'].includes(sink.kind));
  // To add something is to send it only where somebody is added, or it is added to somebody.
  const told = name.some((word) => OPINION_NOUNS.has(word));
  const sends = effect === 'send' && (!name.includes('add') || people || told);
  const tells = effect !== 'destroy' && [...name, ...said].some((word) => OUTSIDE_NOUNS.has(word));
  const visible = action.parameters.some((parameter) =>
    wordsOf(parameter.name).some((word) => VISIBILITY_WORDS.has(word)),
  );
  const described = action.description.toLowerCase();
  if (!confirms && (outside || sends || tells || visible || action.hints?.open_world === true))
    labels.push('external');
  const form = sinks.length === 1 && sinks[0]?.kind === 'url';
  const grave =
    name.some((word) => CONSEQUENTIAL_NOUNS.has(word)) ||
    FINAL_PHRASES.some((phrase) => described.includes(phrase)) ||
    runsCode(reading, RUNNING_VERBS) ||
    action.parameters.some((parameter) => CODE_WORDS.has(wordsOf(parameter.name).at(-1) ?? '')) ||
    sensitive;
  if (!confirms && (effect === 'destroy' || (sends && !form) || grave)) labels.push('consequential');
  if (sensitive && !confirms) labels.push('sensitive');
  return labels;
}

const LISTING_WORDS = new Set(
  'search list find query inbox feed messages emails history multiple all tree logs'.split(' '),
);
const SINGULAR_ENDINGS = ['ss', 'us', 'is', 'details', 'contents', 'news', 'settings', 'info'];

function isPlural(word: string): boolean {
  return word.endsWith('s') && !SINGULAR_ENDINGS.some((ending) => word.endsWith(ending));
}

/** Many records come by many hands, and a message is somebody else's; one path, address or document is one object. */
function namesOneObject(action: DescribedAction, reading: Reading): boolean {
  const { name } = reading;
  if (name.some((word) => LISTING_WORDS.has(word) || OPINION_NOUNS.has(word))) return false;
  const by = name.findIndex((word) => ['by', 'for', 'of', 'from', 'through'].includes(word));
  if ((by < 0 ? name : name.slice(0, by)).some(isPlural)) return false;
  const names = name.some((word) => FILE_NOUNS.has(word) || word === 'contents' || word === 'content');
  return action.parameters.some((parameter) => {
    const kind = kindOf(parameter);
    const single =
      kind === 'path' || kind === 'url' || kind === 'id' || wordsOf(parameter.name).includes('file');
    return single && (parameter.required || (kind === 'path' && names));
  });
}

function statesFacts(reading: Reading): boolean {
  return (
    reading.name.some((word) => FACT_NOUNS.has(word)) && !reading.name.some((word) => OPINION_NOUNS.has(word))
  );
}

interface Service {
  readonly prefix: readonly string[];
  readonly identities: ReadonlySet<string>;
  readonly style: FieldStyle;
}

function entryOf(
  action: DescribedAction,
  service: Service,
): { readonly entry: CataloguedAction; readonly note: ReviewNote } {
  const reading = readingOf(action, service.prefix);
  const confirms = reading.effect !== 'read' && confirmsOnly(action, reading);
  const { sinks, copies, doubts } = sinksOf(action, reading, service.identities);
  // What is copied to a place that the caller names has left, however its name reads.
  const settled: Reading = copies ? { ...reading, effect: 'send' } : reading;
  const labels = labelsOf(action, settled, sinks, confirms);
  const external = labels.includes('external');
  const entry: CataloguedAction = {
    action: action.action,
    labels,
    sinks: confirms ? [] : sinks.map(({ parameter, kind }) => ({ parameter, kind })),
    fields: fieldsOf(action, settled, service.style),
    default_trust: settled.effect === 'read' && !external && statesFacts(settled) ? 'system' : 'unknown',
    names_one_object: settled.effect === 'read' && namesOneObject(action, settled),
    confirms,
  };
  const open =
    settled.effect !== 'read' && !confirms && entry.sinks.length === 0 && !labels.includes('local');
  return {
    entry,
    note: {
      why: [
        `${labels[0]}: ${copies ? `${reading.why}, to a place that the caller names` : reading.why}`,
        ...(confirms ? ['takes a one-time code and nothing else'] : []),
        ...(confirms ? [] : sinks.map((sink) => `${sink.parameter}: ${sink.why}`)),
        ...(entry.default_trust === 'system'
          ? ['answers with facts of the service: everything in it is vouched for']
          : []),
        ...(entry.names_one_object
          ? ['points at one object: its text may be what the mission asked for']
          : []),
      ],
      doubts: [
        ...reading.doubts,
        ...doubts,
        ...(open && labels.includes('external')
          ? ['reaches somebody outside, but no parameter says whom']
          : []),
        ...(entry.default_trust === 'system' ? ['can a visitor write any of what it answers?'] : []),
        ...(action.description === '' ? ['it has no description'] : []),
        ...(action.parameters.length >= MAX_MEMBERS ? ['it takes more parameters than were read'] : []),
      ],
    },
  };
}

/** Proposes a catalogue for described actions, with what a reviewer should know of each. */
export function proposeCatalogue(audience: string, actions: readonly DescribedAction[]): Proposal {
  const service: Service = {
    prefix: sharedPrefix(actions),
    identities: ownIdentities(actions),
    style: fieldStyle(actions),
  };
  const made = actions.map((action) => entryOf(action, service));
  return {
    catalogue: {
      audience,
      version: 'suggested-2',
      actions: new Map(made.map(({ entry }) => [entry.action, entry])),
    },
    notes: new Map(made.map(({ entry, note }) => [entry.action, note])),
  };
}

/** The proposed catalogue alone. */
export function suggestCatalogue(audience: string, actions: readonly DescribedAction[]): Catalogue {
  return proposeCatalogue(audience, actions).catalogue;
}
