import type { ReturnedField } from './catalogue.ts';
import type { DescribedAction, DescribedMember } from './describe.ts';
import { BILL_NOUNS, OPINION_NOUNS, READ_VERBS, SINK_WORDS, wordsOf } from './lexicon.ts';
import { FIELD_WORDS, type FieldWord } from './lexicon-fields.ts';
import { kindOf } from './suggest-sinks.ts';
import type { SinkKind } from './values.ts';
import type { Reading } from './verbs.ts';

/** Trust of what an action answers, member by member: by the words that services use, and by its schema if it has one. */
export interface FieldStyle {
  /** Members are written `likeThis`. */
  readonly camel: boolean;
  /** Members by which the service takes its own ids: it gives them out under the same names. */
  readonly ids: readonly string[];
}

export function fieldStyle(actions: readonly DescribedAction[]): FieldStyle {
  let snakes = 0;
  let humps = 0;
  const ids = new Set<string>();
  for (const { parameters, returns } of actions) {
    for (const member of [...parameters, ...returns]) {
      const name = lastOf(member.name);
      if (name.includes('_')) snakes++;
      else if (wordsOf(name).length > 1) humps++;
    }
    for (const member of parameters) {
      const name = lastOf(member.name);
      if (kindOf(member) === 'id' && wordsOf(name).length > 1 && ids.size < 64) ids.add(name);
    }
  }
  return { camel: humps > snakes, ids: [...ids] };
}

function lastOf(name: string): string {
  return name.slice(name.lastIndexOf('.') + 1);
}

function styled(name: string, camel: boolean): string {
  if (!camel || name.startsWith('_') || name.endsWith('_')) return name;
  const [first, ...rest] = name.split('_');
  return [first, ...rest.map((word) => word.slice(0, 1).toUpperCase() + word.slice(1))].join('');
}

/** Identities that a record has, which its author chose where strangers make the records. */
const CHOSEN_KINDS: readonly (SinkKind | undefined)[] = ['mail', 'phone', 'account', 'name', 'handle'];

function entry(field: string, word: FieldWord, action: Reading): ReturnedField {
  const { kind, author } = word;
  let { trust } = word;
  const sent = action.name.concat(action.said).some((one) => one === 'sent' || one === 'outgoing');
  // What the principal itself sent, it addressed itself.
  if (sent && ['recipients', 'recipient', 'to', 'cc', 'bcc'].includes(field)) trust = 'system';
  else if (
    trust === 'system' &&
    CHOSEN_KINDS.includes(kind) &&
    !wordsOf(field).some((one) => KEPT_WORDS.has(one)) &&
    isFilledInByStrangers(action, kind)
  )
    trust = 'counterparty';
  return {
    field,
    trust,
    ...(kind === undefined ? {} : { kind }),
    ...(author === undefined ? {} : { author }),
  };
}

/** Assigned by the service's own people, whoever opened the record. */
const KEPT_WORDS = new Set('owner assignee members collaborators organizer'.split(' '));

/** A ticket's address is whoever's opened it; the account on an invoice is whoever's sent it. */
function isFilledInByStrangers(reading: Reading, kind: SinkKind | undefined): boolean {
  if (reading.name.some((word) => BILL_NOUNS.has(word))) return kind === 'account' || kind === 'mail';
  return reading.name.some((word) => OPINION_NOUNS.has(word)) && kind !== 'account' && kind !== 'name';
}

const AUTHOR_WORDS = new Set(
  'sender from author requester reporter submitter creator commenter customer visitor reviewer'.split(' '),
);
const KEEPER_WORDS = new Set('owner manager assignee organizer admin'.split(' '));
const IDENTITY_MEMBERS = ['email', 'address', 'username', 'login'];

/** `sender: {email}`: what is said of an author is the author's, however its member is called. */
function authorFields(): ReturnedField[] {
  const out: ReturnedField[] = [];
  for (const word of [...AUTHOR_WORDS].slice(0, 8))
    for (const member of IDENTITY_MEMBERS)
      out.push({
        field: `${word}.${member}`,
        trust: 'counterparty',
        kind: member === 'email' || member === 'address' ? 'mail' : 'handle',
        author: true,
      });
  return out;
}

