/** The admin API as the commands call it. */
import { readFileSync } from 'node:fs';
import { Failure, type Terminal } from './terminal.ts';

export interface ConnectionOptions {
  readonly url?: string;
  readonly tokenFile?: string;
}

const TIMEOUT_MS = 30_000;

/** @throws Failure with the broker's own explanation */
export async function callAdmin(
  terminal: Terminal,
  options: ConnectionOptions,
  method: string,
  path: string,
  body?: unknown,
): Promise<Record<string, unknown>> {
  const base = options.url ?? terminal.env['SORTIE_URL'] ?? 'http://127.0.0.1:8480';
  let response: Response;
  try {
    response = await fetch(`${base}/admin/v1${path}`, {
      method,
      headers: {
        authorization: `Bearer ${tokenOf(terminal, options)}`,
        ...(body !== undefined && { 'content-type': 'application/json' }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
      redirect: 'error',
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
  } catch (cause) {
    if (cause instanceof Failure) throw cause;
    throw new Failure(`no broker answers at ${base}: is it running? (--url or SORTIE_URL)`);
  }
  const text = await response.text();
  let answer: Record<string, unknown> = {};
  try {
    answer = text === '' ? {} : (JSON.parse(text) as Record<string, unknown>);
  } catch {
    throw new Failure(`${base} did not answer like a broker`);
  }
  if (response.ok) return answer;
  if (response.status === 401)
    throw new Failure('the admin token was not accepted: it is wrong, expired or revoked');
  throw new Failure(
    `${String(answer['title'] ?? response.status)}${answer['detail'] ? `: ${String(answer['detail'])}` : ''}`,
  );
}

export function hasAdminToken(terminal: Terminal, options: ConnectionOptions): boolean {
  const { env } = terminal;
  return Boolean(options.tokenFile ?? env['SORTIE_ADMIN_TOKEN_FILE'] ?? env['SORTIE_ADMIN_TOKEN']);
}

/** A token is read from a file or the environment, never from an argument, which every process list shows. */
function tokenOf(terminal: Terminal, options: ConnectionOptions): string {
  const file = options.tokenFile ?? terminal.env['SORTIE_ADMIN_TOKEN_FILE'];
  if (file !== undefined) {
    try {
      return readFileSync(file, 'utf8').trim();
    } catch {
      throw new Failure(`${file}: cannot be read`);
    }
  }
  const token = terminal.env['SORTIE_ADMIN_TOKEN'];
  if (token) return token;
  throw new Failure('no admin token: --token-file, SORTIE_ADMIN_TOKEN_FILE or SORTIE_ADMIN_TOKEN');
}
