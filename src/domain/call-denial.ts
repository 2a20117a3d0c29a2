/**
 * Denials of one call: one table from code to status, challenge and advice, so that the challenge header, the SDK
 * error, the gateway's answer and the decision event say the same (wire profile 2.7).
 */
import type { RefusalCode } from './authority/model.ts';
import type { JsonValue } from './json.ts';

/** What an agent can do about it. `after`: the same call, later or with a fresh proof. */
export type Retry = 'never' | 'after' | 'renew' | 'with_new_mission';

/** `error` of the challenge (RFC 6750 section 3.1, RFC 9449 section 7.1, RFC 9470 section 3). */
export type ChallengeError =
  | 'invalid_token'
  | 'insufficient_scope'
  | 'invalid_dpop_proof'
  | 'insufficient_user_authentication';

interface Meaning {
  readonly status: 401 | 403 | 503;
  readonly retry: Retry;
  readonly error: ChallengeError | null;
}

const unauthenticated = (retry: Retry, error: ChallengeError | null = 'invalid_token'): Meaning => ({
  status: 401,
  retry,
  error,
});
const forbidden = (retry: Retry): Meaning => ({ status: 403, retry, error: 'insufficient_scope' });
const unavailable: Meaning = { status: 503, retry: 'after', error: null };

/** Refusals of the authority algebra, code for code. */
const REFUSALS = {
  nothing_granted: forbidden('with_new_mission'),
  type_not_covered: forbidden('with_new_mission'),
  resource_not_covered: forbidden('with_new_mission'),
  action_not_covered: forbidden('with_new_mission'),
  constraint_missing: forbidden('with_new_mission'),
  constraint_broader: forbidden('with_new_mission'),
  constraint_contradiction: forbidden('never'),
  constraint_violated: forbidden('with_new_mission'),
  constraint_unevaluable: forbidden('never'),
  delegation_broader: forbidden('with_new_mission'),
  call_refused: forbidden('never'),
  resource_refused: forbidden('never'),
  action_refused: forbidden('never'),
  member_broader: forbidden('with_new_mission'),
} as const satisfies Record<RefusalCode, Meaning>;

/** Codes are only ever added. */
const MEANINGS = {
  credentials_missing: unauthenticated('never', null),
  credentials_malformed: unauthenticated('never'),
  credentials_too_large: unauthenticated('never'),
  scheme_mismatch: unauthenticated('never'),
  token_invalid: unauthenticated('never'),
  token_expired: unauthenticated('renew'),
  /** Step-up (RFC 9470): this route wants a workload that attested itself just now; renewing is that. */
  attestation_too_old: unauthenticated('renew', 'insufficient_user_authentication'),
  token_issued_ahead: unauthenticated('after'),
  token_too_long: unauthenticated('never'),
  /** The signing key is not known here yet; keys are refreshed off the call path. */
  key_unknown: unauthenticated('after'),
  proof_missing: unauthenticated('never', 'invalid_dpop_proof'),
  proof_invalid: unauthenticated('never', 'invalid_dpop_proof'),
  proof_replayed: unauthenticated('after', 'invalid_dpop_proof'),
  /** Too many proofs in one window: none can be told from a replay. */
  proof_memory_full: unavailable,
  token_revoked: unauthenticated('renew'),
  mission_revoked: unauthenticated('with_new_mission'),
  mission_suspended: unauthenticated('after'),
  mission_completed: unauthenticated('with_new_mission'),
  mission_expired: unauthenticated('with_new_mission'),
  /** A newer version of the mission allows less. */
  mission_narrowed: unauthenticated('renew'),
  agent_revoked: unauthenticated('with_new_mission'),
  blocked: unauthenticated('never'),
  key_revoked: unauthenticated('renew'),
  ...REFUSALS,
  /** A rule over what the mission did before; which one is for admins alone. */
  sequence_denied: forbidden('with_new_mission'),
  provenance_denied: forbidden('never'),
  behaviour_denied: forbidden('never'),
  /** The route is not mapped to an action. */
  route_unmapped: forbidden('never'),
  limit_exhausted: forbidden('renew'),
  /** The broker's word is needed and was asked for: it said no. */
  broker_denied: forbidden('never'),
  broker_unreachable: unavailable,
  /** The caller used the synchronous check for an action that needs the broker's word. */
  broker_decision_required: unavailable,
  bundle_missing: unavailable,
  revocations_missing: unavailable,
  revocations_stale: unavailable,
  /** The verifier lacks what the bundle's rules need. */
  rules_unenforceable: unavailable,
  limits_full: unavailable,
  guard_failed: unavailable,
} as const satisfies Record<string, Meaning>;

