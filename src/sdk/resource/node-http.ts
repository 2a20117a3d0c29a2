/**
 * Adapter for node:http, and for every framework whose requests and responses are node:http's underneath: Express and
 * Connect take its `protect` as middleware.
 */
import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import { AnswerMeter } from './answer-meter.ts';
import { meterAnswer, meterSocket, tapAnswer } from './answer-tap.ts';
import type { GuardedCall } from './call.ts';
import { denied, type GuardDenial } from './denial.ts';
import type { Guard, Verdict } from './guard.ts';
import { metadataPath } from './metadata.ts';
import { callOf, originOf, type ProtectedRoute, type RequestFacts } from './route.ts';
import type { VerifiedToken } from './token.ts';

export interface HttpAdapterOptions {
  /** Scheme, host and port under which clients reach this server; what proofs name. Default: the audience's. */
  readonly origin?: string;
  /** Told of each denial, with the private reason; for the server's own log. */
  readonly onDenied?: (denial: GuardDenial, request: IncomingMessage) => void;
}

const permits = new WeakMap<object, VerifiedToken>();

/** The verified token of a request that `protect` let through. */
export function permitOf(request: object): VerifiedToken | undefined {
  return permits.get(request);
}

/** Express keeps the whole path of the request line here while it strips `url` for mounted routers. */
type WithOriginalUrl = IncomingMessage & { readonly originalUrl?: string };

export class HttpAdapter {
  readonly #guard: Guard;
  readonly #origin: string;
  readonly #onDenied: (denial: GuardDenial, request: IncomingMessage) => void;
  readonly #metadata_path: string;
  readonly #metadata: string;

  constructor(guard: Guard, options: HttpAdapterOptions = {}) {
    this.#guard = guard;
    this.#origin = options.origin ?? originOf(guard.audience);
    this.#onDenied = options.onDenied ?? (() => {});
    this.#metadata_path = metadataPath(guard.audience);
    this.#metadata = JSON.stringify(guard.metadata);
  }

  /**
   * Judges a request. On a permit the answer is watched: it is cut when the token dies while it is still open.
   * On a denial the answer has been sent.
   */
  admit<Request extends IncomingMessage>(
    route: ProtectedRoute<Request>,
    request: Request,
    response: ServerResponse,
  ): Promise<VerifiedToken | null> {
    return this.admitAs(route, request, request, response);
  }

