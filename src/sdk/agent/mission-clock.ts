/**
 * When things of a mission are due. Lives are measured from the request, by this machine's clock: the broker's may be
 * another.
 */
import type { HeldToken } from './held-tokens.ts';
import type { Runtime } from './runtime.ts';
import { type ManifestAnswer, readTokenFacts } from './wire.ts';

/** Tokens are renewed between these parts of their life, and the mission is attested again likewise. */
const RENEW_EARLIEST = 0.65;
const RENEW_SPREAD = 0.15;
/** `iat` is a whole second: a token may end this much before it seems to. */
const ROUNDING_SECONDS = 1;

export class MissionClock {
  readonly #parts: {
    readonly runtime: Runtime;
    readonly manifest: ManifestAnswer;
    readonly asked_at: number;
  };
  #ahead = 0;
  #attest_at: number;

  /** @param parts `asked_at`: when the manifest was asked for; seconds, this machine's clock */
  constructor(parts: {
    readonly runtime: Runtime;
    readonly manifest: ManifestAnswer;
    readonly asked_at: number;
  }) {
    this.#parts = parts;
    this.#attest_at = parts.asked_at;
  }

  /** Broker's clock minus this machine's, seconds. */
  get ahead(): number {
    return this.#ahead;
  }

  /** Attest again from here on; seconds, this machine's clock. */
  get attest_at(): number {
    return this.#attest_at;
  }

  /** A time of the broker's by this machine's clock. */
  local(seconds: number): number {
    return seconds - this.#ahead;
  }

  /** A token as held, and what it says about the clocks. */
  held(audience: string, value: string, token_type: 'DPoP' | 'Bearer', asked_at: number): HeldToken {
    const facts = readTokenFacts(value);
    const { now, random } = this.#parts.runtime;
    // Between request and answer the clocks agree; outside, the difference is at least this much.
    this.#ahead = Math.min(0, facts.iat - Math.floor(asked_at)) + Math.max(0, facts.iat - now());
    const life = facts.exp - facts.iat;
    const renew_at = asked_at + life * (RENEW_EARLIEST + RENEW_SPREAD * random());
    const usable_until = asked_at + life - Math.min(ROUNDING_SECONDS, life / 4);
    const { id, version } = facts;
    return { id, audience, value, token_type, version, usable_until, renew_at };
  }

  attested(asked_at: number): void {
    const { manifest, runtime, asked_at: first } = this.#parts;
    const within = manifest.attest_before - (first + this.#ahead);
    this.#attest_at = asked_at + within * (RENEW_EARLIEST + RENEW_SPREAD * runtime.random());
  }
}
