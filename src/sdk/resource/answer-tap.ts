/** Hands what a node:http response writes to an answer reader first, and releases it after. */
import type { ServerResponse } from 'node:http';
import type { AnswerReader } from './state.ts';

type Chunk = string | Uint8Array;

function bytesOf(chunk: unknown, encoding: unknown): Uint8Array | null {
  if (typeof chunk === 'string')
    return Buffer.from(chunk, typeof encoding === 'string' ? (encoding as BufferEncoding) : 'utf8');
  return chunk instanceof Uint8Array ? chunk : null;
}

/** Wraps `write` and `end`. Middleware that compresses must be mounted outside: what it made is not readable. */
export function tapAnswer(response: ServerResponse, reader: AnswerReader): void {
  const write = response.write as (...given: unknown[]) => boolean;
  const end = response.end as (...given: unknown[]) => ServerResponse;
  let begun = false;
  const begin = (): void => {
    if (begun) return;
    begun = true;
    const type = response.getHeader('content-type');
    const coding = response.getHeader('content-encoding');
    reader.begin(typeof type === 'string' ? type : undefined, coding === undefined || coding === 'identity');
  };
  response.write = ((...given: unknown[]): boolean => {
    begin();
    const bytes = bytesOf(given[0], given[1]);
    if (bytes !== null) reader.write(bytes);
    return write.apply(response, given);
  }) as typeof response.write;
  response.end = ((...given: unknown[]): ServerResponse => {
    begin();
    const bytes = bytesOf(given[0] as Chunk, given[1]);
    if (bytes !== null) reader.finish(bytes);
    else reader.end();
    return end.apply(response, given);
  }) as typeof response.end;
  response.once('close', () => reader.end());
}
