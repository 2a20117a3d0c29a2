import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { explainEntry } from '../../../../src/domain/authority/index.ts';
import { postgresRole } from '../../../../src/domain/authority/types/postgres_role.ts';
import { keepsTheLaws } from './laws.ts';

const some = (values: readonly string[]) => fc.uniqueArray(fc.constantFrom(...values), { minLength: 1 });
const entries = fc.record(
  {
    type: fc.constant('postgres_role'),
    server: fc.constant('warehouse'),
    database: fc.constantFrom('sales', 'sales', 'hr'),
    grants: fc.array(
      fc.record({
        schema: fc.constantFrom('public', 'x'),
        tables: some(['*', 'orders', 'lines', '"; DROP']),
        privileges: some(['SELECT', 'INSERT', 'UPDATE']),
      }),
      { minLength: 1, maxLength: 3 },
    ),
    connection_limit: fc.constantFrom(1, 2),
    max_ttl_seconds: fc.constantFrom(60, 600),
  },
  { requiredKeys: ['type', 'server', 'database', 'grants'] },
);
const good = {
  type: 'postgres_role',
  server: 'warehouse',
  database: 'sales',
  grants: [{ schema: 'public', tables: ['orders'], privileges: ['SELECT'] }],
};
const grants = (change: object) => ({ grants: [{ ...good.grants[0], ...change }] });

describe('postgres_role', () => {
  keepsTheLaws({
    type: postgresRole,
    entries,
    good,
    optional: ['connection_limit', 'max_ttl_seconds'],
    bad: [
      [{ server: 'ware house' }, 'entry.server'],
      [{ server: 7 }, 'entry.server'],
      [{ database: 'a'.repeat(64) }, 'entry.database'],
      [{ database: 'a\u0000b' }, 'entry.database'],
      [{ grants: [] }, 'entry.grants'],
      [{ grants: 'ALL' }, 'entry.grants'],
      [grants({ privileges: ['ALL'] }), 'entry.grants[0].privileges[0]'],
      [grants({ privileges: ['TRUNCATE'] }), 'entry.grants[0].privileges[0]'],
      [grants({ privileges: ['select'] }), 'entry.grants[0].privileges[0]'],
      [grants({ tables: [] }), 'entry.grants[0].tables'],
      [grants({ tables: ['ü'.repeat(32)] }), 'entry.grants[0].tables[0]'],
      [grants({ schema: 'pg_catalog' }), 'entry.grants[0].schema'],
      [grants({ schema: 'information_schema' }), 'entry.grants[0].schema'],
      [grants({ with_grant_option: true }), 'entry.grants[0].with_grant_option'],
      [
        grants({ tables: Array.from({ length: 200 }, (_, n) => `t${n}`), privileges: ['SELECT', 'INSERT'] }),
        'entry.grants',
      ],
      [{ connection_limit: 0 }, 'entry.connection_limit'],
      [{ connection_limit: 1.5 }, 'entry.connection_limit'],
      [{ max_ttl_seconds: '60' }, 'entry.max_ttl_seconds'],
    ],
  });

  it('covers one table by all of its schema, and never another schema', () => {
    const all = postgresRole.parse({ ...good, ...grants({ tables: ['*'] }) }, 'entry');
    const one = postgresRole.parse(good, 'entry');
    const elsewhere = postgresRole.parse({ ...good, ...grants({ schema: 'public2' }) }, 'entry');
    expect(postgresRole.within(one, all)).toBeNull();
    expect(postgresRole.within(all, one)).toMatchObject({ code: 'member_broader', key: 'grants' });
    expect(postgresRole.within(elsewhere, all)).not.toBeNull();
  });

  it('explains itself to the person who approves it', () => {
    expect(explainEntry(postgresRole.parse(good, 'entry'))).toBe(
      'Allows a login to database sales on warehouse that may SELECT public.orders.',
    );
  });
});
