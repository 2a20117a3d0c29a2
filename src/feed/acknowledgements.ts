/** What verifier processes said they enforce. In memory, written now and then: after a restart they say it again. */
import type { Store, VerifierInstance } from '../ports.ts';

const RECENT_SECONDS = 30;
/** A process that was silent for this long is gone; the store forgets it too. */
const FORGOTTEN_SECONDS = 86_400;

/** One verifier process, as an admin sees it. */
export interface VerifierView extends VerifierInstance {
  readonly audience: string | null;
  readonly connected: boolean;
  /** Whether it enforces everything that concerns it. */
  readonly current: boolean;
}

export interface Acknowledgement {
  readonly verifier_id: string;
  readonly instance_id: string;
  /** Seconds; null if it has not acknowledged (yet). */
  readonly acknowledged_at: number | null;
}

/** One process, and when its position last advanced. */
export type Known = VerifierInstance & { readonly at: number };

export class Acknowledgements {
  readonly #known = new Map<string, Known>();
  readonly #dirty = new Set<string>();
  readonly #listeners = new Set<() => void>();

  constructor(stored: readonly VerifierInstance[]) {
    for (const instance of stored) this.#known.set(keyOf(instance), { ...instance, at: instance.last_seen });
  }

  /** Every known process. */
  all(): Iterable<Known> {
    return this.#known.values();
  }

  /** A process says up to where it enforces. Never lowers what it said before within an epoch. */
  note(instance: VerifierInstance): void {
    const key = keyOf(instance);
    const known = this.#known.get(key);
    const advanced =
      known === undefined ||
      instance.epoch > known.epoch ||
      (instance.epoch === known.epoch && instance.seq > known.seq);
    const { epoch, seq, at } = advanced ? { ...instance, at: instance.last_seen } : known;
    this.#known.set(key, { ...instance, epoch, seq, at });
    this.#dirty.add(key);
    for (const listener of this.#listeners) listener();
  }

  /**
   * Resolves with what the concerned processes said, as soon as all of them enforce `seq`, and after `max_ms` in any
   * case. A process that was silent for long has been replaced and is not waited for.
   */
  async enforced(
    position: { readonly epoch: number; readonly seq: number },
    concerns: (known: Known) => boolean,
    now: number,
    max_ms: number,
  ): Promise<readonly Acknowledgement[]> {
    const enforces = (known: Known): boolean => known.epoch === position.epoch && known.seq >= position.seq;
    const concerned = (): Known[] =>
      [...this.#known.values()].filter((known) => known.last_seen > now - RECENT_SECONDS && concerns(known));
    const deadline = performance.now() + max_ms;
    while (!concerned().every(enforces) && performance.now() < deadline) await this.#next(deadline);
    return concerned().map((known) => ({
      verifier_id: known.verifier_id,
      instance_id: known.instance_id,
      acknowledged_at: enforces(known) ? known.at : null,
    }));
  }

  /** Writes what changed. Losing it is harmless. */
  async flush(store: Store, now: number): Promise<void> {
    for (const [key, known] of this.#known)
      if (known.last_seen < now - FORGOTTEN_SECONDS) this.#known.delete(key);
    const writes = [...this.#dirty].flatMap((key) => {
      const known = this.#known.get(key);
      if (known === undefined) return [];
      const { at: _at, ...instance } = known;
      return [{ kind: 'acknowledge', instance } as const];
    });
    this.#dirty.clear();
    if (writes.length > 0) await store.atomically(writes).catch(() => undefined);
  }

  /** The next acknowledgements: those that come in one turn of the event loop are looked at once. */
  #next(deadline: number): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#listeners.delete(done);
        setImmediate(resolve);
      };
      const timer = setTimeout(done, Math.max(1, deadline - performance.now()));
      this.#listeners.add(done);
    });
  }
}

function keyOf(instance: { readonly verifier_id: string; readonly instance_id: string }): string {
  return `${instance.verifier_id} ${instance.instance_id}`;
}
