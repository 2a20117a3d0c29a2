/**
 * `github_installation_token`: a token of one installation of a GitHub App, for these repositories and these
 * permissions. Both are always written out: GitHub's default for each is everything that the installation has,
 * which grows without anybody asking the broker.
 */

import type { JsonObject } from '../../json.ts';
import type { EntryType } from '../entry_type.ts';
import type { ProviderEntry, Refusal } from '../model.ts';
import { badAuthority, member, readCount, readList, readObject, readText } from '../parse.ts';
import { boundsRefusal, readBounds, TTL_BOUND, tightestBounds } from './bounds.ts';
import { differingName, readName } from './names.ts';

export const GITHUB_INSTALLATION_TOKEN = 'github_installation_token';

/** Weakest first: each allows what the one before it does. */
const LEVELS = ['read', 'write', 'admin'] as const;
export type GithubLevel = (typeof LEVELS)[number];

export interface GithubInstallationToken extends ProviderEntry {
  readonly type: 'github_installation_token';
  /** Name of a configured app. */
  readonly app: string;
  readonly installation_id: number;
  readonly permissions: { readonly [permission: string]: GithubLevel };
}

const SAME = ['app', 'installation_id'];
const PLACES = ['repositories', 'repository_ids'] as const;
const MEMBERS = ['type', ...SAME, ...PLACES, 'permissions', 'max_ttl_seconds'];
/** GitHub takes 500; a mission that needs more than these is no mission. */
const MAX_REPOSITORIES = 100;
const MAX_PERMISSIONS = 64;

type Place = string | number;

/** The repositories as the entry names them: by name or by id, never both. */
export function repositoriesOf(entry: JsonObject): {
  readonly by: (typeof PLACES)[number];
  readonly places: readonly Place[];
} {
  const by = member(entry, 'repositories') === undefined ? 'repository_ids' : 'repositories';
  return { by, places: (member(entry, by) ?? []) as readonly Place[] };
}

/** Whether `level` is a level of GitHub's and no more than `allowed`; an absent one allows nothing. */
export function levelWithin(level: unknown, allowed: GithubLevel | undefined): boolean {
  const asked = LEVELS.indexOf(level as GithubLevel);
  return asked !== -1 && allowed !== undefined && asked <= LEVELS.indexOf(allowed);
}

export const githubInstallationToken: EntryType<GithubInstallationToken> = {
  type: GITHUB_INSTALLATION_TOKEN,

  parse(value, path) {
    const object = readObject(value, path, MEMBERS);
    readName(member(object, 'app'), `${path}.app`);
    readCount(member(object, 'installation_id'), `${path}.installation_id`, 1, Number.MAX_SAFE_INTEGER);
    readRepositories(object, path);
    readPermissions(member(object, 'permissions'), `${path}.permissions`);
    readBounds(object, path, TTL_BOUND);
    return object as unknown as GithubInstallationToken;
  },

  within: (a, b) =>
    differingName(a, b, SAME) ??
    repositoriesRefusal(a, b) ??
    permissionsRefusal(a, b) ??
    boundsRefusal(a, b, TTL_BOUND),

  intersect(a, b) {
    const [ours, theirs] = [repositoriesOf(a), repositoriesOf(b)];
    const places = ours.places.filter((place) => theirs.places.includes(place));
    // A name and an id may mean the same repository today and not tomorrow: that is not for us to decide.
    const refusal =
      differingName(a, b, SAME) ??
      (ours.by === theirs.by && places.length > 0 ? null : repositoriesRefusal(a, b));
    if (refusal !== null) return { refusal };
    const permissions = commonPermissions(a, b);
    if (Object.keys(permissions).length === 0)
      return {
        refusal: {
          code: 'member_broader',
          key: 'permissions',
          value: a.permissions,
          allowed: b.permissions,
        },
      };
    return { entry: write(a, places, permissions, tightestBounds(a, b, TTL_BOUND)) };
  },

  normalize: (entry) =>
    write(
      entry,
      repositoriesOf(entry).places,
      commonPermissions(entry, entry),
      tightestBounds(entry, entry, TTL_BOUND),
    ),

  resourceOf: (entry) => `github://${entry.app}/${entry.installation_id}`,

  describe: (entry) =>
    `Allows ${Object.entries(entry.permissions)
      .map(([permission, level]) => `${level} of ${permission}`)
      .join(', ')} in ${repositoriesOf(entry).places.join(', ')} as app ${entry.app}.`,
};

