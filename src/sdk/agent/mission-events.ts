/** What a mission tells its agent: states, events, local answers. */
import type { AuthoritySet, CallContext, Refusal } from '../../domain/authority/index.ts';
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

export interface MissionEvents {
  readonly narrowed: NarrowedEvent;
  readonly ended: EndedEvent;
  readonly renewed: RenewedEvent;
}
