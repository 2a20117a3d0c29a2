/**
 * Fastify: `const erp = fastifyGuard(running.guard);
 * app.get('/invoices/:id', { preHandler: erp.protect({ action: 'invoices.read' }) }, handler)`.
 * `preHandler` runs after the body was parsed and before the handler.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Guard } from './guard.ts';
import { HttpAdapter, type HttpAdapterOptions } from './node-http.ts';
import type { ProtectedRoute } from './route.ts';

export { permitOf } from './node-http.ts';

/** What Fastify gives, as far as it is used here. Not imported from Fastify on purpose. */
export interface FastifyRequest {
  readonly raw: IncomingMessage;
  readonly params: unknown;
  readonly query: unknown;
  readonly body: unknown;
}

export interface FastifyReply {
  readonly raw: ServerResponse;
  /** Tells Fastify that the answer is sent elsewhere. */
  hijack(): unknown;
}

type PreHandler<Request> = (request: Request, reply: FastifyReply) => Promise<void>;

export interface FastifyGuard {
  /**
   * A `preHandler`. `permitOf(request.raw)` gives the token to the handler. Where a route's functions read typed parts
   * of the request: `protect<FastifyRequest<{ Body: Journal }>>({ ... })` with Fastify's own type.
   */
  protect<Request extends FastifyRequest = FastifyRequest>(
    route: ProtectedRoute<Request>,
  ): PreHandler<NoInfer<Request>>;
  /** An `onRequest` hook that serves the RFC 9728 metadata. */
  metadata(): PreHandler<FastifyRequest>;
}

export function fastifyGuard(guard: Guard, options?: HttpAdapterOptions): FastifyGuard {
  const adapter = new HttpAdapter(guard, options);
  return {
    protect: (route) => async (request, reply) => {
      const permit = await adapter.admitAs(route, request, request.raw, reply.raw);
      if (permit === null) reply.hijack();
    },
    metadata: () => async (request, reply) => {
      if (adapter.metadata(request.raw, reply.raw)) reply.hijack();
    },
  };
}
