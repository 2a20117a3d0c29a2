/**
 * Verifiers of the feed in a process of their own: one full guard, and beside it readers that are the feed's wire, its
 * parser, the real revocation set and the acknowledgement, without a guard's other parts: a thousand verifiers on one
 * core would otherwise measure that core. Each has its own connections, as separate processes would.
 */
import { randomUUID } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { readHeartbeat, readSnapshot, readStreamEntry } from '../../src/domain/feed-wire.ts';
import type { JsonObject } from '../../src/domain/json.ts';
import { type RevocableToken, type RevocationKeys, RevocationSet } from '../../src/domain/revocation-set.ts';
import type { GuardedCall } from '../../src/sdk/resource/call.ts';
import { createGuard, type RunningGuard } from '../../src/sdk/resource/create-guard.ts';
import { EventReader } from '../../src/sdk/resource/event-stream.ts';
import { ACK_SPREAD_MS } from '../../src/sdk/resource/feed-client.ts';
import { monotonicMs as now } from '../support.ts';

export interface JoinReaders {
  readonly name: 'join';
  readonly url: string;
  readonly audience: string;
  readonly private_key_jwk: JsonObject;
  /** Of the verifier, for the light readers. */
  readonly authorization: string;
  /** Readers in all, the full guard among them. */
  readonly count: number;
  readonly acknowledge: boolean;
}

export interface WatchToken {
  readonly name: 'watch';
  readonly call: GuardedCall;
  readonly token: RevocableToken;
}

export interface Storm {
  readonly name: 'storm';
  readonly url: string;
  readonly authorization: string;
  readonly count: number;
  readonly last_event_id: string;
}

export type ToReaders = JoinReaders | WatchToken | Storm;

const seconds = (): number => Date.now() / 1000;

function open(url: string, path: string, headers: readonly string[]): Socket {
  const { hostname, port } = new URL(url);
  const socket = connect({ host: hostname, port: Number(port), noDelay: true });
  socket.on('error', () => {});
  socket.write(`GET ${path} HTTP/1.1\r\nhost: ${hostname}\r\n${headers.join('\r\n')}\r\n\r\n`);
  return socket;
}

/** The body of an answer that ends with its connection. */
function onBody(socket: Socket, take: (chunk: Buffer) => void): void {
  let head: Buffer | null = Buffer.alloc(0);
  socket.on('data', (chunk: Buffer) => {
    if (head === null) return take(chunk);
    head = Buffer.concat([head, chunk]);
    const end = head.indexOf('\r\n\r\n');
    if (end < 0) return;
    if (!head.subarray(0, 12).equals(Buffer.from('HTTP/1.1 200'))) throw new Error(head.toString('latin1'));
    const rest = head.subarray(end + 4);
    head = null;
    if (rest.length > 0) take(rest);
  });
}

class LightReader {
  readonly #options: JoinReaders;
  readonly #set = new RevocationSet([1, 2]);
  readonly #instance_id = randomUUID();
  readonly #acks: Socket | null;
  #keys: RevocationKeys | null = null;
  #denied: (at: number) => void = () => {};
  #ready: () => void = () => {};
  readonly ready = new Promise<void>((resolve) => {
    this.#ready = resolve;
  });

