/** Provider entries member by member: what is compared, what is joined, and how a refusal names it. */
import { describe, expect, it } from 'vitest';
import type { EntryType } from '../../../../src/domain/authority/entry_type.ts';
import { awsSession } from '../../../../src/domain/authority/types/aws_session.ts';
import { postgresRole } from '../../../../src/domain/authority/types/postgres_role.ts';
import { vaultSecret } from '../../../../src/domain/authority/types/vault_secret.ts';
import type { JsonObject } from '../../../../src/domain/json.ts';
import { list, of } from './members.ts';

describe('aws_session', () => {
  const role = 'arn:aws:iam::123456789012:role/reader';
  const bucket = 'arn:aws:s3:::bucket/';
  const good = {
    type: 'aws_session',
    role,
    statements: [{ actions: ['s3:GetObject'], resources: [`${bucket}a`] }],
  };
  const aws = of(awsSession as unknown as EntryType<never>, good);
  const statement = (actions: string[], resources: string[]) => ({ statements: [{ actions, resources }] });

  it('is of one role, and another role is another authority, whatever its statements', () => {
    const other = 'arn:aws:iam::123456789012:role/admin';
    const refusal = { code: 'resource_not_covered', key: 'role', value: other, allowed: role };
    expect(aws.within({ role: other }, {})).toStrictEqual(refusal);
    expect(aws.both({ role: other }, {})).toStrictEqual({ refusal });
    expect(aws.place({})).toBe(role);
  });

  it('covers an action on a place, each by one of the other side', () => {
    const wide = statement(['s3:GetObject', 's3:PutObject'], [`${bucket}*`]);
    expect(aws.within({}, wide)).toBeNull();
    expect(aws.within(statement(['s3:GetObject'], [bucket]), wide)).toBeNull();
    expect(aws.within(statement(['s3:GetObject'], ['arn:aws:s3:::bucketa']), wide)).toStrictEqual({
      code: 'member_broader',
      key: 'statements',
      value: 's3:GetObject on arn:aws:s3:::bucketa',
    });
    expect(aws.within(statement(['s3:DeleteObject'], [`${bucket}a`]), wide)).toMatchObject({
      key: 'statements',
    });
    expect(aws.within(statement(['s3:GetObject'], ['*']), wide)).toMatchObject({ key: 'statements' });
    expect(aws.within(wide, statement(['s3:GetObject', 's3:PutObject'], ['*']))).toBeNull();
    expect(aws.within(statement(['s3:GetObject'], [`x${bucket}a`]), wide)).toMatchObject({
      key: 'statements',
    });
  });

  it('is joined to what both allow, in one normal form', () => {
    const ours = statement(['s3:PutObject', 's3:GetObject'], [`${bucket}b/*`, `${bucket}a`]);
    const theirs = statement(['s3:GetObject', 's3:ListBucket'], [`${bucket}*`]);
    const joined = {
      type: 'aws_session',
      role,
      ...statement(['s3:GetObject'], [`${bucket}a`, `${bucket}b/*`]),
    };
    expect(aws.both(ours, theirs)).toStrictEqual({ entry: joined });
    expect(aws.both(theirs, ours)).toStrictEqual({ entry: joined });
    expect(aws.both({}, statement(['s3:PutObject'], ['*']))).toStrictEqual({
      refusal: { code: 'member_broader', key: 'statements', value: good.statements },
    });
    expect(
      aws.normal({
        statements: [
          { actions: ['s3:PutObject', 's3:GetObject'], resources: [`${bucket}b`, `${bucket}a`] },
          { actions: ['s3:GetObject'], resources: [`${bucket}c/*`, `${bucket}c/d`, `${bucket}a`] },
          { actions: ['a:Zzz'], resources: [`${bucket}z`] },
        ],
      }),
    ).toStrictEqual({
      type: 'aws_session',
      role,
      statements: [
        { actions: ['a:Zzz'], resources: [`${bucket}z`] },
        { actions: ['s3:GetObject'], resources: [`${bucket}c/*`] },
        { actions: ['s3:GetObject', 's3:PutObject'], resources: [`${bucket}a`, `${bucket}b`] },
      ],
    });
  });

  it('keeps to the regions of both, and to none where they differ', () => {
    const [eu, us] = [{ regions: ['eu-west-1', 'eu-central-1'] }, { regions: ['us-east-1'] }];
    expect(aws.within(eu, {})).toBeNull();
    expect(aws.within({}, us)).toStrictEqual({ code: 'member_broader', key: 'regions', allowed: us.regions });
    expect(aws.within(eu, us)).toStrictEqual({
      code: 'member_broader',
      key: 'regions',
      value: 'eu-west-1',
      allowed: us.regions,
    });
    expect(aws.both(eu, us)).toStrictEqual({
      refusal: { code: 'member_broader', key: 'regions', value: eu.regions },
    });
    for (const [a, b] of [
      [eu, {}],
      [{}, eu],
    ] as const)
      expect(aws.both(a, b)).toMatchObject({ entry: { regions: ['eu-central-1', 'eu-west-1'] } });
    expect(aws.both({}, {})).toStrictEqual({ entry: good });
    expect(aws.read({ regions: ['eu central'] })).toBe(
      'e.regions[0]: must be a region such as "eu-central-1"',
    );
  });

  it('lives no longer than either says', () => {
    expect(aws.within({ max_ttl_seconds: 60 }, { max_ttl_seconds: 60 })).toBeNull();
    expect(aws.within({ max_ttl_seconds: 61 }, { max_ttl_seconds: 60 })).toStrictEqual({
      code: 'member_broader',
      key: 'max_ttl_seconds',
      value: 61,
      allowed: 60,
    });
    expect(aws.within({}, { max_ttl_seconds: 60 })).toStrictEqual({
      code: 'member_broader',
      key: 'max_ttl_seconds',
      allowed: 60,
    });
    expect(aws.both({ max_ttl_seconds: 90 }, { max_ttl_seconds: 60 })).toMatchObject({
      entry: { max_ttl_seconds: 60 },
    });
    for (const value of [0, 604_801, 1.5, '60', null])
      expect(aws.read({ max_ttl_seconds: value })).toContain('e.max_ttl_seconds: ');
    expect(aws.read({ max_ttl_seconds: 604_800 })).toBe('accepted');
  });

  it.each([
    'arn:aws:iam::123456789012:role/',
    'arn:aws:iam::123456789012:role',
    'arn:aws:iam::123456789012:user/a',
    'arn:aws:iam:us-east-1:123456789012:role/a',
    'arn:aws:sts::123456789012:role/a',
    'arn::iam::123456789012:role/a',
    'arn:a_s:iam::123456789012:role/a',
    'urn:aws:iam::123456789012:role/a',
    'arn:aws:iam::1*:role/a',
    `arn:aws:iam::${'1'.repeat(65)}:role/a`,
    'arn:aws:iam::123456789012:role/a*',
    'arn:aws:iam::123456789012:role/a:b',
    'arn:aws:iam::123456789012:role/a b',
    'arn:aws:iam::123456789012:role/é',
    'role/a',
  ])('is never of the role %s', (value) => {
    expect(aws.read({ role: value })).toBe('e.role: must be the ARN of a role');
  });

  it('is of a role however it is written', () => {
    for (const value of [
      'arn:aws-cn:iam::1:role/a',
      `arn:aws:iam::${'1'.repeat(64)}:role/path/A_+=,.@-9`,
      'arn:aws:iam:::role/a',
    ])
      expect(aws.read({ role: value }), value).toBe('accepted');
  });

  it('names each action out: a pattern would grow when AWS adds one', () => {
    for (const action of [
      's3',
      's3:',
      ':Get',
      's3:Get*',
      's3:*',
      '*',
      's3:Get:Object',
      's3:Get-Object',
      's 3:Get',
      's3:Gét',
    ])
      expect(aws.read(statement([action], [`${bucket}a`])), action).toBe(
        'e.statements[0].actions[0]: must be one exact action such as "s3:GetObject"',
      );
    expect(aws.read(statement(['execute-api:Invoke'], [`${bucket}a`]))).toBe('accepted');
  });

  it('names places that nothing but their end can widen', () => {
    for (const place of [
      'arn:aws:s3:::a*',
      'arn:aws:s3:::a*/b',
      'arn:aws:s3:::a/?',
      'arn:aws:s3:::$' + '{aws:username}/*',
      'arn:aws:s3::',
      'arn:aws:s3:*',
      'arn:*',
      'urn:aws:s3:::a',
      'arn:aws:s3:::a b',
      'arn:aws:s3:::a"b',
      'arn:aws:s3:::a\\b',
      'arn:aws:s3:::é',
      '**',
      'x:::::*y',
    ])
      expect(aws.read(statement(['s3:GetObject'], [place])), place).toBe(
        'e.statements[0].resources[0]: must be an ARN, exact or ending in "/*" or ":*"',
      );
    for (const place of [
      '*',
      'arn:aws:s3:::*',
      'arn:aws:s3:::a/*',
      'arn:aws:logs:eu-west-1:1:log-group:a:*',
      'arn:aws:s3:::a~!',
    ])
      expect(aws.read(statement(['s3:GetObject'], [place])), place).toBe('accepted');
  });

  it('is bounded by what all its statements allow together', () => {
    const many = (actions: number, places: number) =>
      statement(
        list(actions, (at) => `s3:A${at}`) as string[],
        list(places, (at) => `${bucket}${at}`) as string[],
      );
    expect(aws.read(many(16, 16))).toBe('accepted');
    expect(aws.read({ statements: [...many(16, 16).statements, ...good.statements] })).toBe(
      'e.statements: must have at most 256 actions on resources',
    );
    expect(aws.read({ constraints: {} })).toBe(
      'e.constraints: a session policy cannot express these; bound actions and resources',
    );
  });

  it('is said in words', () => {
    expect(aws.words(statement(['s3:GetObject', 's3:PutObject'], [`${bucket}a`]))).toBe(
      `Allows s3:GetObject on ${bucket}a, s3:PutObject on ${bucket}a as ${role}.`,
    );
  });
});

