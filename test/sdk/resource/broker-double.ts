/** A broker's verifier endpoints over real HTTP on loopback, whose every word a test chooses. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { JsonObject } from '../../../src/domain/json.ts';
import type { FeedEntry } from '../../../src/domain/revocation.ts';
import {
  type CreateGuardOptions,
  createGuard,
  type RunningGuard,
} from '../../../src/sdk/resource/create-guard.ts';
import { AUDIENCE, ISSUER, issuerKey, jws, pair } from './support.ts';

export const verifierKey = pair('ES256', 'verifier-1');

export interface Asked {
  readonly path: string;
  readonly authorization: string | undefined;
  readonly last_event_id: string | undefined;
  readonly body: JsonObject | null;
}

export class BrokerDouble {
  epoch = 1;
  seq = 0;
  entries: Omit<FeedEntry, 'prev'>[] = [];
  bundle: JsonObject = {
    iss: ISSUER,
    aud: AUDIENCE,
    iat: Math.floor(Date.now() / 1000),
    version: 'v1',
    keys: [issuerKey.jwk],
    actions: [
      { name: 'invoices.read', labels: [] },
      { name: 'payments.send', labels: ['consequential'] },
    ],
    sinks: [],
    field_trust: [],
    sequence_rules: [],
    max_staleness_seconds: 30,
    max_token_seconds: 900,
  };
  bundle_jws: (() => string) | null = null;
  jwks: JsonObject[] = [issuerKey.jwk];
  /** Answers in place of the double's own. */
  override: ((request: IncomingMessage, response: ServerResponse) => boolean) | null = null;
  /** Heartbeats on the streams, milliseconds; 0 for none. */
  heartbeat_ms = 25;
  /** Seconds since the epoch. */
  now: () => number = () => Date.now() / 1000;
  decision: unknown = { decision: true };
  readonly asked: Asked[] = [];
  readonly acks: JsonObject[] = [];
  readonly batches: JsonObject[] = [];
  readonly streams = new Set<ServerResponse>();
  readonly #server: Server;
  #timer: NodeJS.Timeout | null = null;
  #port = 0;

  constructor() {
    this.#server = createServer((request, response) => void this.#answer(request, response));
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  async start(port = 0): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(port, '127.0.0.1', resolve));
    this.#port = (this.#server.address() as AddressInfo).port;
    if (this.heartbeat_ms > 0) this.#timer = setInterval(() => this.beat(), this.heartbeat_ms);
    return this;
  }

  async stop(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
    this.streams.clear();
  }

  guard(options: Partial<CreateGuardOptions> = {}): RunningGuard {
    const { private_key } = verifierKey;
    return createGuard({
      issuer: ISSUER,
      broker_url: this.url,
      audience: AUDIENCE,
      verifier: {
        id: 'erp-verifier',
        private_key_jwk: { ...(private_key.export({ format: 'jwk' }) as JsonObject), kid: 'verifier-1' },
      },
      ...options,
    });
  }

  /** Puts an entry into the log and on every stream. */
  revoke(change: Partial<FeedEntry> & Pick<FeedEntry, 'kind' | 'key'>): void {
    const now = this.now();
    const prev = this.seq;
    const entry = {
      seq: ++this.seq,
      ts: now,
      effect: 'deny',
      not_after: now + 960,
      reason_code: 'admin_revoked',
      ...change,
    } as FeedEntry;
    this.entries.push(entry);
    this.send('entry', { ...entry, prev: change.prev ?? prev }, `${this.epoch}.${entry.seq}`);
  }

  beat(change: JsonObject = {}): void {
    this.send('heartbeat', { epoch: this.epoch, seq: this.seq, ts: this.now(), ...change });
  }

  send(event: string, value: unknown, id?: string): void {
    const text = `${id === undefined ? '' : `id: ${id}\n`}event: ${event}\ndata: ${JSON.stringify(value)}\n\n`;
    for (const stream of this.streams) stream.write(text);
  }

  paths(): string[] {
    return this.asked.map(({ path }) => path);
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url ?? '';
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = chunks.length === 0 ? null : (JSON.parse(Buffer.concat(chunks).toString()) as JsonObject);
    const last = request.headers['last-event-id'];
    this.asked.push({
      path,
      authorization: request.headers.authorization,
      last_event_id: Array.isArray(last) ? last[0] : last,
      body,
    });
    if (this.override?.(request, response) === true) return;
    const json = (value: unknown): void => {
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify(value));
    };
    switch (path) {
      case '/verifier/bundle': {
        if (request.headers['if-none-match'] === `"${String(this.bundle['version'])}"`) {
          response.writeHead(304).end();
          return;
        }
        const header = { typ: 'sortie-bundle+jwt', alg: 'ES256', kid: 'key-1' };
        response.end(this.bundle_jws?.() ?? jws(header, this.bundle, issuerKey));
        return;
      }
      case '/jwks':
        json({ keys: this.jwks });
        return;
      case '/revocations':
        json({
          epoch: this.epoch,
          seq: this.seq,
          ts: this.now(),
          max_token_seconds: 900,
          entries: this.entries,
        });
        return;
      case '/revocations/stream': {
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        const [epoch, seq] = (request.headers['last-event-id'] as string).split('.').map(Number);
        this.streams.add(response);
        response.on('close', () => this.streams.delete(response));
        let prev = seq ?? 0;
        if (epoch === this.epoch)
          for (const entry of this.entries) {
            if (entry.seq <= (seq ?? 0)) continue;
            response.write(
              `id: ${this.epoch}.${entry.seq}\nevent: entry\ndata: ${JSON.stringify({ ...entry, prev })}\n\n`,
            );
            prev = entry.seq;
          }
        response.write(
          `event: heartbeat\ndata: ${JSON.stringify({ epoch: this.epoch, seq: this.seq, ts: this.now() })}\n\n`,
        );
        return;
      }
      case '/revocations/ack':
        this.acks.push(body ?? {});
        response.writeHead(204).end();
        return;
      case '/events':
        this.batches.push(body ?? {});
        response.writeHead(202).end();
        return;
      case '/access/v1/evaluation':
        json(this.decision);
        return;
      default:
        response.writeHead(404).end();
    }
  }
}

/** Waits for a condition, at most five seconds. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  for (let turn = 0; turn < 1000; turn++) {
    if (condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  throw new Error(`never: ${what}`);
}
