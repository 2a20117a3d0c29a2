import type { DescribedAction } from './describe.ts';
import {
  CHANGING_VERBS,
  CODE_WORDS,
  DESTRUCTIVE_VERBS,
  NOUN_VERBS,
  OPEN_VERBS,
  READ_VERBS,
  SENDING_VERBS,
  TRANSFER_VERBS,
  wordsOf,
} from './lexicon.ts';

/**
 * What an action does, read from its name and its description. The stricter reading wins where two are possible, and
 * the doubt is said, so that a reviewer looks there first.
 */
export type Effect = 'read' | 'change' | 'send' | 'destroy';

export interface Reading {
  readonly effect: Effect;
  /** What decided it, for the reviewer. */
  readonly why: string;
  /** Why it may be wrong; empty where nothing speaks against it. */
  readonly doubts: readonly string[];
  /** Words of the action's name without the service's own prefix. */
  readonly name: readonly string[];
  readonly said: readonly string[];
}

interface Verb {
  readonly word: string;
  readonly at: number;
}

const RANK: Readonly<Record<Effect, number>> = { read: 0, change: 1, send: 2, destroy: 3 };
const CONJUNCTIONS = new Set(['and', 'or', 'then']);

function isVerb(word: string): boolean {
  return (
    READ_VERBS.has(word) ||
    DESTRUCTIVE_VERBS.has(word) ||
    SENDING_VERBS.has(word) ||
    CHANGING_VERBS.has(word) ||
    TRANSFER_VERBS.has(word)
  );
}

function rankOf(word: string): Effect {
  if (DESTRUCTIVE_VERBS.has(word)) return 'destroy';
  if (READ_VERBS.has(word) && !OPEN_VERBS.has(word)) return 'read';
  if (SENDING_VERBS.has(word)) return 'send';
  if (TRANSFER_VERBS.has(word)) return 'read';
  return 'change';
}

/** `resend`, `reassign`, `unassign`: the verb behind the syllable, which is no milder with it. */
function rootOf(word: string): string {
  if (isVerb(word)) return word;
  for (const syllable of ['re', 'un', 'auto', 'bulk', 'multi'])
    if (word.startsWith(syllable) && isVerb(word.slice(syllable.length))) {
      const root = word.slice(syllable.length);
      return rankOf(root) === 'read' ? word : root;
    }
  return word;
}

/** Base form of a verb in a sentence: `Sends`, `deleting`, `copies`. */
function stemOf(word: string): string {
  const root = rootOf(word);
  if (isVerb(root)) return root;
  if (word.endsWith('ies') && isVerb(word.slice(0, -3) + 'y')) return word.slice(0, -3) + 'y';
  for (const ending of ['es', 's', 'ing', 'ed', 'd']) {
    const bare = word.slice(0, -ending.length);
    if (word.endsWith(ending) && isVerb(bare)) return bare;
    if (ending === 'ing' && word.endsWith(ending) && isVerb(bare + 'e')) return bare + 'e';
  }
  return word;
}

/** Words with which descriptions begin before they say anything. */
const LEAD_INS = new Set(
  'this tool function method endpoint api operation action command will would can is are be used use it to a an the you lets let allows allow helps help enables enable for of from in and or please user users service'.split(
    ' ',
  ),
);
const SAID_WORDS = 8;

/** The verb with which a description says what the action does: `This tool will send ...` is `send`. */
function saidVerb(said: readonly string[]): Verb | null {
  for (const [at, word] of said.slice(0, SAID_WORDS).entries()) {
    if (LEAD_INS.has(word)) continue;
    const stem = stemOf(word);
    if (!isVerb(stem)) continue;
    if (at < 3 || !NOUN_VERBS.has(stem)) return { word: stem === 'returns' ? 'return' : stem, at };
  }
  return null;
}

function strictest(verbs: readonly Verb[]): Verb | null {
  return verbs.reduce<Verb | null>(
    (best, verb) => (best === null || RANK[rankOf(verb.word)] > RANK[rankOf(best.word)] ? verb : best),
    null,
  );
}

/** `orders_search`: at the end of a name these are verbs too. */
const LOOKING_VERBS = new Set(['search', 'list', 'query']);

/** To check in is not to check. */
function isCheckIn(word: string, next: string | undefined): boolean {
  return word === 'check' && (next === 'in' || next === 'out');
}

/** The verb of a name: `get_order`, `order.get`, `searchAndSend`. `noun` where it may be no verb at all. */
function namedVerb(name: readonly string[]): { readonly verb: Verb; readonly noun: boolean } | null {
  const verbs = name
    .map((word, at) => ({ word: isCheckIn(word, name[at + 1]) ? 'book' : rootOf(word), at }))
    .filter(({ word }) => isVerb(word));
  const plain = verbs.filter(({ word }) => !NOUN_VERBS.has(word));
  if (name.some((word) => CONJUNCTIONS.has(word)) && plain.length > 1) {
    const verb = strictest(plain);
    return verb === null ? null : { verb, noun: false };
  }
  const verb =
    plain.find(({ at }) => at === 0) ?? plain.find(({ at }) => at === name.length - 1) ?? plain[0] ?? null;
  if (verb !== null) return { verb, noun: false };
  const [only] = verbs;
  // `list_buckets`: a reading word in the imperative's place, and nothing else that could be the verb.
  const placed = only?.at === 0 || (only?.at === name.length - 1 && LOOKING_VERBS.has(only.word));
  if (verbs.length === 1 && only !== undefined && placed && rankOf(only.word) === 'read')
    return { verb: only, noun: false };
  const noun = strictest(verbs);
  return noun === null ? null : { verb: noun, noun: true };
}

