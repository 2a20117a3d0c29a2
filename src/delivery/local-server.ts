/**
 * The HTTP servers of one run, for its command alone: on loopback with a secret of the run and its own Host, or on a
 * Unix socket that only this user can reach. Whoever does not know the secret gets one answer, whatever was asked.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { chmodSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { spokenFault } from '../sdk/agent/redact.ts';

/** A header block of a browser or a cloud SDK fits, a flood does not. */
const HEADERS_MAX_BYTES = 32_768;
const HEADERS_TIMEOUT_MS = 10_000;
const CONNECTIONS_MAX = 256;

export interface LocalRequest {
  readonly incoming: IncomingMessage;
  /** Path and query exactly as on the request line, without a secret; starts with one slash. */
  readonly target: string;
}

export interface LocalServerOptions {
  /** `null`: loopback, a free port. Else the path of a Unix socket in a private folder. */
  readonly socket: string | null;
  /** The secret may also be the first segment of the path. */
  readonly secret_in_path: boolean;
  /** Authorized requests only. What it throws is answered without saying what it was. */
  readonly handle: (request: LocalRequest, response: ServerResponse) => Promise<void>;
  /** A fault of `handle`, fit for a log. */
  readonly fault: (why: string) => void;
}

export interface LocalServer {
  /** `http://127.0.0.1:PORT`, or the path of the socket. */
  readonly address: string;
  /** Of this run and this server; empty for a socket, whose folder keeps others out. */
  readonly secret: string;
  /** Ends every connection. */
  close(): Promise<void>;
}

export async function startLocalServer(options: LocalServerOptions): Promise<LocalServer> {
  const secret = options.socket === null ? randomBytes(32).toString('base64url') : '';
  const server = createServer(
    // Two readers of one request must see the same: nothing lenient, and exactly one Host.
    { insecureHTTPParser: false, requireHostHeader: true, maxHeaderSize: HEADERS_MAX_BYTES },
    (incoming, response) => {
      const target = authorizedTarget(incoming, host, secret, options.secret_in_path);
      if (target === null) {
        refuse(response);
        return;
      }
      options.handle({ incoming, target }, response).catch((cause: unknown) => {
        options.fault(spokenFault(cause));
        if (response.headersSent) response.destroy();
        else answerJson(response, 502, { error: 'failed' });
      });
    },
  );
  server.headersTimeout = HEADERS_TIMEOUT_MS;
  // Bodies are streamed through for as long as they take.
  server.requestTimeout = 0;
  server.maxConnections = CONNECTIONS_MAX;
  server.on('clientError', (_, socket) => {
    if (socket.writable) socket.end('HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n');
    else socket.destroy();
  });
  let host: string | null = null;
  await listening(server, options.socket);
  if (options.socket === null) host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  else chmodSync(options.socket, 0o600);
  return {
    address: options.socket ?? `http://${host}`,
    secret,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

export function answerJson(response: ServerResponse, status: number, body: unknown): void {
  const text = JSON.stringify(body);
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(text),
    'cache-control': 'no-store',
  });
  response.end(text);
}

/** One answer to a wrong Host, a wrong secret and a wrong path: nothing can be learnt by trying. */
export function refuse(response: ServerResponse): void {
  response.shouldKeepAlive = false;
  answerJson(response, 403, { error: 'forbidden' });
}

/**
 * @param host as it was handed out; null on a Unix socket. A page of the web whose name was pointed at loopback (DNS
 *   rebinding) sends its own.
 */
function authorizedTarget(
  incoming: IncomingMessage,
  host: string | null,
  secret: string,
  secret_in_path: boolean,
): string | null {
  const target = incoming.url ?? '';
  // Nothing but the origin form: a proxy request names another server (RFC 9112 section 3.2).
  if (!target.startsWith('/')) return null;
  if (host === null) return target;
  if (valuesOf(incoming, 'host').join() !== host) return null;
  if (valuesOf(incoming, 'origin').length > 0) return null;
  if (secret_in_path) {
    const end = target.indexOf('/', 1);
    const first = target.slice(1, end === -1 ? undefined : end);
    if (same(first, secret)) return end === -1 ? '/' : target.slice(end);
  }
  const [given, ...others] = valuesOf(incoming, 'authorization');
  return given !== undefined && others.length === 0 && presents(given, secret) ? target : null;
}

/** Bare as the container endpoint of AWS has it, as a bearer token, or as the password of basic auth. */
function presents(authorization: string, secret: string): boolean {
  const [scheme = '', value = ''] = authorization.split(' ');
  switch (scheme.toLowerCase()) {
    case 'bearer':
      return same(value, secret);
    case 'basic': {
      const pair = Buffer.from(value, 'base64').toString('utf8');
      return same(pair.slice(pair.indexOf(':') + 1), secret);
    }
    default:
      return same(authorization, secret);
  }
}

/** Takes the same time for every guess of any length. */
function same(given: string, secret: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(given), digest(secret));
}

/** Every value of a header as it was sent: Node keeps one of several for some headers and joins others. */
function valuesOf({ rawHeaders }: IncomingMessage, name: string): readonly string[] {
  return rawHeaders.filter((_, at) => at % 2 === 1 && rawHeaders[at - 1]?.toLowerCase() === name);
}

function listening(server: Server, socket: string | null): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    const up = () => resolve();
    if (socket === null) server.listen(0, '127.0.0.1', up);
    else server.listen(socket, up);
  });
}
