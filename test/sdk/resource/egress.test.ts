/**
 * `max_egress_volume` in the frameworks themselves: what a token may send in all, no answer passes, whatever its form. What
 * is known to be too large is denied; what turns out to be is cut, before the byte too many.
 */
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { Readable } from 'node:stream';
import { createGzip, gunzipSync } from 'node:zlib';
import { getRequestListener } from '@hono/node-server';
import express from 'express';
import fastify from 'fastify';
import { Hono } from 'hono';
import { stream } from 'hono/streaming';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DecisionEvents } from '../../../src/sdk/resource/decision-events.ts';
import { expressGuard } from '../../../src/sdk/resource/express.ts';
import { fastifyGuard } from '../../../src/sdk/resource/fastify.ts';
import { fetchGuard } from '../../../src/sdk/resource/fetch.ts';
import { Guard } from '../../../src/sdk/resource/guard.ts';
import { McpGuard } from '../../../src/sdk/resource/mcp.ts';
import { HttpAdapter } from '../../../src/sdk/resource/node-http.ts';
import { until } from './broker-double.ts';
import { AUDIENCE, Bench, mint, NOW, prove } from './support.ts';

const LIMIT = 100;
const SMALL = 'x'.repeat(40);
const LARGE = 'y'.repeat(LIMIT + 1);
/** Two bytes a character. */
const WIDE = 'é'.repeat(30);

let bench: Bench;
let url: string;
let token: string;
let jti = 0;
let stop: () => Promise<void>;
/** What the bench's broker was told. */
let told: Record<string, unknown>[];

beforeEach(() => {
  // Of this test: events of the one before may still be on their way.
  const mine: Record<string, unknown>[] = [];
  told = mine;
  const client = {
    request: async (_path: string, { json }: { json: { events: Record<string, unknown>[] } }) => {
      mine.push(...json.events);
      return new Response();
    },
  };
  const observer = new DecisionEvents({ client: client as never, instance_id: 'one' });
  bench = new Bench({ observer }).ready();
  jti++;
  token = mint({ jti: `egress-${jti}`, ...limited(LIMIT) });
});
afterEach(() => stop());

/** Younger than the process: it counts from its start on. */
const limited = (max_egress_volume: number) => ({
  iat: NOW + 1,
  exp: NOW + 300,
  limits: { max_egress_volume, processes: 1 },
});
const left = () => bench.state.allotments.bytesLeft({ ...limited(LIMIT), jti: `egress-${jti}` }, NOW);

const headers = (path: string, method = 'GET') => ({
  authorization: `DPoP ${token}`,
  dpop: prove(token, { claims: { htm: method, htu: AUDIENCE + path } }),
});

async function listen(server: Server): Promise<void> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket) => sockets.add(socket));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  stop = async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  };
}

interface Seen {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
  readonly broken: boolean;
}

/** As much as came, also of an answer that was cut. */
function get(path: string, method = 'GET', more: Record<string, string> = {}): Promise<Seen> {
  return new Promise((resolve) => {
    const sent = request(
      url + path,
      { method, headers: { ...headers(path, method), ...more } },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', () => {});
        response.on('close', () =>
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            body: Buffer.concat(chunks),
            broken: !response.complete,
          }),
        );
      },
    );
    // Cut before its head was sent.
    sent.on('error', () => resolve({ status: 0, headers: {}, body: Buffer.alloc(0), broken: true }));
    sent.end();
  });
}

