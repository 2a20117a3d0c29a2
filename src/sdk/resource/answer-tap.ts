/** Hands what a node:http response writes to a meter and an answer reader first, and releases it after. */
import type { ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { AnswerMeter } from './answer-meter.ts';
import type { AnswerReader } from './state.ts';

type Chunk = string | Uint8Array;
type Write = (...given: unknown[]) => boolean;
type End<T> = (...given: unknown[]) => T;

function bytesOf(chunk: unknown, encoding: unknown): Uint8Array | null {
  if (typeof chunk === 'string')
    return Buffer.from(chunk, typeof encoding === 'string' ? (encoding as BufferEncoding) : 'utf8');
  return chunk instanceof Uint8Array ? chunk : null;
}

function sizeOf(chunk: unknown, encoding: unknown): number {
  if (typeof chunk === 'string')
    return Buffer.byteLength(chunk, typeof encoding === 'string' ? (encoding as BufferEncoding) : 'utf8');
  return chunk instanceof Uint8Array ? chunk.byteLength : 0;
}

/**
 * Wraps `write` and `end`. What the reader holds back waits here, in order, and the connection is cut where it may
 * never be released. Middleware that compresses must be mounted outside: what it
 * made is not readable.
 * @param inspect false: the bytes are not looked at, and count as unreadable
 */
export function tapAnswer(response: ServerResponse, reader: AnswerReader, inspect = true): void {
  const write = response.write as Write;
  const end = response.end as End<ServerResponse>;
  const waiting: (() => void)[] = [];
  let holding = false;
  let begun = false;
  /** Releases now and says so, or once the reader lets go. */
  const release = (send: () => void): boolean => {
    const held = reader.held();
    if (held === null && !holding) {
      send();
      return true;
    }
    waiting.push(send);
    if (holding) return false;
    holding = true;
    (held ?? Promise.resolve()).then(
      () => {
        holding = false;
        for (const one of waiting.splice(0)) one();
        response.emit('drain');
      },
      () => response.destroy(),
    );
    return false;
  };
  const begin = (): void => {
    if (begun) return;
    begun = true;
    const type = response.getHeader('content-type');
    const coding = response.getHeader('content-encoding');
    const plain = inspect && (coding === undefined || coding === 'identity');
    reader.begin(typeof type === 'string' ? type : undefined, plain);
  };
  response.write = ((...given: unknown[]): boolean => {
    begin();
    const bytes = bytesOf(given[0], given[1]);
    if (bytes !== null) reader.write(bytes);
    let taken = true;
    const released = release(() => {
      taken = write.apply(response, given);
    });
    return released && taken;
  }) as typeof response.write;
  response.end = ((...given: unknown[]): ServerResponse => {
    begin();
    const bytes = bytesOf(given[0] as Chunk, given[1]);
    if (bytes !== null) reader.finish(bytes);
    else reader.end();
    release(() => void end.apply(response, given));
    return response;
  }) as typeof response.end;
  response.once('close', () => reader.end());
}

/**
 * Counts the body that a handler writes, before it is released: as the handler made it, so before a compression that is
 * mounted outside. Nothing beyond the allowance is ever sent: an answer that does not fit, and is known not to before
 * anything of it went out, becomes the denial; any other is cut. Mount it last: what it lets through goes on to the
 * reader.
 * @param deny sends the denial in place of the answer, on a response that nothing was written to
 */
export function meterAnswer(
  response: ServerResponse,
  meter: AnswerMeter,
  deny: (response: ServerResponse) => void,
): void {
  const write = response.write as Write;
  const end = response.end as End<ServerResponse>;
  const writeHead = response.writeHead as End<ServerResponse>;
  let refused = false;
  const refuse = (): void => {
    refused = true;
    if (response.headersSent) {
      response.destroy();
      return;
    }
    response.write = write as typeof response.write;
    response.end = end as typeof response.end;
    response.writeHead = writeHead as typeof response.writeHead;
    for (const name of response.getHeaderNames()) response.removeHeader(name);
    deny(response);
    // Whatever the handler still writes goes nowhere.
    response.write = (() => false) as typeof response.write;
    response.end = (() => response) as typeof response.end;
    response.writeHead = (() => response) as typeof response.writeHead;
  };
  /** Whether the handler's bytes are sent at all: node:http drops the body of some answers. */
  const hasBody = (): boolean =>
    response.req.method !== 'HEAD' && response.statusCode !== 204 && response.statusCode !== 304;
  const admit = (chunk: unknown, encoding: unknown): boolean => {
    if (refused) return false;
    if (!hasBody()) return true;
    const declared = Number(response.getHeader('content-length') ?? 0);
    const fits = response.headersSent || meter.fits(declared - meter.bytes);
    if (fits && meter.take(sizeOf(chunk, encoding))) return true;
    refuse();
    return false;
  };
  response.writeHead = ((...given: unknown[]): ServerResponse => {
    if (refused) return response;
    // node:http comes here by itself too, after the first bytes were taken.
    const declared = lengthIn(given.at(-1)) ?? Number(response.getHeader('content-length') ?? 0);
    if (hasBody() && given[0] !== 204 && given[0] !== 304 && !meter.fits(declared - meter.bytes)) {
      refuse();
      return response;
    }
    return writeHead.apply(response, given);
  }) as typeof response.writeHead;
  response.write = ((...given: unknown[]): boolean =>
    admit(given[0], given[1]) && write.apply(response, given)) as typeof response.write;
  response.end = ((...given: unknown[]): ServerResponse => {
    const chunk = typeof given[0] === 'function' ? undefined : given[0];
    return admit(chunk, given[1]) ? end.apply(response, given) : response;
  }) as typeof response.end;
  response.once('close', () => meter.end());
}

/** As {@link meterAnswer} for a connection that switched protocols: what is framed on it counts as it is. */
export function meterSocket(socket: Duplex, meter: AnswerMeter): void {
  const write = socket.write as Write;
  const end = socket.end as End<Duplex>;
  const admit = (chunk: unknown, encoding: unknown): boolean => {
    if (meter.take(sizeOf(chunk, encoding))) return true;
    socket.destroy();
    return false;
  };
  socket.write = ((...given: unknown[]): boolean =>
    admit(given[0], given[1]) && write.apply(socket, given)) as typeof socket.write;
  socket.end = ((...given: unknown[]): Duplex => {
    const chunk = typeof given[0] === 'function' ? undefined : given[0];
    return admit(chunk, given[1]) ? end.apply(socket, given) : socket;
  }) as typeof socket.end;
  socket.once('close', () => meter.end());
}

/** The length that the headers of a `writeHead` declare. */
function lengthIn(headers: unknown): number | null {
  if (typeof headers !== 'object' || headers === null) return null;
  const named = Array.isArray(headers)
    ? headers.flat().map((value, index, all) => [value, all[index + 1]] as const)
    : Object.entries(headers);
  for (const [name, value] of named)
    if (String(name).toLowerCase() === 'content-length') return Number(value);
  return null;
}
