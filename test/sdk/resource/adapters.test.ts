/** Adapters that speak to a framework's own shapes: what each hands over and what each refuses. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fastifyGuard, permitOf } from '../../../src/sdk/resource/fastify.ts';
import { fetchGuard, permitOfRequest } from '../../../src/sdk/resource/fetch.ts';
import { McpGuard } from '../../../src/sdk/resource/mcp.ts';
import type { VerifiedToken } from '../../../src/sdk/resource/token.ts';
import { namesAction } from '../../../src/sdk/resource/visible-actions.ts';
import { AUDIENCE, Bench, ENTRY, mint, NOW, prove, READ_ONLY } from './support.ts';

let bench: Bench;
beforeEach(() => {
  bench = new Bench().ready();
});

const headers = (path: string, method = 'GET', token = mint()) => ({
  authorization: `DPoP ${token}`,
  dpop: prove(token, { claims: { htm: method, htu: AUDIENCE + path } }),
});

describe('fetch handlers', () => {
  const read = { action: 'invoices.read' };

  it('admit a request, whatever host it claims, and name its token', async () => {
    const erp = fetchGuard(bench.guard);
    const request = new Request('https://evil.example.com/invoices/1?x=1', {
      headers: headers('/invoices/1'),
    });
    const admission = await erp.admit(read, request);
    expect(admission.permitted && admission.permit.mission_id).toBe('msn_self');
    expect(permitOfRequest(request)?.agent).toBe('k8s/payments/reconciler');
    const forged = new Request('https://evil.example.com/invoices/1', {
      headers: {
        ...headers('/invoices/1'),
        dpop: prove(mint(), { claims: { htu: 'https://evil.example.com/invoices/1' } }),
      },
    });
    expect((await erp.admit(read, forged)).permitted).toBe(false);
  });

  it('refuse with the answer to send', async () => {
    const codes: string[] = [];
    const erp = fetchGuard(bench.guard, { onDenied: ({ code }) => codes.push(code) });
    const admission = await erp.admit(read, new Request(`${AUDIENCE}/invoices/1`));
    if (admission.permitted) throw new Error('permitted');
    expect(admission.response.status).toBe(401);
    expect(admission.response.headers.get('www-authenticate')).toContain('resource_metadata');
    const failing = {
      action: () => {
        throw new Error('secret detail');
      },
    };
    const failed = await erp.admit(failing, new Request(`${AUDIENCE}/invoices/1`));
    expect(!failed.permitted && (await failed.response.text())).not.toContain('secret detail');
    expect(codes).toStrictEqual(['credentials_missing', 'guard_failed']);
  });

  it('serve the metadata and nothing else', async () => {
    const erp = fetchGuard(bench.guard);
    const answer = erp.metadata(new Request(`${AUDIENCE}/.well-known/oauth-protected-resource`));
    expect(await answer?.json()).toMatchObject({ resource: AUDIENCE });
    expect(erp.metadata(new Request(`${AUDIENCE}/invoices/1`))).toBeNull();
  });

  it('as Hono middleware: the handler runs only for a permit, and its stream is cut with the mission', async () => {
    const erp = fetchGuard(bench.guard);
    let ran = 0;
    const run = async (request: Request): Promise<Response> => {
      const context = { req: { raw: request }, res: new Response(null) };
      const answer = await erp.hono(read)(context, async () => {
        ran++;
        context.res = new Response(
          new ReadableStream({ start: (body) => body.enqueue(Buffer.from('first')) }),
        );
      });
      return answer ?? context.res;
    };
    expect((await run(new Request(`${AUDIENCE}/invoices/1`))).status).toBe(401);
    expect(ran).toBe(0);
    const response = await run(new Request(`${AUDIENCE}/invoices/1`, { headers: headers('/invoices/1') }));
    const reader = response.body?.getReader();
    expect(Buffer.from((await reader?.read())?.value ?? []).toString()).toBe('first');
    const next = reader?.read();
    bench.revoke({ kind: 'mission', key: 'msn_self' });
    bench.streams.sweep(NOW);
    await expect(next).rejects.toThrow('mission_revoked');
    expect(bench.streams.size).toBe(0);
  });

  it('an answer that was read to its end, or given up, is watched no longer', async () => {
    const erp = fetchGuard(bench.guard);
    const permit = bench.check();
    if (!permit.permitted) throw new Error(permit.code);
    expect(await erp.tether(new Response('all of it', { status: 201 }), permit).text()).toBe('all of it');
    await erp.tether(new Response(new ReadableStream({})), permit).body?.cancel();
    expect(erp.tether(new Response(null, { status: 204 }), permit).status).toBe(204);
    expect(bench.streams.size).toBe(0);
  });
});

describe('node:http underneath', () => {
  let server: Server;
  let url: string;

  async function serve(handle: Parameters<typeof createServer>[1]): Promise<void> {
    server = createServer(handle as never);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  afterEach(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });

  it('Fastify: a refused request is answered and taken from Fastify, a permitted one is left to it', async () => {
    const erp = fastifyGuard(bench.guard);
    const hook = erp.protect({
      action: 'journal.post',
      parameters: ({ body }) => body as { amount: number },
    });
    let amount = 0;
    await serve(async (request, response) => {
      let hijacked = false;
      const reply = {
        raw: response,
        hijack: () => {
          hijacked = true;
        },
      };
      await hook({ raw: request, params: {}, query: {}, body: { amount } }, reply);
      if (!hijacked) response.end(permitOf(request)?.agent);
    });
    amount = 100;
    const good = await fetch(`${url}/journal`, { method: 'POST', headers: headers('/journal', 'POST') });
    expect(await good.text()).toBe('k8s/payments/reconciler');
    amount = 101;
    const bad = await fetch(`${url}/journal`, { method: 'POST', headers: headers('/journal', 'POST') });
    expect(await bad.json()).toMatchObject({ mission_denial: 'constraint_violated' });
  });

  describe('MCP', () => {
    const tools = [{ name: 'invoices.read' }, { name: 'journal.post' }, { name: 'payments.send' }];
    let mcp: McpGuard;

    /** What the guard did with one message: the status, or `handled`. */
    async function say(body: unknown, method = 'POST', token = mint()): Promise<string> {
      const response = await fetch(`${url}/mcp`, {
        method,
        headers: headers('/mcp', method, token),
        ...(method === 'POST' ? { body: JSON.stringify(body) } : {}),
      });
      const text = await response.text();
      return response.status === 200 ? text : (JSON.parse(text) as { mission_denial: string }).mission_denial;
    }

    const tool = (name: unknown, args: unknown = {}) => ({
      jsonrpc: '2.0',
      id: 1,
      method: 'tools/call',
      params: { name, arguments: args },
    });

    beforeEach(async () => {
      mcp = new McpGuard(bench.guard);
      await serve(async (request, response) => {
        let text = '';
        for await (const chunk of request) text += String(chunk);
        const permit = await mcp.admit(request, response, text === '' ? undefined : JSON.parse(text));
        if (permit === null) return;
        const { auth } = request as {
          auth?: { clientId: string; token: string; extra: { permit: VerifiedToken } };
        };
        expect(auth?.extra.permit).toBe(permit);
        expect(permit.authorization).not.toContain(auth?.token);
        response.end('handled');
      });
    });

    it('each tool call is an action and its arguments are the parameters', async () => {
      expect(await say(tool('invoices.read'))).toBe('handled');
      expect(await say(tool('journal.post', { amount: 100 }))).toBe('handled');
      expect(await say(tool('journal.post', { amount: 101 }))).toBe('constraint_violated');
      expect(await say(tool('payments.send'))).toBe('action_not_covered');
    });

    it('what acts on nothing needs a living token, and no more', async () => {
      for (const method of ['initialize', 'ping', 'tools/list', 'notifications/initialized'])
        expect(await say({ jsonrpc: '2.0', id: 1, method })).toBe('handled');
      expect(await say({ jsonrpc: '2.0', id: 1, result: {} })).toBe('handled');
      expect(await say(undefined, 'GET')).toBe('handled');
      bench.revoke({ kind: 'mission', key: 'msn_self' });
      for (const body of [{ method: 'tools/list' }, tool('invoices.read')])
        expect(await say(body)).toBe('mission_revoked');
      expect(await say(undefined, 'GET')).toBe('mission_revoked');
    });

    it('what is not known, batches, and broken calls are refused', async () => {
      for (const body of [
        { method: 'resources/read' },
        { method: 'sampling/createMessage' },
        [tool('invoices.read'), tool('invoices.read')],
        tool(7),
        tool('invoices.read', 'text'),
        { method: 'tools/call' },
        { method: ['ping'] },
        {},
        'ping',
        null,
      ])
        expect(await say(body)).toBe('route_unmapped');
    });

    it('a list shows the tools that the token names', () => {
      const permit = bench.check();
      if (!permit.permitted) throw new Error(permit.code);
      expect(mcp.visible(permit, tools).map(({ name }) => name)).toStrictEqual([
        'invoices.read',
        'journal.post',
      ]);
      const renamed = new McpGuard(bench.guard, {
        action: (name) => (name === 'payments.send' ? 'journal.post' : null),
      });
      expect(renamed.visible(permit, tools)).toStrictEqual([{ name: 'payments.send' }]);
    });
  });
});

describe('visible actions', () => {
  it('are those named here, by name or by family', () => {
    const family = { ...READ_ONLY, actions: ['mail.*'] };
    const elsewhere = { ...READ_ONLY, resource: 'https://mail.example.com', actions: ['calendar.read'] };
    const set = [ENTRY, family, elsewhere, { type: 'aws_session', role: 'x' }];
    const names = (action: string) => namesAction(set, AUDIENCE, action);
    expect(['journal.post', 'mail.send', 'mail.drafts.read'].map(names)).toStrictEqual([true, true, true]);
    expect(['mail', 'mail.', 'mailx.send', 'calendar.read', 'aws_session', ''].map(names)).toStrictEqual(
      Array(6).fill(false),
    );
    expect(namesAction(set, 'not a resource', 'journal.post')).toBe(false);
  });
});
