/** Hands what a node:http response writes to an answer reader first, and releases it after. */
import type { ServerResponse } from 'node:http';
import type { AnswerReader } from './state.ts';

type Chunk = string | Uint8Array;

function bytesOf(chunk: unknown, encoding: unknown): Uint8Array | null {
  if (typeof chunk === 'string')
    return Buffer.from(chunk, typeof encoding === 'string' ? (encoding as BufferEncoding) : 'utf8');
  return chunk instanceof Uint8Array ? chunk : null;
}

/**
 * Wraps `write` and `end`. What the reader holds back waits here, in order, and the connection is cut where it may
 * never be released. Middleware that compresses must be mounted outside: what it
 * made is not readable.
 * @param inspect false: the bytes are not looked at, and count as unreadable
 */
export function tapAnswer(response: ServerResponse, reader: AnswerReader, inspect = true): void {
  const write = response.write as (...given: unknown[]) => boolean;
  const end = response.end as (...given: unknown[]) => ServerResponse;
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
