/**
 * The port of a credential provider: hands out something that lives in someone else's system, and takes it
 * back. A new provider is one folder here, one entry type in `domain/authority/types`, and one line in
 * `compose-providers.ts`; `test/providers/conformance.ts` says what it must keep. See docs/providers.md.
 */

import type { EntryType, ProviderEntry } from '../domain/authority/index.ts';
import type { JsonObject } from '../domain/json.ts';

/**
 * How the window between issue and record is closed, so that a crash leaves no credential that nobody
 * remembers (architecture rule 4):
 * - `pre-named`: its name is chosen before it exists, so the pending lease already says what to remove;
 * - `probation`: it is born with a life of at most a minute, and is prolonged only once it is recorded;
 * - `tag-deny`: it carries the mission's id, which can be denied whether it was ever made or not;
 * - `sealed-token`: only the credential itself can revoke itself, so it is kept, sealed, for that alone.
 */
export type Gap = 'pre-named' | 'probation' | 'tag-deny' | 'sealed-token';

/** What one lease is for. */
export interface LeaseRequest<E extends ProviderEntry = ProviderEntry> {
  /** `lse_...`, unique for ever; names derived from it cannot meet another's. */
  readonly lease_id: string;
  readonly mission: { readonly id: string; readonly agent: string };
  readonly entry: E;
  /** Seconds since the epoch; the credential must not work after it. */
  readonly not_after: number;
}

/**
 * What revoking needs, and nothing that the client got. Written by a provider, stored with the lease, and read
 * only by the provider of the same type: JSON, without any secret unless sealed.
 */
export type Revocation = JsonObject;

export interface IssueContext {
  /** Seconds since the epoch. */
  readonly now: number;
  /**
   * Makes a more precise revocation durable before going on. A provider with `probation` or `sealed-token`
   * calls it before the credential could outlive a minute; when it throws, the credential must not be prolonged.
   */
  record(revocation: Revocation): Promise<void>;
}

/** A credential that exists and whose revocation is known. */
export interface Issued {
  /** What the client gets, once; never stored and never logged. */
  readonly deliver: JsonObject;
  readonly revocation: Revocation;
  /** Seconds since the epoch; when it stops working by itself, at most `not_after`. */
  readonly expires_at: number;
}

/** How long something may still work after a revocation, at worst, and why. Always stated (wire profile 1). */
export interface Residual {
  readonly seconds: number;
  readonly why: string;
}

export interface Provider<E extends ProviderEntry = ProviderEntry> {
  /** Type of entry, of credential and of lease. */
  readonly type: E['type'];
  /** Parses strictly (`parse`) and judges subsets (`within`): pure, and shared with templates and policy. */
  readonly entry: EntryType<E>;
  readonly gap: Gap;
  /** Lives that this provider can give; a mission that ends earlier than `min_seconds` is served if it can be cut. */
  readonly ttl: { readonly min_seconds: number; readonly max_seconds: number };
  /** Server, role or path, as the manifest shows it. */
  target(entry: E): string;
  /**
   * Checks everything that can be known without a request, and says what would revoke it. The result is
   * recorded with the pending lease before {@link issue} is called; revoking it is right even if it never was.
   * @throws Denied `invalid_authorization_details` for what this provider cannot express or has not configured
   */
  plan(request: LeaseRequest<E>, now: number): Revocation;
  /**
   * Makes the credential. If it throws, nothing is left behind or `revoke(plan(...))` removes it.
   * @throws ProviderFault
   */
  issue(request: LeaseRequest<E>, context: IssueContext): Promise<Issued>;
  /**
   * Ends it. Idempotent: repeated, late, after expiry, or for something that was never made, it succeeds.
   * @param reach `mission` when the whole mission is over: a provider may then end everything that it ever gave
   *   the mission, known or not. `lease`, the default, leaves the mission's other credentials alone.
   * @returns how long it can still work from now on
   * @throws ProviderFault and has revoked nothing that it does not say
   */
  revoke(revocation: Revocation, now: number, reach?: 'lease' | 'mission'): Promise<Residual>;
  /**
   * Where a counterpart has no room for one revocation more: ends everything of one target that was issued before,
   * whoever has it. The same time again changes nothing. Absent where revocations always have room.
   * @param issued_before seconds since the epoch
   * @param dry_run says what it would leave, and asks nobody
   * @throws ProviderFault, or Denied for a target that is not configured
   */
  denyOlder?(target: string, issued_before: number, now: number, dry_run?: boolean): Promise<Residual>;
  /** What a revocation now would leave, without asking anyone: for manifests and previews. */
  residual(expires_at: number, now: number): Residual;
  /** Closes connections. */
  close(): Promise<void>;
}

/** Every configured provider by the type that it serves. */
export type Providers = ReadonlyMap<string, Provider>;

export type ProviderFaultCode =
  /** No answer in time: it may or may not have happened. */
  | 'timeout'
  /** No connection, or the counterpart says that it cannot now. */
  | 'unavailable'
  /** The counterpart refuses this broker or this request. */
  | 'refused'
  /** The answer is not what its documentation promises. */
  | 'unexpected_answer'
  /** The counterpart is not set up as the configuration says. */
  | 'misconfigured'
  /** The counterpart has no way, or no room, to say what the entry asks. */
  | 'inexpressible'
  /** The credential is dead, and something inert of it could not be removed. */
  | 'leftover'
  /** The deny list on the role has no room: the session works until its end. */
  | 'deny_list_full';

/**
 * What went wrong at a counterpart. The detail is written by us: it never quotes an answer, a request or an
 * error of a library, any of which may carry a token.
 */
export class ProviderFault extends Error {
  readonly provider: string;
  readonly code: ProviderFaultCode;
  readonly detail: string;
  /** Whether the same call may succeed later. */
  readonly retry: boolean;
  /** For a failed revocation: how long the credential still works. */
  readonly residual: Residual | null;
  /** For a failed revocation: what a person could do instead. */
  readonly alternative: JsonObject | null;

  constructor(
    provider: string,
    code: ProviderFaultCode,
    detail: string,
    more: { readonly retry?: boolean; readonly residual?: Residual; readonly alternative?: JsonObject } = {},
  ) {
    super(`${provider}: ${code}: ${detail}`);
    this.name = 'ProviderFault';
    this.provider = provider;
    this.code = code;
    this.detail = detail;
    this.retry = more.retry ?? (code === 'timeout' || code === 'unavailable');
    this.residual = more.residual ?? null;
    this.alternative = more.alternative ?? null;
  }
}
