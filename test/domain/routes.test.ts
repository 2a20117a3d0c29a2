/** Routes of a gateway as they are read: a route that means another thing than its text says lets calls through. */
import { describe, expect, it } from 'vitest';
import type { Denied } from '../../src/domain/denial.ts';
import { compileGateway, type GatewayRoute, mapRequest, pathOf } from '../../src/domain/gateway.ts';
import { compileRoutes, matchRoute, type RouteRule, readTarget } from '../../src/domain/route-map.ts';

const ERP = 'https://erp.example.com';
function refusal(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    return (error as Denied).private_reason;
  }
  return 'accepted';
}
const route = (path: string, more: Partial<RouteRule> = {}): RouteRule => ({
  method: 'GET',
  path,
  action: path,
  ...more,
});
const compile = (...rules: RouteRule[]) => compileRoutes(ERP, rules);
const action = (rules: readonly RouteRule[], method: string, target: string) => {
  const match = matchRoute(compileRoutes(ERP, rules), method, target);
  return match.ok ? match.action : match.reason;
};
/** The answer must not depend on the order in which routes are written. */
const either = (rules: readonly RouteRule[], method: string, target: string) => {
  const found = action(rules, method, target);
  expect(action([...rules].reverse(), method, target)).toBe(found);
  return found;
};

describe('a route', () => {
  it('is read as text, names and a rest', () => {
    const map = compile(route('/a%20b/{id}/x/{rest...}', { resource: '/r/{id}/{rest}' }));
    expect(matchRoute(map, 'GET', '/a%20b/7/x/y/z%20z')).toStrictEqual({
      ok: true,
      action: '/a%20b/{id}/x/{rest...}',
      resource: `${ERP}/r/7/y/z%20z`,
      parameters: { id: '7', rest: 'y/z z' },
    });
    expect(matchRoute(map, 'GET', '/a%20b/7/x')).toStrictEqual({ ok: false, reason: 'route_unmapped' });
    expect(matchRoute(compile(route('/')), 'GET', '/')).toStrictEqual({
      ok: true,
      action: '/',
      resource: ERP,
      parameters: {},
    });
  });

  it.each(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', '*'])(
    'may be of the method %s',
    (method) => {
      expect(action([route('/a', { method })], method === '*' ? 'PURGE' : method, '/a')).toBe('/a');
      expect(refusal(() => compile(route('/a', { method: method.toLowerCase() })))).toBe(
        method === '*' ? 'accepted' : `route ${method.toLowerCase()} /a: unknown method`,
      );
    },
  );

  it.each([
    [{ method: 'TRACE' }, 'route TRACE /a: unknown method'],
    [{ action: '' }, 'route GET /a: needs an action'],
    [{ path: 'a' }, 'route GET a: the path must start with /'],
    [{ path: 'a/' }, 'route GET a/: the path must start with /'],
    [{ path: '' }, 'route GET : the path must start with /'],
    [{ path: '/a/' }, 'route GET /a/: a segment is text, or one {name}'],
    [{ path: '/a//b' }, 'route GET /a//b: a segment is text, or one {name}'],
    [{ path: '/a{b' }, 'route GET /a{b: a segment is text, or one {name}'],
    [{ path: '/a}b' }, 'route GET /a}b: a segment is text, or one {name}'],
    [{ path: '/a*' }, 'route GET /a*: a segment is text, or one {name}'],
    [{ path: '/*' }, 'route GET /*: a segment is text, or one {name}'],
    [{ path: '/a?b' }, 'route GET /a?b: a segment is text, or one {name}'],
    [{ path: '/a#b' }, 'route GET /a#b: a segment is text, or one {name}'],
    [{ path: '/a%2fb' }, 'route GET /a%2fb: a segment is text, or one {name}'],
    [{ path: '/..' }, 'route GET /..: a segment is text, or one {name}'],
    [{ path: '/{}' }, 'route GET /{}: a segment is text, or one {name}'],
    [{ path: '/{...}' }, 'route GET /{...}: a segment is text, or one {name}'],
    [{ path: '/{a-b}' }, 'route GET /{a-b}: a segment is text, or one {name}'],
    [{ path: '/{a' }, 'route GET /{a: a segment is text, or one {name}'],
    [{ path: '/{a}b' }, 'route GET /{a}b: a segment is text, or one {name}'],
    [{ path: '/{__proto__}' }, 'route GET /{__proto__}: a segment is text, or one {name}'],
    [{ path: '/{a...}/b' }, 'route GET /{a...}/b: {a...} must be last'],
    [{ path: '/{a}/{a}' }, 'route GET /{a}/{a}: a name is used twice'],
    [{ path: '/{a}/x/{a...}' }, 'route GET /{a}/x/{a...}: a name is used twice'],
    [{ path: '/a', resource: '/{a}' }, 'route GET /a: resource uses {a}, which the path has not'],
    [{ path: '/{a}', resource: '/{a}/{b}' }, 'route GET /{a}: resource uses {b}, which the path has not'],
    [{ path: '/{a}', resource: '/{a' }, 'route GET /{a}: resource uses {}, which the path has not'],
    [{ path: '/a', resource: '/x' }, 'accepted'],
    [{ path: '/{a}/{b...}', resource: '/{b}/{a}' }, 'accepted'],
    [{ path: '/{azAZ09_}' }, 'accepted'],
  ])('is refused by name: %j', (change, wrong) => {
    expect(refusal(() => compile({ ...route('/a'), ...change }))).toBe(wrong);
  });

  it('never stands twice, however its names are called: which one wins would be chance', () => {
    const twice = (a: RouteRule, b: RouteRule) => refusal(() => compile(a, b));
    const wrong = (path: string) => `route GET ${path}: another route matches the same requests`;
    expect(twice(route('/a/b'), route('/a/b'))).toBe(wrong('/a/b'));
    expect(twice(route('/a/{x}'), route('/a/{y}'))).toBe(wrong('/a/{y}'));
    expect(twice(route('/a/{x...}'), route('/a/{y...}'))).toBe(wrong('/a/{y...}'));
    expect(twice(route('/'), route('/'))).toBe(wrong('/'));
    for (const [a, b] of [
      [route('/a/b'), route('/a/c')],
      [route('/a/b'), route('/ab')],
      [route('/a/{x}'), route('/a/x')],
      [route('/a/{x}'), route('/a/{x...}')],
      [route('/a'), route('/a', { method: 'PUT' })],
      [route('/a'), route('/a', { method: '*' })],
      [route('/a/{x}'), route('/{x}/a')],
    ] as const)
      expect(twice(a, b)).toBe('accepted');
  });
});

