/** A running mission as its agent holds it: the manifest, tokens that stay fresh, and calls that carry them. */
import { type AuthoritySet, permits } from '../../domain/authority/index.ts';
import type { JsonObject } from '../../domain/json.ts';
import { rfc3339 } from '../../domain/reader.ts';
import type { BrokerClient } from './broker-client.ts';
import type { Credential } from './credential.ts';
import { intentOf } from './declaration.ts';
import { type ChildDeclaration, DelegationGrant } from './delegation.ts';
import { type CallDenied, MissionDenied, type MissionEnd, MissionEnded } from './errors.ts';
import { guardedFetch } from './guarded-fetch.ts';
import { HeldCredentials } from './held-credentials.ts';
import { type HeldToken, HeldTokens } from './held-tokens.ts';
import { ManifestInHand } from './manifest-in-hand.ts';
import { MissionClock } from './mission-clock.ts';
import { END_OF_STATE, ENDS, STATE_OF_END } from './mission-end.ts';
import {
  type AgentMissionState,
  type CanOptions,
  Listeners,
  type LocalRefusal,
  type MissionEvents,
} from './mission-events.ts';
import type { ProofKey } from './proof-key.ts';
import type { Runtime } from './runtime.ts';
import { type HeldCredential, type ManifestAnswer, type Narrowed, readTokenFacts } from './wire.ts';

export interface MissionParts {
  readonly broker: BrokerClient;
  readonly key: ProofKey;
  readonly runtime: Runtime;
  /** Declared resources. */
  readonly resources: readonly string[];
  readonly manifest: ManifestAnswer;
  /** Seconds, this machine's clock: when the manifest was asked for. */
  readonly asked_at: number;
  readonly closed: (mission: Mission) => void;
}

/** Made by `agent.declare()`. */
export class Mission {
  readonly id: string;
  /** What was asked for and not granted, cut by cut, with the rule that cut. */
  readonly narrowed: readonly Narrowed[];
  readonly template: { readonly id: string; readonly version: string };
  readonly #parts: MissionParts;
  readonly #tokens: HeldTokens;
  readonly #credentials: HeldCredentials;
  readonly #nonces = new Map<string, string>();
  readonly #listeners = new Listeners();
  readonly #manifest: ManifestInHand;
  readonly #clock: MissionClock;
  #end: MissionEnd | null = null;

