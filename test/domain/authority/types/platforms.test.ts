/** Provider entries of platforms, member by member, and the delegation beside them. */
import { describe, expect, it } from 'vitest';
import type { EntryType } from '../../../../src/domain/authority/entry_type.ts';
import {
  githubInstallationToken,
  levelWithin,
} from '../../../../src/domain/authority/types/github_installation_token.ts';
import { kubernetesToken } from '../../../../src/domain/authority/types/kubernetes_token.ts';
import { withDelegation } from '../../../../src/domain/authority/types/with_delegation.ts';
import type { JsonObject } from '../../../../src/domain/json.ts';
import { of } from './members.ts';

describe('kubernetes_token', () => {
  const good = {
    type: 'kubernetes_token',
    cluster: 'a',
    namespace: 'jobs',
    service_account: 'runner',
    audiences: ['https://a', 'https://b'],
  };
  const kubernetes = of(kubernetesToken as unknown as EntryType<never>, good);

  it.each(['cluster', 'namespace', 'service_account'])('is of one %s', (key) => {
    const refusal = { code: 'resource_not_covered', key, value: 'x', allowed: (good as JsonObject)[key] };
    expect(kubernetes.within({ [key]: 'x' }, {})).toStrictEqual(refusal);
    expect(kubernetes.both({ [key]: 'x' }, {})).toStrictEqual({ refusal });
  });

  it('is for no audience that the other side has not', () => {
    expect(kubernetes.within({ audiences: ['https://b'] }, {})).toBeNull();
    expect(kubernetes.within({ audiences: ['https://c'] }, {})).toMatchObject({
      key: 'audiences',
      value: 'https://c',
    });
    expect(kubernetes.both({ audiences: ['https://c', 'https://b', 'https://a'] }, {})).toStrictEqual({
      entry: good,
    });
    expect(kubernetes.both({ audiences: ['https://c'] }, {})).toStrictEqual({
      refusal: { code: 'member_broader', key: 'audiences', value: ['https://c'], allowed: good.audiences },
    });
    expect(kubernetes.normal({ audiences: ['https://b', 'https://a'], max_ttl_seconds: 9 })).toStrictEqual({
      ...good,
      max_ttl_seconds: 9,
    });
  });

  it('is of names that change no path', () => {
    for (const name of [
      '-a',
      'a-',
      'A',
      'a_b',
      'a/b',
      '..',
      'a..b',
      '.a',
      'a.',
      'é',
      'a.-b',
      'a-.b',
      'a.b.C',
    ])
      expect(kubernetes.read({ service_account: name }), name).toBe(
        'e.service_account: must be a name as Kubernetes takes it',
      );
    for (const name of ['a', 'a-b', '0', 'a.b', 'system-9.x', 'a'.repeat(253)])
      expect(kubernetes.read({ service_account: name }), name).toBe('accepted');
    expect(kubernetes.read({ service_account: 'a'.repeat(254) })).toContain('1 to 253');
    expect(kubernetes.read({ namespace: 'a.b' })).toBe('e.namespace: must be a name as Kubernetes takes it');
    expect(kubernetes.read({ namespace: 'a'.repeat(63) })).toBe('accepted');
    expect(kubernetes.read({ namespace: 'a'.repeat(64) })).toContain('1 to 63');
    expect(kubernetes.read({ max_ttl_seconds: 0 })).toContain('e.max_ttl_seconds: ');
  });

  it('has a place and words', () => {
    expect(kubernetes.place({})).toBe('kubernetes://a/jobs/runner');
    expect(kubernetes.words({})).toBe(
      'Allows a token of service account jobs/runner on a for https://a, https://b.',
    );
  });
});

