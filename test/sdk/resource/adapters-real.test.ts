/** The adapters in the frameworks themselves: what they are given compiles without casts, and what they cut is cut. */
import { createServer, type IncomingMessage, request, type Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { type Duplex, Readable } from 'node:stream';
import { getRequestListener } from '@hono/node-server';
import fastify, { type FastifyInstance, type FastifyRequest } from 'fastify';
import { type Context, Hono } from 'hono';
import { streamSSE } from 'hono/streaming';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fastifyGuard, permitOf } from '../../../src/sdk/resource/fastify.ts';
import { fetchGuard, permitOfRequest } from '../../../src/sdk/resource/fetch.ts';
import { HttpAdapter } from '../../../src/sdk/resource/node-http.ts';
import { until } from './broker-double.ts';
import { AUDIENCE, Bench, mint, NOW, prove } from './support.ts';

let bench: Bench;
let url: string;
let stop: () => Promise<void>;

beforeEach(() => {
  bench = new Bench().ready();
});
afterEach(() => stop());

const headers = (path: string, method = 'GET', token = mint()) => ({
  authorization: `DPoP ${token}`,
  dpop: prove(token, { claims: { htm: method, htu: AUDIENCE + path } }),
});

async function listen(server: Server): Promise<void> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket) => sockets.add(socket));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  stop = async () => {
    // Not closeAllConnections: a socket that was upgraded is no longer the server's.
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  };
}

function end(): void {
  bench.revoke({ kind: 'mission', key: 'msn_self' });
  bench.streams.sweep(NOW);
}

/** An answer that stays open: what came so far, and whether it was broken off. */
async function open(path: string): Promise<{ text: string; broken: boolean; ended: boolean }> {
  const seen = { text: '', broken: false, ended: false };
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    request(url + path, { headers: headers(path) }, resolve)
      .on('error', reject)
      .end();
  });
  expect(response.statusCode).toBe(200);
  response.setEncoding('utf8');
  response.on('data', (chunk: string) => {
    seen.text += chunk;
  });
  response.on('end', () => {
    seen.ended = true;
  });
  response.on('error', () => {
    seen.broken = true;
  });
  await until(() => seen.text.includes('first'), 'first event');
  return seen;
}

/** The same guarantees of each framework, whose routes are the same. */
function keepsItsWord(): void {
  it('permits, and hands the token to the handler', async () => {
    const answer = await fetch(`${url}/invoices/1?x=1`, { headers: headers('/invoices/1') });
    expect(await answer.text()).toBe('1 of k8s/payments/reconciler');
  });

  it('denies with the challenge, and the handler never runs', async () => {
    const stranger = await fetch(`${url}/invoices/1`);
    expect(stranger.status).toBe(401);
    expect(stranger.headers.get('www-authenticate')).toBe(
      `DPoP algs="ES256 Ed25519 EdDSA", resource_metadata="${AUDIENCE}/.well-known/oauth-protected-resource"`,
    );
    const broad = await fetch(`${url}/journal`, {
      method: 'POST',
      headers: { ...headers('/journal', 'POST'), 'content-type': 'application/json' },
      body: JSON.stringify({ amount: 101 }),
    });
    expect(broad.status).toBe(403);
    expect(broad.headers.get('content-type')).toBe('application/problem+json');
    expect(broad.headers.get('www-authenticate')).toContain('mission_denial="constraint_violated"');
    expect(await broad.json()).toMatchObject({ mission_denial: 'constraint_violated' });
    const within = await fetch(`${url}/journal`, {
      method: 'POST',
      headers: { ...headers('/journal', 'POST'), 'content-type': 'application/json' },
      body: JSON.stringify({ amount: 100 }),
    });
    expect(await within.text()).toBe('posted 100');
  });

  it('serves the metadata to strangers', async () => {
    const answer = await fetch(`${url}/.well-known/oauth-protected-resource`);
    expect(await answer.json()).toMatchObject({ resource: AUDIENCE });
  });

  it('cuts an open event stream when the mission ends, and forgets it', async () => {
    const seen = await open('/events');
    expect(bench.streams.size).toBe(1);
    end();
    await until(() => seen.broken, 'cut');
    expect(seen.ended).toBe(false);
    await until(() => bench.streams.size === 0, 'forgotten');
    const again = await fetch(`${url}/events`, { headers: headers('/events') });
    expect(again.status).toBe(401);
    expect(await again.json()).toMatchObject({ mission_denial: 'mission_revoked' });
  });

  it('a client that hangs up is watched no longer', async () => {
    const leaving = new AbortController();
    const answer = await fetch(`${url}/events`, { headers: headers('/events'), signal: leaving.signal });
    expect(answer.status).toBe(200);
    expect(bench.streams.size).toBe(1);
    leaving.abort();
    await until(() => bench.streams.size === 0, 'forgotten');
  });
}

