/** The proxy as the program of a run, and as its attackers, would use it: a real mission, a server that remembers. */

import type { IncomingMessage, ServerResponse } from 'node:http';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type LocalServer, startLocalServer } from '../../src/delivery/local-server.ts';
import { passOn } from '../../src/delivery/proxy.ts';
import type { Agent, Mission } from '../../src/sdk/agent/index.ts';
import { agentAt, claimsOf, deny, type SeenRequest, serve, type TestServer } from '../sdk/agent/support.ts';
import { startBroker, type TestBroker } from '../support/broker.ts';
import { get, raw, requestOf } from './raw.ts';

type Handler = (request: SeenRequest, response: ServerResponse<IncomingMessage>, count: number) => void;
const hello: Handler = (_, response) => void response.end('hello');

let handle: Handler = hello;
let api: TestServer;
let other: TestServer;
let sortie: TestBroker;
let agent: Agent;
let mission: Mission;
let proxy: LocalServer;
beforeAll(async () => {
  api = await serve((...call) => handle(...call));
  other = await serve(hello);
  const resource = `${api.url}/v1`;
  sortie = await startBroker({
    template: { ceiling: [{ type: 'mission_resource_access', resource, actions: ['read'] }] },
    config: { audiences: [{ resource, name: 'API', actions: { read: {} } }], verifiers: [] },
  });
  agent = await agentAt(sortie);
  mission = await agent.declare({ goal: 'x', resources: [resource], lifetime_seconds: 600 });
  proxy = await startLocalServer({
    socket: null,
    secret_in_path: false,
    fault: () => {},
    handle: (request, response) => passOn(mission, resource, request, response),
  });
});
afterAll(async () => {
  await proxy.close();
  agent.close();
  await sortie.close();
  await api.close();
  await other.close();
});
beforeEach(() => {
  handle = hello;
  api.seen.length = 0;
  other.seen.length = 0;
});

const authorized = () => ({ host: new URL(proxy.address).host, authorization: `Bearer ${proxy.secret}` });
const call = (path: string, init: RequestInit = {}) =>
  fetch(`${proxy.address}${path}`, {
    redirect: 'manual',
    ...init,
    headers: { authorization: `Bearer ${proxy.secret}`, ...(init.headers as Record<string, string>) },
  });

describe('a call', () => {
  test('goes to the audience with token and proof, and with nothing of the caller that is not for it', async () => {
    const answer = await call('/orders/7?full=1', {
      method: 'PUT',
      body: '{"a":1}',
      headers: {
        'content-type': 'application/json',
        'x-request-id': 'r1',
        'x-forwarded-host': 'evil.example',
        'proxy-authorization': 'Basic eA==',
        dpop: 'mine',
      },
    });
    expect(await answer.text()).toBe('hello');
    const [seen] = api.seen;
    expect(seen).toMatchObject({ method: 'PUT', url: '/v1/orders/7?full=1', body: '{"a":1}' });
    const token = seen?.headers.authorization?.split(' ')[1];
    expect(claimsOf(token)['aud']).toBe(`${api.url}/v1`);
    expect(claimsOf(seen?.headers['dpop'] as string)).toMatchObject({
      htm: 'PUT',
      htu: `${api.url}/v1/orders/7`,
    });
    expect(seen?.headers).toMatchObject({ 'x-request-id': 'r1', 'content-type': 'application/json' });
    expect(seen?.headers.host).toBe(new URL(api.url).host);
    expect(JSON.stringify(seen?.headers)).not.toContain(proxy.secret);
    expect(seen?.headers).not.toHaveProperty('x-forwarded-host');
    expect(seen?.headers).not.toHaveProperty('proxy-authorization');
  });

  test('loses the headers of its own hop, those that Connection names too', async () => {
    await raw(
      proxy.address,
      `GET /a HTTP/1.1\r\nhost: ${authorized().host}\r\nauthorization: ${authorized().authorization}\r\nconnection: close, x-hop\r\nx-hop: 1\r\nte: trailers\r\nupgrade: h2c\r\nx-kept: 2\r\n\r\n`,
    );
    expect(api.seen[0]?.headers).not.toHaveProperty('x-hop');
    expect(api.seen[0]?.headers).not.toHaveProperty('te');
    expect(api.seen[0]?.headers).not.toHaveProperty('upgrade');
    expect(api.seen[0]?.headers['x-kept']).toBe('2');
  });

  test('comes back as it is: status, headers, cookies, and a body that is not encoded twice', async () => {
    handle = (_, response) => {
      response.setHeader('set-cookie', ['a=1', 'b=2']);
      response.setHeader('content-encoding', 'gzip');
      response.setHeader('x-a', 'b');
      response.writeHead(418).end(gzipSync('teapot'));
    };
    const answer = await call('/a');
    expect(answer.status).toBe(418);
    expect(answer.headers.getSetCookie()).toEqual(['a=1', 'b=2']);
    expect(answer.headers.get('x-a')).toBe('b');
    expect(await answer.text()).toBe('teapot');
  });

  test('with a body of any size is streamed, in both directions', async () => {
    handle = (request, response) => {
      response.write(`${request.body.length} `);
      response.end('y'.repeat(3_000_000));
    };
    const answer = await call('/a', { method: 'POST', body: 'x'.repeat(2_000_000) });
    const text = await answer.text();
    expect(text.startsWith('2000000 y')).toBe(true);
    expect(text.length).toBe(3_000_008);
  });

  test('that the server begins to answer is not held back until it is done', async () => {
    let end = () => {};
    handle = (_, response) => {
      response.write('first ');
      end = () => void response.end('last');
    };
    const answer = await call('/a');
    const reader = answer.body?.getReader();
    expect(Buffer.from((await reader?.read())?.value ?? []).toString()).toBe('first ');
    end();
    expect(Buffer.from((await reader?.read())?.value ?? []).toString()).toBe('last');
  });

  test('that its program gave up is given up at the server', async () => {
    let closed = () => {};
    const gone = new Promise<void>((resolve) => {
      closed = resolve;
    });
    handle = (_, response) => void response.once('close', closed);
    const left = new AbortController();
    const pending = call('/a', { signal: left.signal });
    await expect.poll(() => api.seen.length, { timeout: 20_000 }).toBe(1);
    left.abort();
    await expect(pending).rejects.toThrow();
    await gone;
  });

  test('is sent again with the nonce that the server asks for', async () => {
    handle = (request, response, count) => {
      if (count === 1)
        response
          .writeHead(401, { 'www-authenticate': 'DPoP error="use_dpop_nonce"', 'dpop-nonce': 'n1' })
          .end();
      else response.end(`${claimsOf(request.headers['dpop'] as string)['nonce']} ${request.body}`);
    };
    const answer = await call('/a', { method: 'POST', body: 'once' });
    expect(await answer.text()).toBe('n1 once');
    expect(answer.headers.has('dpop-nonce')).toBe(false);
  });

  test('that a guard refuses says so, with what may help', async () => {
    handle = (_, response) => deny(response, 403, 'action_not_covered', 'with_new_mission');
    const answer = await call('/a');
    expect(answer.status).toBe(403);
    expect(await answer.json()).toMatchObject({ error: 'action_not_covered', retry: 'with_new_mission' });
  });
});

