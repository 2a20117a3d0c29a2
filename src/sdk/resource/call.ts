/** One request as the guard judges it, built by an adapter from configuration and the request. */
import type { Call, CallContext } from '../../domain/authority/index.ts';
import type { JsonObject } from '../../domain/json.ts';
import type { AnswerMeter } from './answer-meter.ts';

export interface GuardedCall extends Call {
  /** `Authorization` as received; two of them are a list, which is refused. */
  readonly authorization: string | undefined;
  /** `DPoP` as received. */
  readonly proof: string | undefined;
  readonly method: string;
  /** Target of the request with its origin from configuration, never from a Host header. */
  readonly url: string;
  readonly action: string;
  /** What is acted on: the audience, or something below it. */
  readonly resource: string;
  readonly parameters: JsonObject;
  /** Facts that this resource server knows; never copied from the request unchecked. */
  readonly context: CallContext;
  /** Ask the broker before permitting, whatever the action's labels say. */
  readonly consequential?: boolean;
  /** Lowers the bundle's bound for this route, seconds; it can not raise it. */
  readonly max_staleness_seconds?: number;
  /**
   * Step-up (RFC 9470 `max_age`): the token must have been minted at most this many seconds ago. An agent renews,
   * which is attesting again, and repeats the call.
   */
  readonly max_token_age_seconds?: number;
  /** Bytes that the answer will carry, where known beforehand and counted by no meter; for `max_egress_volume`. */
  readonly egress_bytes?: number;
  /** Counts the answer's bytes as they are released; adapters bring one. */
  readonly meter?: AnswerMeter;
}

export const NO_PARAMETERS: JsonObject = Object.freeze({});
export const NO_CONTEXT: CallContext = Object.freeze({});
