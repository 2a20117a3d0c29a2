/**
 * A Model Context Protocol server behind the guard, and the official client: refused, it discovers the broker (RFC 9728,
 * RFC 8414), exchanges its evidence there, sees its tools and no others, calls one, and is cut off with its mission.
 */
import { createServer, type Server as HttpServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { OAuthClientProvider } from '@modelcontextprotocol/sdk/client/auth.js';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { Server } from '@modelcontextprotocol/sdk/server/index.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import type { OAuthTokens } from '@modelcontextprotocol/sdk/shared/auth.js';
import type { FetchLike, Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import {
  CallToolRequestSchema,
  isInitializeRequest,
  ListToolsRequestSchema,
} from '@modelcontextprotocol/sdk/types.js';
import { exportJWK } from 'jose';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { accessTokenHash } from '../../../src/domain/dpop.ts';
import type { JsonObject } from '../../../src/domain/json.ts';
import { createGuard, McpGuard, permitOfMcp, type RunningGuard } from '../../../src/sdk/resource/index.ts';
import { creation, inAnHour, newKey, startBroker, type TestBroker } from '../../support/broker.ts';
import { until } from './broker-double.ts';

const TOOLS = ['invoices.read', 'invoices.wait', 'journal.write', 'payments.send'].map((name) => ({
  name,
  inputSchema: { type: 'object' as const },
}));

let http: HttpServer;
let resource: string;
let sortie: TestBroker;
let running: RunningGuard;
/** Answers of the MCP server that are open now. */
const open = new Set<ServerResponse>();

/** A session of the server: what its tools do, and what it lists. */
async function session(mcp: McpGuard): Promise<StreamableHTTPServerTransport> {
  const server = new Server({ name: 'erp', version: '1.0.0' }, { capabilities: { tools: {} } });
  server.setRequestHandler(ListToolsRequestSchema, (_request, extra) => ({
    tools: mcp.visible(permitOfMcp(extra), TOOLS),
  }));
  server.setRequestHandler(CallToolRequestSchema, async ({ params }, extra) => {
    if (params.name === 'invoices.wait') await new Promise(() => {});
    const text = `${params.name} for ${permitOfMcp(extra)?.agent}`;
    return { content: [{ type: 'text', text }] };
  });
  const transport = new StreamableHTTPServerTransport({ sessionIdGenerator: () => crypto.randomUUID() });
  // The SDK's own declarations of optional members disagree under exactOptionalPropertyTypes.
  await server.connect(transport as Transport);
  return transport;
}

async function serve(mcp: McpGuard): Promise<void> {
  const sessions = new Map<string, StreamableHTTPServerTransport>();
  http.on('request', async (request, response) => {
    if (mcp.metadata(request, response)) return;
    let text = '';
    for await (const chunk of request) text += String(chunk);
    const body: unknown = text === '' ? undefined : JSON.parse(text);
    if ((await mcp.admit(request, response, body)) === null) return;
    open.add(response);
    response.on('close', () => open.delete(response));
    const known = sessions.get(String(request.headers['mcp-session-id']));
    const transport = known ?? (isInitializeRequest(body) ? await session(mcp) : null);
    if (transport === null) {
      response.writeHead(404).end();
      return;
    }
    await transport.handleRequest(request, response, body);
    if (transport.sessionId !== undefined) sessions.set(transport.sessionId, transport);
  });
}

beforeAll(async () => {
  http = createServer();
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  resource = `http://127.0.0.1:${(http.address() as AddressInfo).port}/mcp`;
  sortie = await startBroker({
    template: {
      ceiling: [{ type: 'mission_resource_access', resource, actions: ['invoices.*', 'journal.write'] }],
    },
    config: (base) => ({
      audiences: [
        ...base.audiences,
        {
          resource,
          name: 'MCP',
          actions: Object.fromEntries(TOOLS.map(({ name }) => [name, { labels: [] }])),
        },
      ],
      verifiers: [
        {
          id: 'erp',
          audience: resource,
          auth: {
            private_key_jwt: [
              (base['verifiers'] as { auth: JsonObject }[])[0]?.auth['private_key_jwt'],
            ].flat(),
          },
        },
      ],
    }),
  });
  running = createGuard({
    issuer: sortie.url,
    audience: resource,
    verifier: {
      id: 'erp',
      private_key_jwk: (await exportJWK(sortie.verifierKeys.erp.privateKey)) as JsonObject,
    },
    events: 'none',
  });
  await running.ready;
  await serve(new McpGuard(running.guard));
});

const clients: Client[] = [];
afterEach(async () => {
  for (const client of clients.splice(0)) await client.close();
});
afterAll(async () => {
  await running.close();
  http.closeAllConnections();
  http.close();
  await sortie.close();
});

/** An agent as the SDK wants it: what it knows of OAuth, and a fetch that adds the proofs that the SDK does not know. */
async function agent(actions: string[]) {
  const key = await newKey();
  const asked: string[] = [];
  const seen = { mission_id: '', exchanges: 0, asked };
  let tokens: OAuthTokens | undefined;
  let nonce: string | undefined;
  const provider: OAuthClientProvider = {
    redirectUrl: undefined,
    clientMetadata: { redirect_uris: [], client_name: 'reconciler' },
    clientInformation: () => ({ client_id: 'reconciler' }),
    tokens: () => tokens,
    saveTokens: (given) => {
      tokens = given;
    },
    redirectToAuthorization: () => {
      throw new Error('there is nobody to ask');
    },
    saveCodeVerifier: () => {},
    codeVerifier: () => '',
    addClientAuthentication: () => {},
    async prepareTokenRequest() {
      seen.exchanges++;
      if (seen.exchanges > 1) throw new Error('the task is over');
      const intent = { goal: 'Reconcile', resources: [resource], expires_at: inAnHour() };
      const authorization_details = [{ type: 'mission_resource_access', resource, actions }];
      return new URLSearchParams(
        creation(await sortie.evidence({ run: crypto.randomUUID() }), {
          resource,
          mission_intent: JSON.stringify({ intent }),
          authorization_details: JSON.stringify(authorization_details),
        }),
      );
    },
  };
  const prove = async (url: string, method: string, token?: string): Promise<string> =>
    sortie.proof(key, method, url, {
      ...(nonce === undefined ? {} : { nonce }),
      ...(token === undefined ? {} : { ath: accessTokenHash(token) }),
    });
  const withProofs: FetchLike = async (target, init = {}) => {
    const url = new URL(target);
    const method = init.method ?? 'GET';
    asked.push(`${method} ${url.pathname}`);
    const headers = new Headers(init.headers);
    const token = headers.get('authorization')?.replace('Bearer ', '');
    if (token !== undefined) headers.set('authorization', `DPoP ${token}`);
    for (let attempt = 0; ; attempt++) {
      if (token !== undefined || url.pathname === '/token')
        headers.set('dpop', await prove(url.href, method, token));
      const response = await fetch(url, { ...init, headers });
      nonce = response.headers.get('dpop-nonce') ?? nonce;
      if (url.pathname === '/token' && response.status === 400 && attempt === 0) continue;
      if (url.pathname === '/token')
        seen.mission_id = String(((await response.clone().json()) as JsonObject)['mission_id']);
      return response;
    }
  };
  const client = new Client({ name: 'reconciler', version: '1.0.0' });
  clients.push(client);
  const errors: Error[] = [];
  client.onerror = (error) => errors.push(error);
  const transport = new StreamableHTTPClientTransport(new URL(resource), {
    authProvider: provider,
    fetch: withProofs,
    reconnectionOptions: {
      initialReconnectionDelay: 10,
      maxReconnectionDelay: 10,
      reconnectionDelayGrowFactor: 1,
      maxRetries: 1,
    },
  });
  return { client, seen, errors, connect: () => client.connect(transport as Transport) };
}

const revoke = (mission_id: string) =>
  sortie.admin('POST', '/revocations', { selector: { kind: 'mission', key: mission_id }, reason: 'test' });

describe('the official MCP client', () => {
  it('is refused, discovers, exchanges, sees only its tools, calls one, and is cut off', async () => {
    const { client, seen, connect } = await agent(['invoices.read']);
    await connect();
    expect(seen.asked).toStrictEqual([
      'POST /mcp',
      'GET /.well-known/oauth-protected-resource/mcp',
      'GET /.well-known/oauth-authorization-server',
      'POST /token',
      'POST /mcp',
      'POST /mcp',
      'GET /mcp',
    ]);
    expect((await client.listTools()).tools.map(({ name }) => name)).toStrictEqual(['invoices.read']);
    const called = await client.callTool({ name: 'invoices.read', arguments: { id: '1' } });
    expect(called.content).toStrictEqual([{ type: 'text', text: 'invoices.read for agents/reconciler' }]);
    await expect(client.callTool({ name: 'journal.write' })).rejects.toThrow('action_not_covered');

    await until(() => open.size === 1, 'the stream of the session');
    expect((await revoke(seen.mission_id)).status).toBe(200);
    await until(() => open.size === 0, 'cut');
    await expect(client.callTool({ name: 'invoices.read' })).rejects.toThrow('the task is over');
    await expect(client.listTools()).rejects.toThrow('the task is over');
  });

  it('a call that is still being answered is cut with its mission', async () => {
    const { client, seen, errors, connect } = await agent(['invoices.*']);
    await connect();
    const names = (await client.listTools()).tools.map(({ name }) => name);
    expect(names).toStrictEqual(['invoices.read', 'invoices.wait']);
    const waiting = client.callTool({ name: 'invoices.wait' }).catch(() => 'ended');
    await until(() => open.size === 2, 'the answer and the stream of the session');
    await revoke(seen.mission_id);
    await until(() => open.size === 0, 'cut');
    await until(() => errors.length > 0, 'told');
    await client.close();
    expect(await waiting).toBe('ended');
  });

  it('nothing but a permit of this guard is one to its handlers', () => {
    expect(permitOfMcp({})).toBeUndefined();
    expect(permitOfMcp({ authInfo: { extra: { permit: { permitted: true } } } })).toBeUndefined();
    expect(new McpGuard(running.guard).visible(undefined, TOOLS)).toStrictEqual([]);
  });
});
