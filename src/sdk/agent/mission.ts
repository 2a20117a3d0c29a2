/** A running mission as its agent holds it: the manifest, tokens that stay fresh, and calls that carry them. */
import { type AuthoritySet, type CompiledAuthority, permits } from '../../domain/authority/index.ts';
import type { JsonObject } from '../../domain/json.ts';
import { rfc3339 } from '../../domain/reader.ts';
import type { BrokerClient } from './broker-client.ts';
import { type CallDenied, MissionDenied, type MissionEnd, MissionEnded } from './errors.ts';
import { guardedFetch } from './guarded-fetch.ts';
import { type HeldToken, HeldTokens } from './held-tokens.ts';
import { understood } from './local-authority.ts';
import type { AgentMissionState, CanOptions, LocalRefusal, MissionEvents } from './mission-events.ts';
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

/** Tokens are renewed between these parts of their life, and the mission is attested again likewise. */
const RENEW_EARLIEST = 0.65;
const RENEW_SPREAD = 0.15;
/** `iat` is a whole second: a token may end this much before it seems to. */
const ROUNDING_SECONDS = 1;

const END_OF_STATE: Readonly<Record<string, MissionEnd>> = {
  revoked: 'mission_revoked',
  cascaded: 'mission_revoked',
  expired: 'mission_expired',
  completed: 'mission_completed',
};
const STATE_OF_END: Readonly<Record<MissionEnd, AgentMissionState>> = {
  mission_revoked: 'revoked',
  mission_expired: 'expired',
  mission_completed: 'completed',
  closed: 'closed',
};
const ENDS: readonly string[] = ['mission_revoked', 'mission_expired', 'mission_completed'];