export type DenialCode = keyof typeof MEANINGS;

/** A refused call. Nothing in it is secret from the holder of the token. */
export interface GuardDenial {
  readonly permitted: false;
  readonly code: DenialCode;
  readonly status: 401 | 403 | 503;
  readonly retry: Retry;
  readonly error: ChallengeError | null;
  /** Constraint key or member that refused, where the agent's own token already shows it. */
  readonly rule?: string;
  readonly wanted?: JsonValue;
  readonly allowed?: JsonValue;
  /** For the verifier's own log, never for the caller. */
  readonly private_reason?: string;
}

export interface DenialDetails {
  readonly retry?: Retry;
  readonly rule?: string;
  readonly wanted?: JsonValue;
  readonly allowed?: JsonValue;
  readonly private_reason?: string;
}

export function denied(code: DenialCode, details?: DenialDetails): GuardDenial {
  return { permitted: false, code, ...MEANINGS[code], ...details };
}

/** What goes back to the caller, for any framework. */
export interface DenialAnswer {
  readonly status: number;
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string>>;
  /** RFC 9457 problem. */
  readonly body: Readonly<Record<string, JsonValue>>;
}

/** Values inside a challenge: what is not visible ASCII, and quotes and backslashes, cannot be in there. */
function quoted(value: string): string {
  let out = '';
  for (const unit of value) out += unit < ' ' || unit > '~' || unit === '"' || unit === '\\' ? '_' : unit;
  return `"${out}"`;
}

/**
 * Status, challenge and body of a denial.
 * @param scheme the scheme that the caller should use: the one it used, or `DPoP`.
 * @param metadata_url RFC 9728 document of this resource.
 */
export function answerOf(denial: GuardDenial, scheme: 'DPoP' | 'Bearer', metadata_url: string): DenialAnswer {
  const body: Record<string, JsonValue> = {
    type: 'about:blank',
    title:
      denial.status === 401 ? 'Unauthorized' : denial.status === 403 ? 'Forbidden' : 'Service Unavailable',
    status: denial.status,
    mission_denial: denial.code,
    retry: denial.retry,
  };
  if (denial.error !== null) body['error'] = denial.error;
  if (denial.rule !== undefined) body['rule'] = denial.rule;
  if (denial.wanted !== undefined) body['wanted'] = denial.wanted;
  if (denial.allowed !== undefined) body['allowed'] = denial.allowed;
  const headers: Record<string, string> = {
    'content-type': 'application/problem+json',
    'cache-control': 'no-store',
  };
  if (denial.status === 503) headers['retry-after'] = '1';
  else {
    const parts = [];
    if (denial.error !== null) parts.push(`error=${quoted(denial.error)}`);
    // A request without credentials learns nothing but where to get some (RFC 6750 section 3.1).
    if (denial.error !== null)
      parts.push(`mission_denial=${quoted(denial.code)}`, `retry=${quoted(denial.retry)}`);
    if (scheme === 'DPoP') parts.push(`algs=${quoted(DPOP_ALGS.join(' '))}`);
    parts.push(`resource_metadata=${quoted(metadata_url)}`);
    headers['www-authenticate'] = `${scheme} ${parts.join(', ')}`;
  }
  return { status: denial.status, headers, body };
}

/** Algorithms of a proof that the guard takes. */
export const DPOP_ALGS: readonly string[] = ['ES256', 'Ed25519', 'EdDSA'];
