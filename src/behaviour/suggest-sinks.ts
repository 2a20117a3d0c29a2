import type { Sink } from './catalogue.ts';
import type { DescribedAction, DescribedMember } from './describe.ts';
import {
  CODE_NAMES,
  CONFIRMING_VERBS,
  DESCRIBED_KINDS,
  FILE_NOUNS,
  LOGIN_WORDS,
  OWN_SIDE_WORDS,
  QUALITY_WORDS,
  SINK_WORDS,
  TRANSFER_VERBS,
  wordsOf,
} from './lexicon.ts';
import type { SinkKind } from './values.ts';
import { type Reading, readingOf } from './verbs.ts';

/** Which parameters of an action name a destination, by their names, descriptions and formats. */
export interface ProposedSink extends Sink {
  readonly why: string;
}

const FORMAT_KINDS: Readonly<Record<string, SinkKind>> = {
  email: 'mail',
  'idn-email': 'mail',
  uri: 'url',
  url: 'url',
  iri: 'url',
  'uri-reference': 'url',
  hostname: 'url',
  ipv4: 'any',
  ipv6: 'any',
  uuid: 'id',
};
/** What a key opens; any other "key" is the name of an entry. */
const LOCK_WORDS = new Set(
  'ssh public private access api gpg pgp deploy signing host secret auth'.split(' '),
);
const PEOPLE_KINDS: readonly SinkKind[] = ['mail', 'account', 'phone', 'handle'];

function words(member: Pick<DescribedMember, 'name'>): string[] {
  return wordsOf(member.name.slice(member.name.lastIndexOf('.') + 1));
}

function singular(word: string): string {
  return word.endsWith('s') ? word.slice(0, -1) : word;
}

