/**
 * A local server that makes calls under the mission for a program that cannot: it adds token and proof, and sends them
 * to one declared audience. What two readers of a request could take for different paths is refused, not normalized.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { readTarget } from '../domain/route-map.ts';
import { CallDenied, MissionEnded, SortieError } from '../sdk/agent/errors.ts';
import type { Mission } from '../sdk/agent/mission.ts';
import { answerJson, type LocalRequest } from './local-server.ts';

/** Small bodies are kept until they are answered: a nonce or a renewed token wants them sent again. */
const KEPT_BODY_MAX_BYTES = 262_144;
const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'];

/** Of one connection and not of the message (RFC 9110 section 7.6.1), and what fetch sets by itself. */
const HOP_BY_HOP = [
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
];
const NOT_SENT_ON = [
  ...HOP_BY_HOP,
  'host',
  'content-length',
  'expect',
  // The caller's secret of this run, or a credential of its own: neither is for the audience.
  'authorization',
  'dpop',
  // Bodies are passed on decoded.
  'accept-encoding',
  // Whom the call is for is decided here.
  'forwarded',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-proto',
];
const NOT_ANSWERED = [...HOP_BY_HOP, 'content-encoding', 'content-length', 'dpop-nonce'];

export async function passOn(
  mission: Mission,
  audience: string,
  { incoming, target }: LocalRequest,
  response: ServerResponse,
): Promise<void> {
  const method = incoming.method ?? '';
  if (!METHODS.includes(method)) {
    answerJson(response, 405, { error: 'method_refused' });
    return;
  }
  if (!isPlainTarget(target)) {
    answerJson(response, 400, { error: 'path_refused' });
    return;
  }
  const left = new AbortController();
  response.once('close', () => left.abort());
  try {
    const body = await bodyOf(incoming, method);
    const answer = await mission.fetch(
      `${audience.endsWith('/') ? audience.slice(0, -1) : audience}${target}`,
      {
        method,
        headers: sentOn(incoming),
        // A redirect comes back as it is: its target gets no token.
        redirect: 'manual',
        signal: left.signal,
        ...(body !== null && { body, ...(body instanceof ReadableStream && { duplex: 'half' }) }),
      } as RequestInit,
    );
    await deliver(answer, method, response);
  } catch (cause) {
    if (left.signal.aborted) return;
    if (response.headersSent) throw cause;
    const refusal = refusalOf(cause);
    if (refusal === null) throw cause;
    answerJson(response, refusal.status, refusal.body);
  }
}

/** One reading only: no dot or empty segments, escaped or not, no `%2F`, `%5C`, `;`, backslash or control character. */
function isPlainTarget(target: string): boolean {
  const query = target.indexOf('?');
  const path = query === -1 ? target : target.slice(0, query);
  // A slash at the end is common and harmless.
  const trimmed = path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path;
  return readTarget(trimmed + (query === -1 ? '' : target.slice(query))) !== null;
}

async function bodyOf(
  incoming: IncomingMessage,
  method: string,
): Promise<Uint8Array | ReadableStream | null> {
  const chunked = incoming.headers['transfer-encoding'] !== undefined;
  const length = Number(incoming.headers['content-length'] ?? 0);
  if (method === 'GET' || method === 'HEAD' || (!chunked && length === 0)) {
    incoming.resume();
    return null;
  }
  if (chunked || length > KEPT_BODY_MAX_BYTES) return Readable.toWeb(incoming) as ReadableStream;
  const chunks: Buffer[] = [];
  for await (const chunk of incoming) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

function sentOn({ rawHeaders, headers }: IncomingMessage): Headers {
  // A sender names more headers of this hop in Connection.
  const named = (headers.connection ?? '').split(',').map((name) => name.trim().toLowerCase());
  const sent = new Headers();
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = rawHeaders[at]?.toLowerCase() ?? '';
    if (!NOT_SENT_ON.includes(name) && !named.includes(name)) sent.append(name, rawHeaders[at + 1] ?? '');
  }
  sent.set('accept-encoding', 'identity');
  return sent;
}

async function deliver(answer: Response, method: string, response: ServerResponse): Promise<void> {
  const headers = new Map<string, string | string[]>();
  for (const [name, value] of answer.headers)
    if (!NOT_ANSWERED.includes(name) && name !== 'set-cookie') headers.set(name, value);
  const cookies = answer.headers.getSetCookie();
  if (cookies.length > 0) headers.set('set-cookie', cookies);
  response.writeHead(answer.status, Object.fromEntries(headers));
  if (answer.body === null || method === 'HEAD') {
    await answer.body?.cancel();
    response.end();
    return;
  }
  await pipeline(Readable.fromWeb(answer.body as Parameters<typeof Readable.fromWeb>[0]), response);
}

/** What the program is told: codes, and what to do. Null for what is no refusal. */
function refusalOf(cause: unknown): { readonly status: number; readonly body: object } | null {
  if (cause instanceof CallDenied) {
    const { code, retry, rule, wanted, allowed, retry_after_seconds } = cause;
    return {
      status: cause.status ?? 403,
      body: { error: code, retry, rule, wanted, allowed, retry_after_seconds },
    };
  }
  if (cause instanceof MissionEnded)
    return { status: 403, body: { error: cause.code, retry: 'with_new_mission' } };
  if (cause instanceof SortieError) return { status: 503, body: { error: cause.code, retry: 'after' } };
  return null;
}