describe('vault_secret', () => {
  const good = { type: 'vault_secret', server: 'main', role: 'reader', paths: ['database/creds/a', 'kv/b'] };
  const vault = of(vaultSecret as unknown as EntryType<never>, good);

  it.each([
    ['server', 'other', 'main'],
    ['role', 'admin', 'reader'],
  ])('is of one %s', (key, value, allowed) => {
    const refusal = { code: 'resource_not_covered', key, value, allowed };
    expect(vault.within({ [key]: value }, {})).toStrictEqual(refusal);
    expect(vault.both({ [key]: value }, {})).toStrictEqual({ refusal });
  });

  it('reads no path that the other side does not', () => {
    expect(vault.within({ paths: ['kv/b'] }, {})).toBeNull();
    expect(vault.within({ paths: ['kv/b', 'kv/c'] }, {})).toStrictEqual({
      code: 'member_broader',
      key: 'paths',
      value: 'kv/c',
      allowed: good.paths,
    });
    expect(vault.both({ paths: ['kv/c', 'kv/b', 'database/creds/a'] }, {})).toStrictEqual({ entry: good });
    expect(vault.both({ paths: ['kv/c'] }, {})).toStrictEqual({
      refusal: { code: 'member_broader', key: 'paths', value: ['kv/c'], allowed: good.paths },
    });
    expect(vault.normal({ paths: ['kv/b', 'database/creds/a'], wrap_ttl_seconds: 5 })).toStrictEqual({
      ...good,
      wrap_ttl_seconds: 5,
    });
  });

  it('is not unwrapped for one who may have it only wrapped', () => {
    expect(vault.within({}, { wrap_ttl_seconds: 60 })).toMatchObject({
      key: 'wrap_ttl_seconds',
      allowed: 60,
    });
    expect(vault.within({ wrap_ttl_seconds: 61 }, { wrap_ttl_seconds: 60 })).toMatchObject({ value: 61 });
    expect(vault.both({}, { wrap_ttl_seconds: 60 })).toMatchObject({ entry: { wrap_ttl_seconds: 60 } });
    expect(vault.read({ wrap_ttl_seconds: 3601 })).toContain('e.wrap_ttl_seconds: ');
    expect(vault.read({ wrap_ttl_seconds: 3600, max_ttl_seconds: 1 })).toBe('accepted');
  });

  it.each([
    'kv',
    '/kv/a',
    'kv/',
    'kv//a',
    'kv/./a',
    'kv/../sys/a',
    '../sys/a',
    'kv/a b',
    'kv/*',
    'kv/+',
    'kv/é',
    'kv/a?x',
    'kv/%2e%2e',
    'kv/a\\b',
  ])('never reads %s, which a server could read as another path', (path) => {
    expect(vault.read({ paths: [path] })).toBe(
      'e.paths[0]: must be a path such as "database/creds/readonly"',
    );
  });

  it('never reads what makes or shows authority over the server itself', () => {
    for (const mount of ['auth', 'sys', 'identity', 'cubbyhole'])
      expect(vault.read({ paths: ['kv/a', `${mount}/token`] })).toBe(
        'e.paths[1]: must not be below auth, sys, identity, cubbyhole',
      );
    expect(vault.read({ paths: ['kv/sys', 'system/a'] })).toBe('accepted');
    expect(vault.read({ paths: ['kv/a', 'kv/a'] })).toBe('e.paths: holds a repeated value');
  });

  it('has a place and words', () => {
    expect(vault.place({})).toBe('vault://main/reader');
    expect(vault.words({})).toBe('Allows reading database/creds/a, kv/b from main as role reader.');
    expect(vault.words({ wrap_ttl_seconds: 5 })).toBe(
      'Allows reading database/creds/a, kv/b from main as role reader, response-wrapped.',
    );
  });
});