/** Ten bytes a piece, and as many pieces as are taken. */
async function* pieces(count: number): AsyncGenerator<string> {
  for (let piece = 0; piece < count; piece++) {
    yield '0123456789';
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** The same guarantees of each framework, whose routes are the same. */
function neverSendsMore(options: { readonly deniesKnown: boolean }): void {
  it('counts the body, and denies the next call when it is used up', async () => {
    expect((await get('/small')).body.toString()).toBe(SMALL);
    expect(left()).toBe(60);
    expect((await get('/wide')).body.toString()).toBe(WIDE);
    expect(left()).toBe(0);
    const denied = await get('/small');
    expect(denied.status).toBe(403);
    expect(JSON.parse(denied.body.toString())).toMatchObject({ mission_denial: 'limit_exhausted' });
  });

  it('denies an answer that is known to be too large, and sends nothing of it', async () => {
    const answer = await get('/large');
    expect(answer.body.toString()).not.toContain('yyy');
    expect(left()).toBe(LIMIT);
    if (!options.deniesKnown) return expect(answer.broken).toBe(true);
    expect(answer.status).toBe(403);
    expect(answer.broken).toBe(false);
    expect(answer.headers['content-type']).toBe('application/problem+json');
    expect(JSON.parse(answer.body.toString())).toMatchObject({
      mission_denial: 'limit_exhausted',
      retry: 'renew',
    });
    // What the handler had to say of its own answer went with it.
    expect(answer.headers['x-of-the-answer']).toBeUndefined();
  });

  it('cuts a stream before the byte too many', async () => {
    const answer = await get('/stream');
    expect([answer.status, answer.broken]).toEqual([200, true]);
    expect(answer.body.length).toBeLessThanOrEqual(LIMIT);
    expect(left()).toBe(0);
  });

  it('counts nothing of an answer to HEAD, and all of an error', async () => {
    const head = await get('/small', 'HEAD');
    expect([head.status, head.body.length, left()]).toEqual([200, 0, LIMIT]);
    const error = await get('/error');
    expect([error.status, left()]).toEqual([500, LIMIT - error.body.length]);
    expect(error.body.length).toBeGreaterThan(0);
  });

  it('never gives back what was on its way when the client left', async () => {
    const leaving = new AbortController();
    const answer = await fetch(`${url}/slow`, { headers: headers('/slow'), signal: leaving.signal });
    expect(answer.status).toBe(200);
    await until(() => left() === 90, 'counted');
    leaving.abort();
    await until(() => bench.streams.size === 0, 'forgotten');
    expect(left()).toBe(90);
  });

  it('tells the bytes with the decision', async () => {
    await get('/small');
    await until(() => told.length === 1, 'told');
    expect(told[0]).toMatchObject({ decision: 'permit', bytes: SMALL.length });
  });

  it('of calls at once sends no more than of one after another', async () => {
    const all = await Promise.all(Array.from({ length: 5 }, () => get('/small')));
    const whole = all.filter(({ body }) => body.toString() === SMALL);
    expect(whole).toHaveLength(2);
    expect(left()).toBe(20);
  });
}

/** An answer that never ends. */
const slow = () => {
  const body = new Readable({ read() {} });
  body.push('0123456789');
  return body;
};

describe('Express', () => {
  beforeEach(async () => {
    const erp = expressGuard(bench.guard);
    const app = express();
    app.disable('x-powered-by');
    const protect = erp.protect({ action: 'invoices.read' });
    // As compression middleware does, mounted outside the guard.
    app.use('/packed', (_request, response, next) => {
      const gzip = createGzip();
      const write = response.write.bind(response) as (chunk: unknown) => boolean;
      const end = response.end.bind(response) as () => ServerResponse;
      gzip.on('data', (chunk) => write(chunk)).on('end', () => end());
      response.setHeader('content-encoding', 'gzip');
      response.write = ((chunk: string) => gzip.write(chunk)) as typeof response.write;
      response.end = ((chunk?: string) => {
        response.removeHeader('content-length');
        gzip.end(chunk);
        return response;
      }) as typeof response.end;
      next();
    });
    app.get('/packed', protect, (_request, response) => {
      response.end(SMALL);
    });
    app.get('/small', protect, (_request, response) => void response.type('text/plain').send(SMALL));
    app.get('/wide', protect, (_request, response) => void response.send(WIDE));
    app.get('/large', protect, (_request, response) => {
      response.setHeader('x-of-the-answer', '1');
      response.send(LARGE);
    });
    app.get('/stream', protect, (_request, response) => void Readable.from(pieces(30)).pipe(response));
    app.get('/slow', protect, (_request, response) => void slow().pipe(response));
    app.get('/error', protect, () => {
      throw new Error('of the handler');
    });
    app.use((_error: Error, _request: unknown, response: express.Response, _next: unknown) => {
      response.status(500).send('no');
    });
    await listen(createServer(app));
  });

  neverSendsMore({ deniesKnown: true });

  it('counts what the handler wrote, whatever compression makes of it outside', async () => {
    const answer = await get('/packed');
    expect(gunzipSync(answer.body).toString()).toBe(SMALL);
    expect(left()).toBe(60);
  });
});

describe('Fastify', () => {
  beforeEach(async () => {
    const erp = fastifyGuard(bench.guard);
    const app = fastify();
    const preHandler = erp.protect({ action: 'invoices.read' });
    app.get('/small', { preHandler }, (_request, reply) => reply.send(SMALL));
    app.get('/wide', { preHandler }, (_request, reply) => reply.send(WIDE));
    app.get('/large', { preHandler }, (_request, reply) => reply.header('x-of-the-answer', '1').send(LARGE));
    app.get('/stream', { preHandler }, (_request, reply) => reply.send(Readable.from(pieces(30))));
    app.get('/slow', { preHandler }, (_request, reply) => reply.send(slow()));
    app.get('/error', { preHandler }, () => Promise.reject(new Error('of the handler')));
    url = await app.listen({ host: '127.0.0.1', port: 0 });
    stop = async () => {
      app.server.closeAllConnections();
      await app.close();
    };
  });

  neverSendsMore({ deniesKnown: true });
});

describe('node:http', () => {
  beforeEach(async () => {
    const erp = new HttpAdapter(bench.guard);
    const answers: Record<string, (response: ServerResponse) => void> = {
      '/small': (response) => response.writeHead(200, ['content-length', String(SMALL.length)]).end(SMALL),
      '/wide': (response) => response.end(WIDE),
      '/large': (response) =>
        response.writeHead(200, 'fine', { 'Content-Length': LARGE.length, 'x-of-the-answer': 1 }).end(LARGE),
      '/stream': (response) => void Readable.from(pieces(30)).pipe(response),
      '/slow': (response) => void slow().pipe(response),
      '/error': (response) => response.writeHead(500).end('no'),
      '/latin1': (response) => response.end('é'.repeat(30), 'latin1'),
      '/nothing': (response) => response.writeHead(204).end(),
      '/late': (response) => {
        response.write('0123456789');
        response.end(LARGE);
      },
    };
    await listen(
      createServer(async (incoming, response) => {
        const permit = await erp.admit({ action: 'invoices.read' }, incoming, response);
        if (permit !== null) answers[incoming.url ?? '']?.(response);
      }),
    );
  });

  neverSendsMore({ deniesKnown: true });

  it('counts bytes and not characters, in whatever encoding, and nothing where no body is', async () => {
    expect((await get('/latin1')).body.length).toBe(30);
    expect(left()).toBe(70);
    expect((await get('/nothing')).status).toBe(204);
    expect(left()).toBe(70);
  });

  it('cuts what began and then turns out to be too large', async () => {
    const answer = await get('/late');
    expect(answer.broken).toBe(true);
    expect(answer.body.toString()).not.toContain('yyy');
    expect(left()).toBe(90);
  });
});

describe('Hono', () => {
  beforeEach(async () => {
    const erp = fetchGuard(bench.guard);
    const app = new Hono();
    const protect = erp.hono({ action: 'invoices.read' });
    app.get('/small', protect, (context) => context.text(SMALL));
    app.get('/wide', protect, (context) => context.text(WIDE));
    app.get('/large', protect, (context) =>
      context.text(LARGE, 200, { 'content-length': String(LARGE.length), 'x-of-the-answer': '1' }),
    );
    app.get('/stream', protect, (context) =>
      stream(context, async (out) => {
        for await (const piece of pieces(30)) await out.write(piece);
      }),
    );
    app.get('/slow', protect, (context) =>
      stream(context, async (out) => {
        await out.write('0123456789');
        await new Promise<void>((resolve) => out.onAbort(resolve));
      }),
    );
    app.get('/error', protect, () => {
      throw new Error('of the handler');
    });
    app.onError((_error, context) => context.text('no', 500));
    await listen(createServer(getRequestListener(app.fetch)));
  });

  neverSendsMore({ deniesKnown: true });
});

describe('what is open for long', () => {
  it('a WebSocket is cut at the byte too many', async () => {
    const erp = new HttpAdapter(bench.guard);
    const server = createServer();
    server.on('upgrade', async (incoming, socket) => {
      if ((await erp.admitUpgrade({ action: 'invoices.read' }, incoming, socket)) === null) return;
      socket.on('error', () => {});
      socket.write('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n');
      while (!socket.destroyed) {
        socket.write('0123456789');
        await new Promise((resolve) => setImmediate(resolve));
      }
    });
    await listen(server);
    const got = await new Promise<number>((resolve, reject) => {
      let bytes = 0;
      const sent = request(`${url}/live`, {
        headers: { ...headers('/live'), connection: 'upgrade', upgrade: 'websocket' },
      });
      sent.on('error', reject);
      sent.on('upgrade', (_response, socket, head) => {
        bytes += head.length;
        socket.on('data', (chunk: Buffer) => {
          bytes += chunk.length;
        });
        socket.on('error', () => {});
        socket.on('close', () => resolve(bytes));
      });
      sent.end();
    });
    expect(got).toBeLessThanOrEqual(LIMIT);
    expect(left()).toBeLessThan(10);
  });

  it('an MCP session stream, which acts on nothing, spends of the same purse', async () => {
    const mcp = new McpGuard(bench.guard);
    await listen(
      createServer(async (incoming, response) => {
        if ((await mcp.admit(incoming, response)) === null) return;
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        Readable.from(pieces(30)).pipe(response);
      }),
    );
    const answer = await get('/mcp');
    expect([answer.status, answer.broken]).toEqual([200, true]);
    expect(answer.body.length).toBeLessThanOrEqual(LIMIT);
  });
});

it('a token without the limit is not held up, and its bytes are told all the same', async () => {
  token = mint();
  const erp = new HttpAdapter(bench.guard);
  await listen(
    createServer(async (incoming, response) => {
      if ((await erp.admit({ action: 'invoices.read' }, incoming, response)) !== null) response.end(LARGE);
    }),
  );
  expect((await get('/any')).body.toString()).toBe(LARGE);
  await until(() => told.length === 1, 'told');
  expect(told[0]).toMatchObject({ bytes: LARGE.length });
  expect(bench.guard).toBeInstanceOf(Guard);
});
