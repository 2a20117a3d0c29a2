/** `postgres_role`: a PostgreSQL login that exists for the mission, with exactly these table privileges. */

import type { JsonObject } from '../../json.ts';
import type { EntryType } from '../entry_type.ts';
import type { ProviderEntry, Refusal } from '../model.ts';
import { badAuthority, member, readList, readObject, readText } from '../parse.ts';
import { boundsRefusal, readBounds, TTL_BOUND, tightestBounds } from './bounds.ts';
import { differingName, readName } from './names.ts';
import {
  type Covers,
  intersectPairs,
  type Pair,
  pairsOf,
  productsOf,
  reducePairs,
  uncoveredPair,
} from './pairs.ts';

export const POSTGRES_ROLE = 'postgres_role';

/** What a mission can be given on a table. Rights to define, own or pass on objects are not among them. */
export const TABLE_PRIVILEGES = ['DELETE', 'INSERT', 'SELECT', 'UPDATE'] as const;
export type TablePrivilege = (typeof TABLE_PRIVILEGES)[number];

/** All tables of the schema, as they are at issuance. */
export const ALL_TABLES = '*';

export interface TableGrant {
  readonly [member: string]: string | readonly string[];
  readonly schema: string;
  readonly tables: readonly string[];
  readonly privileges: readonly TablePrivilege[];
}

export interface PostgresRole extends ProviderEntry {
  readonly type: 'postgres_role';
  /** Name of a configured server. */
  readonly server: string;
  readonly database: string;
  readonly grants: readonly TableGrant[];
}

const MEMBERS = ['type', 'server', 'database', 'grants', 'connection_limit', 'max_ttl_seconds'];
const BOUNDS = { ...TTL_BOUND, connection_limit: [1, 100] } as const;
/** Of every list, and of tables times privileges over all grants. */
const MAX_PAIRS = 256;
/** NAMEDATALEN - 1; PostgreSQL cuts longer names, so that two of them could meet. */
const MAX_NAME_BYTES = 63;
const SEPARATOR = '\u0000';

export const postgresRole: EntryType<PostgresRole> = {
  type: POSTGRES_ROLE,

  parse(value, path) {
    const object = readObject(value, path, MEMBERS);
    readName(member(object, 'server'), `${path}.server`);
    readIdentifier(member(object, 'database'), `${path}.database`);
    readList(member(object, 'grants'), `${path}.grants`, MAX_PAIRS, readGrant);
    const entry = object as unknown as PostgresRole;
    if (pairs(entry).length > MAX_PAIRS)
      throw badAuthority(`${path}.grants`, `must have at most ${MAX_PAIRS} privileges on tables`);
    readBounds(object, path, BOUNDS);
    return entry;
  },

  within(a, b) {
    const pair = uncoveredPair(pairs(a), pairs(b), tableCovers);
    return (
      differingName(a, b, ['server', 'database']) ??
      (pair === null ? null : { code: 'member_broader', key: 'grants', value: spoken(pair) }) ??
      boundsRefusal(a, b, BOUNDS)
    );
  },

  intersect(a, b) {
    const refusal = differingName(a, b, ['server', 'database']);
    if (refusal !== null) return { refusal };
    const both = intersectPairs(pairs(a), pairs(b), tableCovers);
    if (both.length === 0) return { refusal: nothingCommon(a) };
    return { entry: write(a, both, tightestBounds(a, b, BOUNDS)) };
  },

  normalize: (entry) =>
    write(entry, reducePairs(pairs(entry), tableCovers), tightestBounds(entry, entry, BOUNDS)),

  resourceOf: (entry) => `postgres://${entry.server}/${encodeURIComponent(entry.database)}`,

  describe: (entry) =>
    `Allows a login to database ${entry.database} on ${entry.server} that may ${pairs(entry).map(spoken).join(', ')}.`,
};

/** An identifier that PostgreSQL keeps whole. Quoted, every character is allowed but a NUL. */
function readIdentifier(value: unknown, path: string): string {
  const text = readText(value, path);
  if (Buffer.byteLength(text) > MAX_NAME_BYTES)
    throw badAuthority(path, `must have at most ${MAX_NAME_BYTES} bytes`);
  return text;
}

function readGrant(value: unknown, path: string): void {
  const grant = readObject(value, path, ['schema', 'tables', 'privileges']);
  const schema = readIdentifier(member(grant, 'schema'), `${path}.schema`);
  if (schema.startsWith('pg_') || schema === 'information_schema')
    throw badAuthority(`${path}.schema`, 'must not be one of the system');
  readList(member(grant, 'tables'), `${path}.tables`, MAX_PAIRS, readIdentifier);
  readList(member(grant, 'privileges'), `${path}.privileges`, TABLE_PRIVILEGES.length, (privilege, at) => {
    if (!TABLE_PRIVILEGES.includes(privilege as TablePrivilege))
      throw badAuthority(at, `must be one of ${TABLE_PRIVILEGES.join(', ')}`);
  });
}

function pairs(entry: PostgresRole): readonly Pair[] {
  return pairsOf(
    entry.grants.map(({ schema, tables, privileges }) => ({
      verbs: privileges,
      places: tables.map((table) => `${schema}${SEPARATOR}${table}`),
    })),
  );
}

const tableCovers: Covers = (place, by) => {
  if (place === by) return true;
  return by.endsWith(`${SEPARATOR}${ALL_TABLES}`) && place.startsWith(by.slice(0, -ALL_TABLES.length));
};

function write(entry: PostgresRole, kept: readonly Pair[], bounds: JsonObject): PostgresRole {
  const by_schema = new Map<string, Pair[]>();
  for (const pair of kept) {
    const schema = pair.place.slice(0, pair.place.indexOf(SEPARATOR));
    by_schema.set(schema, [...(by_schema.get(schema) ?? []), pair]);
  }
  const grants = [...by_schema]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([schema, of_schema]) =>
      productsOf(of_schema).map(({ verbs, places }) => ({
        schema,
        tables: places.map((place) => place.slice(schema.length + SEPARATOR.length)),
        privileges: verbs as readonly TablePrivilege[],
      })),
    );
  return { type: POSTGRES_ROLE, server: entry.server, database: entry.database, grants, ...bounds };
}

function spoken({ verb, place }: Pair): string {
  const [schema, table] = place.split(SEPARATOR);
  return table === ALL_TABLES ? `${verb} every table of ${schema}` : `${verb} ${schema}.${table}`;
}

function nothingCommon(wanted: PostgresRole): Refusal {
  return { code: 'member_broader', key: 'grants', value: wanted.grants };
}
