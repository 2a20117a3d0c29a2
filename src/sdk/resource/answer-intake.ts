/** One answer on its way out, collected up to a bound: JSON is read as a structure, everything else as text. */
import { type JsonValue, parseJson } from '../../domain/json.ts';
import type { AnswerReader } from './state.ts';

export interface AnswerTarget {
  /** `whole` is false for a piece of an answer that was too large to hold. */
  take(body: JsonValue, whole: boolean): void;
  /** The mission has taken in what nobody here can read. */
  taint(): void;
  held(): Promise<void> | null;
}

/** Held of one answer. A larger one is taken in by pieces of this size, as text. */
const HELD_BYTES = 1_048_576;
const JSON_LIMITS = { max_bytes: HELD_BYTES, max_members: 200_000, max_depth: 64 };

export class AnswerIntake implements AnswerReader {
  readonly #target: AnswerTarget;
  #decoder = new TextDecoder('utf-8');
  #json = false;
  #readable = true;
  #text = '';
  #bytes = 0;
  #pieces = 0;
  #ended = false;

  constructor(target: AnswerTarget) {
    this.#target = target;
  }

  begin(content_type: string | undefined, plain: boolean): void {
    const [type = ''] = (content_type ?? '').toLowerCase().split(';', 1);
    const media = type.trim();
    this.#json = media === 'application/json' || media.endsWith('+json');
    this.#readable = plain && (this.#json || media === '' || media.startsWith('text/') || isTextual(media));
  }

  write(chunk: Uint8Array): void {
    if (this.#ended || chunk.length === 0) return;
    // What is released before the whole is known may already instruct the agent.
    this.#target.taint();
    this.#collect(chunk);
  }

  held(): Promise<void> | null {
    return this.#target.held();
  }

  /** The last bytes, taken in before anything of them is released. */
  finish(chunk: Uint8Array): void {
    if (!this.#ended && chunk.length > 0) this.#collect(chunk);
    this.end();
  }

  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    if (!this.#readable) return;
    this.#text += this.#decoder.decode();
    if (this.#text === '') return;
    if (this.#pieces > 0) this.#target.take(this.#text, false);
    else this.#target.take(this.#json ? parsed(this.#text) : this.#text, true);
    this.#text = '';
  }

  #collect(chunk: Uint8Array): void {
    if (!this.#readable) {
      this.#target.taint();
      return;
    }
    for (let at = 0; at < chunk.length; ) {
      const part = chunk.subarray(at, at + HELD_BYTES - this.#bytes);
      at += part.length;
      this.#bytes += part.length;
      this.#text += this.#decoder.decode(part, { stream: true });
      if (this.#bytes >= HELD_BYTES) this.#flush();
    }
  }

  #flush(): void {
    // A value must not be cut in two: what follows the last white space goes with the next piece, if it is short.
    const cut = Math.max(this.#text.lastIndexOf(' '), this.#text.lastIndexOf('\n'));
    const keep = cut > 0 && this.#text.length - cut < 4_096 ? cut : this.#text.length;
    this.#target.taint();
    this.#target.take(this.#text.slice(0, keep), false);
    this.#text = this.#text.slice(keep);
    this.#bytes = 0;
    this.#pieces++;
  }
}

function isTextual(media: string): boolean {
  return (
    ['application/xml', 'application/yaml', 'application/x-ndjson'].includes(media) || media.endsWith('+xml')
  );
}

/** What says that it is JSON and is not is text. */
function parsed(text: string): JsonValue {
  try {
    return parseJson(text, JSON_LIMITS);
  } catch {
    return text;
  }
}
