/** The statements that make a role. Names and texts reach them only through PostgreSQL's own quoting. */

import pg from 'pg';
import { ALL_TABLES, type PostgresRole } from '../../domain/authority/types/postgres_role.ts';
import { rfc3339 } from '../../domain/reader.ts';
import type { Session } from './connections.ts';

/** Held to the end of the transaction: issue and revocation of one role never run beside each other. */
export const ADVISORY_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('sortie:' || $1, 0))";

/**
 * Held to the end of a transaction that changes what tables allow: two of those at once on one table fail with
 * "tuple concurrently updated". Always taken after {@link ADVISORY_LOCK}.
 */
export const GRANTS_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('sortie grants', 0))";

/** A login with the defaults of a new role: no superuser, no right to make roles or databases, no replication. */
export function createRole(role: string, verifier: string, expires_at: number, entry: PostgresRole): string {
  const limit = entry['connection_limit'];
  return [
    `CREATE ROLE ${pg.escapeIdentifier(role)} LOGIN`,
    `PASSWORD ${pg.escapeLiteral(verifier)}`,
    `VALID UNTIL ${pg.escapeLiteral(rfc3339(expires_at))}`,
    ...(typeof limit === 'number' ? [`CONNECTION LIMIT ${Math.trunc(limit)}`] : []),
  ].join(' ');
}

/** Exactly the entry's privileges, and the way to them (CONNECT, USAGE) where PUBLIC does not have it. */
export async function grantTables(
  session: Session,
  role: string,
  database: string,
  entry: PostgresRole,
): Promise<void> {
  const to = `TO ${pg.escapeIdentifier(role)}`;
  const [can] = await session.query(
    "SELECT has_database_privilege($1, current_database(), 'CONNECT') AS can",
    [role],
  );
  if (can?.['can'] !== true)
    await session.query(`GRANT CONNECT ON DATABASE ${pg.escapeIdentifier(database)} ${to}`);
  for (const schema of new Set(entry.grants.map((grant) => grant.schema))) {
    const [may] = await session.query("SELECT has_schema_privilege($1, $2, 'USAGE') AS may", [role, schema]);
    if (may?.['may'] !== true)
      await session.query(`GRANT USAGE ON SCHEMA ${pg.escapeIdentifier(schema)} ${to}`);
  }
  for (const { schema, tables, privileges } of entry.grants) {
    // The words come from a closed list; see postgres_role's parse.
    const granted = `GRANT ${privileges.join(', ')} ON`;
    if (tables.includes(ALL_TABLES)) {
      await session.query(`${granted} ALL TABLES IN SCHEMA ${pg.escapeIdentifier(schema)} ${to}`);
      continue;
    }
    const names = tables.map((table) => `${pg.escapeIdentifier(schema)}.${pg.escapeIdentifier(table)}`);
    await session.query(`${granted} TABLE ${names.join(', ')} ${to}`);
  }
}