  /** {@link admit} for a framework whose own request, which the route's functions read, wraps node:http's. */
  async admitAs<Request>(
    route: ProtectedRoute<Request>,
    given: Request,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<VerifiedToken | null> {
    const judged: { call: GuardedCall | null } = { call: null };
    const verdict = await this.#judge(route, given, request, judged);
    if (verdict.permitted && judged.call !== null) {
      const reader = this.#guard.openAnswer(judged.call, verdict);
      if (reader !== null) tapAnswer(response, reader, route.inspect !== false);
    }
    return this.#settle(verdict, request, response, judged.call?.meter);
  }

  /**
   * As {@link admit} for node:http's `upgrade` (a WebSocket): the socket is cut when the token dies. On a denial the
   * answer has been sent and the socket is closed; no protocol was switched.
   */
  async admitUpgrade<Request extends IncomingMessage>(
    route: ProtectedRoute<Request>,
    request: Request,
    socket: Duplex,
  ): Promise<VerifiedToken | null> {
    const judged: { call: GuardedCall | null } = { call: null };
    const verdict = await this.#judge(route, request, request, judged);
    // Whoever hangs up while it is judged must not end the process.
    if (!verdict.permitted) socket.on('error', () => {});
    if (verdict.permitted) {
      meterSocket(socket, this.#guard.meter(verdict, judged.call?.meter ?? new AnswerMeter()));
      return this.#permit(verdict, request, socket);
    }
    this.#onDenied(verdict, request);
    const { status, headers, body } = this.#guard.answer(verdict, request.headers.authorization);
    const text = JSON.stringify(body);
    const lines = Object.entries({
      ...headers,
      'content-length': Buffer.byteLength(text),
      connection: 'close',
    });
    socket.end(
      `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n${lines
        .map(([name, value]) => `${name}: ${value}\r\n`)
        .join('')}\r\n${text}`,
    );
    return null;
  }

  /** As {@link admit} for a request that acts on nothing: a living token in the right hands is enough. */
  async recognize(request: IncomingMessage, response: ServerResponse): Promise<VerifiedToken | null> {
    const call = callOf(this.#guard, this.#origin, { action: '' }, request, factsOf(request));
    const verdict = call === null ? denied('route_unmapped') : this.#guard.recognize(call);
    return this.#settle(verdict, request, response);
  }

  /** Middleware for Express and Connect. `next` is called only for a permitted request. */
  protect<Request extends IncomingMessage>(
    route: ProtectedRoute<Request>,
  ): (request: Request, response: ServerResponse, next: (error?: unknown) => void) => void {
    return (request, response, next) => {
      this.admit(route, request, response).then(
        (permit) => {
          if (permit !== null) next();
        },
        (error: unknown) => next(error),
      );
    };
  }

  /** Answers the metadata request (RFC 9728) and says so; leaves every other request alone. */
  metadata(request: IncomingMessage, response: ServerResponse): boolean {
    const target = (request as WithOriginalUrl).originalUrl ?? request.url ?? '';
    const path = target.split('?', 1)[0];
    if (path !== this.#metadata_path || (request.method !== 'GET' && request.method !== 'HEAD')) return false;
    response.writeHead(200, { 'content-type': 'application/json', 'cache-control': 'public, max-age=300' });
    response.end(request.method === 'HEAD' ? undefined : this.#metadata);
    return true;
  }

  /** {@link metadata} as middleware. */
  metadataMiddleware(): (
    request: IncomingMessage,
    response: ServerResponse,
    next: (error?: unknown) => void,
  ) => void {
    return (request, response, next) => {
      if (!this.metadata(request, response)) next();
    };
  }

  async #judge<Request>(
    route: ProtectedRoute<Request>,
    given: Request,
    request: IncomingMessage,
    judged: { call: GuardedCall | null } = { call: null },
  ): Promise<Verdict> {
    try {
      const call = callOf(this.#guard, this.#origin, route, given, factsOf(request));
      if (call === null) return denied('route_unmapped');
      judged.call = call;
      return this.#guard.needsWait(call) ? await this.#guard.decide(call) : this.#guard.check(call);
    } catch (error) {
      // A parameters or context function that fails has not said what the call does.
      return denied('guard_failed', { private_reason: error instanceof Error ? error.message : 'route' });
    }
  }

  #settle(
    verdict: Verdict,
    request: IncomingMessage,
    response: ServerResponse,
    meter = new AnswerMeter(),
  ): VerifiedToken | null {
    if (!verdict.permitted) {
      this.#refuse(verdict, request, response);
      return null;
    }
    meterAnswer(response, this.#guard.meter(verdict, meter), () =>
      this.#refuse(denied('limit_exhausted'), request, response),
    );
    return this.#permit(verdict, request, response);
  }

  /** What stays open under the token is cut with it. */
  #permit(permit: VerifiedToken, request: IncomingMessage, open: ServerResponse | Duplex): VerifiedToken {
    permits.set(request, permit);
    const unwatch = this.#guard.watch(permit, () => open.destroy());
    // Closed while it was judged: `close` does not come again.
    if (open.destroyed) unwatch();
    else open.once('close', unwatch);
    return permit;
  }

  #refuse(denial: GuardDenial, request: IncomingMessage, response: ServerResponse): void {
    this.#onDenied(denial, request);
    const { status, headers, body } = this.#guard.answer(denial, request.headers.authorization);
    response.writeHead(status, headers);
    response.end(JSON.stringify(body));
  }
}

function factsOf(request: IncomingMessage): RequestFacts {
  const proof = request.headers['dpop'];
  return {
    authorization: request.headers.authorization,
    proof: Array.isArray(proof) ? proof.join(', ') : proof,
    method: request.method ?? '',
    target: (request as WithOriginalUrl).originalUrl ?? request.url ?? '',
  };
}
