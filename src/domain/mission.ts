/**
 * The mission: the durable record of one declared task, its granted authority and its life.
 * Pure: `now` is an argument everywhere, in seconds since the epoch.
 *
 * Source: wire profile 1, 2.6; draft-mcguinness-oauth-mission (state of 2026-08-22).
 */
import type { AuthoritySet, Containment } from './authority/index.ts';
import type { MissionError } from './denial.ts';

/** How strong the evidence was, strongest first (wire profile 1). */
export const TIERS = ['bound', 'live', 'reusable', 'enrolled', 'dev'] as const;
export type Tier = (typeof TIERS)[number];

/** `true` if evidence of tier `have` satisfies a template that requires `required`. */
export function tierSatisfies(have: Tier, required: Tier): boolean {
  return TIERS.indexOf(have) <= TIERS.indexOf(required);
}

/** Missions in a line, the root included (wire profile 2.5). */
export const MAX_PATH = 8;

/** States as stored. `expired` is judged by the clock first, see {@link stateAt}. */
export const MISSION_STATES = ['active', 'suspended', 'revoked', 'completed', 'expired', 'cascaded'] as const;
export type MissionState = (typeof MISSION_STATES)[number];

export const TERMINAL_STATES: readonly MissionState[] = ['revoked', 'completed', 'expired', 'cascaded'];

export interface MissionIntent {
  readonly goal: string;
  readonly resources: readonly string[];
  /** RFC 3339. */
  readonly expires_at: string;
  readonly constraints?: readonly string[];
  readonly success_criteria?: readonly string[];
  readonly purpose?: string;
  readonly goal_lang?: string;
  readonly needs?: readonly {
    readonly resource: string;
    readonly actions: readonly string[];
    readonly why: string;
  }[];
  /** Id of an earlier mission that this one goes on with. */
  readonly continues?: string;
  readonly controls?: MissionControls;
}

/** Closed (wire profile 2.2). Volumes in bytes, durations in seconds. */
export interface MissionControls {
  readonly max_calls?: number;
  readonly max_derivations?: number;
  readonly max_duration?: number;
  readonly max_budget?: { readonly amount: string; readonly currency: string };
  readonly max_egress_volume?: number;
  readonly acr?: string;
}

export interface TemplateRef {
  readonly id: string;
  readonly version: string;
  /** `sha-256:...`, the hash that a person approved. */
  readonly hash: string;
}

export interface Mission {
  readonly id: string;
  readonly state: MissionState;
  /** Bumped by every transition and narrowing; tokens carry it. */
  readonly version: number;
  readonly created_at: number;
  readonly expires_at: number;
  /** When the current state was entered; a dead mission's end. */
  readonly state_since: number;
  readonly state_reason: string | null;
  /** Root agent of the tree (`sub` of its tokens). */
  readonly sub: string;
  /** The agent that holds the key (`client_id`); equals `sub` unless delegated. */
  readonly agent: string;
  readonly instance: string;
  /** RFC 7638 thumbprint of the only key that may use this mission. */
  readonly jkt: string;
  readonly parent_id: string | null;
  /** Ids from the root to this mission, both included; at most 8. */
  readonly path: readonly string[];
  /** Nested actors, outermost last, as in the token's `act`; null for a root mission. */
  readonly act: JsonAct | null;
  readonly attester: string;
  readonly rule: string;
  readonly tier: Tier;
  /** Digest of the evidence that created it; never the evidence. */
  readonly evidence_digest: string;
  readonly template: TemplateRef;
  readonly policy_version: string;
  readonly intent: MissionIntent;
  readonly proposal: AuthoritySet | null;
  /** Granted at creation; the effective set is this minus the containments. */
  readonly authority: AuthoritySet;
  readonly containments: readonly Containment[];
  readonly intent_hash: string;
  readonly proposal_hash: string | null;
  readonly authority_hash: string;
  readonly status_list: number;
  readonly status_index: number;
  readonly derivations: number;
  readonly max_derivations: number | null;
  readonly declared_by: 'launcher' | 'agent';
  /** It has taken in untrusted content, or was declared by somebody who had. */
  readonly tainted: boolean;
  /** The latter: nothing that it says vouches for anything. Kept by the store, which knows the instance's missions. */
  readonly born_tainted?: boolean;
  /** Seconds; a mission silent for longer than `attest_every` is suspended. */
  readonly attest_every_seconds: number;
  readonly last_attested_at: number;
  readonly token_ttl_seconds: number;
  readonly creation_request_id: string | null;
  readonly creation_fingerprint: string | null;
}

export interface JsonAct {
  readonly sub: string;
  readonly act?: JsonAct;
}

/** What may happen to a mission, and from which states. Anything else is a conflict. */
const TRANSITIONS = {
  suspend: { from: ['active'], to: 'suspended' },
  resume: { from: ['suspended'], to: 'active' },
  revoke: { from: ['active', 'suspended'], to: 'revoked' },
  complete: { from: ['active', 'suspended'], to: 'completed' },
  expire: { from: ['active', 'suspended'], to: 'expired' },
  cascade: { from: ['active', 'suspended'], to: 'cascaded' },
} as const satisfies Record<string, { from: readonly MissionState[]; to: MissionState }>;

export type MissionEvent = keyof typeof TRANSITIONS;

/** The state after `event`, or null where the lifecycle does not allow it (wire profile 2.6). */
export function nextState(state: MissionState, event: MissionEvent): MissionState | null {
  const transition = TRANSITIONS[event];
  return (transition.from as readonly MissionState[]).includes(state) ? transition.to : null;
}

/** States from which `event` is allowed. */
export function statesBefore(event: MissionEvent): readonly MissionState[] {
  return TRANSITIONS[event].from;
}

/** Expiry is judged by the clock before the stored state, so that a late reaper never extends a life. */
export function stateAt(mission: Pick<Mission, 'state' | 'expires_at'>, now: number): MissionState {
  if (mission.expires_at <= now && (mission.state === 'active' || mission.state === 'suspended'))
    return 'expired';
  return mission.state;
}

/** Why a mission that is not active cannot mint, in the words told to its own key. */
export function missionError(state: Exclude<MissionState, 'active'>): MissionError {
  switch (state) {
    case 'suspended':
      return 'mission_suspended';
    case 'completed':
      return 'mission_completed';
    case 'expired':
      return 'mission_expired';
    case 'revoked':
    case 'cascaded':
      return 'mission_revoked';
  }
}

/** Longest life of a token minted now: template TTL, mission end, and the evidence's end where it counts. */
export function tokenExpiry(
  now: number,
  token_ttl_seconds: number,
  mission_expires_at: number,
  evidence_expires_at: number | null,
): number {
  return Math.min(
    now + token_ttl_seconds,
    mission_expires_at,
    evidence_expires_at ?? Number.MAX_SAFE_INTEGER,
  );
}