  /** @internal */
  constructor(parts: MissionParts) {
    const { manifest } = parts;
    this.#parts = parts;
    this.id = manifest.id;
    this.narrowed = manifest.narrowed;
    this.template = manifest.template;
    this.#manifest = new ManifestInHand(manifest);
    this.#clock = new MissionClock(parts);
    const { now, random } = parts.runtime;
    const ended = () => this.#finish('mission_expired');
    const failed = (what: string, cause: unknown) =>
      this.#listeners.emit('renewal_failed', {
        what,
        error: cause instanceof Error ? cause : new Error('failed'),
      });
    this.#tokens = new HeldTokens({
      keyOf: ({ audience }) => audience,
      renew: (audience) => this.#renew(audience),
      failed,
      now,
      random,
      deadlines: () => ({ attest_at: this.#clock.attest_at, end_at: this.#endsAt() }),
      ended,
    });
    this.#credentials = new HeldCredentials({
      renew: (id) => this.#renewCredential(id),
      replaced: (credential, before_id) => this.#listeners.emit('replaced', { credential, before_id }),
      failed: ({ type, target }, cause) => failed(`${type} ${target}`, cause),
      endOf: (seconds) => this.#clock.local(seconds),
      now,
      random,
      // Where there is a token, its renewal attests.
      deadlines: () => ({
        attest_at: manifest.tokens.size > 0 ? Number.POSITIVE_INFINITY : this.#clock.attest_at,
        end_at: this.#endsAt(),
      }),
      attest: () => this.#attest(),
      ended,
      alive: () => this.#requireAlive(),
    });
    const tokens = [...manifest.tokens].map(([audience, { value, token_type }]) =>
      this.#clock.held(audience, value, token_type, parts.asked_at),
    );
    this.#clock.attested(parts.asked_at);
    for (const token of tokens) this.#tokens.put(token);
    this.#credentials.put(manifest, parts.asked_at);
  }

  /** `active` or `suspended` while it lives. */
  get state(): AgentMissionState {
    if (this.#end !== null) return STATE_OF_END[this.#end];
    if (this.#parts.runtime.now() >= this.#endsAt()) return 'expired';
    return this.#manifest.now.state === 'active' ? 'active' : 'suspended';
  }

  /** Bumped by every transition and narrowing. */
  get version(): number {
    return this.#manifest.now.version;
  }

  /** RFC 3339, by the broker's clock. */
  get expires_at(): string {
    return rfc3339(this.#manifest.now.expires_at);
  }

  /** What the mission may do now: as granted, minus every narrowing so far that this process has seen. */
  get authority(): AuthoritySet {
    return this.#manifest.now.authority;
  }

  get limits(): ManifestAnswer['limits'] {
    return this.#manifest.now.limits;
  }

  /** What is held, without values, with how long each part outlives a revocation. As of the last manifest. */
  get credentials(): readonly HeldCredential[] {
    return this.#manifest.now.credentials;
  }

  /** What providers made, in the order of the manifest: cloud sessions, logins, secrets. */
  get held(): readonly Credential[] {
    return this.#credentials.all;
  }

  /**
   * One provider credential.
   * @param target role, server or path, as in the manifest; may be left out where there is one of this type
   * @throws TypeError where none or several match
   */
  credential<Type extends string>(type: Type, target?: string): Credential<Type> {
    return this.#credentials.find(type, target);
  }

  /** `true` if the guard would permit this call, as far as it can be told from here. See {@link whyNot}. */
  can(action: string, parameters: JsonObject = {}, options: CanOptions = {}): boolean {
    return this.whyNot(action, parameters, options) === null;
  }

  /**
   * Null if the guard would permit this call, else what it would refuse it for: the same functions decide here and
   * there, without the network. The guard has the last word: it knows revocations, sequences and provenance.
   * @throws TypeError if the mission declared several resources and none is named
   */
  whyNot(action: string, parameters: JsonObject = {}, options: CanOptions = {}): LocalRefusal | null {
    const { state } = this;
    if (state !== 'active') return { code: state === 'suspended' ? 'mission_suspended' : 'mission_over' };
    const resource = options.resource ?? this.#onlyResource();
    const now = this.#parts.runtime.now() + this.#clock.ahead;
    return permits(
      this.#manifest.authority,
      { action, resource, parameters, context: options.context ?? {} },
      now,
    );
  }

  /**
   * An access token for a declared resource, fresh for a while. Renewed ahead of its end, with fresh evidence, by one
   * request however many ask. Prefer {@link fetch}: a token alone is worth nothing without a proof by the key.
   * @throws MissionEnded, MissionDenied, AttestationFailed, BrokerUnavailable
   */
  async token(resource: string): Promise<string> {
    return (await this.#token(resource)).value;
  }

  /**
   * `fetch` with token and proof. Goes only to declared resources, over https or loopback; never follows a redirect (a
   * 3xx answer comes back as it is). After `use_dpop_nonce` and after a denial that a renewal mends, it is sent once
   * more, unless its body is a stream. Answers of the application itself come back as they are, errors too; a network
   * that fails throws what `fetch` throws.
   * @throws CallDenied, and what {@link token} throws; TypeError for headers or redirects that must not be set
   */
  async fetch(url: string | URL, init: RequestInit = {}): Promise<Response> {
    const { runtime, key, resources } = this.#parts;
    return guardedFetch(
      {
        runtime,
        key,
        resources,
        nonces: this.#nonces,
        token: (audience, refused) => this.#token(audience, refused),
        denied: (denial) => this.#denied(denial),
      },
      url,
      init,
    );
  }

  /**
   * Reserves a child mission for another agent and answers the grant that lets it, and nobody else, activate it within
   * a minute. The child gets what it asks for within what this mission may pass on, and ends with this mission.
   * @throws MissionDenied (`delegation_not_permitted`, `not_strict_subset`, ...), and what {@link token} throws
   */
  async delegate(child: ChildDeclaration): Promise<DelegationGrant> {
    const { to, authorization_details, template_id, ...task } = child;
    const intent = intentOf(task, this.#parts.runtime.now());
    const token = await this.#speaking();
    const asked_at = this.#parts.runtime.now();
    const { grant, mission_id, expires_in } = await this.#judged(() =>
      this.#parts.broker.reserve(token.value, {
        sub: to,
        intent,
        ...(authorization_details !== undefined && { authorization_details }),
        ...(template_id !== undefined && { template_id }),
      }),
    );
    return new DelegationGrant({ mission_id, to, expires_at: asked_at + expires_in, value: grant });
  }

  /** Reads the manifest from the broker now; without a token to ask with, by attesting again. @throws as {@link token} */
  async refresh(): Promise<void> {
    if (this.#tokenless()) return this.#attest();
    const token = await this.#speaking();
    const { generation } = this.#credentials;
    await this.#judged(async () =>
      this.#take(await this.#parts.broker.manifest(this.id, token.value), generation),
    );
  }

  /** The work is done: ends the mission at the broker. Every token of it is refused from then on. */
  async complete(): Promise<void> {
    if (this.#end === 'mission_completed') return;
    this.#requireAlive();
    const { broker } = this.#parts;
    const token = this.#tokens.live();
    await this.#judged(() =>
      token === null ? broker.completeAttested(this.id) : broker.complete(this.id, token.value),
    );
    this.#finish('mission_completed');
  }

  /** Stops renewing and forgets the tokens. The mission itself goes on at the broker until it ends or falls silent. */
  close(): void {
    if (this.#end === null) this.#finish('closed');
  }

  /** @returns how to stop listening. A listener that throws is ignored. */
  on<Name extends keyof MissionEvents>(
    name: Name,
    listener: (event: MissionEvents[Name]) => void,
  ): () => void {
    return this.#listeners.on(name, listener);
  }

  /** The manifest; no value is ever in it. */
  toJSON(): Record<string, unknown> {
    return {
      id: this.id,
      state: this.state,
      version: this.version,
      expires_at: this.expires_at,
      template: this.template,
      authority: this.authority,
      limits: this.limits,
      narrowed: this.narrowed,
      credentials: this.credentials,
    };
  }

  [Symbol.for('nodejs.util.inspect.custom')](): Record<string, unknown> {
    return this.toJSON();
  }

  /** A token to speak about this mission with. */
  async #speaking(): Promise<HeldToken> {
    this.#requireAlive();
    return this.#tokens.live() ?? (await this.#token(this.#parts.resources[0] ?? ''));
  }

  /** Nothing but credentials of other systems, or tokens that prove nothing about their holder. */
  #tokenless(): boolean {
    this.#requireAlive();
    return [...this.#parts.manifest.tokens.values()].every(({ token_type }) => token_type !== 'DPoP');
  }

  async #attest(): Promise<void> {
    const { generation } = this.#credentials;
    this.#take(await this.#renewed([]), generation);
  }

  #requireAlive(): void {
    if (this.#end === null && this.#parts.runtime.now() >= this.#endsAt()) this.#finish('mission_expired');
    if (this.#end !== null) throw new MissionEnded(this.id, this.#end);
  }

  async #token(resource: string, refused?: HeldToken): Promise<HeldToken> {
    this.#requireAlive();
    if (!this.#parts.resources.includes(resource))
      throw new TypeError(`${resource} is not a resource that this mission declared`);
    return this.#tokens.get(resource, refused);
  }

  async #renew(audience: string): Promise<HeldToken> {
    const { broker, runtime } = this.#parts;
    const asked_at = runtime.now();
    const answer = await this.#judged(() => broker.renew(this.id, audience));
    const token = this.#clock.held(audience, answer.value, answer.token_type, asked_at);
    this.#clock.attested(asked_at);
    this.#manifest.replaceToken(token, readTokenFacts(answer.value).exp);
    // The token says that the mission changed; the manifest says how.
    const { generation } = this.#credentials;
    if (token.version > this.version || this.#manifest.now.state !== 'active')
      await broker
        .manifest(this.id, answer.value)
        .then((manifest) => this.#take(manifest, generation))
        .catch(() => undefined);
    this.#listeners.emit('renewed', {
      resource: audience,
      version: token.version,
      took_ms: (runtime.now() - asked_at) * 1000,
    });
    return token;
  }

  async #renewCredential(id: string): Promise<ManifestAnswer> {
    const manifest = await this.#renewed([id]);
    this.#take(manifest, null);
    return manifest;
  }

  async #renewed(ids: readonly string[]): Promise<ManifestAnswer> {
    const asked_at = this.#parts.runtime.now();
    const manifest = await this.#judged(() => this.#parts.broker.renewCredentials(this.id, ids));
    this.#clock.attested(asked_at);
    return manifest;
  }

  /** Runs a request about this mission; what it says of the mission's life is remembered. */
  async #judged<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (cause) {
      if (!(cause instanceof MissionDenied)) throw cause;
      const { mission_error } = cause;
      if (mission_error !== null && ENDS.includes(mission_error)) {
        this.#finish(mission_error as MissionEnd);
        throw new MissionEnded(this.id, mission_error as MissionEnd);
      }
      if (mission_error === 'mission_suspended') this.#manifest.suspended();
      // Nothing is left at this audience: another token can still tell what is left elsewhere.
      if (cause.reason === 'authority_contained') await this.#retakeManifest();
      throw cause;
    }
  }

  /** A guard says how the mission stands; the broker is asked, for the guard may be wrong. */
  #denied(denial: CallDenied): void {
    if (denial.code.startsWith('mission_') && this.#end === null)
      void this.#judged(() => this.#retakeManifest()).catch(() => undefined);
  }

  async #retakeManifest(): Promise<void> {
    const token = this.#tokens.live();
    const { generation } = this.#credentials;
    if (token === null) return;
    await this.#parts.broker
      .manifest(this.id, token.value)
      .then((manifest) => this.#take(manifest, generation))
      .catch(() => undefined);
  }

  /** @param generation of the credentials when this manifest was asked for; null for the answer to a renewal */
  #take(manifest: ManifestAnswer, generation: number | null): void {
    if (this.#end !== null) return;
    const change = this.#manifest.take(manifest);
    if (change === null) return;
    const end = END_OF_STATE[manifest.state];
    if (end !== undefined) {
      this.#finish(end);
      return;
    }
    if (generation === this.#credentials.generation) this.#credentials.reconcile(manifest);
    if (change.resumed) {
      this.#tokens.retry();
      this.#credentials.retry();
    }
    if (change.narrowed !== null) this.#listeners.emit('narrowed', change.narrowed);
  }

  /** Seconds, this machine's clock. */
  #endsAt(): number {
    return this.#clock.local(this.#manifest.now.expires_at);
  }

  #onlyResource(): string {
    const [only, ...others] = this.#parts.resources;
    if (only === undefined || others.length > 0)
      throw new TypeError('the mission declared several resources: name one in options.resource');
    return only;
  }

  #finish(why: MissionEnd): void {
    if (this.#end !== null) return;
    this.#end = why;
    this.#tokens.close();
    this.#credentials.close();
    this.#parts.closed(this);
    this.#listeners.emit('ended', { mission_id: this.id, why });
  }
}
