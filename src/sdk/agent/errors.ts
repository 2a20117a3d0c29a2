/**
 * What can go wrong for an agent, as types. Messages teach and name the fix; none of them, and none of their members,
 * holds a token, a proof or evidence, so that they can be logged as they are.
 */
import type { JsonValue } from '../../domain/json.ts';

/** What an agent can do about a refusal. `after`: the same again, later. */
export type Retry = 'never' | 'after' | 'renew' | 'with_new_mission';

/** Base of every error that this SDK throws on purpose. `code` is stable; messages may change. */
export abstract class SortieError extends Error {
  abstract readonly code: string;

  /** For logs: name, code, message and the error's own members. */
  toJSON(): Record<string, unknown> {
    const { cause: _cause, ...members } = this as Record<string, unknown>;
    return { ...members, name: this.name, code: this.code, message: this.message };
  }
}

/** What the broker said, in one form for its OAuth and its problem answers (wire profile 2.7). */
export interface BrokerRefusal {
  readonly status: number;
  /** `access_denied`, `invalid_authorization_details`, `invalid_grant`, `invalid_request`, ... */
  readonly error: string;
  readonly description: string | null;
  /** `mission_denial_reason`, such as `policy_denied`, `out_of_template_ceiling` or `authority_contained`. */
  readonly reason: string | null;
  /** `mission_error`, such as `mission_suspended`. */
  readonly mission_error: string | null;
}

/** The broker refused to create, renew or show a mission. Asking again without a change is refused again. */
export class MissionDenied extends SortieError {
  override readonly name = 'MissionDenied';
  readonly code: string;
  readonly status: number;
  readonly error: string;
  readonly description: string | null;
  readonly reason: string | null;
  readonly mission_error: string | null;

  constructor(refusal: BrokerRefusal) {
    const why = refusal.reason ?? refusal.mission_error ?? refusal.error;
    super(`the broker refused: ${why}${refusal.description === null ? '' : ` (${refusal.description})`}`);
    this.code = why;
    this.status = refusal.status;
    this.error = refusal.error;
    this.description = refusal.description;
    this.reason = refusal.reason;
    this.mission_error = refusal.mission_error;
  }
}

/** Why a mission is over for good. `closed`: this process called `mission.close()`. */
export type MissionEnd = 'mission_revoked' | 'mission_expired' | 'mission_completed' | 'closed';

/** The mission is over: nothing can be done under it any more. A new one has to be declared. */
export class MissionEnded extends SortieError {
  override readonly name = 'MissionEnded';
  readonly code: MissionEnd;
  readonly mission_id: string;

  constructor(mission_id: string, why: MissionEnd) {
    super(`mission ${mission_id} is over: ${why}`);
    this.code = why;
    this.mission_id = mission_id;
  }
}

export interface CallRefusal {
  /** Status of the answer; null where the call was never sent. */
  readonly status: number | null;
  /** `mission_denial` of the answer, or a code of this SDK: `resource_undeclared`, `insecure_origin`. */
  readonly code: string;
  readonly retry: Retry;
  /** Constraint key or member that refused, where the agent's own token already shows it. */
  readonly rule: string | null;
  readonly wanted: JsonValue | null;
  readonly allowed: JsonValue | null;
  readonly retry_after_seconds: number | null;
}

/** A resource server's guard refused one call, or this SDK refused to send it. */
export class CallDenied extends SortieError {
  override readonly name = 'CallDenied';
  readonly code: string;
  readonly retry: Retry;
  readonly status: number | null;
  readonly rule: string | null;
  readonly wanted: JsonValue | null;
  readonly allowed: JsonValue | null;
  readonly retry_after_seconds: number | null;
  readonly method: string;
  /** Without query and fragment. */
  readonly url: string;

  constructor(refusal: CallRefusal, call: { readonly method: string; readonly url: string }) {
    super(`${call.method} ${call.url} was denied: ${refusal.code} (retry: ${refusal.retry})`);
    this.code = refusal.code;
    this.retry = refusal.retry;
    this.status = refusal.status;
    this.rule = refusal.rule;
    this.wanted = refusal.wanted;
    this.allowed = refusal.allowed;
    this.retry_after_seconds = refusal.retry_after_seconds;
    this.method = call.method;
    this.url = call.url;
  }
}

/** No evidence could be had (`evidence_source`), or the broker did not accept it (`evidence_refused`). */
export class AttestationFailed extends SortieError {
  override readonly name = 'AttestationFailed';
  readonly code: 'evidence_source' | 'evidence_refused';

  constructor(code: AttestationFailed['code'], why: string) {
    super(why);
    this.code = code;
  }
}

/** The broker could not be reached, or shed the request, through every attempt. */
export class BrokerUnavailable extends SortieError {
  override readonly name = 'BrokerUnavailable';
  readonly code = 'broker_unavailable';
  /** Status of the last answer; null where there was none. */
  readonly status: number | null;
  readonly attempts: number;
  /** As the broker asked, where it did. */
  readonly retry_after_seconds: number | null;

  constructor(
    why: string,
    facts: {
      readonly status: number | null;
      readonly attempts: number;
      readonly retry_after_seconds: number | null;
    },
  ) {
    super(`the broker is unavailable: ${why} (${facts.attempts} attempt${facts.attempts === 1 ? '' : 's'})`);
    this.status = facts.status;
    this.attempts = facts.attempts;
    this.retry_after_seconds = facts.retry_after_seconds;
  }
}
