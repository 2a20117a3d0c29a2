/** `aws_session`: temporary AWS credentials of one role, cut down by a session policy to these statements. */

import type { JsonObject } from '../../json.ts';
import type { EntryType } from '../entry_type.ts';
import type { ProviderEntry, Refusal } from '../model.ts';
import { badAuthority, member, readList, readObject, readText } from '../parse.ts';
import { boundsRefusal, readBounds, TTL_BOUND, tightestBounds } from './bounds.ts';
import { commonTexts, differingName, listRefusal } from './names.ts';
import {
  type Covers,
  intersectPairs,
  type Pair,
  pairsOf,
  productsOf,
  reducePairs,
  uncoveredPair,
} from './pairs.ts';

export const AWS_SESSION = 'aws_session';

export interface SessionStatement {
  readonly [member: string]: readonly string[];
  /** Exact, such as `s3:GetObject`. */
  readonly actions: readonly string[];
  /** ARNs, exact or ending in a `*` after `/` or `:`; `*` alone for actions that know no resource. */
  readonly resources: readonly string[];
}

export interface AwsSession extends ProviderEntry {
  readonly type: 'aws_session';
  /** ARN of the role that is assumed. */
  readonly role: string;
  readonly statements: readonly SessionStatement[];
}

const MEMBERS = ['type', 'role', 'statements', 'regions', 'max_ttl_seconds'];
/** Of every list, and of actions times resources over all statements; STS takes far less. */
const MAX_PAIRS = 256;
const MAX_REGIONS = 16;
const ANY = '*';

export const awsSession: EntryType<AwsSession> = {
  type: AWS_SESSION,

  parse(value, path) {
    // What an amount or a recipient bounds lies in the call's body, where no session policy can look.
    if (Object.hasOwn(value, 'constraints'))
      throw badAuthority(
        `${path}.constraints`,
        'a session policy cannot express these; bound actions and resources',
      );
    const object = readObject(value, path, MEMBERS);
    readRole(member(object, 'role'), `${path}.role`);
    readList(member(object, 'statements'), `${path}.statements`, MAX_PAIRS, readStatement);
    const entry = object as unknown as AwsSession;
    if (pairs(entry).length > MAX_PAIRS)
      throw badAuthority(`${path}.statements`, `must have at most ${MAX_PAIRS} actions on resources`);
    const regions = member(object, 'regions');
    if (regions !== undefined) readList(regions, `${path}.regions`, MAX_REGIONS, readRegion);
    readBounds(object, path, TTL_BOUND);
    return entry;
  },

  within(a, b) {
    const pair = uncoveredPair(pairs(a), pairs(b), arnCovers);
    return (
      differingName(a, b, ['role']) ??
      (pair === null ? null : { code: 'member_broader', key: 'statements', value: spoken(pair) }) ??
      listRefusal(a, b, 'regions') ??
      boundsRefusal(a, b, TTL_BOUND)
    );
  },

  intersect(a, b) {
    const refusal = differingName(a, b, ['role']);
    if (refusal !== null) return { refusal };
    const both = intersectPairs(pairs(a), pairs(b), arnCovers);
    if (both.length === 0) return { refusal: nothingCommon('statements', a) };
    const regions = commonTexts(a, b, 'regions');
    if (regions?.length === 0) return { refusal: nothingCommon('regions', a) };
    return { entry: write(a, both, regions, tightestBounds(a, b, TTL_BOUND)) };
  },

  normalize: (entry) =>
    write(
      entry,
      reducePairs(pairs(entry), arnCovers),
      commonTexts(entry, entry, 'regions'),
      tightestBounds(entry, entry, TTL_BOUND),
    ),

  resourceOf: (entry) => entry.role,

  describe: (entry) => `Allows ${pairs(entry).map(spoken).join(', ')} as ${entry.role}.`,
};

/** `arn:<partition>:iam::<account>:role/<path and name>`. */
function readRole(value: unknown, path: string): string {
  const role = readText(value, path, 512);
  const [arn, partition, service, region, account, ...rest] = role.split(':');
  const name = rest.join(':');
  const accepted =
    arn === 'arn' &&
    isWord(partition ?? '') &&
    service === 'iam' &&
    region === '' &&
    (account ?? '').length <= 64 &&
    isWord(account ?? '', true) &&
    name.startsWith('role/') &&
    name.length > 5 &&
    [...name].every((character) => /^[A-Za-z0-9_+=,.@/-]$/.test(character));
  if (!accepted) throw badAuthority(path, 'must be the ARN of a role');
  return role;
}

function readStatement(value: unknown, path: string): void {
  const statement = readObject(value, path, ['actions', 'resources']);
  readList(member(statement, 'actions'), `${path}.actions`, MAX_PAIRS, readAction);
  readList(member(statement, 'resources'), `${path}.resources`, MAX_PAIRS, readResource);
}

/** One literal action: a pattern would grow when AWS adds an action. */
function readAction(value: unknown, path: string): string {
  const action = readText(value, path, 128);
  const [service, name, ...rest] = action.split(':');
  if (rest.length > 0 || !isWord(service ?? '') || !isWord(name ?? '') || /[-]/.test(name ?? ''))
    throw badAuthority(path, 'must be one exact action such as "s3:GetObject"');
  return action;
}

/** No `?`, no inner `*`, and no `$`: policy variables would be filled in by AWS, not by us. */
function readResource(value: unknown, path: string): string {
  const resource = readText(value, path, 1024);
  if (resource === ANY) return resource;
  const literal = resource.endsWith('*') ? resource.slice(0, -1) : resource;
  const whole_segment = literal === resource || literal.endsWith('/') || literal.endsWith(':');
  // Five colons come before the resource part; a star among them would reach other accounts and services.
  const parts = literal.split(':');
  const plain = [...literal].every(
    (character) => character > ' ' && character < '\u007f' && !'*?$"\\'.includes(character),
  );
  if (parts[0] !== 'arn' || parts.length < 6 || !plain || !whole_segment)
    throw badAuthority(path, 'must be an ARN, exact or ending in "/*" or ":*"');
  return resource;
}

function readRegion(value: unknown, path: string): string {
  const region = readText(value, path, 32);
  if (!isWord(region)) throw badAuthority(path, 'must be a region such as "eu-central-1"');
  return region;
}

function isWord(text: string, empty = false): boolean {
  return (empty || text !== '') && [...text].every((character) => /^[A-Za-z0-9-]$/.test(character));
}

function pairs(entry: AwsSession): readonly Pair[] {
  return pairsOf(entry.statements.map(({ actions, resources }) => ({ verbs: actions, places: resources })));
}

/** AWS's trailing star matches any rest, also none. */
const arnCovers: Covers = (place, by) =>
  place === by || (by.endsWith('*') && place.startsWith(by.slice(0, -1)));

function write(
  entry: AwsSession,
  kept: readonly Pair[],
  regions: readonly string[] | null,
  bounds: JsonObject,
): AwsSession {
  return {
    type: AWS_SESSION,
    role: entry.role,
    statements: productsOf(kept).map(({ verbs, places }) => ({ actions: verbs, resources: places })),
    ...(regions === null ? {} : { regions }),
    ...bounds,
  };
}

function spoken({ verb, place }: Pair): string {
  return `${verb} on ${place}`;
}

function nothingCommon(key: string, wanted: AwsSession): Refusal {
  const value = member(wanted, key);
  return { code: 'member_broader', key, ...(value === undefined ? {} : { value }) };
}
