/**
 * One node:http server. Hot routes are matched first and never meet Express; everything else is an Express app
 * built from the same table.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import express from 'express';
import { Denied, malformed } from '../domain/denial.ts';
import { redacted } from '../domain/redact.ts';
import type { FeedSink } from '../feed/feed.ts';
import type { AdminRole, AdminTokenRecord, VerifierPolicy } from '../ports.ts';
import { type ErrorStyle, wireError } from './errors.ts';
import type { Incoming, Method, Outgoing, Route } from './route.ts';

const MAX_BODY_BYTES = 65_536;
/** What is read past a refusal, at most. */
const DISCARDED_BYTES = 4_194_304;
const DISCARD_MS = 2000;
const HEADERS_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 30_000;

export interface ServerOptions {
  readonly routes: readonly Route[];
  /** @throws Denied `invalid_client` */
  authenticateVerifier(authorization: string | undefined, form: string | null): Promise<VerifierPolicy>;
  /** @throws Denied `unauthenticated`, `forbidden` */
  authenticateAdmin(
    authorization: string | undefined,
    needs: { readonly role: AdminRole; readonly bootstrap: boolean },
  ): Promise<AdminTokenRecord>;
  /** A fresh DPoP nonce for answers to agents. */
  nonce(): string;
  /** Reserves room for an agent's request or throws Denied `overloaded`; the answer gives the room back. */
  admit(route: Route, headers: IncomingMessage['headers']): () => void;
  /** Everything that went wrong and was not the caller's fault, and every refusal, for log and metrics. */
  observe(event: RequestObservation): void;
}

export interface RequestObservation {
  readonly route: string;
  readonly method: string;
  readonly status: number;
  readonly seconds: number;
  /** The refusal's tag and private reason; `cause` only for faults of ours. */
  readonly refused?: { readonly tag: string; readonly private_reason: string };
  readonly cause?: unknown;
}

interface Compiled {
  readonly route: Route;
  readonly segments: readonly string[];
}

export function createHttpServer(options: ServerOptions): Server {
  const exact = new Map<string, Route>();
  const patterned: Compiled[] = [];
  const open: Compiled[] = [];
  for (const route of options.routes) {
    if (!route.hot) continue;
    if (route.rest) open.push({ route, segments: route.path.split('/') });
    else if (route.path.includes('{')) patterned.push({ route, segments: route.path.split('/') });
    else exact.set(`${route.method} ${route.path}`, route);
  }
  const app = expressApp(options);
  const server = createServer({ maxHeaderSize: 32_768 }, (request, response) => {
    const target = request.url ?? '/';
    const mark = target.indexOf('?');
    const path = mark === -1 ? target : target.slice(0, mark);
    const route = exact.get(`${request.method} ${path}`);
    if (route) {
      void serve(options, route, {}, request, response);
      return;
    }
    for (const candidate of patterned) {
      const params = candidate.route.method === request.method ? match(candidate.segments, path) : null;
      if (params) {
        void serve(options, candidate.route, params, request, response);
        return;
      }
    }
    for (const candidate of open) {
      const params = matchRest(candidate.segments, target);
      if (params) {
        void serve(options, candidate.route, params, request, response);
        return;
      }
    }
    app(request, response);
  });
  server.headersTimeout = HEADERS_TIMEOUT_MS;
  server.requestTimeout = REQUEST_TIMEOUT_MS;
  server.keepAliveTimeout = 65_000;
  return server;
}

function expressApp(options: ServerOptions): express.Express {
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.set('query parser', false);
  // One spelling a route: proofs name the path, and so do the logs.
  app.enable('case sensitive routing');
  app.enable('strict routing');
  for (const route of options.routes) {
    if (route.hot) continue;
    const path = route.path.replaceAll('{', ':').replaceAll('}', '');
    const method = route.method.toLowerCase() as 'get' | 'post' | 'delete';
    app[method](path, (request, response) =>
      serve(options, route, request.params as Record<string, string>, request, response),
    );
  }
  app.use((_request, response) => {
    send(response, problem(404, 'not_found'));
  });
  // Express's own page shows a stack; a malformed path (bad percent-encoding) ends here.
  app.use(
    (_cause: unknown, _request: express.Request, response: express.Response, _next: express.NextFunction) => {
      send(response, problem(400, 'invalid_request'));
    },
  );
  return app;
}