/** Made by `agent.declare()`. */
export class Mission {
  readonly id: string;
  /** What was asked for and not granted, cut by cut, with the rule that cut. */
  readonly narrowed: readonly Narrowed[];
  readonly template: { readonly id: string; readonly version: string };
  readonly #parts: MissionParts;
  readonly #tokens: HeldTokens;
  readonly #nonces = new Map<string, string>();
  readonly #listeners: { [Name in keyof MissionEvents]: Set<(event: MissionEvents[Name]) => void> } = {
    narrowed: new Set(),
    ended: new Set(),
    renewed: new Set(),
  };
  #manifest: ManifestAnswer;
  #authority: CompiledAuthority;
  /** Broker's clock minus this machine's, seconds. */
  #ahead = 0;
  #attest_at: number;
  #end: MissionEnd | null = null;

  /** @internal */
  constructor(parts: MissionParts) {
    const { manifest } = parts;
    this.#parts = parts;
    this.id = manifest.id;
    this.narrowed = manifest.narrowed;
    this.template = manifest.template;
    this.#manifest = manifest;
    this.#authority = understood(manifest.authority);
    this.#attest_at = parts.asked_at;
    this.#tokens = new HeldTokens({
      renew: (audience) => this.#renew(audience),
      now: parts.runtime.now,
      random: parts.runtime.random,
      deadlines: () => ({ attest_at: this.#attest_at, end_at: this.#endsAt() }),
      ended: () => this.#finish('mission_expired'),
    });
    const tokens = [...manifest.tokens].map(([audience, { value, token_type }]) =>
      this.#held(audience, value, token_type, parts.asked_at),
    );
    this.#attested(parts.asked_at);
    for (const token of tokens) this.#tokens.put(token);
  }

  /** `active` or `suspended` while it lives. */
  get state(): AgentMissionState {
    if (this.#end !== null) return STATE_OF_END[this.#end];
    if (this.#parts.runtime.now() >= this.#endsAt()) return 'expired';
    return this.#manifest.state === 'active' ? 'active' : 'suspended';
  }

  /** Bumped by every transition and narrowing. */
  get version(): number {
    return this.#manifest.version;
  }

  /** RFC 3339, by the broker's clock. */
  get expires_at(): string {
    return rfc3339(this.#manifest.expires_at);
  }

  /** What the mission may do now: as granted, minus every narrowing so far that this process has seen. */
  get authority(): AuthoritySet {
    return this.#manifest.authority;
  }

  get limits(): ManifestAnswer['limits'] {
    return this.#manifest.limits;
  }

  /** What is held, without values, with how long each part outlives a revocation. As of the last manifest. */
  get credentials(): readonly HeldCredential[] {
    return this.#manifest.credentials;
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
    const now = this.#parts.runtime.now() + this.#ahead;
    return permits(this.#authority, { action, resource, parameters, context: options.context ?? {} }, now);
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

  /** Reads the manifest from the broker now. @throws as {@link token} */
  async refresh(): Promise<void> {
    if (this.#end !== null) throw new MissionEnded(this.id, this.#end);
    const token = this.#tokens.live() ?? (await this.#token(this.#parts.resources[0] ?? ''));
    await this.#judged(async () => this.#take(await this.#parts.broker.manifest(this.id, token.value)));
  }

  /** The work is done: ends the mission at the broker. Every token of it is refused from then on. */
  async complete(): Promise<void> {
    if (this.#end === 'mission_completed') return;
    if (this.#end !== null) throw new MissionEnded(this.id, this.#end);
    const token = this.#tokens.live() ?? (await this.#token(this.#parts.resources[0] ?? ''));
    await this.#judged(() => this.#parts.broker.complete(this.id, token.value));
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
    this.#listeners[name].add(listener);
    return () => void this.#listeners[name].delete(listener);
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

  async #token(resource: string, refused?: HeldToken): Promise<HeldToken> {
    if (this.#end === null && this.#parts.runtime.now() >= this.#endsAt()) this.#finish('mission_expired');
    if (this.#end !== null) throw new MissionEnded(this.id, this.#end);
    if (!this.#parts.resources.includes(resource))
      throw new TypeError(`${resource} is not a resource that this mission declared`);
    return this.#tokens.get(resource, refused);
  }

  async #renew(audience: string): Promise<HeldToken> {
    const { broker, runtime } = this.#parts;
    const asked_at = runtime.now();
    const answer = await this.#judged(() => broker.renew(this.id, audience));
    const token = this.#held(audience, answer.value, answer.token_type, asked_at);
    this.#attested(asked_at);
    this.#replaceCredential(token, readTokenFacts(answer.value).exp);
    // The token says that the mission changed; the manifest says how.
    if (token.version > this.version || this.#manifest.state !== 'active')
      await broker
        .manifest(this.id, answer.value)
        .then((manifest) => this.#take(manifest))
        .catch(() => undefined);
    this.#emit('renewed', {
      resource: audience,
      version: token.version,
      took_ms: (runtime.now() - asked_at) * 1000,
    });
    return token;
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
      if (mission_error === 'mission_suspended') this.#manifest = { ...this.#manifest, state: 'suspended' };
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
    if (token === null) return;
    await this.#parts.broker
      .manifest(this.id, token.value)
      .then((manifest) => this.#take(manifest))
      .catch(() => undefined);
  }

  #take(manifest: ManifestAnswer): void {
    if (this.#end !== null || manifest.version < this.version) return;
    const before = this.#manifest;
    this.#manifest = manifest;
    this.#authority = understood(manifest.authority);
    const end = END_OF_STATE[manifest.state];
    if (end !== undefined) {
      this.#finish(end);
      return;
    }
    const less =
      JSON.stringify(before.authority) !== JSON.stringify(manifest.authority) ||
      manifest.expires_at < before.expires_at;
    if (manifest.version > before.version && less)
      this.#emit('narrowed', {
        version: manifest.version,
        authority: manifest.authority,
        expires_at: rfc3339(manifest.expires_at),
        before: {
          version: before.version,
          authority: before.authority,
          expires_at: rfc3339(before.expires_at),
        },
      });
  }

  #replaceCredential({ id, audience }: HeldToken, exp: number): void {
    const credentials = this.#manifest.credentials.map((held) =>
      held.type === 'jwt' && held.audience === audience ? { ...held, id, expires_at: rfc3339(exp) } : held,
    );
    this.#manifest = { ...this.#manifest, credentials };
  }

  /** Lives are measured from the request, by this machine's clock: the broker's may be another. */
  #held(audience: string, value: string, token_type: 'DPoP' | 'Bearer', asked_at: number): HeldToken {
    const facts = readTokenFacts(value);
    const now = this.#parts.runtime.now();
    // Between request and answer the clocks agree; outside, the difference is at least this much.
    this.#ahead = Math.min(0, facts.iat - Math.floor(asked_at)) + Math.max(0, facts.iat - now);
    const life = facts.exp - facts.iat;
    const renew_at = asked_at + life * (RENEW_EARLIEST + RENEW_SPREAD * this.#parts.runtime.random());
    const usable_until = asked_at + life - Math.min(ROUNDING_SECONDS, life / 4);
    const { id, version } = facts;
    return { id, audience, value, token_type, version, usable_until, renew_at };
  }

  #attested(asked_at: number): void {
    const { attest_before } = this.#parts.manifest;
    const within = attest_before - (this.#parts.asked_at + this.#ahead);
    this.#attest_at = asked_at + within * (RENEW_EARLIEST + RENEW_SPREAD * this.#parts.runtime.random());
  }

  /** Seconds, this machine's clock. */
  #endsAt(): number {
    return this.#manifest.expires_at - this.#ahead;
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
    this.#parts.closed(this);
    this.#emit('ended', { mission_id: this.id, why });
  }

  #emit<Name extends keyof MissionEvents>(name: Name, event: MissionEvents[Name]): void {
    for (const listener of this.#listeners[name]) {
      try {
        listener(event);
      } catch {
        // A listener's fault is not the mission's.
      }
    }
  }
}
