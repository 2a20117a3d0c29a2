import { describe, expect, it } from 'vitest';
import { compileRoutes, matchRoute, readTarget } from '../../src/domain/route-map.ts';

const ERP = 'https://erp.example.com';
const map = compileRoutes(ERP, [
  { method: 'GET', path: '/files/{path...}', action: 'files.read' },
  { method: 'GET', path: '/invoices/{id}', action: 'invoices.read', resource: '/invoices/{id}' },
  { method: '*', path: '/invoices/{id}', action: 'invoices.any' },
  { method: 'GET', path: '/invoices/export', action: 'invoices.export' },
  { method: 'POST', path: '/invoices', action: 'invoices.create' },
  { method: 'GET', path: '/', action: 'home.read' },
]);
const action = (method: string, target: string) => {
  const match = matchRoute(map, method, target);
  return match.ok ? match.action : match.reason;
};

describe('routes of a gateway', () => {
  it('map a request to its action, resource and parameters', () => {
    expect(matchRoute(map, 'GET', '/invoices/7?full=1')).toStrictEqual({
      ok: true,
      action: 'invoices.read',
      resource: `${ERP}/invoices/7`,
      parameters: { id: '7' },
    });
    expect(matchRoute(map, 'GET', '/files/a/b%20c')).toMatchObject({
      action: 'files.read',
      parameters: { path: 'a/b c' },
    });
    expect(matchRoute(map, 'GET', '/invoices/a%20b')).toMatchObject({ resource: `${ERP}/invoices/a%20b` });
    expect(action('GET', '/')).toBe('home.read');
    expect(action('GET', '/?x')).toBe('home.read');
  });

  it('the most certain route wins, in whatever order they are written', () => {
    expect(action('GET', '/invoices/export')).toBe('invoices.export');
    expect(action('DELETE', '/invoices/export')).toBe('invoices.any');
    expect(action('POST', '/invoices')).toBe('invoices.create');
  });

  it('what is not mapped is denied', () => {
    for (const [method, target] of [
      ['GET', '/admin'],
      ['PUT', '/invoices'],
      ['get', '/'],
      ['GET', '/invoices/7/lines'],
      ['GET', '/files'],
      ['GET', '/INVOICES/7'],
    ] as const)
      expect(action(method, target)).toBe('route_unmapped');
  });

  it('a target that two readers may resolve differently is refused', () => {
    for (const target of [
      '/invoices//7',
      '//evil.example.com/invoices/7',
      '/invoices/7/',
      '/invoices/../admin',
      '/invoices/./7',
      '/invoices/%2e%2e/admin',
      '/invoices/.%2E/admin',
      '/invoices/7%2Fadmin',
      '/invoices/7%2fadmin',
      '/invoices/7%5cadmin',
      '/invoices\\7',
      '/invoices/7;role=admin',
      '/invoices/7%3Brole=admin',
      '/invoices/7%00',
      '/invoices/7%0a',
      '/invoices/%252e%252e',
      '/invoices/7%3Fx',
      '/invoices/7%23x',
      '/invoices/7#x',
      '/invoices/%zz',
      '/invoices/%ff',
      '/invoices/%',
      '/invoices/7 HTTP/1.1',
      '/invoices/é',
      'invoices/7',
      'https://erp.example.com/invoices/7',
      '',
      '*',
      `/${'a'.repeat(5000)}`,
    ]) {
      expect(readTarget(target)).toBeNull();
      expect(action('GET', target)).toBe('target_refused');
    }
  });

  it('a parameter cannot reach into the prototype, and a value stays in its segment', () => {
    expect(() => compileRoutes(ERP, [{ method: 'GET', path: '/{__proto__}', action: 'x' }])).toThrow();
    const match = matchRoute(map, 'GET', '/invoices/$&');
    expect(match.ok && match.resource).toBe(`${ERP}/invoices/%24%26`);
  });

  it('bad routes are refused with their name', () => {
    for (const [path, resource] of [
      ['invoices', undefined],
      ['/a*', undefined],
      ['/{id', undefined],
      ['/x{id}', undefined],
      ['/{a}/{a}', undefined],
      ['/{rest...}/x', undefined],
      ['/a/../b', undefined],
      ['/a//b', undefined],
      ['/a', '/a/{id}'],
    ] as const)
      expect(() =>
        compileRoutes(ERP, [{ method: 'GET', path, action: 'x', ...(resource && { resource }) }]),
      ).toThrow();
    expect(() => compileRoutes(ERP, [{ method: 'FETCH', path: '/', action: 'x' }])).toThrow();
    expect(() =>
      compileRoutes(ERP, [
        { method: 'GET', path: '/{a}', action: 'x' },
        { method: 'GET', path: '/{b}', action: 'y' },
      ]),
    ).toThrow();
  });
});