describe('precedence', () => {
  it('is text, then names, then a rest, from the left', () => {
    const rules = ['/{a}/x', '/v/{b}', '/v/x', '/{r...}', '/v/{r...}'].map((path) => route(path));
    expect(either(rules, 'GET', '/v/x')).toBe('/v/x');
    expect(either(rules, 'GET', '/v/y')).toBe('/v/{b}');
    expect(either(rules, 'GET', '/w/x')).toBe('/{a}/x');
    expect(either(rules, 'GET', '/v/x/y')).toBe('/v/{r...}');
    expect(either(rules, 'GET', '/w/y')).toBe('/{r...}');
  });

  it('is of the longer path, then of the named method', () => {
    const rules = [route('/a/{r...}'), route('/a/{x}/b'), route('/a/{x}')];
    expect(either(rules, 'GET', '/a/1/b')).toBe('/a/{x}/b');
    const any = [route('/a', { method: '*', action: 'any' }), route('/a', { action: 'get' })];
    expect(either(any, 'GET', '/a')).toBe('get');
    expect(either(any, 'PUT', '/a')).toBe('any');
  });
});

describe('a target', () => {
  it('is read to its last character', () => {
    const longest = `/${'a'.repeat(4095)}`;
    expect(readTarget(longest)).toStrictEqual([longest.slice(1)]);
    expect(readTarget(`${longest}a`)).toBeNull();
    expect(readTarget('/')).toStrictEqual([]);
    expect(readTarget('/?')).toStrictEqual([]);
    expect(readTarget('/a?b;c\\d')).toStrictEqual(['a']);
    expect(readTarget("/~!$&'()*+,=:@-._")).toStrictEqual(["~!$&'()*+,=:@-._"]);
    expect(readTarget('/%C3%A9%20')).toStrictEqual(['é ']);
  });

  it.each([
    '/a\u007f',
    '/a b',
    '/a\u0000',
    '/é',
    '/a%7f',
    '/a%1f',
    '/a%5C',
    '/a%3b',
    '/a%25',
    '/a%3f',
    '/a%23',
    '/a%2F',
    '/a?b#c',
    '/#',
    '/a\\',
    '/a;',
    '/a/',
    '//a',
    '/.',
    '/a/%2e',
    '/a/..',
  ])('is refused where two readers may differ: %j', (target) => {
    expect(readTarget(target)).toBeNull();
  });
});

