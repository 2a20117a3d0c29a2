/** One provider credential of a mission, as its program holds it: a handle that stays while values come and go. */
import type { CredentialValue } from './credential-values.ts';
import type { HeldCredential } from './wire.ts';

/** @internal What a handle asks. */
export interface CredentialSource {
  descriptor(): HeldCredential;
  value(keep: boolean): Promise<unknown>;
}

/** Made by `mission.credential(...)`. */
export class Credential<Type extends string = string> {
  readonly #source: CredentialSource;

  /** @internal */
  constructor(source: CredentialSource) {
    this.#source = source;
  }

  /** Of the value in hand: each renewal has its own. */
  get id(): string {
    return this.#source.descriptor().id;
  }

  /** `aws_session`, `postgres_role`, ... */
  get type(): Type {
    return this.#source.descriptor().type as Type;
  }

  /** Role, server or path at the provider. */
  get target(): string {
    return this.#source.descriptor().audience;
  }

  /** RFC 3339: of the value in hand. */
  get expires_at(): string {
    return this.#source.descriptor().expires_at;
  }

  /** Seconds that it can still work at worst after it was revoked. */
  get residual_after_revoke_seconds(): number {
    return this.#source.descriptor().residual_after_revoke_seconds;
  }

  /**
   * A value that works now. Read its members where they are needed; printed or serialized as a whole it shows nothing
   * (`reveal` makes a plain copy). One that is used is renewed ahead of its end, and the value before stops working
   * then: ask again for each connection, or listen for `replaced`.
   * @param options `keep: false` for a program that can take no other value later: it is not renewed for this use
   * @throws MissionEnded, MissionDenied, AttestationFailed, BrokerUnavailable
   */
  async value(options: { readonly keep?: boolean } = {}): Promise<CredentialValue<Type>> {
    return (await this.#source.value(options.keep ?? true)) as CredentialValue<Type>;
  }

  /** As the manifest has it; no value is ever in it. */
  toJSON(): HeldCredential {
    return this.#source.descriptor();
  }

  [Symbol.for('nodejs.util.inspect.custom')](): HeldCredential {
    return this.toJSON();
  }
}
