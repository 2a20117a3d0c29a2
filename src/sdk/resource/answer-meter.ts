/** Bytes of one answer: counted before they are released, and held to what the token still may send. */

export interface ByteAllowance {
  /** Takes bytes; false: they must not be sent, and nothing was taken. */
  spend(bytes: number): boolean;
  left(): number;
}

export class AnswerMeter {
  #allowance: ByteAllowance | null = null;
  #bytes = 0;
  #ended = false;

  /** Released so far. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Whether {@link bytes} is all that there will be. */
  get ended(): boolean {
    return this.#ended;
  }

  /** From here on what it counts comes out of `allowance`. */
  limit(allowance: ByteAllowance): void {
    this.#allowance = allowance;
  }

  /** Whether an answer of so many bytes could be sent whole. Takes nothing. */
  fits(bytes: number): boolean {
    return this.#allowance === null || this.#allowance.left() >= bytes;
  }

  /** Before so many bytes are released. False: they must not be; the answer ends here. */
  take(bytes: number): boolean {
    if (bytes === 0) return true;
    if (this.#allowance !== null && !this.#allowance.spend(bytes)) return false;
    this.#bytes += bytes;
    return true;
  }

  end(): void {
    this.#ended = true;
  }
}
