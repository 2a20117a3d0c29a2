/**
 * One bounded request to a counterpart from the configuration: a deadline over everything, a size cap, no
 * redirect (which would carry a token to another host), no proxy. Errors name the step, never what was sent.
 */

import { request as httpRequest, type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { isJsonObject, type JsonObject } from '../domain/json.ts';
import { ProviderFault } from './provider.ts';

export interface HttpRequest {
  readonly provider: string;
  /** What this request is for, as an error calls it. */
  readonly step: string;
  readonly url: string;
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly timeout_ms: number;
  /** PEM certificates to trust instead of the built-in ones. */
  readonly ca?: string;
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

const MAX_BYTES = 1_048_576;

/** @throws ProviderFault `timeout`, `unavailable` or `unexpected_answer` */
export async function send(request: HttpRequest): Promise<HttpAnswer> {
  const { provider, step } = request;
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(), request.timeout_ms);
  try {
    const incoming = await open(request, abort.signal);
    const body = await read(incoming);
    const status = incoming.statusCode ?? 0;
    if (status >= 300 && status < 400)
      throw new ProviderFault(
        provider,
        'unexpected_answer',
        `${step}: answered with a redirect, which is not followed`,
      );
    return { status, headers: incoming.headers, body };
  } catch (cause) {
    const late = abort.signal.aborted;
    // Whatever failed, nothing of this exchange goes on; a complete one keeps its connection for the next.
    abort.abort();
    if (cause instanceof ProviderFault) throw cause;
    if (late)
      throw new ProviderFault(provider, 'timeout', `${step}: no answer within ${request.timeout_ms} ms`);
    if (cause instanceof TooLarge)
      throw new ProviderFault(provider, 'unexpected_answer', `${step}: answer too large`);
    throw new ProviderFault(provider, 'unavailable', `${step}: ${codeOf(cause)}`);
  } finally {
    clearTimeout(timer);
  }
}

class TooLarge extends Error {}

function open(request: HttpRequest, signal: AbortSignal): Promise<IncomingMessage> {
  const url = new URL(request.url);
  const start = url.protocol === 'https:' ? httpsRequest : httpRequest;
  return new Promise((resolve, reject) => {
    const outgoing = start(
      url,
      {
        method: request.method,
        headers: {
          ...request.headers,
          ...(request.body === undefined
            ? {}
            : { 'content-length': String(Buffer.byteLength(request.body)) }),
        },
        maxHeaderSize: 16_384,
        signal,
        ...(request.ca === undefined ? {} : { ca: request.ca }),
      },
      resolve,
    );
    outgoing.on('error', reject);
    outgoing.end(request.body);
  });
}

async function read(incoming: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of incoming as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_BYTES) throw new TooLarge();
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** Node's own code for what broke; its message would name the address again. */
function codeOf(cause: unknown): string {
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
  return typeof code === 'string' ? code : 'the connection broke';
}

/** The JSON object of an answer. @throws ProviderFault `unexpected_answer`; the text itself is not shown */
export function objectOf(provider: string, text: string, step: string): JsonObject {
  try {
    const value: unknown = JSON.parse(text);
    if (isJsonObject(value)) return value;
  } catch {
    // Falls through: the text itself is not shown.
  }
  throw new ProviderFault(provider, 'unexpected_answer', `${step}: the answer is no JSON object`);
}
