/** Server-sent events out of a byte stream (WHATWG HTML, section 9.2.6), bounded. */

export interface ServerSentEvent {
  readonly event: string;
  readonly data: string;
  readonly id: string;
}

/** Longest event that is kept, characters. */
const MAX_EVENT = 65_536;

/**
 * Yields each event as it is complete. Comments and unknown fields are skipped.
 * @throws RangeError for an event without end
 */
export async function* eventStream(body: AsyncIterable<Uint8Array>): AsyncGenerator<ServerSentEvent> {
  const decoder = new TextDecoder();
  let rest = '';
  let event = '';
  let data: string[] = [];
  let size = 0;
  let id = '';
  for await (const chunk of body) {
    rest += decoder.decode(chunk, { stream: true });
    for (let end = rest.indexOf('\n'); end >= 0; end = rest.indexOf('\n')) {
      const line = rest.slice(0, rest.charCodeAt(end - 1) === 0x0d ? end - 1 : end);
      rest = rest.slice(end + 1);
      if (line === '') {
        if (data.length > 0) yield { event: event === '' ? 'message' : event, data: data.join('\n'), id };
        event = '';
        data = [];
        size = 0;
        continue;
      }
      size += line.length;
      if (size > MAX_EVENT) throw new RangeError('event is too large');
      const colon = line.indexOf(':');
      const field = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? '' : line.slice(line.charCodeAt(colon + 1) === 0x20 ? colon + 2 : colon + 1);
      if (field === 'event') event = value;
      else if (field === 'data') data.push(value);
      else if (field === 'id') id = value;
    }
    if (rest.length > MAX_EVENT) throw new RangeError('event is too large');
  }
}
