/** The provider credentials of one mission: a handle for each, its value renewed ahead of its end while it is used. */
import type { JsonObject } from '../../domain/json.ts';
import { instant } from '../../domain/reader.ts';
import { Credential } from './credential.ts';
import { Kept, type KeptOptions, type Perishable } from './kept.ts';
import type { HeldCredential, ManifestAnswer } from './wire.ts';

interface Held extends Perishable {
  /** Names the handle: the id that it had first. */
  readonly handle: string;
  /** Of the value that this one took the place of. */
  readonly before_id: string | null;
  readonly value: JsonObject;
}

export interface HeldCredentialsOptions {
  /** Asks the broker for the next value of one credential; answers a manifest with that value in it. */
  readonly renew: (id: string) => Promise<ManifestAnswer>;
  readonly replaced: (credential: Credential, before_id: string) => void;
  readonly failed: (credential: Credential, cause: unknown) => void;
  /** A time of the broker's clock by this machine's. */
  readonly endOf: (seconds: number) => number;
  readonly now: () => number;
  readonly random: () => number;
  readonly deadlines: KeptOptions<Held>['deadlines'];
  readonly ended: () => void;
  /** Throws once the mission is over. */
  readonly alive: () => void;
  /** Attests the mission, where no token's renewal does. */
  readonly attest: () => Promise<void>;
}

/** No credential has an empty id: what is renewed under it is the mission's attestation. */
const ATTESTATION = '';

const RENEW_EARLIEST = 0.65;
const RENEW_SPREAD = 0.15;
/** A value that lasts as long as the mission, give or take a rounding, has no next one that lasts longer. */
const SAME_END_SECONDS = 2;

export class HeldCredentials {
  readonly #options: HeldCredentialsOptions;
  readonly #kept: Kept<Held>;
  /** In the order of the first manifest. */
  readonly #handles = new Map<string, Credential>();
  readonly #descriptors = new Map<string, HeldCredential>();
  #generation = 0;

  constructor(options: HeldCredentialsOptions) {
    this.#options = options;
    this.#kept = new Kept<Held>({
      keyOf: ({ handle }) => handle,
      renew: (handle) => this.#renew(handle),
      renewed: (held) => this.#renewed(held),
      failed: (handle, cause) => {
        const credential = this.#handles.get(handle);
        if (credential !== undefined) options.failed(credential, cause);
      },
      now: options.now,
      random: options.random,
      deadlines: options.deadlines,
      ended: options.ended,
      attest_key: ATTESTATION,
    });
  }

  /** Another one after each renewal: what was asked for before says nothing about what came since. */
  get generation(): number {
    return this.#generation;
  }

  get all(): readonly Credential[] {
    return [...this.#handles.values()];
  }

  /** @throws TypeError where none or several match */
  find<Type extends string>(type: Type, target: string | undefined): Credential<Type> {
    const [found, ...others] = this.all.filter(
      (credential) => credential.type === type && (target === undefined || credential.target === target),
    );
    if (found === undefined || others.length > 0)
      throw new TypeError(
        `this mission holds ${found === undefined ? 'no' : 'several'} ${type}${target === undefined ? '' : ` for ${target}`}`,
      );
    return found as Credential<Type>;
  }

  /** Takes up the credentials of a manifest that has their values. @param asked_at seconds, this machine's clock */
  put(manifest: ManifestAnswer, asked_at: number): void {
    for (const descriptor of manifest.credentials) {
      const value = manifest.values.get(descriptor.id);
      if (descriptor.type === 'jwt' || value === undefined) continue;
      this.#handle(descriptor);
      this.#kept.put(this.#held(descriptor.id, descriptor, value, asked_at));
    }
  }

  /** What a manifest no longer has was revoked; whoever uses it gets the next, if the mission still carries one. */
  reconcile(manifest: ManifestAnswer): void {
    const there = new Set(manifest.credentials.map(({ id }) => id));
    for (const [handle, { id }] of this.#descriptors) if (!there.has(id)) this.#kept.lose(handle);
  }

  /** The mission is active again. */
  retry(): void {
    this.#kept.retry();
  }

  close(): void {
    this.#kept.close();
  }

  #handle(descriptor: HeldCredential): void {
    const handle = descriptor.id;
    this.#descriptors.set(handle, descriptor);
    this.#handles.set(
      handle,
      new Credential({
        descriptor: () => this.#descriptors.get(handle) ?? descriptor,
        value: async (keep) => {
          this.#options.alive();
          return (await (keep ? this.#kept.get(handle) : this.#kept.peek(handle))).value;
        },
      }),
    );
  }

  async #renew(handle: string): Promise<Held> {
    if (handle === ATTESTATION) {
      await this.#options.attest();
      const always = Number.POSITIVE_INFINITY;
      return { id: '', handle, before_id: null, value: {}, usable_until: always, renew_at: always };
    }
    const before = this.#descriptors.get(handle);
    if (before === undefined) throw new TypeError('no such credential');
    const asked_at = this.#options.now();
    const manifest = await this.#options.renew(before.id);
    const next_id = manifest.replaced.get(before.id) ?? '';
    const next = manifest.credentials.find(({ id }) => id === next_id);
    const value = manifest.values.get(next_id);
    if (next === undefined || value === undefined) throw new TypeError('the answer has no value for it');
    this.#descriptors.set(handle, next);
    this.#generation += 1;
    return this.#held(handle, next, value, asked_at, before.id);
  }

  #renewed({ handle, before_id }: Held): void {
    const credential = this.#handles.get(handle);
    if (credential !== undefined && before_id !== null) this.#options.replaced(credential, before_id);
  }

  /** Lives are measured by this machine's clock: the broker's may be another. */
  #held(
    handle: string,
    descriptor: HeldCredential,
    value: JsonObject,
    asked_at: number,
    before_id: string | null = null,
  ): Held {
    const { endOf, deadlines, random } = this.#options;
    const usable_until = endOf(instant(descriptor.expires_at) ?? 0);
    const life = usable_until - asked_at;
    return {
      id: descriptor.id,
      handle,
      before_id,
      value,
      usable_until,
      renew_at:
        usable_until >= deadlines().end_at - SAME_END_SECONDS
          ? Number.POSITIVE_INFINITY
          : asked_at + life * (RENEW_EARLIEST + RENEW_SPREAD * random()),
    };
  }
}
