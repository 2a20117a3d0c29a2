/** `vault_secret`: secrets that Vault or OpenBao makes for the mission, read under one token of one role. */

import type { JsonObject } from '../../json.ts';
import type { EntryType } from '../entry_type.ts';
import type { ProviderEntry } from '../model.ts';
import { badAuthority, member, readList, readObject, readText } from '../parse.ts';
import { boundsRefusal, readBounds, TTL_BOUND, tightestBounds } from './bounds.ts';
import { commonTexts, differingName, listRefusal, readName } from './names.ts';

export const VAULT_SECRET = 'vault_secret';

export interface VaultSecret extends ProviderEntry {
  readonly type: 'vault_secret';
  /** Name of a configured server. */
  readonly server: string;
  /** The role that the broker logs in to; it carries the policies. */
  readonly role: string;
  /** API paths that are read, such as `database/creds/readonly`: exact, no patterns. */
  readonly paths: readonly string[];
  /** The client gets single-use wrapping tokens of this life instead of the secrets. */
  readonly wrap_ttl_seconds?: number;
}

const MEMBERS = ['type', 'server', 'role', 'paths', 'wrap_ttl_seconds', 'max_ttl_seconds'];
const BOUNDS = { ...TTL_BOUND, wrap_ttl_seconds: [1, 3600] } as const;
const MAX_PATHS = 16;
/** Reading these makes or shows authority over Vault itself. */
const CLOSED_MOUNTS = ['auth', 'sys', 'identity', 'cubbyhole'];

export const vaultSecret: EntryType<VaultSecret> = {
  type: VAULT_SECRET,

  parse(value, path) {
    const object = readObject(value, path, MEMBERS);
    readName(member(object, 'server'), `${path}.server`);
    readName(member(object, 'role'), `${path}.role`);
    const paths = readList(member(object, 'paths'), `${path}.paths`, MAX_PATHS, readPath);
    if (new Set(paths).size !== paths.length) throw badAuthority(`${path}.paths`, 'holds a repeated value');
    readBounds(object, path, BOUNDS);
    return object as unknown as VaultSecret;
  },

  within: (a, b) =>
    differingName(a, b, ['server', 'role']) ?? listRefusal(a, b, 'paths') ?? boundsRefusal(a, b, BOUNDS),

  intersect(a, b) {
    const refusal = differingName(a, b, ['server', 'role']);
    if (refusal !== null) return { refusal };
    const paths = commonTexts(a, b, 'paths') ?? [];
    if (paths.length === 0)
      return { refusal: { code: 'member_broader', key: 'paths', value: a.paths, allowed: b.paths } };
    return { entry: write(a, paths, tightestBounds(a, b, BOUNDS)) };
  },

  normalize: (entry) => write(entry, [...entry.paths].sort(), tightestBounds(entry, entry, BOUNDS)),

  resourceOf: (entry) => `vault://${entry.server}/${entry.role}`,

  describe: (entry) =>
    `Allows reading ${entry.paths.join(', ')} from ${entry.server} as role ${entry.role}${
      entry.wrap_ttl_seconds === undefined ? '' : ', response-wrapped'
    }.`,
};

/** Segments of letters, digits, dot, dash and underscore: nothing that a server could read as another path. */
function readPath(value: unknown, path: string): string {
  const text = readText(value, path);
  const segments = text.split('/');
  const plain = segments.every(
    (segment) => segment !== '' && segment !== '.' && segment !== '..' && isPlain(segment),
  );
  if (segments.length < 2 || !plain)
    throw badAuthority(path, 'must be a path such as "database/creds/readonly"');
  if (CLOSED_MOUNTS.includes(segments[0] ?? ''))
    throw badAuthority(path, `must not be below ${CLOSED_MOUNTS.join(', ')}`);
  return text;
}

function isPlain(segment: string): boolean {
  return [...segment].every((character) => /^[A-Za-z0-9._-]$/.test(character));
}

function write(entry: VaultSecret, paths: readonly string[], bounds: JsonObject): VaultSecret {
  return { type: VAULT_SECRET, server: entry.server, role: entry.role, paths, ...bounds };
}
