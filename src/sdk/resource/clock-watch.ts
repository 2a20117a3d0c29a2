/**
 * Notices that the wall clock was set back. Ages are measured with it, because the broker's times are wall times: after
 * such a step what is held would look fresher than it is, and the staleness bound would last as much longer.
 */

/** Smaller steps are how clocks are kept right. */
const TOLERATED_SECONDS = 1;

export class ClockWatch {
  readonly #now: () => number;
  readonly #monotonic_ms: () => number;
  #wall: number;
  #passed_ms: number;

  /**
   * @param now seconds, may jump
   * @param monotonic_ms milliseconds, never jumps
   */
  constructor(now: () => number, monotonic_ms: () => number = () => performance.now()) {
    this.#now = now;
    this.#monotonic_ms = monotonic_ms;
    this.#wall = now();
    this.#passed_ms = monotonic_ms();
  }

  /** Whether the clock lost more than a second since the last time this was asked. */
  wasSetBack(): boolean {
    const [wall, passed_ms] = [this.#now(), this.#monotonic_ms()];
    const lost = (passed_ms - this.#passed_ms) / 1000 - (wall - this.#wall);
    this.#wall = wall;
    this.#passed_ms = passed_ms;
    // Written so that a NaN counts as set back.
    return !(lost <= TOLERATED_SECONDS);
  }
}