describe('github_installation_token', () => {
  const good = {
    type: 'github_installation_token',
    app: 'bot',
    installation_id: 7,
    repositories: ['a', 'b'],
    permissions: { contents: 'write', issues: 'read' },
  };
  const github = of(githubInstallationToken as unknown as EntryType<never>, good);
  const { repositories: _, ...unplaced } = good;
  const byId = of(githubInstallationToken as unknown as EntryType<never>, {
    ...unplaced,
    repository_ids: [1, 2],
  });

  it.each([
    ['app', 'other', 'bot'],
    ['installation_id', 8, 7],
  ])('is of one %s', (key, value, allowed) => {
    const refusal = { code: 'resource_not_covered', key, value, allowed };
    expect(github.within({ [key]: value }, {})).toStrictEqual(refusal);
    expect(github.both({ [key]: value }, {})).toStrictEqual({ refusal });
  });

  it('is of no repository that the other side has not, and never compares names with numbers', () => {
    expect(github.within({ repositories: ['b'] }, {})).toBeNull();
    const refusal = { code: 'member_broader', key: 'repositories', value: 'c', allowed: ['a', 'b'] };
    expect(github.within({ repositories: ['a', 'c'] }, {})).toStrictEqual(refusal);
    expect(github.both({ repositories: ['c'] }, {})).toStrictEqual({ refusal });
    expect(github.both({ repositories: ['c', 'b', 'a'] }, {})).toStrictEqual({ entry: good });
    const type = githubInstallationToken as unknown as EntryType<never>;
    const numbered = { ...unplaced, repository_ids: [1, 2] } as never;
    const mixed = { code: 'member_broader', key: 'repository_ids', value: [1, 2], allowed: ['a', 'b'] };
    expect(type.within(numbered, good as never)).toStrictEqual(mixed);
    expect(type.intersect(numbered, good as never)).toStrictEqual({ refusal: mixed });
    expect(byId.both({ repository_ids: [10, 2, 1] }, { repository_ids: [1, 10, 2] })).toMatchObject({
      entry: { repository_ids: [1, 2, 10] },
    });
  });

  it('allows no level above that of the other side', () => {
    expect(github.within({ permissions: { contents: 'read' } }, {})).toBeNull();
    expect(github.within({ permissions: { contents: 'admin' } }, {})).toStrictEqual({
      code: 'member_broader',
      key: 'permissions',
      value: { contents: 'admin' },
      allowed: { contents: 'write' },
    });
    expect(github.within({ permissions: { checks: 'read' } }, {})).toStrictEqual({
      code: 'member_broader',
      key: 'permissions',
      value: { checks: 'read' },
    });
    expect(github.within({ permissions: JSON.parse('{"constructor":"read"}') }, {})).toMatchObject({
      key: 'permissions',
    });
    expect(
      github.both({ permissions: { issues: 'write', contents: 'read', checks: 'read' } }, {}),
    ).toStrictEqual({
      entry: { ...good, permissions: { contents: 'read', issues: 'read' } },
    });
    expect(github.both({ permissions: { checks: 'read' } }, {})).toStrictEqual({
      refusal: {
        code: 'member_broader',
        key: 'permissions',
        value: { checks: 'read' },
        allowed: good.permissions,
      },
    });
  });

  it('is read strictly: what is left out would be everything that the installation has', () => {
    for (const [change, wrong] of [
      [
        { repositories: undefined },
        'e.repositories: must list the repositories, by name here or by number in repository_ids, and not both',
      ],
      [
        { repository_ids: [1] },
        'e.repositories: must list the repositories, by name here or by number in repository_ids, and not both',
      ],
      [{ repositories: ['a', 'a'] }, 'e.repositories: holds a repeated value'],
      [{ permissions: {} }, 'e.permissions: must not be empty'],
      [{ permissions: { contents: 'owner' } }, 'e.permissions.contents: must be one of read, write, admin'],
      [
        { permissions: { Contents: 'read' } },
        'e.permissions: must name permissions as GitHub writes them, such as pull_requests',
      ],
      [
        { permissions: { ['a'.repeat(65)]: 'read' } },
        'e.permissions: must name permissions as GitHub writes them, such as pull_requests',
      ],
      [{ permissions: { ['a'.repeat(64)]: 'read' } }, 'accepted'],
    ] as const) {
      const { repositories: _, ...rest } = { ...good, ...change };
      const given =
        change !== null && 'repositories' in change && change.repositories === undefined
          ? rest
          : { ...good, ...change };
      const type = githubInstallationToken as unknown as EntryType<never>;
      const read = (): string => {
        try {
          type.parse(given as never, 'e');
        } catch (error) {
          return (error as { private_reason: string }).private_reason;
        }
        return 'accepted';
      };
      expect(read()).toBe(wrong);
    }
    for (const name of ['.', '..', 'A', 'a/b', 'é', 'a b'])
      expect(github.read({ repositories: [name] }), name).toBe(
        'e.repositories[0]: must be the name of a repository, without its owner and in lower case',
      );
    for (const name of ['.a', 'a.', '...', '-', '_', '9'])
      expect(github.read({ repositories: [name] })).toBe('accepted');
    const letters = (index: number) =>
      `${String.fromCharCode(97 + (index % 26))}${String.fromCharCode(97 + Math.floor(index / 26))}`;
    const many = (length: number) =>
      Object.fromEntries(Array.from({ length }, (_, at) => [letters(at), 'read']));
    expect(github.read({ permissions: many(64) })).toBe('accepted');
    expect(github.read({ permissions: many(65) })).toBe('e.permissions: must have at most 64 members');
    expect(github.read({ max_ttl_seconds: 0 })).toContain('e.max_ttl_seconds: ');
  });

  it('keeps a level that is known, and no other', () => {
    for (const [level, allowed, within] of [
      ['read', 'read', true],
      ['write', 'read', false],
      ['admin', 'admin', true],
      ['read', undefined, false],
      ['owner', undefined, false],
      ['owner', 'admin', false],
    ] as const)
      expect(levelWithin(level, allowed), `${level} ${allowed}`).toBe(within);
    expect(
      Object.keys(
        (github.normal({ permissions: { c: 'read', a: 'read', b: 'write' } }) as typeof good).permissions,
      ),
    ).toStrictEqual(['a', 'b', 'c']);
  });

  it('has a place and words', () => {
    expect(github.place({})).toBe('github://bot/7');
    expect(github.words({})).toBe('Allows write of contents, read of issues in a, b as app bot.');
  });
});

