/** What the agent SDK needs from where it runs; all of it can be replaced. */
import type { webcrypto } from 'node:crypto';
import type { ReadableStream } from 'node:stream/web';

export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

export interface Runtime {
  readonly fetch: Fetch;
  readonly crypto: webcrypto.Crypto;
  /** Seconds since the epoch, with a fraction. */
  readonly now: () => number;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  readonly sleep: (ms: number) => Promise<void>;
}

export const DEFAULT_RUNTIME: Runtime = {
  // Looked up at each call, so that instrumentation installed later is used.
  fetch: (url, init) => globalThis.fetch(url, init),
  crypto: globalThis.crypto,
  now: () => Date.now() / 1000,
  random: Math.random,
  sleep: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
};

/** Reads a body up to a bound. @throws Error that says only that it is too large */
export async function readText(response: Response, max_bytes: number): Promise<string> {
  if (response.body === null) return '';
  const reader = (response.body as ReadableStream<Uint8Array>).getReader();
  const chunks: Uint8Array[] = [];
  for (let size = 0; ; ) {
    const { done, value } = await reader.read();
    if (done) return Buffer.concat(chunks).toString('utf8');
    size += value.length;
    if (size > max_bytes) {
      // Not waited for: a cloned body is cancelled only when both of its readers are done.
      reader.cancel().catch(() => undefined);
      throw new Error(`an answer is larger than ${max_bytes} bytes`);
    }
    chunks.push(value);
  }
}
