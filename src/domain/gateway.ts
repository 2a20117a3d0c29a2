/**
 * What a gateway's request means: action, resource and parameters from the raw request target, by configured routes
 * (wire profile 3, forward-auth). On top of the route map it adds several methods a route and parameters from the
 * query.
 */
import { malformed } from './denial.ts';
import type { JsonObject } from './json.ts';
import { compileRoutes, matchRoute, type RouteMap } from './route-map.ts';

export interface GatewayRoute {
  readonly methods: readonly string[];
  readonly path: string;
  readonly action: string;
  /** What is acted on, below the audience. Default: the audience. */
  readonly resource?: string;
  /** Parameter to `path.<name>` or `query.<name>`. Default: every name of the path under its own name. */
  readonly parameters?: Readonly<Record<string, string>>;
}

/** Opaque: made by {@link compileGateway}. */
export interface GatewayMap {
  readonly map: RouteMap;
  readonly routes: readonly GatewayRoute[];
}

export type GatewayMatch =
  | { readonly ok: true; readonly action: string; readonly resource: string; readonly parameters: JsonObject }
  | { readonly ok: false; readonly reason: 'target_refused' | 'route_unmapped' };

const PATH = 'path.';
const QUERY = 'query.';

/** @throws Denied `invalid_request` naming the route */
export function compileGateway(audience: string, routes: readonly GatewayRoute[]): GatewayMap {
  for (const route of routes)
    for (const [name, from] of Object.entries(route.parameters ?? {})) {
      const at = `route ${route.path}: parameter ${name}`;
      if (from.startsWith(QUERY) && from.length > QUERY.length) continue;
      if (!from.startsWith(PATH)) throw malformed(`${at}: must be path.<name> or query.<name>`);
      const segment = from.slice(PATH.length);
      if (!route.path.includes(`{${segment}}`) && !route.path.includes(`{${segment}...}`))
        throw malformed(`${at}: the path has no {${segment}}`);
    }
  // The map knows routes by number, so that a match leads back to its whole route.
  const rules = routes.flatMap((route, index) =>
    route.methods.map((method) => ({
      method,
      path: route.path,
      action: String(index),
      ...(route.resource !== undefined && { resource: route.resource }),
    })),
  );
  return { map: compileRoutes(audience, rules), routes };
}

/** @param target path and query exactly as on the request line */
export function mapRequest(gateway: GatewayMap, method: string, target: string): GatewayMatch {
  const match = matchRoute(gateway.map, method, target);
  if (!match.ok) return match;
  const route = gateway.routes[Number(match.action)];
  if (route === undefined) return { ok: false, reason: 'route_unmapped' };
  if (route.parameters === undefined) return { ...match, action: route.action };
  const parameters: Record<string, string> = {};
  let query: ReadonlyMap<string, string> | null = null;
  for (const [name, from] of Object.entries(route.parameters)) {
    if (from.startsWith(PATH)) {
      const value = match.parameters[from.slice(PATH.length)];
      if (typeof value === 'string') parameters[name] = value;
      continue;
    }
    query ??= readQuery(target);
    if (query === null) return { ok: false, reason: 'target_refused' };
    const value = query.get(from.slice(QUERY.length));
    if (value !== undefined) parameters[name] = value;
  }
  return { ok: true, action: route.action, resource: match.resource, parameters };
}

/** The path of a target, which is what a proof's `htu` is about. */
export function pathOf(target: string): string {
  const query = target.indexOf('?');
  return query < 0 ? target : target.slice(0, query);
}

/**
 * Query parameters, where every reader finds the same ones; else null. Servers differ over `;` between parameters,
 * over names that come twice (`a`, `a[]`), and over broken escapes.
 */
function readQuery(target: string): ReadonlyMap<string, string> | null {
  const mark = target.indexOf('?');
  const found = new Map<string, string>();
  if (mark < 0 || mark === target.length - 1) return found;
  for (const piece of target.slice(mark + 1).split('&')) {
    const equals = piece.indexOf('=');
    const name = decode(equals < 0 ? piece : piece.slice(0, equals));
    const value = decode(equals < 0 ? '' : piece.slice(equals + 1));
    if (name === null || value === null || name === '') return null;
    // `a[]=1` and ` a=1` are `a` to some readers: what is not plainly one name is refused.
    if (name.includes('[') || name.trim() !== name || found.has(name)) return null;
    found.set(name, value);
  }
  return found;
}

function decode(raw: string): string | null {
  if (raw.includes(';')) return null;
  try {
    const text = decodeURIComponent(raw.replaceAll('+', ' '));
    for (let at = 0; at < text.length; at++) if (text.charCodeAt(at) < 0x20) return null;
    return text;
  } catch {
    return null;
  }
}