function takesCode(action: DescribedAction): boolean {
  return action.parameters.some(({ name }) => wordsOf(name).some((word) => word === 'sql'));
}

function saysReadOnly(action: DescribedAction): boolean {
  const text = action.description.toLowerCase();
  return text.includes('read-only') || text.includes('read only') || text.includes('readonly');
}

const HTTP_METHODS = ['get', 'post', 'put', 'patch', 'delete'];

/** `API-post-search`, `post_search`: a method of the wire in a name says how it is called, not what it does. */
function withoutMethod(
  name: readonly string[],
  method?: string,
): { readonly name: readonly string[]; readonly method?: string } {
  const [first, second, third] = name;
  if (method !== undefined && first === method && second !== undefined) return { name: name.slice(1) };
  if ((first === 'api' || first === 'http') && second !== undefined && third !== undefined)
    if (HTTP_METHODS.includes(second)) return { name: name.slice(2), method: second };
  return { name };
}

/** @param prefix words with which every action of the service begins, such as its own name */
export function readingOf(action: DescribedAction, prefix: readonly string[] = []): Reading {
  const whole = wordsOf(action.action);
  const bare = prefix.every((word, at) => whole[at] === word) ? whole.slice(prefix.length) : whole;
  const { name, method: wired } = withoutMethod(bare.length === 0 ? whole : bare, action.method);
  const method = action.method ?? wired;
  const said = wordsOf(action.description);
  const doubts: string[] = [];
  const named = namedVerb(name);
  const told = saidVerb(said);
  // "Returns the list" answers; only what is itself called `return` may send something back.
  const answers = told?.word === 'return' && named?.verb.word !== 'return';
  const toldEffect = told === null ? null : answers ? 'read' : rankOf(told.word);

  let effect: Effect;
  let why: string;
  if (named === null) {
    effect = toldEffect ?? 'change';
    why = told === null ? 'no verb is known' : `described as "${told.word}"`;
    if (told === null && method === undefined) doubts.push('nothing says what it does: taken for an effect');
  } else {
    const { verb, noun } = named;
    const own = rankOf(verb.word);
    effect = own;
    why = `named "${verb.word}"`;
    if (OPEN_VERBS.has(verb.word) || noun) {
      // The word has two meanings, and the description knows which.
      if (toldEffect !== null) {
        effect = toldEffect;
        why += `, described as "${told?.word}"`;
        if (RANK[toldEffect] < RANK[own]) doubts.push(`"${verb.word}" may also mean an effect`);
      } else if (own !== 'read') doubts.push(`"${verb.word}" may be only a noun`);
    } else if (own === 'read' && toldEffect !== null && toldEffect !== 'read') {
      if (toldEffect === 'change') doubts.push(`named "${verb.word}" but described as "${told?.word}"`);
      else {
        effect = toldEffect;
        why = `described as "${told?.word}", whatever its name`;
        doubts.push('name and description disagree');
      }
    } else if (toldEffect === 'destroy') effect = 'destroy';
  }

  if (method !== undefined) {
    const strict = named !== null && !named.noun;
    if (method === 'get' || method === 'head' || method === 'query') {
      if (effect === 'read' || !strict || OPEN_VERBS.has(named.verb.word)) {
        effect = 'read';
        why = `HTTP ${method.toUpperCase()}`;
      } else doubts.push(`HTTP ${method.toUpperCase()}, yet it is ${why}`);
    } else if (method === 'delete') {
      effect = 'destroy';
      why = 'HTTP DELETE';
    } else if (method !== 'post' && effect === 'read') {
      effect = 'change';
      why = `HTTP ${method.toUpperCase()}`;
    } else if (effect === 'read' && named?.noun !== false) {
      effect = 'change';
      why = 'HTTP POST';
      if (toldEffect === 'read') doubts.push(`described as "${told?.word}", but sent as a change`);
    }
  }

  // A statement that the agent writes does whatever it says.
  if (effect === 'read' && takesCode(action) && !saysReadOnly(action) && action.hints?.read_only !== true) {
    effect = 'change';
    why = 'takes statements to run';
    doubts.push('nothing says that it only reads');
  }
  const { read_only, destructive } = action.hints ?? {};
  if (read_only === true && effect !== 'read') {
    if (
      effect === 'change' &&
      (named === null || named.noun || OPEN_VERBS.has(named.verb.word) || saysReadOnly(action))
    ) {
      effect = 'read';
      why = 'the service says that it only reads';
    }
    doubts.push('read only by the word of the service alone');
  }
  if (read_only === false && effect === 'read') {
    effect = 'change';
    why = 'the service says that it does not only read';
  }
  if (destructive === true && effect !== 'read') effect = 'destroy';
  return { effect, why, doubts, name, said };
}

/** Code, queries and commands: what the call does is in its parameters. */
export function runsCode(reading: Reading, verbs: ReadonlySet<string>): boolean {
  const named = reading.name.some((word) => CODE_WORDS.has(word));
  return (
    named &&
    (reading.name.some((word) => verbs.has(word)) || reading.said.some((word) => verbs.has(stemOf(word))))
  );
}

/** Words with which nearly every action of a service begins: its own name, not what the action does. */
export function sharedPrefix(actions: readonly DescribedAction[]): string[] {
  if (actions.length < 3) return [];
  const first = wordsOf(actions[0]?.action ?? '')[0] ?? '';
  const alike = actions.every(({ action }) => {
    const words = wordsOf(action);
    return words[0] === first && words.length > 1;
  });
  return alike && !isVerb(first) ? [first] : [];
}
