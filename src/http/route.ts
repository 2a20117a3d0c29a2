/**
 * A route is data: the server dispatches from it, `openapi.yaml` is generated from it, and a handler sees only
 * what it declared. Hot routes run ahead of Express on the same node:http server (architecture rule 10).
 */
import type { IncomingHttpHeaders } from 'node:http';
import type { z } from 'zod';
import { malformed } from '../domain/denial.ts';
import { type JsonValue, parseJson } from '../domain/json.ts';
import type { FeedSink } from '../feed/feed.ts';
import type { AdminRole, AdminTokenRecord, VerifierPolicy } from '../ports.ts';
import type { ErrorStyle } from './errors.ts';

export type Method = 'GET' | 'POST' | 'DELETE';

/** Who may call. Each kind of caller is proven before the handler runs. */
export type RouteAuth =
  | { readonly kind: 'public' }
  /** The operation itself judges evidence, token and proof. */
  | { readonly kind: 'agent' }
  | { readonly kind: 'verifier' }
  /** `bootstrap`: the bootstrap token may call it too. */
  | { readonly kind: 'admin'; readonly role: AdminRole; readonly bootstrap?: boolean };

export type Admin = Pick<AdminTokenRecord, 'id' | 'name' | 'role' | 'bootstrap'>;

export interface Incoming {
  readonly method: Method;
  /** As routed, without query; never used to build a URL that a proof is checked against. */
  readonly path: string;
  /** The method of the request itself; another one than {@link method} only where the route takes any. */
  readonly sent_method: string;
  readonly params: Readonly<Record<string, string>>;
  readonly query: URLSearchParams;
  readonly headers: IncomingHttpHeaders;
  /** The whole body, at most the route's `max_body_bytes`. */
  readonly body: string;
  /** Set where the route's auth says so. */
  readonly verifier: VerifierPolicy | null;
  readonly admin: Admin | null;
}

export interface Outgoing {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly json?: unknown;
  readonly text?: string;
  /** A body in pieces that may be shared between answers; sent as they are. */
  readonly chunks?: readonly Buffer[];
  /** Called once the head is sent. */
  readonly stream?: (sink: FeedSink) => void;
}

export interface RouteDescription {
  readonly summary: string;
  readonly tag: 'agents' | 'verifiers' | 'admin' | 'metadata' | 'operations';
  /** A form or JSON body, for the document. */
  readonly form?: z.ZodType;
  readonly json?: z.ZodType;
  readonly query?: z.ZodType;
  readonly responses: Readonly<
    Record<
      number,
      { readonly description: string; readonly content_type?: string; readonly schema?: z.ZodType }
    >
  >;
}

export interface Route {
  readonly method: Method;
  /** `/admin/v1/missions/{id}`: a `{name}` is one whole segment. */
  readonly path: string;
  readonly auth: RouteAuth;
  readonly errors: ErrorStyle;
  /** Runs ahead of Express. */
  readonly hot?: boolean;
  /**
   * Takes every method, and its last `{name}` is the rest of the raw request target, query included, from its `/` on.
   * Hot routes only.
   */
  readonly rest?: boolean;
  readonly max_body_bytes?: number;
  readonly describe: RouteDescription;
  handle(incoming: Incoming): Promise<Outgoing> | Outgoing;
}

/** Answers with JSON that must not be cached. The server holds it against the route's schema before it is sent. */
export function json(status: number, body: unknown): Outgoing {
  return { status, headers: { 'cache-control': 'no-store' }, json: body };
}

/** Optional members that are absent, never undefined: what strict parsing of JSON yields. */
type Given<T> = T extends readonly unknown[]
  ? T
  : T extends object
    ? { [K in keyof T as undefined extends T[K] ? never : K]: T[K] } & {
        [K in keyof T as undefined extends T[K] ? K : never]?: Exclude<T[K], undefined>;
      }
    : T;

/** A strict JSON body. @throws Denied `invalid_request` naming the member at fault */
export function readJson<Schema extends z.ZodType>(
  incoming: Incoming,
  schema: Schema,
): Given<z.output<Schema>> {
  return readShape(readJsonValue(incoming), schema, 'the body');
}

/** @throws Denied `invalid_request` */
export function readJsonValue(incoming: Incoming): JsonValue {
  const type = incoming.headers['content-type']?.split(';')[0]?.trim().toLowerCase();
  if (type !== 'application/json') throw malformed('content-type must be application/json');
  return parseJson(incoming.body);
}

/** @throws Denied `invalid_request` */
export function readShape<Schema extends z.ZodType>(
  value: unknown,
  schema: Schema,
  what: string,
): Given<z.output<Schema>> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data as Given<z.output<Schema>>;
  const [issue] = parsed.error.issues;
  const at = issue && issue.path.length > 0 ? issue.path.map(String).join('.') : what;
  throw malformed(`${at}: ${issue?.message ?? 'not of the documented shape'}`);
}

/** Query parameters against a schema; a repeated one is refused. @throws Denied `invalid_request` */
export function readQuery<Schema extends z.ZodType>(
  incoming: Incoming,
  schema: Schema,
): Given<z.output<Schema>> {
  return readShape(Object.fromEntries(unrepeated(incoming.query)), schema, 'the query');
}

/** An `application/x-www-form-urlencoded` body, each parameter at most once (RFC 6749 section 3.2). */
export function readForm(incoming: Incoming): ReadonlyMap<string, string> {
  const type = incoming.headers['content-type']?.split(';')[0]?.trim().toLowerCase();
  if (type !== 'application/x-www-form-urlencoded')
    throw malformed('content-type must be application/x-www-form-urlencoded');
  return unrepeated(new URLSearchParams(incoming.body));
}

function unrepeated(parameters: URLSearchParams): Map<string, string> {
  const once = new Map<string, string>();
  for (const [name, value] of parameters) {
    // What is not UTF-8 under its percent-encoding reads as U+FFFD: two different texts would become one.
    if (value.includes('\ufffd') || name.includes('\ufffd')) throw malformed('a parameter is not UTF-8');
    if (once.has(name)) throw malformed(`parameter ${JSON.stringify(name.slice(0, 64))} is repeated`);
    once.set(name, value);
  }
  return once;
}

/** One header value. Node joins repeated `DPoP` headers with a comma; no proof contains one. */
export function header(incoming: Incoming, name: string): string | undefined {
  const value = incoming.headers[name];
  return typeof value === 'string' ? value : undefined;
}

/** Server-sent events; the head is sent before the first of them. */
export function eventStream(stream: (sink: FeedSink) => void): Outgoing {
  return {
    status: 200,
    headers: { 'content-type': 'text/event-stream', 'cache-control': 'no-store', 'x-accel-buffering': 'no' },
    stream,
  };
}
