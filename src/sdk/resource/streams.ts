/**
 * Answers that stay open: a stream, SSE or WebSocket lives no longer than the token that opened it. Judged again when
 * the feed changes and once a second for what the clock ends.
 */

import { type GuardedCall, NO_CONTEXT, NO_PARAMETERS } from './call.ts';
import type { GuardDenial } from './denial.ts';
import { lifetime } from './stages/lifetime.ts';
import { mission } from './stages/mission.ts';
import { revocation } from './stages/revocation.ts';
import type { GuardState } from './state.ts';
import type { VerifiedToken } from './token.ts';

interface Watched {
  readonly token: VerifiedToken;
  readonly cut: (denial: GuardDenial) => void;
}

/** The stages that do not look at the call see this one. */
const NO_CALL: GuardedCall = Object.freeze({
  authorization: undefined,
  proof: undefined,
  method: '',
  url: '',
  action: '',
  resource: '',
  parameters: NO_PARAMETERS,
  context: NO_CONTEXT,
});

export class OpenStreams {
  readonly #state: GuardState;
  readonly #open = new Set<Watched>();

  constructor(state: GuardState) {
    this.#state = state;
  }

  get size(): number {
    return this.#open.size;
  }

  /** Null while the token lives. */
  judge(token: VerifiedToken, now: number): GuardDenial | null {
    return (
      lifetime(NO_CALL, token, this.#state, now) ??
      revocation(NO_CALL, token, this.#state, now) ??
      mission(NO_CALL, token, this.#state, now)
    );
  }

  watch(token: VerifiedToken, cut: (denial: GuardDenial) => void): () => void {
    const watched = { token, cut };
    this.#open.add(watched);
    return () => {
      this.#open.delete(watched);
    };
  }

  /** Cuts every stream whose token has died. One that throws while it is cut stops no other. */
  sweep(now: number): void {
    for (const watched of this.#open) {
      const denial = this.judge(watched.token, now);
      if (denial === null) continue;
      this.#open.delete(watched);
      try {
        watched.cut(denial);
      } catch {
        // It is no longer watched; the others still have to be cut.
      }
    }
  }
}