/** What a parameter names, or null where it is no destination of any kind. */
export function kindOf(parameter: DescribedMember): SinkKind | null {
  const known = FORMAT_KINDS[parameter.format];
  if (known !== undefined) return known;
  if (
    parameter.fixed ||
    ['boolean', 'number', 'null'].includes(parameter.type) ||
    parameter.format === 'date-time'
  )
    return null;
  const own = words(parameter);
  const last = own.at(-1) ?? '';
  if (['id', 'ids', 'uuid', 'guid', 'arn'].includes(last)) return 'id';
  if (QUALITY_WORDS.has(last)) return null;
  // `parent.account.email`: what holds a nameless member says what it is.
  const outer = wordsOf(parameter.name.slice(0, Math.max(0, parameter.name.lastIndexOf('.'))));
  const bare =
    ['name', 'value', 'identifier', 'item'].includes(last) && own.length === 1
      ? [...outer.slice(-1), last]
      : own;
  for (const { kind, words: named } of SINK_WORDS) {
    if (!bare.some((word) => named.has(word))) continue;
    // `client_assertion` is no client: what is named stands last, or before what it is called.
    if (
      kind === 'name' &&
      !named.has(last) &&
      !['name', 'names', 'slug', 'value', 'identifier'].includes(last)
    )
      continue;
    if (kind === 'key' && ['key', 'keys'].includes(last) && !bare.some((word) => LOCK_WORDS.has(word)))
      return null;
    // `guest_name` is what somebody is called; `user_name` is how a service knows him.
    if (['name', 'names'].includes(last) && kind === 'handle' && own.length > 1 && own[0] !== 'user')
      continue;
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
  if (FILE_NOUNS.has(last) || FILE_NOUNS.has(singular(last)) || own.includes('path')) return 'path';
  return null;
}

/** Parts of one object that another parameter names. */
const PART_WORDS = new Set(
  'input inputs field fields element elements option column row cell button selector'.split(' '),
);
const TEXT_WORDS = new Set(
  'body content contents text subject title message description comment query note notes summary prompt input inputs values value data payload html markdown caption reason instructions'.split(
    ' ',
  ),
);

/** Says, by itself, that something goes there: enough to make a copy of something an effect. */
const PLACE_WORDS = new Set(
  'dst dest destination target to recipient recipients webhook callback upload output'.split(' '),
);

/**
 * Parameters with the caller's own address: nearly every action takes them, reads too, so they say on whose behalf and
 * not to whom.
 */
export function ownIdentities(actions: readonly DescribedAction[]): Set<string> {
  const out = new Set<string>();
  if (actions.length < 6) return out;
  const counts = new Map<string, number>();
  const reads = new Set<string>();
  for (const action of actions) {
    const reading = readingOf(action);
    for (const parameter of action.parameters) {
      const kind = kindOf(parameter);
      if (kind === null || !['mail', 'phone', 'account'].includes(kind)) continue;
      counts.set(parameter.name, (counts.get(parameter.name) ?? 0) + 1);
      if (reading.effect === 'read' && parameter.required) reads.add(parameter.name);
    }
  }
  for (const [name, count] of counts) if (count * 10 >= actions.length * 6 && reads.has(name)) out.add(name);
  return out;
}

/** Whether a parameter of `create_repo` is what the created thing is called, rather than where it goes. */
function isOwnName(reading: Reading, parameter: DescribedMember): boolean {
  if (!reading.name.some((word) => ['create', 'new', 'make', 'init'].includes(word))) return false;
  return words(parameter).some((word) =>
    reading.name.some((noun) => noun.length >= 3 && (noun.startsWith(word) || word.startsWith(noun))),
  );
}

/** Where a file is moved to is a path, unless the parameter says otherwise. */
function placed(reading: Reading, kind: SinkKind | null): SinkKind | null {
  const moves = reading.name.some((word) => word === 'move' || word === 'copy' || word === 'rename');
  return kind === 'any' && moves && reading.name.some((word) => FILE_NOUNS.has(word)) ? 'path' : kind;
}

export interface ProposedSinks {
  readonly sinks: readonly ProposedSink[];
  /** A read that puts what it read where the caller says. */
  readonly copies: boolean;
  readonly doubts: readonly string[];
}

export function sinksOf(
  action: DescribedAction,
  reading: Reading,
  identities: ReadonlySet<string>,
): ProposedSinks {
  const sinks: ProposedSink[] = [];
  const doubts: string[] = [];
  const opens = reading.name.some((word) => LOGIN_WORDS.has(word));
  const moves = reading.effect === 'read' && reading.name.some((word) => TRANSFER_VERBS.has(word));
  let copies = false;
  for (const parameter of action.parameters) {
    const own = words(parameter);
    const last = own.at(-1) ?? '';
    if (TEXT_WORDS.has(last) && parameter.format === '') continue;
    const kind = placed(reading, kindOf(parameter));
    if (kind === null) continue;
    if (kind === 'id' && PART_WORDS.has(own[0] ?? '')) continue;
    const place = own.some((word) => PLACE_WORDS.has(word));
    if (moves && place) copies = true;
    // Reads send nothing but the address they fetch.
    else if (reading.effect === 'read' && kind !== 'url') continue;
    if (kind === 'path' && reading.effect !== 'destroy') continue;
    // What one logs in with opens the caller's own door; it sends nothing anywhere.
    if (opens) continue;
    if (PEOPLE_KINDS.includes(kind) && own.length > 1 && OWN_SIDE_WORDS.has(own[0] ?? '')) continue;
    if (own.length === 1 && ['from', 'sender', 'source'].includes(last)) continue;
    if (identities.has(parameter.name)) {
      doubts.push(
        `${parameter.name} is left out: nearly every action takes it, so it seems to say who calls`,
      );
      continue;
    }
    if (kind === 'name' && isOwnName(reading, parameter)) continue;
    const format = FORMAT_KINDS[parameter.format] === undefined ? '' : ` (format ${parameter.format})`;
    sinks.push({ parameter: parameter.name, kind, why: `${kind} by its name${format}` });
    if (kind === 'any') doubts.push(`${parameter.name} names a destination, but not how it is written`);
  }
  return { sinks, copies, doubts };
}

/** A one-time code that completes what was begun: the name or the description must say so, not the parameter alone. */
export function confirmsOnly(action: DescribedAction, reading: Reading): boolean {
  const [only] = action.parameters.filter((parameter) => parameter.required);
  if (action.parameters.length !== 1 || only === undefined) return false;
  const own = words(only);
  const codes = [...own, ...wordsOf(only.description)].some((word) => CODE_NAMES.has(word));
  const confirms = [...reading.name, ...reading.said.slice(0, 12)].some((word) => CONFIRMING_VERBS.has(word));
  // "One Time Password" describes a code; a parameter called password is one.
  return codes && confirms && !own.includes('password');
}
