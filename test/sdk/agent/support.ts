/** An agent at the real broker, and a resource server that remembers what it was sent. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Agent, type ConnectOptions, connect } from '../../../src/sdk/agent/index.ts';
import type { TestBroker } from '../../support/broker.ts';

export const JWT_EVIDENCE = 'urn:ietf:params:oauth:token-type:jwt';

/** Counts presentations; each is fresh. */
export function evidenceOf(sortie: TestBroker, claims: Record<string, unknown> = {}) {
  const source = Object.assign(
    async () => {
      source.presented += 1;
      return { type: JWT_EVIDENCE, token: await sortie.evidence(claims) };
    },
    { presented: 0 },
  );
  return source;
}

export function agentAt(sortie: TestBroker, options: Partial<ConnectOptions> = {}): Promise<Agent> {
  return connect({
    issuer: sortie.url,
    evidence: evidenceOf(sortie),
    now: () => sortie.clock.now(),
    backoff: { base_ms: 5, max_ms: 20 },
    ...options,
  });
}

export interface SeenRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

export interface TestServer {
  readonly url: string;
  readonly seen: SeenRequest[];
  close(): Promise<void>;
}

/** A plain HTTP server on a free loopback port. */
export async function serve(
  handle: (request: SeenRequest, response: ServerResponse, count: number) => void,
): Promise<TestServer> {
  const seen: SeenRequest[] = [];
  const server: Server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const entry = {
        method: request.method ?? '',
        url: request.url ?? '',
        headers: request.headers,
        body: Buffer.concat(chunks).toString(),
      };
      seen.push(entry);
      handle(entry, response, seen.length);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** What a guard answers, in its form on the wire. */
export function deny(
  response: ServerResponse,
  status: number,
  code: string,
  retry: string,
  more: Record<string, unknown> = {},
): void {
  response.writeHead(status, {
    'content-type': 'application/problem+json',
    'www-authenticate': `DPoP error="insufficient_scope", mission_denial="${code}", retry="${retry}"`,
  });
  response.end(JSON.stringify({ type: 'about:blank', status, mission_denial: code, retry, ...more }));
}

export function claimsOf(token: string | undefined): Record<string, unknown> {
  return JSON.parse(Buffer.from(token?.split('.')[1] ?? '', 'base64url').toString()) as Record<
    string,
    unknown
  >;
}

/** Rejects with what `work` throws; fails if it does not. */
export async function thrownBy(work: () => Promise<unknown>): Promise<Error & Record<string, unknown>> {
  try {
    await work();
  } catch (error) {
    return error as Error & Record<string, unknown>;
  }
  throw new Error('nothing was thrown');
}

export async function until(holds: () => boolean, what: string): Promise<void> {
  for (let tries = 0; tries < 400; tries++) {
    if (holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error(`never happened: ${what}`);
}