describe("a gateway's parameters", () => {
  const gateway = (parameters: Record<string, string>, more: Partial<GatewayRoute> = {}) =>
    compileGateway(ERP, [
      { methods: ['GET', 'PUT'], path: '/a/{id}/{rest...}', action: 'a.read', parameters, ...more },
    ]);
  const parameters = (query: string, named: Record<string, string> = { x: 'query.x' }) => {
    const match = mapRequest(gateway(named), 'PUT', `/a/7/b/c${query}`);
    return match.ok ? match.parameters : match.reason;
  };

  it('come from where the route says, and from nowhere else', () => {
    expect(parameters('?x=1', { id: 'path.id', all: 'path.rest', y: 'query.x' })).toStrictEqual({
      id: '7',
      all: 'b/c',
      y: '1',
    });
    expect(parameters('?id=8', { id: 'path.id' })).toStrictEqual({ id: '7' });
    expect(parameters('?y=1')).toStrictEqual({});
    expect(mapRequest(gateway({ x: 'query.x' }, { resource: '/r/{id}' }), 'GET', '/a/7/b')).toStrictEqual({
      ok: true,
      action: 'a.read',
      resource: `${ERP}/r/7`,
      parameters: {},
    });
    expect(mapRequest(gateway({ id: 'path.id' }), 'GET', '/other')).toStrictEqual({
      ok: false,
      reason: 'route_unmapped',
    });
    expect(mapRequest(gateway({ id: 'path.id' }), 'GET', '/a/7/../x')).toStrictEqual({
      ok: false,
      reason: 'target_refused',
    });
  });

  it('of the query are read as every reader reads them', () => {
    expect(parameters('')).toStrictEqual({});
    expect(parameters('?')).toStrictEqual({});
    expect(parameters('?x')).toStrictEqual({ x: '' });
    expect(parameters('?x=')).toStrictEqual({ x: '' });
    expect(parameters('?x=a=b')).toStrictEqual({ x: 'a=b' });
    expect(parameters('?x=a+b%2Bc%C3%A9')).toStrictEqual({ x: 'a b+cé' });
    expect(parameters('?x=%20')).toStrictEqual({ x: ' ' });
    expect(parameters('?y=1&x=2&z')).toStrictEqual({ x: '2' });
  });

  it.each([
    '?x=1&x=2',
    '?x=1&y&y',
    '?x=1&',
    '?&x=1',
    '?x=1&&y=1',
    '?=1',
    '?x[]=1',
    '?x%5B0%5D=1',
    '?+x=1',
    '?x+=1',
    '?x=1;y=2',
    '?x;=1',
    '?x=%1f',
    '?x=a%0A',
    '?x=%',
    '?x=%ff',
    '?%zz=1',
    '?y=%zz&x=1',
  ])('are refused where readers differ: %s', (query) => {
    expect(parameters(query)).toBe('target_refused');
  });

  it('are refused when a route cannot have them', () => {
    const wrong = (from: string) => refusal(() => gateway({ x: from }));
    const at = 'route /a/{id}/{rest...}: parameter x';
    for (const from of ['id', '', 'header.x', 'xquery.x', 'x.path.', 'query.'])
      expect(wrong(from), from).toBe(`${at}: must be path.<name> or query.<name>`);
    expect(wrong('path.other')).toBe(`${at}: the path has no {other}`);
    expect(wrong('path.')).toBe(`${at}: the path has no {}`);
    for (const from of ['path.id', 'path.rest', 'query.a', 'query.path.x'])
      expect(wrong(from)).toBe('accepted');
  });

  it('are every name of the path where the route says nothing', () => {
    const map = compileGateway(ERP, [
      { methods: ['GET'], path: '/a/{id}', action: 'a.read', resource: '/a/{id}' },
      { methods: ['GET'], path: '/b', action: 'b.read' },
    ]);
    expect(mapRequest(map, 'GET', '/a/7')).toStrictEqual({
      ok: true,
      action: 'a.read',
      resource: `${ERP}/a/7`,
      parameters: { id: '7' },
    });
    expect(mapRequest(map, 'GET', '/b')).toStrictEqual({
      ok: true,
      action: 'b.read',
      resource: ERP,
      parameters: {},
    });
    expect(mapRequest(map, 'PUT', '/b')).toStrictEqual({ ok: false, reason: 'route_unmapped' });
  });

  it('leave the path of a target alone', () => {
    expect(pathOf('/a?b?c')).toBe('/a');
    expect(pathOf('/a')).toBe('/a');
    expect(pathOf('?a')).toBe('');
  });
});
