/**
 * The SPIFFE Workload API over a Unix socket: SVIDs for agents, bundles for the broker.
 *
 * Four unary-like calls with messages of strings and bytes do not earn a gRPC library (with its protobuf runtime,
 * a megabyte of other people's code inside every agent): node:http2 carries the frames, and the few lines of
 * protobuf below read the two wire types that these messages use, skipping all others.
 *
 * Source: SPIFFE Workload API specification and workload.proto; gRPC over HTTP/2 protocol description.
 */
import { connect as connectHttp2, constants } from 'node:http2';
import { connect } from 'node:net';

export interface WorkloadCallOptions {
  /** Milliseconds for the whole call. */
  readonly timeout_ms: number;
}

export interface JwtSvid {
  readonly spiffe_id: string;
  readonly token: string;
}

export interface X509Svid {
  readonly spiffe_id: string;
  /** DER certificates one after the other, leaf first. */
  readonly chain: Buffer;
  /** PKCS #8, DER. */
  readonly private_key: Buffer;
}

const MAX_MESSAGE_BYTES = 1_048_576;
const FRAME_HEADER_BYTES = 5;

/** Asks for a JWT-SVID with one audience. @throws Error; its message holds no token */
export async function fetchJwtSvid(
  socket: string,
  audience: string,
  options: WorkloadCallOptions & { readonly spiffe_id?: string },
): Promise<JwtSvid> {
  const request = Buffer.concat([
    textField(1, audience),
    options.spiffe_id ? textField(2, options.spiffe_id) : EMPTY,
  ]);
  const answer = await call(socket, 'FetchJWTSVID', request, options);
  const [first] = fieldsOf(answer, 1);
  if (first === undefined) throw new Error('the Workload API gave no JWT-SVID');
  return { spiffe_id: textOf(first, 1), token: textOf(first, 2) };
}

/** The first X509-SVID of this workload. */
export async function fetchX509Svid(socket: string, options: WorkloadCallOptions): Promise<X509Svid> {
  const answer = await call(socket, 'FetchX509SVID', EMPTY, options);
  const [first] = fieldsOf(answer, 1);
  if (first === undefined) throw new Error('the Workload API gave no X509-SVID');
  return { spiffe_id: textOf(first, 1), chain: bytesOf(first, 2), private_key: bytesOf(first, 3) };
}

/** JWK sets by trust domain id (`spiffe://...`). */
export async function fetchJwtBundles(
  socket: string,
  options: WorkloadCallOptions,
): Promise<Map<string, Buffer>> {
  return mapOf(await call(socket, 'FetchJWTBundles', EMPTY, options), 1);
}

/** Concatenated DER authorities by trust domain id. */
export async function fetchX509Bundles(
  socket: string,
  options: WorkloadCallOptions,
): Promise<Map<string, Buffer>> {
  return mapOf(await call(socket, 'FetchX509Bundles', EMPTY, options), 2);
}

/**
 * Path of the socket from `SPIFFE_ENDPOINT_SOCKET` (`unix:///path` or `unix:/path`), or null.
 * Addresses over TCP are not supported: nothing would tell the agent from a stranger.
 */
