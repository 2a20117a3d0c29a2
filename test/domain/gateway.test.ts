import { describe, expect, it } from 'vitest';
import { compileGateway, mapRequest, pathOf } from '../../src/domain/gateway.ts';

const ERP = 'https://erp.example.com';
const gateway = compileGateway(ERP, [
  { methods: ['GET', 'HEAD'], path: '/invoices/{id}', action: 'invoices.read', resource: '/invoices/{id}' },
  {
    methods: ['POST'],
    path: '/invoices/{number}/approval',
    action: 'invoices.approve',
    parameters: { invoice: 'path.number', reason: 'query.reason' },
  },
]);

describe('requests of a gateway', () => {
  it('become action, resource and parameters, each method by its own route', () => {
    expect(mapRequest(gateway, 'HEAD', '/invoices/7?x=1&x=2')).toStrictEqual({
      ok: true,
      action: 'invoices.read',
      resource: `${ERP}/invoices/7`,
      parameters: { id: '7' },
    });
    expect(mapRequest(gateway, 'POST', '/invoices/7/approval?reason=on+time&more=1')).toStrictEqual({
      ok: true,
      action: 'invoices.approve',
      resource: ERP,
      parameters: { invoice: '7', reason: 'on time' },
    });
    expect(mapRequest(gateway, 'POST', '/invoices/7/approval')).toMatchObject({
      parameters: { invoice: '7' },
    });
    expect(mapRequest(gateway, 'PUT', '/invoices/7')).toStrictEqual({ ok: false, reason: 'route_unmapped' });
  });

  it('are refused where servers read the query differently', () => {
    for (const query of [
      'reason=a&reason=b',
      'reason=a&%72eason=b',
      'reason[]=a',
      'reason[0]=a',
      'reason=a;reason=b',
      'reason=%ff',
      'reason=%',
      'reason=a%00',
      '+reason=a',
      '=a',
      '&reason=a',
    ])
      expect(mapRequest(gateway, 'POST', `/invoices/7/approval?${query}`), query).toStrictEqual({
        ok: false,
        reason: 'target_refused',
      });
  });

  it('routes that cannot work are refused when they are read', () => {
    const route = { methods: ['GET'], path: '/a/{id}', action: 'a' };
    for (const parameters of [{ x: 'path.other' }, { x: 'id' }, { x: 'query.' }, { x: 'header.host' }])
      expect(() => compileGateway(ERP, [{ ...route, parameters }])).toThrow();
    expect(() => compileGateway(ERP, [route, { ...route, path: '/a/{name}' }])).toThrow();
  });

  it('the path of a target is what proofs are about', () => {
    expect(pathOf('/a/b?c=/d?e')).toBe('/a/b');
    expect(pathOf('/a')).toBe('/a');
  });
});