async function serve(
  options: ServerOptions,
  route: Route,
  params: Readonly<Record<string, string>>,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const started = performance.now();
  let release: (() => void) | null = null;
  let outgoing: Outgoing;
  let observed: Pick<RequestObservation, 'refused' | 'cause'> = {};
  try {
    const body =
      route.method === 'GET' ? '' : await readBody(request, route.max_body_bytes ?? MAX_BODY_BYTES);
    // Room is taken for work only: whoever sends slowly must not hold it meanwhile. What is shed costs no signature.
    release = options.admit(route, request.headers);
    outgoing = documented(route, await route.handle(await incomingOf(options, route, params, request, body)));
  } catch (cause) {
    outgoing = refusal(cause, route.errors);
    observed =
      cause instanceof Denied
        ? { refused: { tag: cause.denial.tag, private_reason: redacted(cause.private_reason) } }
        : { cause };
  }
  if (route.auth.kind === 'agent')
    outgoing = { ...outgoing, headers: { ...outgoing.headers, 'dpop-nonce': options.nonce() } };
  send(response, outgoing);
  release?.();
  // A request whose body was refused half-read must not poison the connection.
  if (!request.complete && route.method !== 'GET') discardRest(request, response);
  options.observe({
    route: route.path,
    method: route.method,
    status: outgoing.status,
    seconds: (performance.now() - started) / 1000,
    ...observed,
  });
}

/**
 * The answer as the document says it is (architecture rule 12): one that does not fit its schema is a fault of ours
 * and is not sent, and neither is a status that is not described.
 */
function documented(route: Route, outgoing: Outgoing): Outgoing {
  const described = route.describe.responses[outgoing.status];
  if (!described) throw new Error(`${route.path} answered ${outgoing.status}, which it does not describe`);
  if (!described.schema || outgoing.json === undefined) return outgoing;
  const parsed = described.schema.safeParse(outgoing.json);
  if (parsed.success) return outgoing;
  const [issue] = parsed.error.issues;
  throw new Error(
    `${route.path} answered what it does not describe: ${issue?.path.map(String).join('.')} ${issue?.message}`,
  );
}

async function incomingOf(
  options: ServerOptions,
  route: Route,
  params: Readonly<Record<string, string>>,
  request: IncomingMessage,
  body: string,
): Promise<Incoming> {
  const { authorization } = request.headers;
  const [path = '/', query = ''] = (request.url ?? '/').split('?', 2);
  return {
    method: route.method as Method,
    sent_method: request.method ?? '',
    path,
    params,
    query: new URLSearchParams(query),
    headers: request.headers,
    body,
    verifier:
      route.auth.kind === 'verifier'
        ? await options.authenticateVerifier(authorization, isForm(request) ? body : null)
        : null,
    admin:
      route.auth.kind === 'admin'
        ? await options.authenticateAdmin(authorization, {
            role: route.auth.role,
            bootstrap: route.auth.bootstrap ?? false,
          })
        : null,
  };
}

function isForm(request: IncomingMessage): boolean {
  return request.headers['content-type']?.startsWith('application/x-www-form-urlencoded') ?? false;
}

/**
 * Lets the caller read the refusal: closing while it still sends would reset the connection and lose the answer.
 * Bounded, then cut.
 */
function discardRest(request: IncomingMessage, response: ServerResponse): void {
  let left = DISCARDED_BYTES;
  request.on('data', (chunk: Buffer) => {
    left -= chunk.length;
    if (left < 0) request.destroy();
  });
  const late = setTimeout(() => request.destroy(), DISCARD_MS);
  late.unref();
  response.once('close', () => clearTimeout(late));
  request.resume();
}