describe('Fastify', () => {
  let app: FastifyInstance;

  beforeEach(async () => {
    const erp = fastifyGuard(bench.guard);
    app = fastify();
    app.addHook('onRequest', erp.metadata());
    app.get<{ Params: { id: string } }>(
      '/invoices/:id',
      { preHandler: erp.protect({ action: 'invoices.read' }) },
      (request, reply) => reply.send(`${request.params.id} of ${permitOf(request.raw)?.agent}`),
    );
    app.post<{ Body: { amount: number } }>(
      '/journal',
      {
        preHandler: erp.protect<FastifyRequest<{ Body: { amount: number } }>>({
          action: 'journal.post',
          parameters: ({ body }) => ({ amount: body.amount }),
        }),
      },
      (request, reply) => reply.send(`posted ${request.body.amount}`),
    );
    app.get('/events', { preHandler: erp.protect({ action: 'invoices.read' }) }, (_request, reply) =>
      reply.type('text/event-stream').send(
        new Readable({
          read() {
            if (this.readableDidRead) return;
            this.push('data: first\n\n');
          },
        }),
      ),
    );
    url = await app.listen({ host: '127.0.0.1', port: 0 });
    stop = async () => {
      app.server.closeAllConnections();
      await app.close();
    };
  });

  keepsItsWord();
});

describe('Hono', () => {
  beforeEach(async () => {
    const erp = fetchGuard(bench.guard);
    const app = new Hono();
    app.use((context, next) => {
      const metadata = erp.metadata(context.req.raw);
      return metadata === null ? next() : Promise.resolve(metadata);
    });
    const invoice = erp.hono<Context>({
      action: ({ req }) => (req.param('id') === undefined ? null : 'invoices.read'),
    });
    app.get('/invoices/:id', invoice, (context) =>
      context.text(`${context.req.param('id')} of ${permitOfRequest(context.req.raw)?.agent}`),
    );
    app.post(
      '/journal',
      async (context, next) => {
        const { amount }: { amount: number } = await context.req.json();
        const admission = await erp.admit(
          { action: 'journal.post', parameters: () => ({ amount }) },
          context.req.raw,
        );
        if (!admission.permitted) return admission.response;
        await next();
      },
      async (context) => context.text(`posted ${(await context.req.json()).amount}`),
    );
    app.get('/events', erp.hono({ action: 'invoices.read' }), (context) =>
      streamSSE(context, async (stream) => {
        await stream.writeSSE({ data: 'first' });
        await new Promise<void>((resolve) => stream.onAbort(resolve));
      }),
    );
    await listen(createServer(getRequestListener(app.fetch)));
  });

  keepsItsWord();
});

describe('a WebSocket over node:http', () => {
  let codes: string[];

  beforeEach(async () => {
    codes = [];
    const erp = new HttpAdapter(bench.guard, { onDenied: ({ code }) => codes.push(code) });
    const server = createServer();
    server.on('upgrade', async (incoming, socket) => {
      const permit = await erp.admitUpgrade({ action: 'invoices.read' }, incoming, socket);
      if (permit === null) return;
      // As every WebSocket library does: reads, and closes when the client does.
      socket.on('error', () => {}).on('end', () => socket.end());
      socket.resume();
      socket.write(
        'HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nhello',
      );
    });
    await listen(server);
  });

  interface Opened {
    readonly status: number;
    readonly challenge: string | undefined;
    readonly closed: () => boolean;
  }

  function upgrade(given: Record<string, string>): Promise<Opened> {
    return new Promise((resolve, reject) => {
      const sent = request(`${url}/live`, {
        headers: { ...given, connection: 'upgrade', upgrade: 'websocket', 'sec-websocket-version': '13' },
      });
      sent.on('error', reject);
      sent.on('upgrade', (response, socket) => {
        let closed = false;
        socket.on('error', () => {});
        socket.on('close', () => {
          closed = true;
        });
        resolve({ status: response.statusCode ?? 0, challenge: undefined, closed: () => closed });
      });
      sent.on('response', (response) => {
        response.resume();
        const challenge = response.headers['www-authenticate'];
        resolve({ status: response.statusCode ?? 0, challenge, closed: () => response.complete });
      });
      sent.end();
    });
  }

  it('is opened by a permit and cut when the mission ends', async () => {
    const opened = await upgrade(headers('/live'));
    expect(opened.status).toBe(101);
    expect(opened.closed()).toBe(false);
    expect(bench.streams.size).toBe(1);
    end();
    await until(opened.closed, 'cut');
    expect(bench.streams.size).toBe(0);
  });

  it('is refused with the challenge before any protocol is spoken', async () => {
    const refused = await upgrade({});
    expect(refused.status).toBe(401);
    expect(refused.challenge).toContain('resource_metadata');
    expect(codes).toStrictEqual(['credentials_missing']);
    expect(bench.streams.size).toBe(0);
  });

  it('that was closed by its client is watched no longer', async () => {
    const sent = request(`${url}/live`, {
      headers: { ...headers('/live'), connection: 'upgrade', upgrade: 'websocket' },
    });
    const socket = await new Promise<Duplex>((resolve) => {
      sent.on('upgrade', (_response, opened) => resolve(opened));
      sent.end();
    });
    expect(bench.streams.size).toBe(1);
    socket.destroy();
    await until(() => bench.streams.size === 0, 'forgotten');
  });
});
