/**
 * Requests to actions for gateways without code (wire profile 3): the raw request target against configured routes.
 * Gateways, frameworks and this map must agree on what a path is, so every form that two of them may read differently
 * is refused, and what is not mapped is denied.
 */
import { malformed } from './denial.ts';
import type { JsonObject } from './json.ts';

/** One mapped route. `{name}` is one whole segment and becomes a parameter; a last `{name...}` takes the rest. */
export interface RouteRule {
  /** `GET`, or `*` for every method. */
  readonly method: string;
  readonly path: string;
  readonly action: string;
  /** What is acted on, below the audience: `{name}` as in `path`. Default: the audience. */
  readonly resource?: string;
}

export type RouteMatch =
  | { readonly ok: true; readonly action: string; readonly resource: string; readonly parameters: JsonObject }
  /** `target_refused`: a form that two readers may resolve differently. */
  | { readonly ok: false; readonly reason: 'target_refused' | 'route_unmapped' };

type Segment =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'name'; readonly name: string }
  | { readonly kind: 'rest'; readonly name: string };

interface CompiledRoute {
  readonly rule: RouteRule;
  readonly segments: readonly Segment[];
}

/** Opaque: made by {@link compileRoutes}, in the order of precedence. */
export interface RouteMap {
  readonly audience: string;
  readonly routes: readonly CompiledRoute[];
}

const MAX_TARGET = 4096;
const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', '*'];

/**
 * Reads configured routes. Literal segments go before names, names before a rest, whatever the order they are written
 * in: a route cannot be shadowed by accident.
 * @throws Denied `invalid_request` naming the route, also for two routes that match the same requests
 */
export function compileRoutes(audience: string, rules: readonly RouteRule[]): RouteMap {
  const seen = new Set<string>();
  const routes = rules.map((rule) => {
    const at = `route ${rule.method} ${rule.path}`;
    if (!METHODS.includes(rule.method)) throw malformed(`${at}: unknown method`);
    if (rule.action === '') throw malformed(`${at}: needs an action`);
    const segments = compilePath(rule.path, at);
    const shape = `${rule.method} ${segments.map(shapeOf).join('/')}`;
    if (seen.has(shape)) throw malformed(`${at}: another route matches the same requests`);
    seen.add(shape);
    const names = segments.flatMap((segment) => (segment.kind === 'text' ? [] : [segment.name]));
    if (new Set(names).size !== names.length) throw malformed(`${at}: a name is used twice`);
    for (const name of namesIn(rule.resource ?? ''))
      if (!names.includes(name)) throw malformed(`${at}: resource uses {${name}}, which the path has not`);
    return { rule, segments };
  });
  return { audience, routes: routes.sort(byPrecedence) };
}

/**
 * The action of a request.
 * @param target path and query exactly as on the request line
 */
export function matchRoute(map: RouteMap, method: string, target: string): RouteMatch {
  const segments = readTarget(target);
  if (segments === null) return { ok: false, reason: 'target_refused' };
  for (const { rule, segments: wanted } of map.routes) {
    if (rule.method !== method && rule.method !== '*') continue;
    const values = matchSegments(wanted, segments);
    if (values === null) continue;
    const resource = rule.resource === undefined ? map.audience : map.audience + fill(rule.resource, values);
    return { ok: true, action: rule.action, resource, parameters: Object.fromEntries(values) };
  }
  return { ok: false, reason: 'route_unmapped' };
}

/**
 * Decoded segments of a raw target, or null. Refused: anything but an absolute path, empty and dot segments (also
 * escaped), `%2F`, `%5C`, `%00`, backslashes, `;` path parameters, broken escapes, invalid UTF-8, fragments.
 */