function readBody(request: IncomingMessage, max_bytes: number): Promise<string> {
  const announced = Number(request.headers['content-length'] ?? 0);
  if (announced > max_bytes) return Promise.reject(malformed(`the body is larger than ${max_bytes} bytes`));
  if (request.headers['content-encoding'] !== undefined)
    return Promise.reject(malformed('content-encoding is not supported'));
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    request.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size > max_bytes) {
        chunks.length = 0;
        reject(malformed(`the body is larger than ${max_bytes} bytes`));
        return;
      }
      chunks.push(chunk);
    });
    request.on('end', () => {
      const bytes = chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks);
      try {
        resolve(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
      } catch {
        reject(malformed('the body is not UTF-8'));
      }
    });
    request.on('error', reject);
    request.on('aborted', () => reject(malformed('the request ended early')));
  });
}

function match(segments: readonly string[], path: string): Record<string, string> | null {
  const given = path.split('/');
  if (given.length !== segments.length) return null;
  const params: Record<string, string> = {};
  for (const [index, segment] of segments.entries()) {
    const value = given[index] ?? '';
    if (segment.startsWith('{')) {
      if (value === '') return null;
      params[segment.slice(1, -1)] = value;
    } else if (segment !== value) return null;
  }
  return params;
}

/** As {@link match}, with everything from the last segment's `/` on as it was sent. */
function matchRest(segments: readonly string[], target: string): Record<string, string> | null {
  const fixed = segments.slice(0, -1);
  const last = segments.at(-1) ?? '';
  let end = 0;
  for (let index = 1; index < fixed.length; index++) {
    end = target.indexOf('/', end + 1);
    if (end < 0) return null;
  }
  const params = match(fixed, target.slice(0, end));
  return params && { ...params, [last.slice(1, -1)]: target.slice(end) };
}

function refusal(cause: unknown, style: ErrorStyle): Outgoing {
  const { status, headers, body } = wireError(cause, style);
  return { status, headers, json: body };
}

function problem(status: number, title: string): Outgoing {
  return {
    status,
    headers: { 'content-type': 'application/problem+json', 'cache-control': 'no-store' },
    json: { type: `urn:sortie:problem:${title}`, title: title.replaceAll('_', ' '), status },
  };
}

function send(response: ServerResponse, outgoing: Outgoing): void {
  if (response.destroyed) return;
  if (outgoing.stream) {
    // It ends with its connection: framing each event as a chunk makes a thousand readers cost half as much again.
    response.useChunkedEncodingByDefault = false;
    response.writeHead(outgoing.status, outgoing.headers);
    response.flushHeaders();
    outgoing.stream(sinkOf(response));
    return;
  }
  if (outgoing.chunks) {
    let length = 0;
    for (const chunk of outgoing.chunks) length += chunk.length;
    response.writeHead(outgoing.status, {
      ...outgoing.headers,
      'x-content-type-options': 'nosniff',
      'content-length': length,
    });
    for (const chunk of outgoing.chunks) response.write(chunk);
    response.end();
    return;
  }
  const text = outgoing.json === undefined ? (outgoing.text ?? '') : JSON.stringify(outgoing.json);
  response.writeHead(outgoing.status, {
    ...(outgoing.json !== undefined && { 'content-type': 'application/json' }),
    ...outgoing.headers,
    'x-content-type-options': 'nosniff',
    'content-length': Buffer.byteLength(text),
  });
  response.end(text);
}

function sinkOf(response: ServerResponse): FeedSink {
  return {
    write: (chunk) => response.write(chunk),
    end: () => void response.end(),
    cut: () => void response.destroy(),
    onClose(listener) {
      if (response.closed || response.destroyed) listener();
      else response.once('close', listener);
    },
    drained: () =>
      new Promise((resolve) => {
        if (!response.writableNeedDrain || response.destroyed) {
          // A turn of the event loop, so that a long backlog does not hold up everybody else.
          setImmediate(resolve);
          return;
        }
        const done = () => {
          response.off('drain', done);
          response.off('close', done);
          resolve();
        };
        response.once('drain', done);
        response.once('close', done);
      }),
    get buffered_bytes() {
      return response.writableLength;
    },
  };
}
