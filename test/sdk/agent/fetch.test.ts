import { inspect } from 'node:util';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Agent, CallDenied, type Mission } from '../../../src/sdk/agent/index.ts';
import { startBroker, type TestBroker } from '../../support/broker.ts';
import { agentAt, claimsOf, deny, evidenceOf, serve, type TestServer, thrownBy, until } from './support.ts';

const evidenceSource = { presented: 0 };
let answer: Parameters<typeof serve>[0] = (_request, response) => response.end('ok');
let api: TestServer;
let elsewhere: TestServer;
let sortie: TestBroker;
let agent: Agent;
let mission: Mission;

beforeAll(async () => {
  api = await serve((request, response, count) => answer(request, response, count));
  elsewhere = await serve((_request, response) => response.end('elsewhere'));
  const ceiling = [{ type: 'mission_resource_access', resource: `${api.url}/erp`, actions: ['invoices.*'] }];
  sortie = await startBroker({
    template: { ceiling },
    config: {
      audiences: [{ resource: `${api.url}/erp`, name: 'ERP', actions: { 'invoices.read': { labels: [] } } }],
      verifiers: [],
    },
  });
});
afterAll(async () => {
  await sortie.close();
  await api.close();
  await elsewhere.close();
});
beforeEach(async () => {
  const evidence = evidenceOf(sortie);
  agent = await agentAt(sortie, { evidence });
  mission = await agent.declare({
    goal: 'Read invoices',
    resources: [`${api.url}/erp`],
    lifetime_seconds: 600,
  });
  Object.defineProperty(evidenceSource, 'presented', { get: () => evidence.presented, configurable: true });
  api.seen.length = 0;
  elsewhere.seen.length = 0;
});
afterEach(() => agent.close());

const call = (path = '/erp/invoices/17?full=1#top', init?: RequestInit) =>
  mission.fetch(`${api.url}${path}`, init);

describe('a call', () => {
  test('carries the token and a fresh proof bound to it, method and place', async () => {
    answer = (_request, response) => response.end('[]');
    const given = await call(undefined, {
      method: 'post',
      body: '{"a":1}',
      headers: { 'content-type': 'application/json' },
    });
    expect(await given.text()).toBe('[]');
    await call();
    const [first, second] = api.seen;
    const token = await mission.token(`${api.url}/erp`);
    expect(first?.headers.authorization).toBe(`DPoP ${token}`);
    expect(first?.body).toBe('{"a":1}');
    expect(first?.headers['content-type']).toBe('application/json');
    const proof = claimsOf(String(first?.headers['dpop']));
    const digest = await crypto.subtle.digest('SHA-256', Buffer.from(token));
    expect(proof).toMatchObject({
      htm: 'POST',
      htu: `${api.url}/erp/invoices/17`,
      ath: Buffer.from(digest).toString('base64url'),
    });
    expect(claimsOf(String(second?.headers['dpop']))['jti']).not.toBe(proof['jti']);
  });

  test("an application's own errors come back as they are", async () => {
    answer = (_request, response) => {
      response.writeHead(403, { 'content-type': 'application/json' });
      response.end('{"error":"closed period"}');
    };
    const given = await call();
    expect(given.status).toBe(403);
    expect(await given.json()).toEqual({ error: 'closed period' });
    answer = (_request, response) => {
      response.writeHead(503, { 'content-type': 'application/problem+json' });
      response.end('{"title":"maintenance"}');
    };
    expect(await (await call()).json()).toEqual({ title: 'maintenance' });
  });

  test('learns a nonce once and keeps to it', async () => {
    answer = (request, response) => {
      const { nonce } = claimsOf(String(request.headers['dpop']));
      if (nonce === 'n-1') {
        response.writeHead(200, { 'dpop-nonce': 'n-1' });
        return response.end(request.body);
      }
      response.writeHead(401, {
        'dpop-nonce': 'n-1',
        'www-authenticate': 'DPoP error="use_dpop_nonce", error_description="a, b"',
      });
      return response.end();
    };
    expect(await (await call('/erp/x', { method: 'PUT', body: 'twice' })).text()).toBe('twice');
    expect(api.seen).toHaveLength(2);
    await call();
    expect(api.seen).toHaveLength(3);
  });

  test('a server that never takes a nonce is asked twice and no more', async () => {
    answer = (_request, response) => {
      response.writeHead(401, {
        'dpop-nonce': `n-${api.seen.length}`,
        'www-authenticate': 'DPoP error="use_dpop_nonce"',
      });
      response.end();
    };
    expect((await thrownBy(() => call()))['code']).toBe('use_dpop_nonce');
    expect(api.seen).toHaveLength(2);
  });
});