export function readTarget(target: string): readonly string[] | null {
  if (target.length > MAX_TARGET || !target.startsWith('/')) return null;
  for (let at = 0; at < target.length; at++) {
    const unit = target.charCodeAt(at);
    if (unit <= 0x20 || unit >= 0x7f) return null;
  }
  if (target.includes('#')) return null;
  const query = target.indexOf('?');
  const path = query < 0 ? target : target.slice(0, query);
  if (path === '/') return [];
  if (path.includes('\\') || path.includes(';')) return null;
  const segments: string[] = [];
  for (const raw of path.slice(1).split('/')) {
    const segment = decode(raw);
    if (segment === null || segment === '' || segment === '.' || segment === '..') return null;
    segments.push(segment);
  }
  return segments;
}

function decode(raw: string): string | null {
  let text: string;
  try {
    text = decodeURIComponent(raw);
  } catch {
    return null;
  }
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    // An escaped separator, control character or second layer of escapes is one path here and another behind.
    if (unit < 0x20 || unit === 0x7f || '/\\;%?#'.includes(text.charAt(at))) return null;
  }
  return text;
}

function compilePath(path: string, at: string): Segment[] {
  if (path === '/') return [];
  if (!path.startsWith('/')) throw malformed(`${at}: the path must start with /`);
  const parts = path.slice(1).split('/');
  return parts.map((part, index) => {
    if (!part.startsWith('{')) {
      if (
        part === '' ||
        part.includes('{') ||
        part.includes('}') ||
        part.includes('*') ||
        part.includes('?') ||
        readTarget(`/${part}`) === null
      )
        throw malformed(`${at}: a segment is text, or one {name}`);
      return { kind: 'text', text: decodeURIComponent(part) };
    }
    const rest = part.endsWith('...}');
    const name = part.slice(1, rest ? -4 : -1);
    if (!part.endsWith('}') || !isName(name)) throw malformed(`${at}: a segment is text, or one {name}`);
    if (rest && index !== parts.length - 1) throw malformed(`${at}: {${name}...} must be last`);
    return rest ? { kind: 'rest', name } : { kind: 'name', name };
  });
}

function isName(name: string): boolean {
  if (name === '' || name === '__proto__') return false;
  for (const unit of name) if (!/[A-Za-z0-9_]/.test(unit)) return false;
  return true;
}

function matchSegments(wanted: readonly Segment[], given: readonly string[]): Map<string, string> | null {
  const values = new Map<string, string>();
  for (const [index, segment] of wanted.entries()) {
    const value = given[index];
    if (value === undefined) return null;
    switch (segment.kind) {
      case 'rest':
        return values.set(segment.name, given.slice(index).join('/'));
      case 'name':
        values.set(segment.name, value);
        break;
      case 'text':
        if (segment.text !== value) return null;
    }
  }
  return wanted.length === given.length ? values : null;
}

/** Most certain first: segment by segment text, name, rest; then the longer path; then a named method. */
function byPrecedence(a: CompiledRoute, b: CompiledRoute): number {
  const rank = { text: 0, name: 1, rest: 2 } as const;
  for (let index = 0; index < Math.min(a.segments.length, b.segments.length); index++) {
    const [mine, theirs] = [a.segments[index], b.segments[index]];
    if (mine === undefined || theirs === undefined) break;
    if (mine.kind !== theirs.kind) return rank[mine.kind] - rank[theirs.kind];
  }
  if (a.segments.length !== b.segments.length) return b.segments.length - a.segments.length;
  return Number(a.rule.method === '*') - Number(b.rule.method === '*');
}

function shapeOf(segment: Segment): string {
  return segment.kind === 'text' ? `=${segment.text}` : segment.kind === 'name' ? '{}' : '{...}';
}

function namesIn(resource: string): string[] {
  return resource
    .split('{')
    .slice(1)
    .map((piece) => piece.slice(0, Math.max(0, piece.indexOf('}'))));
}

function fill(resource: string, values: ReadonlyMap<string, string>): string {
  let out = resource;
  for (const [name, value] of values)
    out = out.replaceAll(`{${name}}`, () => value.split('/').map(encodeURIComponent).join('/'));
  return out;
}
