/**
 * `postgres_role`: a login with a name that is known before it exists, `VALID UNTIL` the mission's end, and
 * exactly the granted table privileges. To revoke it: no new logins, sessions ended, role dropped.
 */

import { createHash, randomBytes } from 'node:crypto';
import pg from 'pg';
import { type PostgresRole, postgresRole } from '../../domain/authority/types/postgres_role.ts';
import { Denied } from '../../domain/denial.ts';
import { rfc3339 } from '../../domain/reader.ts';
import { endOf } from '../lifetime.ts';
import {
  type IssueContext,
  type Issued,
  type LeaseRequest,
  type Provider,
  ProviderFault,
  type Residual,
  type Revocation,
} from '../provider.ts';
import { Connections, type PostgresServer, type Session } from './connections.ts';
import { scramVerifier } from './scram.ts';
import { ADVISORY_LOCK, createRole, GRANTS_LOCK, grantTables } from './statements.ts';

const MAX_SECONDS = 7 * 86_400;
/** Sessions are told to end and looked at again this often, this many times. */
const END_ATTEMPTS = 40;
const END_PAUSE_MS = 25;
const NOTHING_LEFT: Residual = {
  seconds: 0,
  why: 'sessions are ended and the login is refused before this answers',
};

export interface PostgresRoleOptions {
  readonly servers: readonly PostgresServer[];
}

interface Handle {
  readonly connections: Connections;
  readonly database: string;
  readonly role: string;
}

/** The login of a lease: nothing of a request gets into its name, and two leases never share one. */
export function roleNameOf(lease_id: string): string {
  return `sortie_${createHash('sha256').update(lease_id).digest('hex').slice(0, 40)}`;
}

export function createPostgresRoles(options: PostgresRoleOptions): Provider<PostgresRole> {
  const servers = new Map(options.servers.map((server) => [server.name, new Connections(server)]));

  function open(revocation: Revocation): Handle {
    const { server, database, role } = revocation;
    const connections = typeof server === 'string' ? servers.get(server) : undefined;
    if (connections === undefined || typeof database !== 'string' || typeof role !== 'string')
      throw new ProviderFault(
        'postgres_role',
        'misconfigured',
        'the lease names a server that is not configured',
      );
    return { connections, database, role };
  }

  return {
    type: 'postgres_role',
    entry: postgresRole,
    gap: 'pre-named',
    ttl: { min_seconds: 1, max_seconds: MAX_SECONDS },
    target: (entry) => `${entry.server}/${entry.database}`,

    plan({ entry, lease_id }) {
      if (!servers.has(entry.server))
        throw new Denied({
          tag: 'invalid_authorization_details',
          detail: `postgres_role: there is no server "${entry.server}"`,
        });
      return { server: entry.server, database: entry.database, role: roleNameOf(lease_id) };
    },

    async issue(request: LeaseRequest<PostgresRole>, { now }: IssueContext): Promise<Issued> {
      const { entry } = request;
      const revocation = this.plan(request, now);
      const { connections, database, role } = open(revocation);
      const expires_at = endOf(request, now, MAX_SECONDS);
      const password = randomBytes(24).toString('base64url');
      const verifier = await scramVerifier(password, randomBytes(16));
      await connections.transaction(database, async (session) => {
        await session.query(ADVISORY_LOCK, [role]);
        await session.query(createRole(role, verifier, expires_at, entry));
        // Membership lets a broker that is no superuser end the role's sessions and drop what it owns.
        await session.query(`GRANT ${pg.escapeIdentifier(role)} TO CURRENT_USER`);
        await session.query(GRANTS_LOCK);
        await grantTables(session, role, database, entry);
        if (session.warnings.includes('01007'))
          throw new ProviderFault(
            'postgres_role',
            'misconfigured',
            "the broker's role lacks the grant option for a privilege",
          );
      });
      const { host, port, tls } = connections.server;
      return {
        deliver: {
          host,
          port,
          database,
          user: role,
          password,
          sslmode: tls === null ? 'prefer' : 'verify-full',
          expires_at: rfc3339(expires_at),
        },
        revocation,
        expires_at,
      };
    },

    async revoke(revocation) {
      const { connections, database, role } = open(revocation);
      const oid = await shut(connections, database, role);
      if (oid === null) return NOTHING_LEFT;
      await connections.on(database, (session) => endSessions(session, oid));
      await remove(connections, database, role);
      return NOTHING_LEFT;
    },

    residual: () => NOTHING_LEFT,

    async close() {
      await Promise.all([...servers.values()].map((connections) => connections.close()));
    },
  };
}

/**
 * No new login from here on. The lock waits for an issue of the same role that is still under way, so that a
 * revocation after a time-out never overtakes what it has to undo.
 * @returns the role's oid, or null if there is no such role
 */
async function shut(connections: Connections, database: string, role: string): Promise<string | null> {
  return connections.transaction(database, async (session) => {
    await session.query(ADVISORY_LOCK, [role]);
    const [found] = await session.query('SELECT oid::text AS oid FROM pg_roles WHERE rolname = $1', [role]);
    if (found === undefined) return null;
    await session.query(
      `ALTER ROLE ${pg.escapeIdentifier(role)} NOLOGIN PASSWORD NULL VALID UNTIL '-infinity' CONNECTION LIMIT 0`,
    );
    return String(found['oid']);
  });
}

/** Ends sessions until none was seen twice in a row: one that was just logging in shows up a moment later. */
async function endSessions(session: Session, oid: string): Promise<void> {
  let quiet = 0;
  for (let attempt = 0; attempt < END_ATTEMPTS; attempt++) {
    const ended = await session.query(
      'SELECT pg_terminate_backend(pid) AS told FROM pg_stat_activity WHERE usesysid = $1::oid',
      [oid],
    );
    quiet = ended.length === 0 ? quiet + 1 : 0;
    if (quiet === 2) return;
    await new Promise((resolve) => setTimeout(resolve, END_PAUSE_MS));
  }
  throw new ProviderFault('postgres_role', 'unavailable', 'sessions of the role do not end', {
    residual: { seconds: 0, why: 'no new login is possible; sessions that were told to end have not yet' },
  });
}

async function remove(connections: Connections, database: string, role: string): Promise<void> {
  const name = pg.escapeIdentifier(role);
  try {
    await connections.transaction(database, async (session) => {
      await session.query(ADVISORY_LOCK, [role]);
      const [found] = await session.query('SELECT 1 FROM pg_roles WHERE rolname = $1', [role]);
      if (found === undefined) return;
      await session.query(GRANTS_LOCK);
      await session.query(`DROP OWNED BY ${name}`);
      await session.query(`DROP ROLE ${name}`);
    });
  } catch (cause) {
    if (cause instanceof ProviderFault && cause.retry) throw cause;
    throw new ProviderFault(
      'postgres_role',
      'leftover',
      `${role} cannot log in and has no session, but something in another database still belongs to it`,
      { residual: NOTHING_LEFT, retry: true },
    );
  }
}
