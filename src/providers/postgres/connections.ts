/** The broker's own connections to one PostgreSQL server: few, bounded in time, and quiet about secrets. */

import pg from 'pg';
import { ProviderFault } from '../provider.ts';

export interface PostgresServer {
  /** As entries name it. */
  readonly name: string;
  readonly host: string;
  readonly port: number;
  /** The broker's role: CREATEROLE, not a superuser, with grant options on what it passes on. */
  readonly user: string;
  readonly password: string;
  /** Null sends everything in the clear: for a loopback or a private network only. */
  readonly tls: { readonly ca?: string } | null;
  /** For one connection and for each statement. */
  readonly timeout_ms: number;
}

/** A connection inside one piece of work. Texts are statements of ours; values go beside them. */
export interface Session {
  query(text: string, values?: readonly unknown[]): Promise<readonly Record<string, unknown>[]>;
  /** SQLSTATEs of the warnings since the session began. */
  readonly warnings: readonly string[];
}

const PROVIDER = 'postgres_role';
const MAX_CONNECTIONS = 4;
const IDLE_MS = 10_000;

export class Connections {
  readonly server: PostgresServer;
  readonly #pools = new Map<string, pg.Pool>();

  constructor(server: PostgresServer) {
    this.server = server;
  }

  /** Runs `work` on a connection to `database`. @throws ProviderFault; the connection is not used again after one */
  async on<T>(database: string, work: (session: Session) => Promise<T>): Promise<T> {
    let client: pg.PoolClient;
    try {
      client = await this.#pool(database).connect();
    } catch (cause) {
      throw faultOf(cause, `connecting to ${this.server.name}`);
    }
    const warnings: string[] = [];
    const onNotice = (notice: { code?: string | undefined }) => {
      if (notice.code?.startsWith('01')) warnings.push(notice.code);
    };
    client.on('notice', onNotice);
    // While it is out of the pool nobody else listens: a connection that breaks between two statements would be an
    // error that ends the broker. The next statement says what happened.
    client.on('error', ignore);
    let failed = true;
    try {
      const answer = await work({
        warnings,
        async query(text, values) {
          try {
            const result = await client.query(text, values === undefined ? undefined : [...values]);
            return result.rows as Record<string, unknown>[];
          } catch (cause) {
            // The first words of a statement name the step; what follows may be a verifier.
            throw faultOf(cause, text.split(' ').slice(0, 2).join(' '));
          }
        },
      });
      failed = false;
      return answer;
    } finally {
      client.off('notice', onNotice);
      if (!failed) client.off('error', ignore);
      // A connection in an unknown state is closed: the server rolls back what it had begun.
      client.release(failed);
    }
  }

  /** All or nothing. */
  async transaction<T>(database: string, work: (session: Session) => Promise<T>): Promise<T> {
    return this.on(database, async (session) => {
      await session.query('BEGIN');
      const answer = await work(session);
      await session.query('COMMIT');
      return answer;
    });
  }

  async close(): Promise<void> {
    await Promise.all([...this.#pools.values()].map((pool) => pool.end()));
    this.#pools.clear();
  }

  #pool(database: string): pg.Pool {
    const known = this.#pools.get(database);
    if (known !== undefined) return known;
    const { host, port, user, password, tls, timeout_ms } = this.server;
    const pool = new pg.Pool({
      host,
      port,
      user,
      password,
      database,
      ssl: tls === null ? false : { rejectUnauthorized: true, ...tls },
      application_name: 'sortie',
      max: MAX_CONNECTIONS,
      idleTimeoutMillis: IDLE_MS,
      allowExitOnIdle: true,
      connectionTimeoutMillis: timeout_ms,
      // The server gives up first and says so; the client's limit is for a server that says nothing.
      statement_timeout: timeout_ms,
      lock_timeout: timeout_ms,
      query_timeout: timeout_ms + 500,
    });
    // An idle connection that breaks is replaced on the next use.
    pool.on('error', () => {});
    this.#pools.set(database, pool);
    return pool;
  }
}

const ignore = () => {};

const MISCONFIGURED: Readonly<Record<string, string>> = {
  '3D000': 'the database does not exist',
  '3F000': 'a schema does not exist',
  '42P01': 'a table does not exist',
  '42501': "the broker's role lacks a privilege",
  '42710': 'a role of this name exists already',
};

/** A fault that says the step and the SQLSTATE; the server's words may quote a statement. */
function faultOf(cause: unknown, step: string): ProviderFault {
  if (cause instanceof ProviderFault) return cause;
  const code = codeOf(cause);
  const known = MISCONFIGURED[code];
  if (known !== undefined) return new ProviderFault(PROVIDER, 'misconfigured', `${step}: ${known} (${code})`);
  if (code.startsWith('28'))
    return new ProviderFault(PROVIDER, 'refused', `${step}: the broker's login was refused`);
  if (code === '57014' || code === '55P03' || isTimeout(cause))
    return new ProviderFault(PROVIDER, 'timeout', `${step}: no answer in time`);
  // "tuple concurrently updated": somebody else changed the rights of the same object at the same moment.
  if (code === 'XX000' || code.startsWith('40'))
    return new ProviderFault(PROVIDER, 'unavailable', `${step}: another change was under way (${code})`);
  // 08 connection, 53 resources, 57 operator intervention; anything without an SQLSTATE is the network.
  if (code.length !== 5 || ['08', '53', '57'].includes(code.slice(0, 2)))
    return new ProviderFault(PROVIDER, 'unavailable', `${step}: no connection (${code || 'closed'})`);
  return new ProviderFault(PROVIDER, 'unexpected_answer', `${step}: SQLSTATE ${code}`);
}

function codeOf(cause: unknown): string {
  if (!(cause instanceof Error) || !('code' in cause)) return '';
  const { code } = cause as { code: unknown };
  return typeof code === 'string' && /^[A-Z0-9_]{1,32}$/.test(code) ? code : '';
}

/** How pg says that its own clocks ran out: it has no code for it. */
function isTimeout(cause: unknown): boolean {
  return cause instanceof Error && cause.message.toLowerCase().includes('timeout');
}