  constructor(options: JoinReaders, snapshot: unknown) {
    this.#options = options;
    this.#set.load(readSnapshot(snapshot), seconds());
    const { hostname, port } = new URL(options.url);
    this.#acks = options.acknowledge ? connect({ host: hostname, port: Number(port), noDelay: true }) : null;
    this.#acks?.on('error', () => {}).resume();
    const events = new EventReader(({ event, data }) => this.#handle(event, JSON.parse(data)));
    onBody(
      open(options.url, '/revocations/stream', [
        `authorization: ${options.authorization}`,
        `last-event-id: ${this.#set.epoch}.${this.#set.seq}`,
      ]),
      (chunk) => events.push(chunk),
    );
  }

  watch(token: RevocableToken, denied: (at: number) => void): void {
    this.#keys = this.#set.keysOf(token);
    if (this.#set.judge(this.#keys) !== null) throw new Error('denied before it was revoked');
    this.#denied = denied;
  }

  #handle(event: string, value: unknown): void {
    if (event === 'heartbeat') {
      if (this.#set.heartbeat(readHeartbeat(value), seconds()) === 'gap') throw new Error('gap');
      this.#ready();
      return;
    }
    if (event !== 'entry') return;
    if (this.#set.apply(this.#set.epoch, readStreamEntry(value), seconds()) !== 'applied')
      throw new Error('gap');
    if (this.#keys !== null && this.#set.judge(this.#keys) !== null) {
      this.#keys = null;
      this.#denied(now());
    }
    setTimeout(() => this.#acknowledge(), ACK_SPREAD_MS * Math.random());
  }

  #acknowledge(): void {
    const { epoch, seq } = this.#set;
    const body = JSON.stringify({ instance_id: this.#instance_id, epoch, seq });
    this.#acks?.write(
      `POST /revocations/ack HTTP/1.1\r\nhost: x\r\nauthorization: ${this.#options.authorization}\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    );
  }
}

let light: LightReader[] = [];
let full: RunningGuard | null = null;

async function join(options: JoinReaders): Promise<void> {
  const { url, audience, private_key_jwk, authorization, count } = options;
  full = createGuard({
    issuer: url,
    audience,
    verifier: { id: 'erp', private_key_jwk },
    events: 'none',
  });
  await full.ready;
  const snapshot: unknown = await (await fetch(`${url}/revocations`, { headers: { authorization } })).json();
  light = [];
  for (let made = 1; made < count; made += 100) {
    const batch = Array.from(
      { length: Math.min(100, count - made) },
      () => new LightReader(options, snapshot),
    );
    await Promise.all(batch.map(({ ready }) => ready));
    light.push(...batch);
  }
  // A heartbeat of the full guard's own stream: its snapshot alone says nothing about the next entry.
  await new Promise((resolve) => setTimeout(resolve, 1_500));
}

function watch({ call, token }: WatchToken): void {
  if (full === null) throw new Error('not joined');
  let left = light.length + 1;
  const denied = (at: number): void => {
    if (--left === 0) process.send?.({ name: 'denied', last: at });
  };
  const verdict = full.guard.check(call);
  if (!verdict.permitted) throw new Error(verdict.code);
  const { guard } = full;
  guard.watch(verdict, () => {
    const at = now();
    if (guard.stillPermitted(verdict) === null) throw new Error('permitted after revocation');
    denied(at);
  });
  for (const reader of light) reader.watch(token, denied);
}

/** One verifier that comes back: snapshot to its last byte, then the stream to its first bytes. */
function comeBack(options: Storm): Promise<number> {
  return new Promise((resolve) => {
    const headers = [`authorization: ${options.authorization}`];
    const socket = open(options.url, '/revocations', [
      ...headers,
      'accept-encoding: gzip',
      'connection: close',
    ]);
    let bytes = 0;
    onBody(socket, (chunk) => {
      bytes += chunk.length;
    });
    socket.on('close', () => {
      const stream = open(options.url, '/revocations/stream', [
        ...headers,
        `last-event-id: ${options.last_event_id}`,
      ]);
      onBody(stream, () => {
        resolve(bytes);
        stream.removeAllListeners('data').destroy();
      });
    });
  });
}

process.on('message', (message: ToReaders) => {
  if (message.name === 'join') void join(message).then(() => process.send?.({ name: 'joined' }));
  if (message.name === 'watch') {
    watch(message);
    process.send?.({ name: 'watching' });
  }
  if (message.name === 'storm')
    void Promise.all(Array.from({ length: message.count }, () => comeBack(message))).then((sizes) =>
      process.send?.({ name: 'fresh', at: now(), bytes: sizes.reduce((sum, size) => sum + size, 0) }),
    );
});
process.on('disconnect', () => process.exit(0));
