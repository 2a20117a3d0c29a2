/** What a mission tells its agent: states, events, local answers. */
import type { AuthoritySet, CallContext, Refusal } from '../../domain/authority/index.ts';
import type { Credential } from './credential.ts';
import type { MissionEnd } from './errors.ts';

/** As the broker last said, judged by the clock first. `closed` is this process's own word. */
export type AgentMissionState = 'active' | 'suspended' | 'revoked' | 'completed' | 'expired' | 'closed';

/** Why a call would be refused; `mission_over` and `mission_suspended` besides the guard's own codes. */
export type LocalRefusal =
  | Refusal
  | { readonly code: 'mission_over' | 'mission_suspended'; readonly key?: never };

export interface CanOptions {
  /** What is acted on. May be left out where the mission declared one resource. */
  readonly resource?: string;
  /** Facts that the resource server will know: amount, recipients, tenant, ... */
  readonly context?: CallContext;
}

/** The mission has less than before: an admin or a rule contained it. Authority never grows. */
export interface NarrowedEvent {
  readonly version: number;
  readonly authority: AuthoritySet;
  /** RFC 3339. */
  readonly expires_at: string;
  readonly before: {
    readonly version: number;
    readonly authority: AuthoritySet;
    readonly expires_at: string;
  };
}

export interface EndedEvent {
  readonly mission_id: string;
  readonly why: MissionEnd;
}

export interface RenewedEvent {
  readonly resource: string;
  readonly version: number;
  /** From the request to the answer, evidence included. */
  readonly took_ms: number;
}

/** A provider credential has another value: the one before stopped working at its provider. */
export interface ReplacedEvent {
  readonly credential: Credential;
  readonly before_id: string;
}

/** A renewal ahead of an end failed. What is in hand works until then; it is tried again where that may help. */
export interface RenewalFailedEvent {
  /** Audience of a token, or type and target of a provider credential. */
  readonly what: string;
  readonly error: Error;
}

export interface MissionEvents {
  readonly narrowed: NarrowedEvent;
  readonly ended: EndedEvent;
  readonly renewed: RenewedEvent;
  readonly replaced: ReplacedEvent;
  readonly renewal_failed: RenewalFailedEvent;
}

type Name = keyof MissionEvents;

/** Who listens to one mission. A listener's fault is not the mission's. */
export class Listeners {
  readonly #by_name = new Map<Name, Set<(event: never) => void>>();

  on<N extends Name>(name: N, listener: (event: MissionEvents[N]) => void): () => void {
    const listening = this.#by_name.get(name) ?? new Set();
    this.#by_name.set(name, listening.add(listener));
    return () => void listening.delete(listener);
  }

  emit<N extends Name>(name: N, event: MissionEvents[N]): void {
    for (const listener of this.#by_name.get(name) ?? []) {
      try {
        (listener as (event: MissionEvents[N]) => void)(event);
      } catch {
        // Theirs.
      }
    }
  }
}