describe('attacks', () => {
  test.each([
    '/../admin',
    '/a/../../admin',
    '/..%2fadmin',
    '/%2e%2e/admin',
    '/%2e%2e%2fadmin',
    '/.%2e/admin',
    '/a%2fb',
    '/a%5cb',
    '/a\\..\\b',
    '/a;x=/../../admin',
    '//evil.example/a',
    '/a//b',
    '/a%00b',
    '/%252e%252e/admin',
    '/a#b',
    '/a%',
    '/\u00e9',
  ])('a path that two servers read differently is not sent: %s', async (path) => {
    const answer = await raw(proxy.address, get(path, authorized()));
    expect(answer.status).toBe(400);
    expect(api.seen).toEqual([]);
  });

  test('a host in the path reaches the audience or nobody', async () => {
    for (const path of ['/@evil.example/a', '/:80@evil.example', '/http://evil.example']) {
      await raw(proxy.address, get(path, authorized()));
      for (const { headers } of api.seen) expect(headers.host).toBe(new URL(api.url).host);
    }
    expect(other.seen).toEqual([]);
  });

  test('a redirect comes back and is not followed with the token', async () => {
    handle = (_, response) => void response.writeHead(307, { location: `${other.url}/steal` }).end();
    const answer = await call('/a', { method: 'POST', body: 'x' });
    expect(answer.status).toBe(307);
    expect(answer.headers.get('location')).toBe(`${other.url}/steal`);
    expect(other.seen).toEqual([]);
  });

  test('no header of the caller becomes two', async () => {
    const answer = await raw(
      proxy.address,
      `GET /a HTTP/1.1\r\nhost: ${authorized().host}\r\nauthorization: ${authorized().authorization}\r\nx-a: b\rauthorization: DPoP stolen\r\n\r\n`,
    );
    expect(answer.status).toBe(400);
    for (const value of ['b%0d%0ax-evil: 1', 'b\\r\\nx-evil: 1']) {
      await raw(proxy.address, get('/a', { ...authorized(), 'x-a': value }));
      expect(api.seen.at(-1)?.headers).not.toHaveProperty('x-evil');
    }
  });

  test('a second request inside the first one is not read', async () => {
    const inner = `GET /v1/inner HTTP/1.1\r\nhost: x\r\n\r\n`;
    const headers = { ...authorized(), 'content-length': String(inner.length) };
    const answer = await raw(proxy.address, requestOf('POST', '/outer', headers, inner));
    expect(answer.status).toBe(200);
    expect(api.seen.map(({ url, body }) => [url, body])).toEqual([['/v1/outer', inner]]);
  });

  test.each(['CONNECT', 'TRACE', 'PROPFIND'])('%s is not passed on', async (method) => {
    const target = method === 'CONNECT' ? 'evil.example:443' : '/a';
    const answer = await raw(proxy.address, requestOf(method, target, authorized()));
    expect(answer.status).not.toBe(200);
    expect(api.seen).toEqual([]);
  });

  test('without the secret nothing is sent', async () => {
    const answer = await raw(proxy.address, get('/a', { host: authorized().host }));
    expect(answer.status).toBe(403);
    expect(api.seen).toEqual([]);
  });
});

test('after the mission nothing is sent', async () => {
  await mission.complete();
  const answer = await call('/a');
  expect(answer.status).toBe(403);
  expect(await answer.json()).toEqual({ error: 'mission_completed', retry: 'with_new_mission' });
  expect(api.seen).toEqual([]);
});
