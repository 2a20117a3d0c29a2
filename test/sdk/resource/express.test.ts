import { createServer, request as httpRequest, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import express from 'express';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { GuardDenial } from '../../../src/sdk/resource/denial.ts';
import { expressGuard, permitOf } from '../../../src/sdk/resource/express.ts';
import { HttpAdapter } from '../../../src/sdk/resource/node-http.ts';
import { AUDIENCE, Bench, mint, NOW, prove } from './support.ts';

let bench: Bench;
let server: Server;
let url: string;
let denials: GuardDenial[];
let handled: number;

async function listen(handler: Server): Promise<void> {
  server = handler;
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A call as an agent makes it: the proof names the audience's URL, not the loopback address. */
function send(
  path: string,
  options: {
    token?: string;
    method?: string;
    proof?: string;
    headers?: Record<string, string>;
    body?: unknown;
  } = {},
) {
  const { token = mint(), method = 'GET', body } = options;
  const proof =
    options.proof ?? prove(token, { claims: { htm: method, htu: AUDIENCE + path.split('?')[0] } });
  return fetch(url + path, {
    method,
    headers: {
      authorization: `DPoP ${token}`,
      dpop: proof,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...options.headers,
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
}

beforeEach(async () => {
  bench = new Bench().ready();
  denials = [];
  handled = 0;
  const erp = expressGuard(bench.guard, { onDenied: (denial) => denials.push(denial) });
  const app = express();
  app.use(erp.metadata());
  app.use(express.json());
  const api = express.Router();
  api.get('/invoices/:id', erp.protect({ action: 'invoices.read' }), (request, response) => {
    handled++;
    response.json({ id: request.params['id'], agent: permitOf(request)?.agent });
  });
  api.post(
    '/journal',
    erp.protect({
      action: 'journal.post',
      parameters: (request) => ({ amount: (request.body as { amount: number }).amount }),
    }),
    (_request, response) => {
      handled++;
      response.status(201).end();
    },
  );
  api.get('/watch', erp.protect({ action: 'invoices.read' }), (_request, response) => {
    response.write('first\n');
  });
  api.get('/nowhere', erp.protect({ action: () => null }), () => handled++);
  app.use('/api', api);
  await listen(createServer(app));
});

afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

describe('Express', () => {
  it('lets a permitted call through, below a mounted router, with its mission', async () => {
    const response = await send('/api/invoices/7?full=1');
    expect(response.status).toBe(200);
    expect(await response.json()).toStrictEqual({ id: '7', agent: 'k8s/payments/reconciler' });
  });

  it('answers a denied call itself, with the same code in challenge, body and log', async () => {
    const response = await send('/api/journal', { method: 'POST', body: { amount: 101 } });
    expect(response.status).toBe(403);
    expect(response.headers.get('www-authenticate')).toContain('mission_denial="constraint_violated"');
    expect(await response.json()).toMatchObject({
      mission_denial: 'constraint_violated',
      allowed: { range: { max: 100 } },
    });
    expect(denials.map(({ code }) => code)).toStrictEqual(['constraint_violated']);
    expect(handled).toBe(0);
    expect((await send('/api/journal', { method: 'POST', body: { amount: 99 } })).status).toBe(201);
  });

  it('a Host header does not move the target of a proof', async () => {
    const token = mint();
    const proof = prove(token, { claims: { htu: 'https://evil.example.com/api/invoices/7' } });
    const status = await new Promise((resolve) => {
      const headers = {
        host: 'evil.example.com',
        'x-forwarded-host': 'evil.example.com',
        authorization: `DPoP ${token}`,
        dpop: proof,
      };
      httpRequest(`${url}/api/invoices/7`, { headers }, (response) => resolve(response.statusCode)).end();
    });
    expect(status).toBe(401);
    expect(denials[0]?.code).toBe('proof_invalid');
  });

  it('a route whose functions fail is denied, not crashed and not permitted', async () => {
    const response = await send('/api/journal', { method: 'POST' });
    expect(response.status).toBe(503);
    expect(denials[0]?.code).toBe('guard_failed');
    expect(await response.text()).not.toContain('undefined');
  });

  it('a request that maps to no action is denied', async () => {
    expect((await send('/api/nowhere')).status).toBe(403);
    expect(denials[0]?.code).toBe('route_unmapped');
    expect(handled).toBe(0);
  });

  it('tells strangers where to get credentials, and serves that document to everybody', async () => {
    const response = await fetch(`${url}/api/invoices/7`);
    expect(response.status).toBe(401);
    const challenge = response.headers.get('www-authenticate') ?? '';
    const document = /resource_metadata="([^"]+)"/.exec(challenge)?.[1] ?? '';
    expect(document).toBe(`${AUDIENCE}/.well-known/oauth-protected-resource`);
    const metadata = await fetch(url + new URL(document).pathname);
    expect(await metadata.json()).toMatchObject({
      resource: AUDIENCE,
      authorization_servers: ['https://broker.example.com'],
      dpop_bound_access_tokens_required: true,
    });
  });

  it('two proofs, and a proof twice, are refused', async () => {
    const token = mint();
    const htu = `${AUDIENCE}/api/invoices/7`;
    const proof = prove(token, { claims: { htu } });
    expect(
      (await send('/api/invoices/7', { token, proof: `${proof}, ${prove(token, { claims: { htu } })}` }))
        .status,
    ).toBe(401);
    expect((await send('/api/invoices/7', { token, proof })).status).toBe(200);
    expect((await send('/api/invoices/7', { token, proof })).status).toBe(401);
    expect(denials.map(({ code }) => code)).toStrictEqual(['proof_invalid', 'proof_replayed']);
  });

  it('an answer that is still open is cut when the mission ends', async () => {
    const response = await send('/api/watch');
    const reader = response.body?.getReader();
    expect(Buffer.from((await reader?.read())?.value ?? []).toString()).toBe('first\n');
    expect(bench.streams.size).toBe(1);
    bench.revoke({ kind: 'mission', key: 'msn_self' });
    bench.streams.sweep(NOW);
    await expect(reader?.read()).rejects.toThrow();
    expect(bench.streams.size).toBe(0);
  });

  it('an answer that has ended is watched no longer', async () => {
    await (await send('/api/invoices/7')).text();
    for (let turn = 0; turn < 100 && bench.streams.size > 0; turn++)
      await new Promise((resolve) => setTimeout(resolve, 5));
    expect(bench.streams.size).toBe(0);
  });
});

describe('plain node:http', () => {
  it('admits and refuses without a framework', async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    const adapter = new HttpAdapter(bench.guard);
    await listen(
      createServer(async (request, response) => {
        if (adapter.metadata(request, response)) return;
        const permit = await adapter.admit({ action: 'invoices.read' }, request, response);
        if (permit !== null) response.end(permit.mission_id);
      }),
    );
    expect(await (await send('/invoices/7')).text()).toBe('msn_self');
    expect((await fetch(`${url}/invoices/7`)).status).toBe(401);
    expect((await fetch(`${url}/.well-known/oauth-protected-resource`)).status).toBe(200);
  });
});