describe('a name', () => {
  const read = of(vaultSecret as unknown as EntryType<never>, {
    type: 'vault_secret',
    server: 'main',
    role: 'reader',
    paths: ['kv/a'],
  }).read;

  it('is letters, digits and three signs, one by one', () => {
    for (const sign of ['a', 'z', 'A', 'Z', '0', '9', '.', '_', '-'])
      expect(read({ server: `x${sign}` }), sign).toBe('accepted');
    for (const sign of ['/', ':', '@', '[', '`', '{', '+', ',', 'é', '😀'])
      expect(read({ server: `x${sign}` }), sign).toBe(
        'e.server: must have only letters, digits, ".", "-" and "_"',
      );
    expect(read({ server: 'x'.repeat(64) })).toBe('accepted');
    expect(read({ server: 'x'.repeat(65) })).toBe('e.server: must have 1 to 64 characters');
  });
});

describe('postgres_role', () => {
  const grant = (schema: string, tables: string[], privileges: string[]) => ({ schema, tables, privileges });
  const good = {
    type: 'postgres_role',
    server: 'main',
    database: 'erp',
    grants: [grant('public', ['a'], ['SELECT'])],
  };
  const postgres = of(postgresRole as unknown as EntryType<never>, good);
  const grants = (...all: ReturnType<typeof grant>[]) => ({ grants: all });

  it.each(['server', 'database'])('is of one %s', (key) => {
    const refusal = { code: 'resource_not_covered', key, value: 'x', allowed: (good as JsonObject)[key] };
    expect(postgres.within({ [key]: 'x' }, {})).toStrictEqual(refusal);
    expect(postgres.both({ [key]: 'x' }, {})).toStrictEqual({ refusal });
  });

  it('covers the tables of its own schema alone, also with all of them', () => {
    const all = grants(grant('public', ['*'], ['SELECT']));
    expect(postgres.within({}, all)).toBeNull();
    for (const other of [
      grant('public2', ['a'], ['SELECT']),
      grant('publi', ['a'], ['SELECT']),
      grant('public', ['a'], ['UPDATE']),
    ])
      expect(postgres.within(grants(other), all)).toStrictEqual({
        code: 'member_broader',
        key: 'grants',
        value: `${other.privileges[0]} ${other.schema}.a`,
      });
    expect(postgres.within(all, {})).toMatchObject({ value: 'SELECT every table of public' });
    // A table that ends like the sign for all of them covers itself alone.
    expect(postgres.within({}, grants(grant('public', ['x*'], ['SELECT'])))).toMatchObject({ key: 'grants' });
  });

  it('is joined to what both allow, schema by schema', () => {
    const ours = grants(grant('z', ['*'], ['UPDATE', 'SELECT']), grant('a', ['t', 'b'], ['SELECT']));
    const theirs = grants(grant('a', ['*'], ['SELECT']), grant('z', ['t', 'b'], ['SELECT', 'DELETE']));
    const joined = {
      ...good,
      ...grants(grant('a', ['b', 't'], ['SELECT']), grant('z', ['b', 't'], ['SELECT'])),
    };
    expect(postgres.both(ours, theirs)).toStrictEqual({ entry: joined });
    expect(postgres.both(theirs, ours)).toStrictEqual({ entry: joined });
    expect(postgres.both({}, grants(grant('public', ['b'], ['SELECT'])))).toStrictEqual({
      refusal: { code: 'member_broader', key: 'grants', value: good.grants },
    });
    expect(
      postgres.normal(
        grants(
          grant('b', ['x', '*'], ['SELECT']),
          grant('c', ['y'], ['UPDATE', 'INSERT']),
          grant('a', ['y'], ['UPDATE', 'INSERT']),
        ),
      ),
    ).toStrictEqual({
      ...good,
      ...grants(
        grant('a', ['y'], ['INSERT', 'UPDATE']),
        grant('b', ['*'], ['SELECT']),
        grant('c', ['y'], ['INSERT', 'UPDATE']),
      ),
    });
  });

  it('names what PostgreSQL keeps whole, never the system', () => {
    const name = 'é'.repeat(31);
    for (const change of [{ database: `${name}a` }, grants(grant(`${name}a`, [`${name}a`], ['SELECT']))])
      expect(postgres.read(change)).toBe('accepted');
    expect(postgres.read({ database: `${name}ab` })).toBe('e.database: must have at most 63 bytes');
    expect(postgres.read(grants(grant(`${name}ab`, ['a'], ['SELECT'])))).toBe(
      'e.grants[0].schema: must have at most 63 bytes',
    );
    for (const schema of ['pg_catalog', 'pg_x', 'information_schema'])
      expect(postgres.read(grants(grant(schema, ['a'], ['SELECT'])))).toBe(
        'e.grants[0].schema: must not be one of the system',
      );
    expect(postgres.read(grants(grant('pgx', ['a'], ['SELECT'])))).toBe('accepted');
    for (const privilege of ['TRUNCATE', 'select', 'ALL'])
      expect(postgres.read(grants(grant('a', ['a'], [privilege])))).toBe(
        'e.grants[0].privileges[0]: must be one of DELETE, INSERT, SELECT, UPDATE',
      );
  });

  it('is bounded by what all its grants allow together', () => {
    const tables = list(64, (at) => `t${at}`) as string[];
    const all = ['DELETE', 'INSERT', 'SELECT', 'UPDATE'];
    expect(postgres.read(grants(grant('a', tables, all)))).toBe('accepted');
    expect(postgres.read(grants(grant('a', tables, all), grant('b', ['x'], ['SELECT'])))).toBe(
      'e.grants: must have at most 256 privileges on tables',
    );
    expect(postgres.both({ connection_limit: 5 }, { connection_limit: 3 })).toMatchObject({
      entry: { connection_limit: 3 },
    });
    expect(postgres.read({ connection_limit: 101 })).toContain('e.connection_limit: ');
  });

  it('has a place and words', () => {
    expect(postgres.place({ database: 'a/b' })).toBe('postgres://main/a%2Fb');
    expect(postgres.words(grants(grant('public', ['a', '*'], ['SELECT'])))).toBe(
      'Allows a login to database erp on main that may SELECT public.a, SELECT every table of public.',
    );
  });
});
