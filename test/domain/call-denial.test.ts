/** Denials of a call: one table for every framework, and nothing in a header that could end it early. */
import { describe, expect, it } from 'vitest';
import { answerOf, type DenialCode, DPOP_ALGS, denied } from '../../src/domain/call-denial.ts';

const MISSION = ['403', 'with_new_mission', 'insufficient_scope'];
const NEVER = ['403', 'never', 'insufficient_scope'];
const TOKEN = '401';
const LATER = ['503', 'after', ''];
/** What is published: status, what to do, `error` of the challenge. */
const PUBLISHED: Readonly<Record<DenialCode, readonly string[]>> = {
  credentials_missing: [TOKEN, 'never', ''],
  credentials_malformed: [TOKEN, 'never', 'invalid_token'],
  credentials_too_large: [TOKEN, 'never', 'invalid_token'],
  scheme_mismatch: [TOKEN, 'never', 'invalid_token'],
  token_invalid: [TOKEN, 'never', 'invalid_token'],
  token_expired: [TOKEN, 'renew', 'invalid_token'],
  attestation_too_old: [TOKEN, 'renew', 'insufficient_user_authentication'],
  token_issued_ahead: [TOKEN, 'after', 'invalid_token'],
  token_too_long: [TOKEN, 'never', 'invalid_token'],
  key_unknown: [TOKEN, 'after', 'invalid_token'],
  proof_missing: [TOKEN, 'never', 'invalid_dpop_proof'],
  proof_invalid: [TOKEN, 'never', 'invalid_dpop_proof'],
  proof_replayed: [TOKEN, 'after', 'invalid_dpop_proof'],
  proof_memory_full: LATER,
  token_revoked: [TOKEN, 'renew', 'invalid_token'],
  mission_revoked: [TOKEN, 'with_new_mission', 'invalid_token'],
  mission_suspended: [TOKEN, 'after', 'invalid_token'],
  mission_completed: [TOKEN, 'with_new_mission', 'invalid_token'],
  mission_expired: [TOKEN, 'with_new_mission', 'invalid_token'],
  mission_narrowed: [TOKEN, 'renew', 'invalid_token'],
  agent_revoked: [TOKEN, 'with_new_mission', 'invalid_token'],
  blocked: [TOKEN, 'never', 'invalid_token'],
  key_revoked: [TOKEN, 'renew', 'invalid_token'],
  nothing_granted: MISSION,
  type_not_covered: MISSION,
  resource_not_covered: MISSION,
  action_not_covered: MISSION,
  constraint_missing: MISSION,
  constraint_broader: MISSION,
  constraint_contradiction: NEVER,
  constraint_violated: MISSION,
  constraint_unevaluable: NEVER,
  delegation_broader: MISSION,
  call_refused: NEVER,
  resource_refused: NEVER,
  action_refused: NEVER,
  member_broader: MISSION,
  sequence_denied: MISSION,
  provenance_denied: NEVER,
  behaviour_denied: NEVER,
  route_unmapped: NEVER,
  limit_exhausted: ['403', 'renew', 'insufficient_scope'],
  broker_denied: NEVER,
  broker_unreachable: LATER,
  broker_decision_required: LATER,
  bundle_missing: LATER,
  revocations_missing: LATER,
  revocations_stale: LATER,
  rules_unenforceable: LATER,
  limits_full: LATER,
  guard_failed: LATER,
};
const METADATA = 'https://erp.example.com/.well-known/oauth-protected-resource';

describe('a denial code', () => {
  it.each(Object.entries(PUBLISHED))('%s means what was published', (code, [status, retry, error]) => {
    expect(denied(code as DenialCode)).toStrictEqual({
      permitted: false,
      code,
      status: Number(status),
      retry,
      error: error === '' ? null : error,
    });
  });

  it('carries what the guard found beside it', () => {
    const details = {
      retry: 'never',
      rule: 'max_amount',
      wanted: 5,
      allowed: [1],
      private_reason: 'p',
    } as const;
    expect(denied('constraint_violated', details)).toStrictEqual({
      permitted: false,
      code: 'constraint_violated',
      status: 403,
      error: 'insufficient_scope',
      ...details,
    });
  });
});

describe('the answer', () => {
  it('says in header and body the same', () => {
    expect(answerOf(denied('proof_replayed'), 'DPoP', METADATA)).toStrictEqual({
      status: 401,
      headers: {
        'content-type': 'application/problem+json',
        'cache-control': 'no-store',
        'www-authenticate':
          'DPoP error="invalid_dpop_proof", mission_denial="proof_replayed", retry="after", ' +
          `algs="ES256 Ed25519 EdDSA", resource_metadata="${METADATA}"`,
      },
      body: {
        type: 'about:blank',
        title: 'Unauthorized',
        status: 401,
        mission_denial: 'proof_replayed',
        retry: 'after',
        error: 'invalid_dpop_proof',
      },
    });
    expect(DPOP_ALGS).toStrictEqual(['ES256', 'Ed25519', 'EdDSA']);
  });

  it('shows what was wanted and what is allowed, and never the private reason', () => {
    const answer = answerOf(
      denied('constraint_violated', {
        rule: 'max_amount',
        wanted: null,
        allowed: 0,
        private_reason: 'secret',
      }),
      'Bearer',
      METADATA,
    );
    expect(answer).toStrictEqual({
      status: 403,
      headers: {
        'content-type': 'application/problem+json',
        'cache-control': 'no-store',
        'www-authenticate':
          'Bearer error="insufficient_scope", mission_denial="constraint_violated", retry="with_new_mission", ' +
          `resource_metadata="${METADATA}"`,
      },
      body: {
        type: 'about:blank',
        title: 'Forbidden',
        status: 403,
        mission_denial: 'constraint_violated',
        retry: 'with_new_mission',
        error: 'insufficient_scope',
        rule: 'max_amount',
        wanted: null,
        allowed: 0,
      },
    });
  });

  it('challenges nobody for what is not theirs to mend, and says when to come again', () => {
    expect(answerOf(denied('revocations_stale'), 'DPoP', METADATA)).toStrictEqual({
      status: 503,
      headers: {
        'content-type': 'application/problem+json',
        'cache-control': 'no-store',
        'retry-after': '1',
      },
      body: {
        type: 'about:blank',
        title: 'Service Unavailable',
        status: 503,
        mission_denial: 'revocations_stale',
        retry: 'after',
      },
    });
  });

  it('tells a request without credentials nothing but where to get some', () => {
    expect(answerOf(denied('credentials_missing'), 'Bearer', METADATA).headers['www-authenticate']).toBe(
      `Bearer resource_metadata="${METADATA}"`,
    );
    expect(answerOf(denied('credentials_missing'), 'DPoP', METADATA).headers['www-authenticate']).toBe(
      `DPoP algs="ES256 Ed25519 EdDSA", resource_metadata="${METADATA}"`,
    );
  });

  it('never lets a value end its quotes, or the header', () => {
    const header = (url: string) =>
      answerOf(denied('credentials_missing'), 'Bearer', url).headers['www-authenticate'];
    expect(header('a"b\\c\r\nd\u007fé\u0000')).toBe('Bearer resource_metadata="a_b_c__d___"');
    expect(header(' !#[]~')).toBe('Bearer resource_metadata=" !#[]~"');
    expect(header('😀')).toBe('Bearer resource_metadata="_"');
  });
});