export function workloadSocket(address: string | undefined): string | null {
  if (address === undefined || !address.startsWith('unix:')) return null;
  const path = address.slice('unix:'.length).replace(/^\/\//, '');
  return path.startsWith('/') ? path : null;
}

/* ---------------------------------------------------------------- gRPC */

/** One call; of a stream, the first message. */
function call(
  socket: string,
  method: string,
  message: Buffer,
  options: WorkloadCallOptions,
): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const transport = connect(socket);
    // Before any handler: the socket's own error says most, and comes first.
    transport.on('error', (error: NodeJS.ErrnoException) => fail(error.code ?? 'failed'));
    const session = connectHttp2('http://localhost', { createConnection: () => transport });
    const finish = (act: () => void) => {
      clearTimeout(timer);
      act();
      session.destroy();
    };
    const fail = (why: string) => finish(() => reject(new Error(`Workload API ${method}: ${why}`)));
    const timer = setTimeout(() => fail('timed out'), options.timeout_ms);
    session.on('error', (error: NodeJS.ErrnoException) => fail(error.code ?? 'failed'));
    const stream = session.request({
      [constants.HTTP2_HEADER_METHOD]: 'POST',
      [constants.HTTP2_HEADER_PATH]: `/SpiffeWorkloadAPI/${method}`,
      'content-type': 'application/grpc',
      te: 'trailers',
      // Without it the agent refuses: proof that no forwarded request of a browser or proxy comes in.
      'workload.spiffe.io': 'true',
    });
    let received = EMPTY;
    const refused = (headers: Record<string, unknown>) => {
      const status = headers['grpc-status'];
      if (status !== undefined && status !== '0') fail(`refused with gRPC status ${String(Number(status))}`);
    };
    stream.on('error', (error: NodeJS.ErrnoException) => fail(error.code ?? 'failed'));
    stream.on('response', refused);
    stream.on('trailers', refused);
    stream.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      if (received.length < FRAME_HEADER_BYTES) return;
      const length = received.readUInt32BE(1);
      if (received[0] !== 0) return fail('answered compressed');
      if (length > MAX_MESSAGE_BYTES) return fail('answered too much');
      const end = FRAME_HEADER_BYTES + length;
      if (received.length >= end)
        finish(() => resolve(Buffer.from(received.subarray(FRAME_HEADER_BYTES, end))));
    });
    stream.on('end', () => fail('answered nothing'));
    stream.end(frame(message));
  });
}

/** gRPC length-prefixed message, not compressed. */
export function frame(message: Buffer): Buffer {
  const header = Buffer.alloc(FRAME_HEADER_BYTES);
  header.writeUInt32BE(message.length, 1);
  return Buffer.concat([header, message]);
}

/* ---------------------------------------------------------------- protobuf */

const EMPTY = Buffer.alloc(0);
const LENGTH_DELIMITED = 2;

/** A string or bytes field. */
export function textField(number: number, value: string | Buffer): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([varint(number * 8 + LENGTH_DELIMITED), varint(bytes.length), bytes]);
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  while (rest >= 0x80) {
    bytes.push((rest % 0x80) + 0x80);
    rest = Math.floor(rest / 0x80);
  }
  return Buffer.from([...bytes, rest]);
}

/** Every value of a length-delimited field. @throws Error on a broken message */
export function fieldsOf(message: Buffer, wanted: number): Buffer[] {
  const found: Buffer[] = [];
  let at = 0;
  const readVarint = (): number => {
    let value = 0;
    for (let shift = 0; shift < 8; shift++) {
      const byte = message[at++];
      if (byte === undefined) break;
      value += (byte % 0x80) * 0x80 ** shift;
      if (byte < 0x80) return value;
    }
    throw new Error('the Workload API answered a broken message');
  };
  while (at < message.length) {
    const tag = readVarint();
    const [number, type] = [Math.floor(tag / 8), tag % 8];
    if (type === 0) {
      readVarint();
      continue;
    }
    const length = type === LENGTH_DELIMITED ? readVarint() : type === 1 ? 8 : type === 5 ? 4 : Number.NaN;
    if (!(at + length <= message.length)) throw new Error('the Workload API answered a broken message');
    if (type === LENGTH_DELIMITED && number === wanted) found.push(message.subarray(at, at + length));
    at += length;
  }
  return found;
}

function bytesOf(message: Buffer, field: number): Buffer {
  return fieldsOf(message, field).at(-1) ?? EMPTY;
}

function textOf(message: Buffer, field: number): string {
  return bytesOf(message, field).toString('utf8');
}

function mapOf(message: Buffer, field: number): Map<string, Buffer> {
  return new Map(fieldsOf(message, field).map((entry) => [textOf(entry, 1), bytesOf(entry, 2)]));
}
