/** Requests of a verifier to its broker: authenticated, bounded in time and size, never redirected. */
import { createPrivateKey, type KeyObject, randomUUID, sign } from 'node:crypto';
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { JsonObject, JsonValue } from '../../domain/json.ts';

/** How a verifier proves which one it is: a JWT by its registered key (RFC 7523). */
export interface VerifierIdentity {
  readonly id: string;
  /** Private JWK; its `kid`, if any, is named in the assertion. */
  readonly private_key_jwk: JsonObject;
}

export interface BrokerClientOptions {
  /** Issuer identifier; requests go here unless `broker_url` says otherwise. */
  readonly issuer: string;
  readonly broker_url?: string;
  readonly verifier: VerifierIdentity;
  /** Seconds since the epoch. */
  readonly now: () => number;
  readonly fetch?: typeof globalThis.fetch;
}

/** The broker answered, but not with what was asked for. The message carries no body. */
export class BrokerRefused extends Error {
  readonly status: number;

  constructor(path: string, status: number) {
    super(`${path} answered ${status}`);
    this.name = 'BrokerRefused';
    this.status = status;
  }
}

/** An assertion lives at most 300 s; it is replaced well before, so that a skewed clock does no harm. */
const ASSERTION_SECONDS = 240;
const RENEW_BEFORE_SECONDS = 60;
const TIMEOUT_MS = 10_000;

export interface BrokerRequest {
  readonly method?: 'GET' | 'POST';
  readonly headers?: Readonly<Record<string, string>>;
  readonly json?: JsonValue;
  readonly timeout_ms?: number;
  readonly signal?: AbortSignal;
}

export class BrokerClient {
  readonly #base: string;
  readonly #issuer: string;
  readonly #id: string;
  readonly #kid: string | null;
  readonly #key: KeyObject;
  readonly #alg: 'ES256' | 'Ed25519' | 'RS256';
  readonly #now: () => number;
  readonly #fetch: typeof globalThis.fetch;
  /** A fetch of the application's own (a proxy, a client certificate) carries the stream as well. */
  readonly #own_fetch: boolean;
  #assertion = '';
  #renew_at = 0;

  /** @throws TypeError for a key that is not private, or of an unknown kind */
  constructor(options: BrokerClientOptions) {
    this.#issuer = options.issuer;
    this.#base = (options.broker_url ?? options.issuer).replace(/\/$/, '');
    this.#id = options.verifier.id;
    const jwk = options.verifier.private_key_jwk;
    this.#key = createPrivateKey({ key: jwk as Record<string, string>, format: 'jwk' });
    this.#kid = typeof jwk['kid'] === 'string' ? jwk['kid'] : null;
    const { asymmetricKeyType } = this.#key;
    if (asymmetricKeyType === 'ec' && jwk['crv'] === 'P-256') this.#alg = 'ES256';
    else if (asymmetricKeyType === 'ed25519') this.#alg = 'Ed25519';
    else if (asymmetricKeyType === 'rsa') this.#alg = 'RS256';
    else throw new TypeError('a verifier key is P-256, Ed25519 or RSA');
    this.#now = options.now;
    this.#fetch = options.fetch ?? globalThis.fetch;
    this.#own_fetch = options.fetch !== undefined;
  }

  /** A response with a 2xx or 304 status. @throws BrokerRefused, or what fetch throws */
  async request(path: string, request: BrokerRequest = {}): Promise<Response> {
    const signals = request.signal === undefined ? [] : [request.signal];
    if (request.timeout_ms !== Number.POSITIVE_INFINITY)
      signals.push(AbortSignal.timeout(request.timeout_ms ?? TIMEOUT_MS));
    const response = await this.#fetch(`${this.#base}${path}`, {
      method: request.method ?? 'GET',
      headers: {
        authorization: `Bearer ${this.#assert()}`,
        ...(request.json === undefined ? {} : { 'content-type': 'application/json' }),
        ...request.headers,
      },
      ...(request.json === undefined ? {} : { body: JSON.stringify(request.json) }),
      // The assertion must not follow a redirect to somebody else.
      redirect: 'error',
      signal: AbortSignal.any(signals),
    });
    if (response.ok || response.status === 304) return response;
    // A clock that was set meanwhile makes a kept assertion useless: make a new one next time.
    if (response.status === 401) this.#renew_at = 0;
    await response.body?.cancel();
    throw new BrokerRefused(path, response.status);
  }

  /** Body of a request as text. @throws RangeError beyond `max_bytes` */
  async text(path: string, max_bytes: number, request: BrokerRequest = {}): Promise<string> {
    return readBounded(await this.request(path, request), max_bytes);
  }

  /**
   * Reads an endless answer, each chunk in the turn that it arrives. Resolves when the broker ends it.
   * node:http by default: with a thousand readers in one process, Fetch's streams are most of the cost of an entry.
   * @throws BrokerRefused, or what the connection or `onChunk` throws
   */
  async stream(
    path: string,
    headers: Readonly<Record<string, string>>,
    signal: AbortSignal,
    onChunk: (chunk: Uint8Array) => void,
  ): Promise<void> {
    if (this.#own_fetch) {
      const response = await this.request(path, { headers, signal, timeout_ms: Number.POSITIVE_INFINITY });
      for await (const chunk of response.body ?? []) onChunk(chunk);
      return;
    }
    const send = this.#base.startsWith('https:') ? httpsRequest : httpRequest;
    await new Promise<void>((resolve, reject) => {
      const authorization = `Bearer ${this.#assert()}`;
      const request = send(`${this.#base}${path}`, {
        headers: { ...headers, authorization },
        signal,
        agent: false,
      });
      request.on('error', reject);
      request.on('response', (response) => {
        const status = response.statusCode ?? 0;
        response.on('error', reject);
        response.on('close', resolve);
        if (status !== 200) {
          // A redirect too: the assertion must not go to somebody else.
          if (status === 401) this.#renew_at = 0;
          reject(new BrokerRefused(path, status));
          request.destroy();
          return;
        }
        response.on('data', (chunk: Buffer) => {
          try {
            onChunk(chunk);
          } catch (error) {
            reject(error);
            request.destroy();
          }
        });
      });
      request.end();
    });
  }

  #assert(): string {
    const now = this.#now();
    if (now < this.#renew_at) return this.#assertion;
    const iat = Math.floor(now);
    const header = {
      typ: 'client-authentication+jwt',
      alg: this.#alg,
      ...(this.#kid === null ? {} : { kid: this.#kid }),
    };
    const claims = {
      iss: this.#id,
      sub: this.#id,
      aud: this.#issuer,
      iat,
      exp: iat + ASSERTION_SECONDS,
      jti: randomUUID(),
    };
    const signed = `${encode(header)}.${encode(claims)}`;
    const digest = this.#alg === 'Ed25519' ? null : 'sha256';
    const signature = sign(digest, Buffer.from(signed), { key: this.#key, dsaEncoding: 'ieee-p1363' });
    this.#assertion = `${signed}.${signature.toString('base64url')}`;
    this.#renew_at = iat + ASSERTION_SECONDS - RENEW_BEFORE_SECONDS;
    return this.#assertion;
  }
}

function encode(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

/** Reads a body that must not be larger than `max_bytes`. @throws RangeError */
export async function readBounded(response: Response, max_bytes: number): Promise<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let text = '';
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.byteLength;
    if (bytes > max_bytes) throw new RangeError('answer of the broker is too large');
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}
