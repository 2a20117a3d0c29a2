/**
 * Express: `const erp = expressGuard(running.guard); app.use(erp.metadata());
 * app.get('/invoices/:id', erp.protect({ action: 'invoices.read' }), handler)`.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Guard } from './guard.ts';
import { HttpAdapter, type HttpAdapterOptions } from './node-http.ts';
import type { ProtectedRoute } from './route.ts';

export { permitOf } from './node-http.ts';

/** What Express adds to node:http's request, as far as a route reads it. Not imported from Express on purpose. */
export interface ExpressRequest extends IncomingMessage {
  readonly originalUrl: string;
  readonly params: Readonly<Record<string, string | string[]>>;
  readonly query: unknown;
  /** Parsed by a body parser that ran before; else undefined. */
  readonly body?: unknown;
}

type Middleware<Request> = (
  request: Request,
  response: ServerResponse,
  next: (error?: unknown) => void,
) => void;

export interface ExpressGuard {
  /** Middleware that lets a request through or answers it. */
  protect(route: ProtectedRoute<ExpressRequest>): Middleware<ExpressRequest>;
  /** Serves the RFC 9728 metadata. Mount it at the root. */
  metadata(): Middleware<IncomingMessage>;
}

export function expressGuard(guard: Guard, options?: HttpAdapterOptions): ExpressGuard {
  const adapter = new HttpAdapter(guard, options);
  return {
    protect: (route) => adapter.protect(route),
    metadata: () => adapter.metadataMiddleware(),
  };
}