function readRepositories(object: JsonObject, path: string): void {
  const given = PLACES.filter((name) => member(object, name) !== undefined);
  const [by] = given;
  if (by === undefined || given.length > 1)
    throw badAuthority(
      `${path}.repositories`,
      'must list the repositories, by name here or by number in repository_ids, and not both',
    );
  const places = readList<Place>(
    member(object, by),
    `${path}.${by}`,
    MAX_REPOSITORIES,
    by === 'repositories' ? readRepository : readId,
  );
  if (new Set(places).size !== places.length) throw badAuthority(`${path}.${by}`, 'holds a repeated value');
}

/**
 * The name without its owner, who is the installation's account. In lower case, as GitHub compares them: one
 * repository has one spelling here.
 */
function readRepository(value: unknown, path: string): string {
  const name = readText(value, path, 100);
  const plain = [...name].every((character) => /^[a-z0-9._-]$/.test(character));
  if (!plain || name === '.' || name === '..')
    throw badAuthority(path, 'must be the name of a repository, without its owner and in lower case');
  return name;
}

function readId(value: unknown, path: string): number {
  return readCount(value, path, 1, Number.MAX_SAFE_INTEGER);
}

/** Names are GitHub's and grow with it; levels are these three, and one that is not known decides nothing. */
function readPermissions(value: unknown, path: string): void {
  const permissions = readObject(value, path);
  const names = Object.keys(permissions);
  if (names.length === 0) throw badAuthority(path, 'must not be empty');
  if (names.length > MAX_PERMISSIONS)
    throw badAuthority(path, `must have at most ${MAX_PERMISSIONS} members`);
  for (const name of names) {
    if (name.length > 64 || ![...name].every((character) => /^[a-z_]$/.test(character)))
      throw badAuthority(path, 'must name permissions as GitHub writes them, such as pull_requests');
    if (!LEVELS.some((level) => level === permissions[name]))
      throw badAuthority(`${path}.${name}`, `must be one of ${LEVELS.join(', ')}`);
  }
}

function repositoriesRefusal(a: JsonObject, b: JsonObject): Refusal | null {
  const [wanted, allowed] = [repositoriesOf(a), repositoriesOf(b)];
  const beyond =
    wanted.by === allowed.by ? wanted.places.find((place) => !allowed.places.includes(place)) : wanted.places;
  return beyond === undefined
    ? null
    : { code: 'member_broader', key: wanted.by, value: beyond, allowed: allowed.places };
}

function permissionsRefusal(a: GithubInstallationToken, b: GithubInstallationToken): Refusal | null {
  for (const [name, level] of Object.entries(a.permissions)) {
    const allowed = levelOf(b, name);
    if (levelWithin(level, allowed)) continue;
    return {
      code: 'member_broader',
      key: 'permissions',
      value: { [name]: level },
      ...(allowed === undefined ? {} : { allowed: { [name]: allowed } }),
    };
  }
  return null;
}

/** Own members only: a permission that is called like something that objects inherit is still absent. */
function levelOf(entry: GithubInstallationToken, name: string): GithubLevel | undefined {
  return Object.hasOwn(entry.permissions, name) ? entry.permissions[name] : undefined;
}

/** The lower level of each permission that both have, by name. */
function commonPermissions(
  a: GithubInstallationToken,
  b: GithubInstallationToken,
): GithubInstallationToken['permissions'] {
  const both = Object.entries(a.permissions).flatMap(([name, level]) => {
    const other = levelOf(b, name);
    if (other === undefined) return [];
    return [[name, levelWithin(level, other) ? level : other] as const];
  });
  return Object.fromEntries(both.sort(([x], [y]) => (x < y ? -1 : 1)));
}

function write(
  entry: GithubInstallationToken,
  places: readonly Place[],
  permissions: GithubInstallationToken['permissions'],
  bounds: JsonObject,
): GithubInstallationToken {
  const { app, installation_id } = entry;
  const sorted = [...places].sort((a, b) => (a < b ? -1 : 1));
  return {
    type: GITHUB_INSTALLATION_TOKEN,
    app,
    installation_id,
    [repositoriesOf(entry).by]: sorted,
    permissions,
    ...bounds,
  };
}
