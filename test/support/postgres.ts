/** A real PostgreSQL on a free loopback port, from Debian's packages, with a broker role that is no superuser. */
import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { freePort } from './free-port.ts';

export interface TestPostgres {
  readonly port: number;
  /** The superuser: how the test looks at the server. */
  readonly password: string;
  readonly broker: { readonly user: string; readonly password: string };
  /** Runs as the superuser. */
  query(text: string, values?: unknown[], database?: string): Promise<Record<string, unknown>[]>;
  /** Whole server log so far: every statement is in it. */
  log(): string;
  close(): Promise<void>;
}

const ROOT = '/usr/lib/postgresql';

/** {@link postgresBinaries} for a suite: where none is installed it is skipped loudly, never in CI. */
export function postgresFor(suite: string): string | null {
  const bin = postgresBinaries();
  if (bin !== null) return bin;
  if (process.env['CI'] === 'true') throw new Error('CI needs PostgreSQL: install the postgresql package');
  process.stderr.write(`SKIPPED: ${suite}, because PostgreSQL is not installed here\n`);
  return null;
}

/** Folder of the server's programs, newest version first; null where none is installed. */
export function postgresBinaries(): string | null {
  if (!existsSync(ROOT)) return null;
  const versions = readdirSync(ROOT).sort((a, b) => Number(b) - Number(a));
  const found = versions
    .map((version) => join(ROOT, version, 'bin'))
    .find((bin) => existsSync(join(bin, 'initdb')));
  return found ?? null;
}

/** PostgreSQL refuses to run as root: as root, everything of it runs as the package's own user. */
function identity(): { uid?: number; gid?: number } {
  if (process.getuid?.() !== 0) return {};
  const id = (flag: string) => Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8' }));
  return { uid: id('-u'), gid: id('-g') };
}

export async function startPostgres(bin: string): Promise<TestPostgres> {
  const as = identity();
  const folder = mkdtempSync(join(tmpdir(), 'sortie-postgres-'));
  if (as.uid !== undefined && as.gid !== undefined) chownSync(folder, as.uid, as.gid);
  const password = randomBytes(12).toString('hex');
  const password_file = join(folder, 'password');
  writeFileSync(password_file, password, { mode: 0o600 });
  if (as.uid !== undefined && as.gid !== undefined) chownSync(password_file, as.uid, as.gid);
  const cluster = join(folder, 'cluster');
  execFileSync(
    join(bin, 'initdb'),
    [
      '-D',
      cluster,
      '-U',
      'postgres',
      '-A',
      'scram-sha-256',
      `--pwfile=${password_file}`,
      '--no-sync',
      '-E',
      'UTF8',
      '--locale=C',
    ],
    { ...as, cwd: folder, stdio: 'ignore' },
  );
  const port = await freePort();
  const settings = {
    listen_addresses: '127.0.0.1',
    port,
    unix_socket_directories: folder,
    fsync: 'off',
    max_connections: 40,
    shared_buffers: '16MB',
    log_statement: 'all',
  };
  const server = spawn(
    join(bin, 'postgres'),
    ['-D', cluster, ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])],
    { ...as, cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] },
  );
  let log = '';
  server.stderr.setEncoding('utf8').on('data', (text: string) => {
    log += text;
  });
  const exited = new Promise((resolve) => server.once('exit', resolve));

  async function query(text: string, values: unknown[] = [], database = 'postgres') {
    const client = new pg.Client({ host: '127.0.0.1', port, user: 'postgres', password, database });
    await client.connect();
    try {
      return (await client.query(text, values.length === 0 ? undefined : values)).rows as Record<
        string,
        unknown
      >[];
    } finally {
      await client.end();
    }
  }

  for (let attempt = 0; ; attempt++) {
    try {
      await query('SELECT 1');
      break;
    } catch (cause) {
      if (attempt === 100 || server.exitCode !== null)
        throw new Error(`PostgreSQL did not start: ${log}`, { cause });
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
  const broker = { user: 'sortie_broker', password: randomBytes(12).toString('hex') };
  await query(`CREATE ROLE sortie_broker LOGIN CREATEROLE PASSWORD '${broker.password}'`);
  return {
    port,
    password,
    broker,
    query,
    log: () => log,
    async close() {
      server.kill('SIGINT');
      await exited;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
