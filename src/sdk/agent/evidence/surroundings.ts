/** What evidence detection sees of the machine it runs on; injected, so that tests make other machines. */
import { readFile } from 'node:fs/promises';
import { request } from 'node:https';

export interface Surroundings {
  readonly env: Readonly<Record<string, string | undefined>>;
  readFile(path: string): Promise<string>;
  readonly fetch: typeof fetch;
  /** A POST to a server whose certificate chains to `ca` (PEM); bounded as {@link readText}. */
  postTrusting(
    url: string,
    options: { readonly ca: string; readonly headers: Record<string, string>; readonly body: string },
  ): Promise<{ readonly status: number; readonly text: string }>;
}

/** Longest wait for a platform's local endpoint, milliseconds: most machines have none. */
const TIMEOUT_MS = 1_500;
const MAX_ANSWER_CHARACTERS = 65_536;

/** The process's own surroundings. */
export function realSurroundings(): Surroundings {
  return { env: process.env, readFile: (path) => readFile(path, 'utf8'), fetch, postTrusting };
}

/**
 * Text of one answer, bounded in time and size, without redirects.
 * @throws Error that names the host alone: addresses and answers may hold tokens
 */
export async function readText(
  around: Surroundings,
  url: string,
  options: {
    readonly method?: string;
    readonly headers?: Record<string, string>;
    readonly body?: string;
  } = {},
): Promise<string> {
  const { host } = new URL(url);
  let answer: Response;
  try {
    answer = await around.fetch(url, {
      ...options,
      redirect: 'error',
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
  } catch {
    throw new Error(`${host} did not answer`);
  }
  if (!answer.ok) throw new Error(`${host} answered ${answer.status}`);
  const text = await answer.text();
  if (text.length > MAX_ANSWER_CHARACTERS) throw new Error(`${host} answered too much`);
  return text;
}

const postTrusting: Surroundings['postTrusting'] = (url, { ca, headers, body }) =>
  new Promise((resolve, reject) => {
    const { host } = new URL(url);
    const failed = () => reject(new Error(`${host} did not answer`));
    const length = { 'content-length': String(Buffer.byteLength(body)) };
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    const outgoing = request(
      url,
      { method: 'POST', agent: false, ca, signal, headers: { ...headers, ...length } },
      (incoming) => {
        let text = '';
        incoming.setEncoding('utf8');
        incoming.on('data', (chunk: string) => {
          text += chunk;
          if (text.length > MAX_ANSWER_CHARACTERS) incoming.destroy();
        });
        incoming.on('error', failed);
        incoming.on('close', () => {
          if (incoming.complete) resolve({ status: incoming.statusCode ?? 0, text });
          else failed();
        });
      },
    );
    outgoing.on('error', failed);
    outgoing.end(body);
  });
