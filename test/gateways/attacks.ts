/** What every gateway must keep out, whatever it does to a request before it asks. */
import { expect, it } from 'vitest';
import { type Scene, SECRET } from './support.ts';

/** @param scene the running scene, once the suite has started it */
export function gatewayGuarantees(scene: () => Scene): void {
  it('lets through what the mission allows, and tells the API whose call it is', async () => {
    const { token, signed, send, reached } = scene();
    const held = await token();
    const before = reached.length;
    const answer = await send('GET', '/invoices/7?full=1', [
      ...(await signed(held, 'GET', '/invoices/7')),
      'Sortie-Mission: msn_forged',
      'Sortie-Client: agents/admin',
    ]);
    expect(answer.status).toBe(200);
    expect(answer.body).toContain('the API');
    expect(reached).toHaveLength(before + 1);
    const seen = reached.at(-1);
    expect(seen?.target).toBe('/invoices/7?full=1');
    expect(seen?.headers['sortie-mission']).toMatch(/^msn_[A-Za-z0-9_-]{20,}$/);
    expect(seen?.headers['sortie-mission']).not.toBe('msn_forged');
    expect(seen?.headers['sortie-client']).toBe('agents%2Freconciler');
    expect(seen?.headers['sortie-gateway-secret'], 'the secret stays with the gateway').toBeUndefined();
    expect(seen?.headers.authorization, 'the token stays with the gateway').toBeUndefined();
    expect(seen?.headers['dpop']).toBeUndefined();
  });

  it('refuses with the codes of the guard', async () => {
    const { token, signed, send, reached } = scene();
    const held = await token();
    const before = reached.length;
    const none = await send('GET', '/invoices/7');
    expect(none.status).toBe(401);
    expect(none.headers.get('www-authenticate')).toContain('DPoP algs=');
    const refused = await send(
      'POST',
      '/invoices/7/approval',
      await signed(held, 'POST', '/invoices/7/approval'),
    );
    expect(refused.status).toBe(403);
    expect(refused.headers.get('www-authenticate')).toContain('mission_denial="action_not_covered"');
    const unmapped = await send('GET', '/admin', await signed(held, 'GET', '/admin'));
    expect(unmapped.status).toBe(403);
    expect(unmapped.headers.get('www-authenticate')).toContain('mission_denial="route_unmapped"');
    const bearer = await send('GET', '/invoices/7', [`Authorization: Bearer ${held}`]);
    expect(bearer.status).toBe(401);
    expect(bearer.headers.get('www-authenticate')).toContain('mission_denial="scheme_mismatch"');
    const bare = await send('GET', '/invoices/7', [`Authorization: DPoP ${held}`]);
    expect(bare.status).toBe(401);
    expect(bare.headers.get('www-authenticate')).toContain('mission_denial="proof_missing"');
    const forged = await send('GET', '/invoices/7', ['Authorization: DPoP eyJhbGciOiJub25lIn0.e30.']);
    expect(forged.headers.get('www-authenticate')).toContain('mission_denial="token_invalid"');
    expect(reached).toHaveLength(before);
  });

  it('takes a proof once, for its own method, path and token', async () => {
    const { token, signed, send, reached } = scene();
    const held = await token();
    const proof = await signed(held, 'GET', '/invoices/7');
    expect((await send('GET', '/invoices/7', proof)).status).toBe(200);
    const before = reached.length;
    const replayed = await send('GET', '/invoices/7', proof);
    expect(replayed.status).toBe(401);
    expect(replayed.headers.get('www-authenticate')).toContain('mission_denial="proof_replayed"');
    expect((await send('GET', '/invoices/8', await signed(held, 'GET', '/invoices/7'))).status).toBe(401);
    expect((await send('GET', '/invoices/7', await signed(held, 'POST', '/invoices/7'))).status).toBe(401);
    const elsewhere = await signed(held, 'GET', '/invoices/7', {
      htu: 'https://evil.example.com/invoices/7',
    });
    expect((await send('GET', '/invoices/7', elsewhere)).status).toBe(401);
    expect(reached).toHaveLength(before);
  });

  it('never lets an ambiguous path reach the API', async () => {
    const { token, signed, send, reached } = scene();
    const held = await token();
    const before = reached.length;
    for (const target of [
      '/invoices/%2e%2e/admin',
      '/invoices/..%2fadmin',
      '/invoices/7%2fapproval',
      '/invoices/7%2Fapproval',
      '/invoices/7%5capproval',
      '/invoices/7\\approval',
      '/invoices/7;/approval',
      '/invoices/7;v=1',
      '/invoices//7',
      '//evil.example.com/invoices/7',
      '/invoices/../admin',
      '/invoices/./7',
      '/./invoices/7',
      '/admin/..%2finvoices/7',
      '/invoices/7%00',
      '/invoices/7%',
      '/invoices/7#/admin',
      '/invoices/%252e%252e',
      '/invoices/7/',
      '/INVOICES/7',
      '*',
      '/_sortie',
      '/forward-auth/edge',
    ]) {
      // The proof is for what the agent pretends to call; the target is what it sends.
      for (const proven of ['/invoices/7', target]) {
        const answer = await send('GET', target, await signed(held, 'GET', proven));
        expect.soft(answer.status, `${target} answered ${answer.status}`).not.toBe(200);
      }
    }
    expect(reached.slice(before).map(({ target }) => target)).toEqual([]);
  });

  it('judges an absolute-form target by its path, or not at all', async () => {
    const { token, signed, send, reached } = scene();
    const held = await token();
    const before = reached.length;
    await send('GET', 'http://evil.example.com/admin', await signed(held, 'GET', '/invoices/7'));
    expect(reached).toHaveLength(before);
  });

  it('reads no header that a client sends for what the request was', async () => {
    const { token, signed, send, reached } = scene();
    const held = await token();
    const before = reached.length;
    for (const spoof of [
      ['X-Original-URI: /invoices/7', 'X-Original-Method: GET'],
      ['X-Forwarded-Uri: /invoices/7', 'X-Forwarded-Method: GET'],
      [
        'X-Forwarded-Uri: /invoices/7',
        'X-Original-URI: /invoices/7',
        'X-Original-Method: GET',
        'X-HTTP-Method-Override: GET',
      ],
      ['X_Original_URI: /invoices/7', 'X_Forwarded_Uri: /invoices/7'],
      ['X-Rewrite-Url: /invoices/7', 'X-Forwarded-Path: /invoices/7', 'X-Envoy-Original-Path: /invoices/7'],
      ['Connection: X-Original-URI, X-Forwarded-Uri, Sortie-Gateway-Secret', 'X-Original-URI: /invoices/7'],
      [`Sortie-Gateway-Secret: ${'x'.repeat(32)}`, 'X-Original-URI: /invoices/7'],
    ]) {
      for (const [method, target] of [
        ['POST', '/invoices/7/approval'],
        ['GET', '/admin'],
        ['DELETE', '/invoices/7'],
      ] as const) {
        const answer = await send(method, target, [...(await signed(held, 'GET', '/invoices/7')), ...spoof]);
        expect.soft(answer.status, `${method} ${target} with ${spoof.join(', ')}`).not.toBe(200);
      }
    }
    expect(reached.slice(before)).toEqual([]);
  });

  it('refuses repeated credentials', async () => {
    const { token, signed, send, reached } = scene();
    const held = await token();
    const before = reached.length;
    const [authorization = '', proof = ''] = await signed(held, 'GET', '/invoices/7');
    const [, second = ''] = await signed(held, 'GET', '/invoices/7');
    expect((await send('GET', '/invoices/7', [authorization, proof, second])).status).not.toBe(200);
    expect(reached).toHaveLength(before);
  });

  it('constrains what the query names, once and plainly', async () => {
    const { token, signed, send, reached } = scene();
    const held = await token();
    const call = async (target: string) =>
      (await send('GET', target, await signed(held, 'GET', '/reports'))).status;
    expect(await call('/reports?account=acct_1')).toBe(200);
    const before = reached.length;
    for (const target of [
      '/reports',
      '/reports?account=acct_2',
      '/reports?account=acct_1&account=acct_2',
      '/reports?account[]=acct_2&account=acct_1',
      '/reports?account=acct_1;account=acct_2',
      '/reports?account=acct_1%00',
      '/reports?%61ccount=acct_2&account=acct_1',
    ])
      expect.soft(await call(target), target).toBe(403);
    expect(reached).toHaveLength(before);
  });

  it('stops a mission that was revoked at its next call', async () => {
    const { sortie, token, signed, send } = scene();
    const held = await token();
    expect((await send('GET', '/invoices/7', await signed(held, 'GET', '/invoices/7'))).status).toBe(200);
    const claims = JSON.parse(Buffer.from(held.split('.')[1] ?? '', 'base64url').toString('utf8')) as {
      mission: { id: string };
    };
    await sortie.admin('POST', `/missions/${claims.mission.id}/revoke`, { reason: 'test' });
    const dead = await send('GET', '/invoices/7', await signed(held, 'GET', '/invoices/7'));
    expect(dead.status).toBe(401);
    expect(dead.headers.get('www-authenticate')).toContain('mission_denial="mission_revoked"');
    const { body } = await sortie.admin('GET', `/decisions?mission_id=${claims.mission.id}`);
    const seen = (body['items'] as { decision: string; verifier: string; audience: string }[]).map(
      ({ decision, verifier }) => [decision, verifier],
    );
    expect(seen).toEqual([
      ['deny', 'gateway:edge'],
      ['permit', 'gateway:edge'],
    ]);
  });

  it("is asked by nobody without the gateway's secret, and says it nowhere", async () => {
    const { sortie, token, signed } = scene();
    const held = await token();
    const [authorization = '', proof = ''] = await signed(held, 'GET', '/invoices/7');
    const headers = {
      authorization: authorization.slice('Authorization: '.length),
      dpop: proof.slice('DPoP: '.length),
      'x-original-method': 'GET',
      'x-original-uri': '/invoices/7',
      'x-forwarded-method': 'GET',
      'x-forwarded-uri': '/invoices/7',
    };
    for (const secret of [undefined, '', 'wrong', `${SECRET} `, SECRET.toUpperCase(), `${SECRET}, ${SECRET}`])
      for (const path of ['/forward-auth/edge', '/forward-auth/other', '/forward-auth/edge/invoices/7']) {
        const response = await fetch(`${sortie.url}${path}`, {
          headers: {
            ...headers,
            ...(secret !== undefined && { 'sortie-gateway-secret': secret.trim() === SECRET ? 'x' : secret }),
          },
        });
        expect(response.status).toBe(403);
        expect(await response.text()).not.toContain('mission_denial');
      }
    expect(sortie.log.join('')).not.toContain(SECRET);
    const { body } = await sortie.admin('GET', '/audit?limit=1000');
    expect(JSON.stringify(body)).not.toContain(SECRET);
  });

  it('lets nothing through while the broker is away', async () => {
    const { sortie, token, signed, send, reached } = scene();
    const held = await token();
    const headers = await signed(held, 'GET', '/invoices/7');
    const before = reached.length;
    const { server } = sortie.broker;
    server.close();
    server.closeAllConnections();
    expect((await send('GET', '/invoices/7', headers)).status).not.toBe(200);
    expect(reached).toHaveLength(before);
  });
}
