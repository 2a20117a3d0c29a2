/**
 * The one place where a refusal becomes HTTP: exhaustive over the tags of {@link Denial} (wire profile 2.7).
 * OAuth endpoints answer RFC 6749 JSON, all others RFC 9457 problem details.
 */
import { type Denial, Denied } from '../domain/denial.ts';

export type ErrorStyle = 'oauth' | 'problem';

export interface WireError {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
  readonly headers: Readonly<Record<string, string>>;
}

interface Meaning {
  /** OAuth `error`; the last segment of the problem's type. */
  readonly error: string;
  readonly description?: string;
  readonly status?: number;
  /** Status where the style is `problem`, if it differs. */
  readonly problem_status?: number;
  readonly extra?: Readonly<Record<string, unknown>>;
  readonly headers?: Readonly<Record<string, string>>;
}

/** The one body for evidence that did not appraise: it must not tell which check failed. */
const EVIDENCE_REFUSED = 'the evidence was not accepted';

function meaningOf(denial: Denial): Meaning {
  switch (denial.tag) {
    case 'invalid_request':
      return { error: 'invalid_request', description: denial.detail };
    case 'invalid_evidence':
      return { error: 'invalid_request', description: EVIDENCE_REFUSED };
    case 'invalid_mission_intent_evidence':
      return {
        error: 'invalid_mission_intent_evidence',
        description: 'evidence is the subject_token; it does not belong in the mission intent',
      };
    case 'invalid_authorization_details':
      return {
        error: 'invalid_authorization_details',
        description: denial.detail,
        ...(denial.reason && { extra: { mission_denial_reason: denial.reason } }),
      };
    case 'access_denied':
      return {
        error: 'access_denied',
        problem_status: 403,
        ...(denial.detail !== undefined && { description: denial.detail }),
        extra: { mission_denial_reason: denial.reason },
      };
    case 'invalid_target':
      return {
        error: 'invalid_target',
        description: 'resource is not an audience whose tokens are handed out here',
      };
    case 'unknown_mission':
      return { error: 'invalid_grant', description: 'no such mission for this key', problem_status: 404 };
    case 'dead_mission':
      return { error: 'invalid_grant', extra: { mission_error: denial.error }, problem_status: 409 };
    case 'invalid_dpop_proof':
      return { error: 'invalid_dpop_proof', description: denial.detail };
    case 'use_dpop_nonce':
      return {
        error: 'use_dpop_nonce',
        description: 'use the nonce of the DPoP-Nonce header in the next proof',
      };
    case 'unsupported_grant_type':
      return {
        error: 'unsupported_grant_type',
        description: 'only urn:ietf:params:oauth:grant-type:token-exchange',
      };
    case 'invalid_client':
      return {
        error: 'invalid_client',
        status: 401,
        headers: { 'www-authenticate': 'Bearer error="invalid_client"' },
      };
    case 'provider_failed':
      return {
        error: 'temporarily_unavailable',
        status: 503,
        description: `${denial.provider} could not be handed out, so nothing was; what was made already is revoked`,
        ...(denial.retry && { headers: { 'retry-after': '5' } }),
      };
    case 'overloaded':
      return {
        error: 'temporarily_unavailable',
        status: 503,
        headers: { 'retry-after': String(denial.retry_after_seconds) },
      };
    case 'unauthenticated':
      return { error: 'unauthenticated', status: 401, headers: { 'www-authenticate': 'Bearer, DPoP' } };
    case 'forbidden':
      return { error: 'forbidden', status: 403, description: `this needs the role ${denial.needs}` };
    case 'not_found':
      return { error: 'not_found', status: 404 };
    case 'conflict':
      return { error: 'conflict', status: 409, description: denial.detail };
  }
}

/** Any thrown value, as the wire shows it. What is not a {@link Denied} is a fault of ours and says nothing. */
export function wireError(cause: unknown, style: ErrorStyle): WireError {
  const meaning: Meaning =
    cause instanceof Denied
      ? meaningOf(cause.denial)
      : { error: 'server_error', status: 503, headers: { 'retry-after': '1' } };
  const headers = { 'cache-control': 'no-store', ...meaning.headers };
  if (style === 'oauth')
    return {
      status: meaning.status ?? 400,
      headers: { 'content-type': 'application/json', ...headers },
      body: {
        error: meaning.error,
        ...(meaning.description !== undefined && { error_description: meaning.description }),
        ...meaning.extra,
      },
    };
  const status = meaning.problem_status ?? meaning.status ?? 400;
  return {
    status,
    headers: { 'content-type': 'application/problem+json', ...headers },
    body: {
      type: `urn:sortie:problem:${meaning.error}`,
      title: meaning.error.replaceAll('_', ' '),
      status,
      ...(meaning.description !== undefined && { detail: meaning.description }),
      ...meaning.extra,
    },
  };
}
