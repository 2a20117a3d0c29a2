/** The parameters of `POST /token` (wire profile 2), parsed once and strictly. */
import { type AuthoritySet, parseAuthoritySet } from '../domain/authority/index.ts';
import { Denied, malformed } from '../domain/denial.ts';
import { type ParsedIntent, parseIntentEnvelope } from '../domain/intent.ts';
import { parseJson } from '../domain/json.ts';
import { readObject, readText } from '../domain/reader.ts';
import type { Evidence, EvidenceType } from '../ports.ts';

export const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
/** The drafts' name for the same exchange (wire profile 5.1). */
export const MISSION_DISPATCH = 'urn:ietf:params:oauth:grant-type:mission-dispatch';
export const ACCESS_TOKEN_TYPE = 'urn:ietf:params:oauth:token-type:access_token';

/** What a reservation of a child mission returns; works once, for 60 s. */
export const DELEGATION_TYPE = 'urn:sortie:token-type:delegation';

export const EVIDENCE_TYPES: readonly EvidenceType[] = [
  'urn:ietf:params:oauth:token-type:jwt',
  'urn:sortie:token-type:x509-svid',
  'urn:sortie:token-type:aws-caller-identity',
];

/** Longest subject token: a JWT with an x5c chain fits, a flood does not. */
const SUBJECT_TOKEN_MAX = 16_384;
const ID_MAX = 128;

export const EXCHANGE_PARAMETERS = [
  'grant_type',
  'subject_token',
  'subject_token_type',
  'requested_token_type',
  'mission_intent',
  'mission_id',
  'authorization_details',
  'resource',
  'template_id',
  'creation_request_id',
  'narrowing',
  'child_actor',
  'delegation',
  'client_id',
] as const;

export type ExchangeParameter = (typeof EXCHANGE_PARAMETERS)[number];

/** What the subject token is, and what is asked with it: the table of wire profile 2. */
export type ExchangeAsk =
  | { readonly kind: 'create'; readonly evidence: Evidence; readonly declared: ParsedIntent }
  | { readonly kind: 'renew'; readonly evidence: Evidence; readonly mission_id: string }
  | { readonly kind: 'exchange'; readonly token: string }
  | DelegationAsk
  /** The child's side: its own evidence, with the grant that names it. */
  | { readonly kind: 'activate'; readonly evidence: Evidence; readonly grant: string };

/** The parent's side: a child mission for another agent. */
export interface DelegationAsk {
  readonly kind: 'delegate';
  readonly token: string;
  /** Agent id of the child. */
  readonly child: string;
  readonly declared: ParsedIntent;
}

export interface ExchangeRequest {
  readonly ask: ExchangeAsk;
  readonly resource: string;
  readonly proposal: AuthoritySet | null;
  readonly template_id: string | null;
  readonly creation_request_id: string | null;
  readonly refuse_narrowing: boolean;
  readonly client_id: string | null;
}

/** @throws Denied */
export function parseExchange(form: ReadonlyMap<string, string>): ExchangeRequest {
  for (const name of form.keys())
    if (!(EXCHANGE_PARAMETERS as readonly string[]).includes(name))
      throw malformed(`unknown parameter ${JSON.stringify(name.slice(0, 64))}`);
  const grant_type = required(form, 'grant_type');
  if (grant_type !== TOKEN_EXCHANGE && grant_type !== MISSION_DISPATCH)
    throw new Denied({ tag: 'unsupported_grant_type' });
  const wanted_type = form.get('requested_token_type');
  const issues = form.has('child_actor') ? DELEGATION_TYPE : ACCESS_TOKEN_TYPE;
  if (wanted_type !== undefined && wanted_type !== issues)
    throw malformed(`requested_token_type may only be ${issues}`);
  const narrowing = form.get('narrowing');
  if (narrowing !== undefined && narrowing !== 'refuse') throw malformed('narrowing may only be "refuse"');
  const details = form.get('authorization_details');
  return {
    ask: parseAsk(form),
    // A delegation grant is no token for anybody: the child names the audience of its own.
    resource: form.has('child_actor') ? '' : required(form, 'resource', 2048),
    proposal: details === undefined ? null : parseAuthoritySet(parseJson(details), 'authorization_details'),
    template_id: optional(form, 'template_id'),
    creation_request_id: optional(form, 'creation_request_id'),
    refuse_narrowing: narrowing === 'refuse',
    client_id: optional(form, 'client_id'),
  };
}

function parseAsk(form: ReadonlyMap<string, string>): ExchangeAsk {
  const token = required(form, 'subject_token', SUBJECT_TOKEN_MAX);
  const type = required(form, 'subject_token_type');
  const intent = form.get('mission_intent');
  const mission_id = form.get('mission_id');
  if (type === ACCESS_TOKEN_TYPE) {
    if (form.has('child_actor')) return parseDelegation(form, token, intent);
    if (form.has('delegation')) throw malformed('a delegation is redeemed with evidence, not with a token');
    if (intent !== undefined || mission_id !== undefined)
      throw malformed(
        'a mission token is exchanged within its own mission: no mission_intent, no mission_id',
      );
    return { kind: 'exchange', token };
  }
  const evidence_type = EVIDENCE_TYPES.find((known) => known === type);
  if (evidence_type === undefined)
    throw malformed(`subject_token_type must be ${ACCESS_TOKEN_TYPE} or one of ${EVIDENCE_TYPES.join(', ')}`);
  const evidence = { type: evidence_type, token };
  if (form.has('child_actor')) throw malformed('child_actor goes with a token of the parent mission');
  if (form.has('delegation')) {
    for (const name of [
      'mission_intent',
      'mission_id',
      'authorization_details',
      'template_id',
      'creation_request_id',
    ])
      if (form.has(name)) throw malformed(`${name} is decided by the delegation`);
    return { kind: 'activate', evidence, grant: required(form, 'delegation', SUBJECT_TOKEN_MAX) };
  }
  if (intent !== undefined && mission_id !== undefined)
    throw malformed('mission_intent creates a mission and mission_id renews one: give one of them');
  if (intent !== undefined)
    return { kind: 'create', evidence, declared: parseIntentEnvelope(parseJson(intent)) };
  if (mission_id !== undefined) {
    for (const name of ['template_id', 'creation_request_id'])
      if (form.has(name)) throw malformed(`${name} belongs to the creation of a mission`);
    return { kind: 'renew', evidence, mission_id: required(form, 'mission_id') };
  }
  // There are no ungoverned tokens: evidence alone buys nothing.
  throw malformed('mission_intent or mission_id is required with evidence');
}

function parseDelegation(
  form: ReadonlyMap<string, string>,
  token: string,
  intent: string | undefined,
): DelegationAsk {
  if (intent === undefined) throw malformed('mission_intent is required with child_actor');
  if (form.has('mission_id')) throw malformed('a child mission gets its id from the broker');
  const actor = readObject(parseJson(required(form, 'child_actor', 1024)), 'child_actor', ['sub']);
  const child = readText(actor['sub'], 'child_actor.sub', 256);
  return { kind: 'delegate', token, child, declared: parseIntentEnvelope(parseJson(intent)) };
}

function required(form: ReadonlyMap<string, string>, name: ExchangeParameter, max_length = ID_MAX): string {
  const value = form.get(name);
  if (value === undefined || value === '') throw malformed(`${name} is required`);
  if (value.length > max_length) throw malformed(`${name} is longer than ${max_length} characters`);
  return value;
}

function optional(form: ReadonlyMap<string, string>, name: ExchangeParameter): string | null {
  return form.has(name) ? required(form, name) : null;
}
