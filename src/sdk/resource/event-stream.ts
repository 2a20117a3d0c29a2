/** Server-sent events out of a byte stream (WHATWG HTML, section 9.2.6), bounded. */
import { StringDecoder } from 'node:string_decoder';

export interface ServerSentEvent {
  readonly event: string;
  readonly data: string;
  readonly id: string;
}

/** Longest event that is kept, characters. */
const MAX_EVENT = 65_536;

/** Hands over each event as it is complete, in the turn its last byte arrives. Comments and unknown fields are skipped. */
export class EventReader {
  readonly #handle: (event: ServerSentEvent) => void;
  readonly #decoder = new StringDecoder('utf8');
  #rest = '';
  #event = '';
  #data: string | null = null;
  #size = 0;
  #id = '';

  constructor(handle: (event: ServerSentEvent) => void) {
    this.#handle = handle;
  }

  /** @throws RangeError for an event without end, and whatever the handler throws */
  push(chunk: Uint8Array): void {
    const text = this.#rest + this.#decoder.write(chunk);
    let start = 0;
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n', start)) {
      this.#line(text.slice(start, end > start && text.charCodeAt(end - 1) === 0x0d ? end - 1 : end));
      start = end + 1;
    }
    this.#rest = text.slice(start);
    if (this.#rest.length > MAX_EVENT) throw new RangeError('event is too large');
  }

  #line(line: string): void {
    if (line === '') {
      const complete = {
        event: this.#event === '' ? 'message' : this.#event,
        data: this.#data,
        id: this.#id,
      };
      this.#event = '';
      this.#data = null;
      this.#size = 0;
      if (complete.data !== null) this.#handle({ ...complete, data: complete.data });
      return;
    }
    this.#size += line.length;
    if (this.#size > MAX_EVENT) throw new RangeError('event is too large');
    const colon = line.indexOf(':');
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(line.charCodeAt(colon + 1) === 0x20 ? colon + 2 : colon + 1);
    if (field === 'event') this.#event = value;
    else if (field === 'data') this.#data = this.#data === null ? value : `${this.#data}\n${value}`;
    else if (field === 'id') this.#id = value;
  }
}
