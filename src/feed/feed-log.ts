/**
 * The newest entries of one audience, serialized once: what streams send, what a reader that was away for a moment
 * missed, and the end of a snapshot. Older ones are in the store.
 */
import type { StoredFeedEntry } from '../ports.ts';

export interface LoggedEntry {
  readonly seq: number;
  /** JSON of the entry without `prev`. */
  readonly json: string;
}

/** About two megabytes. */
const MAX_ENTRIES = 10_000;

export class FeedLog {
  #entries: LoggedEntry[] = [];
  #complete_after: number | null = null;
  #head = 0;

  /** The log has every entry with a higher seq than this; null while that is not known. */
  get complete_after(): number | null {
    return this.#complete_after;
  }

  /** Says that the store's head was `seq`: every entry beyond it has been, or will be, added. */
  headIs(seq: number): void {
    this.#complete_after ??= seq;
    this.#head = Math.max(this.#head, seq);
  }

  /** The highest seq that is known to exist, this audience's or another's. */
  get head(): number {
    return this.#head;
  }

  add(entry: StoredFeedEntry): LoggedEntry {
    const logged = { seq: entry.seq, json: jsonOf(entry) };
    this.#entries.push(logged);
    this.#head = Math.max(this.#head, entry.seq);
    if (this.#entries.length > MAX_ENTRIES) {
      const dropped = this.#entries.splice(0, MAX_ENTRIES / 2).at(-1);
      if (this.#complete_after !== null && dropped !== undefined)
        this.#complete_after = Math.max(this.#complete_after, dropped.seq);
    }
    return logged;
  }

  /** Entries after `seq`, or null where the log does not reach back so far. */
  after(seq: number): readonly LoggedEntry[] | null {
    if (this.#complete_after === null || seq < this.#complete_after) return null;
    const entries = this.#entries;
    // Most readers are at the end: look from there.
    let from = entries.length;
    while (from > 0 && (entries[from - 1]?.seq ?? 0) > seq) from--;
    return entries.slice(from);
  }
}

/** As a verifier reads it: whom else it went to is nobody's business. */
export function jsonOf(entry: StoredFeedEntry): string {
  const { audiences: _audiences, ...told } = entry;
  return JSON.stringify(told);
}
