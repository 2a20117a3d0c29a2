import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { githubInstallationToken } from '../../../../src/domain/authority/types/github_installation_token.ts';
import type { JsonObject } from '../../../../src/domain/json.ts';
import { keepsTheLaws } from './laws.ts';

const level = fc.constantFrom('read', 'write', 'admin');
const permissions = fc
  .record({ contents: level, issues: level, constructor: level }, { requiredKeys: [] })
  .filter((some) => Object.keys(some).length > 0);
const common = {
  type: fc.constant('github_installation_token'),
  app: fc.constant('main'),
  installation_id: fc.constantFrom(7, 7, 7, 8),
  permissions,
  max_ttl_seconds: fc.option(fc.constantFrom(60, 600), { nil: undefined }),
};
const defined = (entry: object): JsonObject =>
  Object.fromEntries(Object.entries(entry).filter(([, value]) => value !== undefined)) as JsonObject;
const entries = fc
  .oneof(
    fc.record({
      ...common,
      repositories: fc.uniqueArray(fc.constantFrom('api', 'web', 'infra'), { minLength: 1 }),
    }),
    fc.record({ ...common, repository_ids: fc.uniqueArray(fc.constantFrom(1, 2, 10), { minLength: 1 }) }),
  )
  .map(defined);
const good = {
  type: 'github_installation_token',
  app: 'main',
  installation_id: 7,
  repositories: ['api', 'web'],
  permissions: { contents: 'write', issues: 'read' },
};
const parse = (change: object) => githubInstallationToken.parse(defined({ ...good, ...change }), 'entry');
const refusal = (a: object, b: object) => githubInstallationToken.within(parse(a), parse(b));

describe('github_installation_token', () => {
  keepsTheLaws({
    type: githubInstallationToken,
    entries,
    good,
    optional: ['max_ttl_seconds'],
    bad: [
      [{ app: 'https://elsewhere' }, 'entry.app'],
      [{ installation_id: '7' }, 'entry.installation_id'],
      [{ installation_id: 0 }, 'entry.installation_id'],
      [{ installation_id: 7.5 }, 'entry.installation_id'],
      [{ repositories: [] }, 'entry.repositories'],
      [{ repositories: ['*'] }, 'entry.repositories[0]'],
      [{ repositories: ['owner/api'] }, 'entry.repositories[0]'],
      // Another spelling of the same repository.
      [{ repositories: ['API'] }, 'entry.repositories[0]'],
      [{ repositories: ['..'] }, 'entry.repositories[0]'],
      [{ repositories: ['api', 'api'] }, 'entry.repositories'],
      // Together they would be one list at GitHub, of which each rule saw a half.
      [{ repository_ids: [1] }, 'entry.repositories'],
      [{ permissions: {} }, 'entry.permissions'],
      [{ permissions: { contents: 'none' } }, 'entry.permissions.contents'],
      [{ permissions: { contents: 'WRITE' } }, 'entry.permissions.contents'],
      [{ permissions: { contents: ['read'] } }, 'entry.permissions.contents'],
      [{ permissions: { 'contents ': 'read' } }, 'entry.permissions'],
    ],
  });

  it('never covers a higher level, or a permission that is not named', () => {
    expect(refusal({ permissions: { contents: 'admin' } }, {})).toMatchObject({ key: 'permissions' });
    expect(refusal({ permissions: { contents: 'read' } }, {})).toBeNull();
    expect(refusal({ permissions: { actions: 'read' } }, {})).toMatchObject({ key: 'permissions' });
    // What every object inherits is no permission of the ceiling.
    expect(refusal({ permissions: { constructor: 'read' } }, {})).toMatchObject({ key: 'permissions' });
  });

  it('does not take a name for an id, nor one installation for another', () => {
    expect(refusal({ repositories: undefined, repository_ids: [1] }, {})).toMatchObject({
      key: 'repository_ids',
    });
    expect(refusal({ installation_id: 8 }, {})).toMatchObject({ key: 'installation_id' });
    const ids = parse({ repositories: undefined, repository_ids: [1] });
    expect(githubInstallationToken.intersect(ids, parse({}))).toHaveProperty('refusal');
  });

  it('meets in the lower level of what both have', () => {
    const met = githubInstallationToken.intersect(
      parse({
        repositories: ['api', 'infra'],
        permissions: { contents: 'read', issues: 'write', actions: 'read' },
      }),
      parse({}),
    );
    expect(met).toEqual({
      entry: { ...good, repositories: ['api'], permissions: { contents: 'read', issues: 'read' } },
    });
  });
});