describe('a denial', () => {
  test('is typed, tells what to do, and holds no token', async () => {
    answer = (_request, response) =>
      deny(response, 403, 'constraint_violated', 'with_new_mission', {
        rule: 'max_amount',
        wanted: { amount: '900.00' },
        allowed: { amount: '500.00' },
      });
    const denied = await thrownBy(() => call());
    expect(denied).toBeInstanceOf(CallDenied);
    expect(denied).toMatchObject({
      code: 'constraint_violated',
      retry: 'with_new_mission',
      status: 403,
      rule: 'max_amount',
      wanted: { amount: '900.00' },
      allowed: { amount: '500.00' },
      method: 'GET',
      url: `${api.url}/erp/invoices/17`,
    });
    expect(api.seen).toHaveLength(1);
    const token = await mission.token(`${api.url}/erp`);
    expect(`${inspect(denied, { depth: 9 })}${JSON.stringify(denied)}`).not.toContain(token);
  });

  test('is read from the challenge alone where there is no problem', async () => {
    answer = (_request, response) => {
      response.writeHead(401, {
        'www-authenticate':
          'Bearer realm="x", DPoP error="invalid_token", mission_denial="mission_suspended", retry="after"',
      });
      response.end();
    };
    expect(await thrownBy(() => call())).toMatchObject({ code: 'mission_suspended', retry: 'after' });
  });

  test('that a renewal mends is renewed for and sent once more', async () => {
    const token = await mission.token(`${api.url}/erp`);
    answer = (request, response) =>
      request.headers.authorization === `DPoP ${token}`
        ? deny(response, 401, 'mission_narrowed', 'renew')
        : void response.end(request.body);
    expect(await (await call('/erp/x', { method: 'POST', body: 'again' })).text()).toBe('again');
    expect(evidenceSource.presented).toBe(2);
    expect(api.seen).toHaveLength(2);
  });

  test('that a renewal does not mend ends the call', async () => {
    answer = (_request, response) => deny(response, 401, 'token_revoked', 'renew');
    expect((await thrownBy(() => call()))['code']).toBe('token_revoked');
    expect(api.seen).toHaveLength(2);
    expect(evidenceSource.presented).toBe(2);
  });

  test('of many calls at once is mended by one renewal', async () => {
    const token = await mission.token(`${api.url}/erp`);
    answer = (request, response) =>
      request.headers.authorization === `DPoP ${token}`
        ? deny(response, 401, 'mission_narrowed', 'renew')
        : void response.end('ok');
    const answers = await Promise.all(Array.from({ length: 10 }, () => call()));
    expect(answers.every(({ ok }) => ok)).toBe(true);
    expect(evidenceSource.presented).toBe(2);
  });

  test('is not mended for a body that can be read only once', async () => {
    answer = (_request, response) => deny(response, 401, 'mission_narrowed', 'renew');
    const body = new Blob(['x']).stream();
    const denied = await thrownBy(() =>
      call('/erp/x', { method: 'POST', body, duplex: 'half' } as RequestInit),
    );
    expect(denied['code']).toBe('mission_narrowed');
    expect(api.seen).toHaveLength(1);
  });

  test('of a revoked mission is asked about at the broker, and ends it', async () => {
    const ends: string[] = [];
    mission.on('ended', ({ why }) => ends.push(why));
    // A server that lies does not end a mission.
    answer = (_request, response) => deny(response, 401, 'mission_revoked', 'with_new_mission');
    expect((await thrownBy(() => call()))['code']).toBe('mission_revoked');
    await mission.refresh();
    expect(mission.state).toBe('active');
    await sortie.admin('POST', `/missions/${mission.id}/revoke`, { reason: 'incident' });
    expect((await thrownBy(() => call()))['code']).toBe('mission_revoked');
    await until(() => ends.length > 0, 'the end');
    expect(mission.state).toBe('revoked');
  });
});

describe('a token goes nowhere else', () => {
  test('not to another origin, a sibling path, or a look-alike', async () => {
    for (const url of [
      `${elsewhere.url}/erp`,
      `${api.url}/erpx`,
      `${api.url}/erp/../other`,
      `${api.url}/erp/%2e%2e/other`,
      `${api.url}/erp%2Fx`,
      api.url.replace('http://', 'http://user@'),
      api.url.replace('http://', 'https://').concat('/erp'),
    ]) {
      const denied = await thrownBy(() => mission.fetch(url));
      expect(denied).toBeInstanceOf(CallDenied);
      expect(denied).toMatchObject({ code: 'resource_undeclared', status: null });
    }
    expect(api.seen).toHaveLength(0);
    expect(elsewhere.seen).toHaveLength(0);
  });

  test('not along a redirect, whoever asks for it', async () => {
    answer = (_request, response) => {
      response.writeHead(307, { location: `${elsewhere.url}/steal` });
      response.end();
    };
    const given = await call();
    expect(given.status).toBe(307);
    expect(given.headers.get('location')).toBe(`${elsewhere.url}/steal`);
    await expect(call(undefined, { redirect: 'follow' })).rejects.toThrow(TypeError);
    await expect(call(undefined, { redirect: 'error' })).rejects.toThrow();
    expect(elsewhere.seen).toHaveLength(0);
  });

  test('not in place of another credential of the caller', async () => {
    await expect(call(undefined, { headers: { authorization: 'Basic x' } })).rejects.toThrow(TypeError);
    expect(api.seen).toHaveLength(0);
  });
});