describe('delegation beside', () => {
  const passed = of(withDelegation(kubernetesToken) as unknown as EntryType<never>, {
    type: 'kubernetes_token',
    cluster: 'a',
    namespace: 'jobs',
    service_account: 'runner',
    audiences: ['https://a', 'https://b'],
  });
  const to = (max_depth: number, ...subs: string[]) => ({
    delegation: { max_depth, allowed_delegates: subs.map((sub) => ({ sub })) },
  });

  it('is never broader than the other side, and says what it was', () => {
    expect(passed.within(to(1, 'x'), to(2, 'x', 'y'))).toBeNull();
    expect(passed.within({}, to(1, 'x'))).toBeNull();
    expect(passed.within(to(3, 'x'), to(2, 'x'))).toStrictEqual({
      code: 'delegation_broader',
      key: 'delegation',
      value: to(3, 'x').delegation,
      allowed: to(2, 'x').delegation,
    });
    expect(passed.within(to(1, 'x'), {})).toStrictEqual({
      code: 'delegation_broader',
      key: 'delegation',
      value: to(1, 'x').delegation,
    });
  });

  it('is joined with the entry that it stands beside', () => {
    const audiences = (...list: string[]) => ({ audiences: list });
    const entry = (change: object) => ({
      entry: {
        type: 'kubernetes_token',
        cluster: 'a',
        namespace: 'jobs',
        service_account: 'runner',
        ...change,
      },
    });
    expect(
      passed.both(
        { ...audiences('https://c', 'https://b'), ...to(3, 'x', 'y') },
        { ...audiences('https://b', 'https://a'), ...to(2, 'y', 'z') },
      ),
    ).toStrictEqual(entry({ ...audiences('https://b'), ...to(2, 'y') }));
    expect(passed.both({ ...audiences('https://b'), ...to(1, 'x') }, {})).toStrictEqual(
      entry(audiences('https://b')),
    );
    expect(
      passed.both({}, { ...audiences('https://b', 'https://a', 'https://c'), ...to(1, 'x') }),
    ).toStrictEqual(entry(audiences('https://a', 'https://b')));
    expect(passed.both({ ...audiences('https://c'), ...to(1, 'x') }, to(1, 'x'))).toMatchObject({
      refusal: { key: 'audiences' },
    });
  });

  it('changes neither place nor words of its type', () => {
    expect(passed.place(to(1, 'x'))).toBe('kubernetes://a/jobs/runner');
    expect(passed.words({})).toBe(
      'Allows a token of service account jobs/runner on a for https://a, https://b.',
    );
    expect(passed.words(to(1, 'x'))).toContain('https://a, https://b; ');
  });
});