const PLAIN_TYPES = ['number', 'integer', 'boolean'];

/** What a schema says of one member that no common word covers. */
function described(member: DescribedMember): ReturnedField | null {
  const parts = member.name.split('.');
  const last = parts.at(-1) ?? '';
  const own = wordsOf(last);
  const around = wordsOf(parts.slice(-2).join(' '));
  const field = parts.length > 1 && own.length === 1 ? parts.slice(-2).join('.') : last;
  if (['id', 'ids', 'uuid', 'guid'].includes(own.at(-1) ?? '') || member.format === 'uuid')
    return { field, trust: 'system', kind: 'id' };
  if (member.fixed || PLAIN_TYPES.includes(member.type) || member.format.startsWith('date'))
    return { field, trust: 'system' };
  const kind = kindOf(member);
  const person = kind === 'mail' || kind === 'handle' || kind === 'phone' || kind === 'any';
  if (person && around.some((word) => AUTHOR_WORDS.has(word)))
    return { field, trust: 'counterparty', kind: kind === 'any' ? 'mail' : kind, author: true };
  if (person && around.some((word) => KEEPER_WORDS.has(word)))
    return { field, trust: 'system', kind: kind === 'any' ? 'handle' : kind };
  return null;
}

const KNOWN = new Map(
  FIELD_WORDS.flatMap((word) => word.names.map((name) => [wordsOf(name).join('_'), word] as const)),
);

export function fieldsOf(action: DescribedAction, reading: Reading, style: FieldStyle): ReturnedField[] {
  const fields: ReturnedField[] = [];
  const seen = new Set<string>();
  const add = (field: ReturnedField): void => {
    const name = `${field.keys === true ? 'k' : 'v'}${field.field}`;
    if (seen.has(name)) return;
    seen.add(name);
    fields.push(field);
  };
  for (const member of action.returns) {
    const last = lastOf(member.name);
    const word = KNOWN.get(wordsOf(last).join('_'));
    const own = described(member);
    // A stranger's record within the record counts before the common word for its member.
    if (own?.author === true || own?.field.includes('.') === true) add(own);
    if (word !== undefined) add(entry(last, word, reading));
    else if (own !== null) add(own);
  }
  for (const word of FIELD_WORDS)
    for (const name of word.names) add(entry(styled(name, style.camel), word, reading));
  for (const field of authorFields()) add(field);
  for (const field of style.ids) add({ field, trust: 'system', kind: 'id' });
  const listed = listedKind(reading);
  if (listed !== null) add({ field: '.', trust: 'system', kind: listed });
  add({ field: styled('shared_with', style.camel), trust: 'system', kind: 'mail', keys: true });
  return fields;
}

const PREPOSITIONS = new Set('in of for by with from to on at'.split(' '));

function singular(noun: string): string {
  if (noun.endsWith('ies')) return noun.slice(0, -3) + 'y';
  return noun.endsWith('s') ? noun.slice(0, -1) : noun;
}

/** `get_channels`, `list_members_of_group`: the plural noun before the preposition says what the items are. */
function listedKind({ name, effect }: Reading): SinkKind | null {
  const verb = name.findIndex((word) => READ_VERBS.has(word));
  if (verb < 0 || effect !== 'read') return null;
  const rest = name.slice(verb + 1);
  const end = rest.findIndex((word) => PREPOSITIONS.has(word));
  const noun = (end < 0 ? rest : rest.slice(0, end)).at(-1);
  if (noun === undefined || !noun.endsWith('s')) return null;
  for (const { kind, words } of SINK_WORDS) {
    const known = words.has(noun) || words.has(singular(noun));
    if (known && ['channel', 'handle', 'account', 'name'].includes(kind)) return kind;
  }
  return null;
}
