/**
 * Servers that speak the Fetch API (Request in, Response out), such as Hono: `const erp = fetchGuard(running.guard);
 * app.get('/invoices/:id', erp.hono({ action: 'invoices.read' }), handler)`.
 */
import { AnswerMeter } from './answer-meter.ts';
import type { GuardedCall } from './call.ts';
import { denied, type GuardDenial } from './denial.ts';
import type { Guard, Verdict } from './guard.ts';
import { metadataPath } from './metadata.ts';
import { callOf, originOf, type ProtectedRoute } from './route.ts';
import type { AnswerReader } from './state.ts';
import type { VerifiedToken } from './token.ts';

export interface FetchGuardOptions {
  /** Scheme, host and port under which clients reach this server. Default: the audience's. */
  readonly origin?: string;
  readonly onDenied?: (denial: GuardDenial, request: Request) => void;
}

/** Let through with the token, or refused with the answer to send. */
export type Admission =
  | {
      readonly permitted: true;
      readonly permit: VerifiedToken;
      /** Give it to `tether`: an answer that nobody reads counts as untrusted. */
      readonly answer: AnswerReader | null;
      /** Give it to `tether` as well: what it counts is told with the decision. */
      readonly meter: AnswerMeter;
    }
  | { readonly permitted: false; readonly response: Response };

/** What Hono gives a middleware, as far as it is used here. Not imported from Hono on purpose. */
export interface HonoContext {
  readonly req: { readonly raw: Request };
  res: Response;
}

const permits = new WeakMap<object, VerifiedToken>();
/** Nothing is read ahead: what nobody takes, such as the body of an answer to HEAD, is not sent and not counted. */
const UNREAD = { highWaterMark: 0 };

/** The verified token of a request that was let through. */
export function permitOfRequest(request: Request): VerifiedToken | undefined {
  return permits.get(request);
}

export interface FetchGuard {
  admit(route: ProtectedRoute<Request>, request: Request): Promise<Admission>;
  /**
   * The same answer, whose body ends with an error when the token dies while it is still being read, or may send no
   * more. One that is known to be too large is replaced by the denial.
   */
  tether(
    response: Response,
    permit: VerifiedToken,
    answer?: AnswerReader | null,
    meter?: AnswerMeter,
  ): Response;
  /** The answer to a metadata request (RFC 9728), or null for every other request. */
  metadata(request: Request): Response | null;
  /** Middleware for Hono. A route's functions get Hono's context: `hono<Context>({ ... })` with Hono's own type. */
  hono<Context extends HonoContext = HonoContext>(
    route: ProtectedRoute<Context>,
  ): (context: NoInfer<Context>, next: () => Promise<void>) => Promise<Response | undefined>;
}

export function fetchGuard(guard: Guard, options: FetchGuardOptions = {}): FetchGuard {
  const origin = options.origin ?? originOf(guard.audience);
  const path = metadataPath(guard.audience);

  async function judge<Given>(
    route: ProtectedRoute<Given>,
    given: Given,
    request: Request,
  ): Promise<{ readonly verdict: Verdict; readonly call: GuardedCall | null }> {
    try {
      const { pathname, search } = new URL(request.url);
      const call = callOf(guard, origin, route, given, {
        authorization: request.headers.get('authorization') ?? undefined,
        proof: request.headers.get('dpop') ?? undefined,
        method: request.method,
        target: pathname + search,
      });
      if (call === null) return { verdict: denied('route_unmapped'), call };
      const verdict = guard.needsWait(call) ? await guard.decide(call) : guard.check(call);
      return { verdict, call };
    } catch (error) {
      const private_reason = error instanceof Error ? error.message : 'route';
      return { verdict: denied('guard_failed', { private_reason }), call: null };
    }
  }

  async function admit<Given>(
    route: ProtectedRoute<Given>,
    given: Given,
    request: Request,
  ): Promise<Admission> {
    const { verdict, call } = await judge(route, given, request);
    if (verdict.permitted) {
      const reads = call !== null && route.inspect !== false;
      const answer = reads ? guard.openAnswer(call, verdict) : null;
      permits.set(request, verdict);
      return { permitted: true, permit: verdict, answer, meter: call?.meter ?? new AnswerMeter() };
    }
    options.onDenied?.(verdict, request);
    const { status, headers, body } = guard.answer(
      verdict,
      request.headers.get('authorization') ?? undefined,
    );
    return { permitted: false, response: new Response(JSON.stringify(body), { status, headers }) };
  }

  function tether(
    response: Response,
    permit: VerifiedToken,
    answer: AnswerReader | null = null,
    counted: AnswerMeter = new AnswerMeter(),
  ): Response {
    const meter = guard.meter(permit, counted);
    if (response.body === null) {
      meter.end();
      answer?.end();
      return response;
    }
    if (!meter.fits(Number(response.headers.get('content-length') ?? 0))) {
      meter.end();
      answer?.end();
      void response.body.cancel('limit_exhausted').catch(() => {});
      const { status, headers, body } = guard.answer(denied('limit_exhausted'), permit.authorization);
      return new Response(JSON.stringify(body), { status, headers });
    }
    answer?.begin(
      response.headers.get('content-type') ?? undefined,
      !response.headers.has('content-encoding'),
    );
    const live = response.headers.get('content-type')?.startsWith('text/event-stream') === true;
    /** The newest chunk waits for the next one: a whole answer is read as a whole before its end is released. */
    let last: Uint8Array | null = null;
    const reader = response.body.getReader();
    let unwatch = (): void => {};
    /** Nothing is released that the token may not send any more. */
    const admit = (chunk: Uint8Array): Uint8Array => {
      if (!meter.take(chunk.byteLength)) throw new Error('limit_exhausted');
      return chunk;
    };
    const body = new ReadableStream<Uint8Array>(
      {
        start(controller) {
          unwatch = guard.watch(permit, (denial) => {
            controller.error(new Error(denial.code));
            void reader.cancel(denial.code).catch(() => {});
          });
        },
        async pull(controller) {
          try {
            for (;;) {
              const { done, value } = await reader.read();
              if (answer === null || (!done && live)) {
                if (done) break;
                admit(value);
                answer?.write(value);
                await answer?.held();
                return controller.enqueue(value);
              }
              const before = last;
              last = done ? null : admit(value);
              if (before !== null) {
                if (done) answer.finish(before);
                else answer.write(before);
                await answer.held();
                controller.enqueue(before);
              } else if (done) answer.end();
              if (done) break;
              if (before !== null) return;
            }
            unwatch();
            meter.end();
            controller.close();
          } catch (error) {
            unwatch();
            meter.end();
            answer?.end();
            controller.error(error);
            void reader.cancel(error).catch(() => {});
          }
        },
        cancel(reason) {
          unwatch();
          meter.end();
          return reader.cancel(reason);
        },
      },
      UNREAD,
    );
    return new Response(body, response);
  }

  return {
    admit: (route, request) => admit(route, request, request),
    tether,
    metadata(request) {
      if (new URL(request.url).pathname !== path || request.method !== 'GET') return null;
      return Response.json(guard.metadata, { headers: { 'cache-control': 'public, max-age=300' } });
    },
    hono: (route) => async (context, next) => {
      const admission = await admit(route, context, context.req.raw);
      if (!admission.permitted) return admission.response;
      await next();
      const answer = tether(context.res, admission.permit, admission.answer, admission.meter);
      // Hono would put the headers of the answer before on the one that takes its place.
      (context as { res: Response | undefined }).res = undefined;
      context.res = answer;
      return undefined;
    },
  };
}
