import { describe, expect, it } from 'vitest';
import type { GuardedCall } from '../../../src/sdk/resource/call.ts';
import {
  AUDIENCE,
  Bench,
  bundleOf,
  call,
  ENTRY,
  issuerKey,
  mint,
  NOW,
  outcome,
  pair,
  prove,
} from './support.ts';

const bearer = (token: string): Partial<GuardedCall> => ({
  authorization: `Bearer ${token}`,
  proof: undefined,
});

describe('a good call', () => {
  it('is permitted, first and again', () => {
    const bench = new Bench().ready();
    const token = mint();
    expect(outcome(bench.check({ token }))).toBe('permitted');
    const again = bench.check({ token });
    expect(again.permitted && again.claims.mission.id).toBe('msn_self');
    expect(bench.state.tokens.size).toBe(1);
  });

  it('works with each algorithm that the broker signs with', () => {
    for (const alg of ['ES256', 'RS256', 'Ed25519'] as const) {
      const bench = new Bench().ready();
      const key = pair(alg, 'key-2');
      bench.state.install(bundleOf({ keys: [issuerKey.jwk, key.jwk] }));
      expect(outcome(bench.check({ token: mint({}, {}, key) }))).toBe('permitted');
    }
  });

  it('takes a bearer token that is not bound, and the scheme in any case', () => {
    const bench = new Bench().ready();
    const token = mint({ cnf: undefined });
    for (const scheme of ['Bearer', 'bearer', 'BEARER'])
      expect(outcome(bench.check({ token, ...bearer(token), authorization: `${scheme} ${token}` }))).toBe(
        'permitted',
      );
    expect(bench.state.tokens.size).toBe(1);
    const bound = mint();
    expect(outcome(bench.check({ token: bound, authorization: `dpop ${bound}` }))).toBe('permitted');
  });
});

describe('closed until it knows', () => {
  it('denies without a bundle, and without a snapshot', () => {
    const bench = new Bench();
    expect(outcome(bench.check())).toBe('bundle_missing');
    bench.state.install(bundleOf());
    expect(outcome(bench.check())).toBe('revocations_missing');
  });

  it('denies when the feed is older than the bound, and recovers with a heartbeat', () => {
    const bench = new Bench().ready();
    const token = mint();
    expect(outcome(bench.check({ token }))).toBe('permitted');
    bench.now = NOW + 31;
    const stale = bench.guard.check(call(token, { proof: prove(token, { claims: { iat: bench.now } }) }));
    expect(outcome(stale)).toBe('revocations_stale');
    expect(stale.permitted || [stale.status, stale.retry]).toStrictEqual([503, 'after']);
    bench.beat();
    expect(outcome(bench.check({ token, proof: prove(token, { claims: { iat: bench.now } }) }))).toBe(
      'permitted',
    );
  });

  it('a route may ask for less staleness, never for more', () => {
    const bench = new Bench().ready();
    bench.now = NOW + 10;
    expect(outcome(bench.check({ max_staleness_seconds: 5 }))).toBe('revocations_stale');
    expect(outcome(bench.check({ max_staleness_seconds: 15 }))).toBe('permitted');
    expect(outcome(bench.check({ max_staleness_seconds: Number.NaN }))).toBe('revocations_stale');
    bench.now = NOW + 40;
    expect(outcome(bench.check({ max_staleness_seconds: 500 }))).toBe('revocations_stale');
  });

  it('denies after a gap until the next snapshot', () => {
    const bench = new Bench().ready();
    const token = mint();
    bench.revoke({ kind: 'agent', key: 'somebody', prev: 5 });
    expect(outcome(bench.check({ token }))).toBe('revocations_missing');
    bench.state.revocations.load({ epoch: 1, seq: 9, ts: NOW, max_token_seconds: 900, entries: [] }, NOW);
    expect(outcome(bench.check({ token }))).toBe('permitted');
  });

  it('a broken clock denies', () => {
    const bench = new Bench().ready();
    const token = mint();
    expect(outcome(bench.check({ token }))).toBe('permitted');
    bench.now = Number.NaN;
    expect(bench.check({ token }).permitted).toBe(false);
  });

  it('an error inside a stage denies', () => {
    const bench = new Bench({
      sequence: {
        judge: () => {
          throw new Error('boom');
        },
      },
    }).ready();
    expect(outcome(bench.check())).toBe('guard_failed');
  });
});

describe('life of a token', () => {
  it('ends exactly at exp, though it is held', () => {
    const bench = new Bench().ready();
    const token = mint({ cnf: undefined, exp: NOW + 20 });
    bench.now = NOW + 19.999;
    expect(outcome(bench.check({ token, ...bearer(token) }))).toBe('permitted');
    bench.now = NOW + 20;
    expect(outcome(bench.check({ token, ...bearer(token) }))).toBe('token_expired');
    expect(bench.state.tokens.size).toBe(0);
    expect(outcome(bench.check({ token, ...bearer(token) }))).toBe('token_expired');
  });

  it('ends with the mission, whatever exp says', () => {
    const bench = new Bench().ready();
    const token = mint({ cnf: undefined, mission: { expires_at: NOW + 5 } });
    expect(outcome(bench.check({ token, ...bearer(token) }))).toBe('permitted');
    bench.now = NOW + 5;
    expect(outcome(bench.check({ token, ...bearer(token) }))).toBe('mission_expired');
  });

  it('a token that outlives what the feed keeps is refused', () => {
    expect(outcome(new Bench().ready().check({ token: mint({ exp: NOW - 10 + 901 }) }))).toBe(
      'token_too_long',
    );
  });

  it('a token from the future is refused beyond a minute', () => {
    const bench = new Bench().ready();
    expect(outcome(bench.check({ token: mint({ iat: NOW + 59 }) }))).toBe('permitted');
    expect(outcome(bench.check({ token: mint({ iat: NOW + 61, exp: NOW + 300 }) }))).toBe(
      'token_issued_ahead',
    );
  });

  it('a token of a key that left the bundle is forgotten', () => {
    const bench = new Bench().ready();
    const token = mint();
    bench.check({ token });
    bench.state.install(bundleOf({ keys: [pair('ES256', 'key-2').jwk] }));
    expect(outcome(bench.check({ token }))).toBe('key_unknown');
  });
});

describe('revocation', () => {
  it('each fate has its code and its advice, in the next call', () => {
    for (const [change, code, retry] of [
      [{ kind: 'mission', key: 'msn_self' }, 'mission_revoked', 'with_new_mission'],
      [{ kind: 'mission', key: 'msn_self', reason_code: 'admin_suspended' }, 'mission_suspended', 'after'],
      [
        { kind: 'mission', key: 'msn_self', reason_code: 'attestation_overdue' },
        'mission_suspended',
        'renew',
      ],
      [
        { kind: 'mission', key: 'msn_self', reason_code: 'completed' },
        'mission_completed',
        'with_new_mission',
      ],
      [{ kind: 'mission', key: 'msn_self', effect: 'narrow', min_version: 2 }, 'mission_narrowed', 'renew'],
      [{ kind: 'mission_tree', key: 'msn_self' }, 'mission_revoked', 'with_new_mission'],
      [
        { kind: 'agent', key: 'k8s/payments/reconciler', issued_before: NOW },
        'agent_revoked',
        'with_new_mission',
      ],
      [{ kind: 'agent', key: 'k8s/payments/reconciler', reason_code: 'blocked' }, 'blocked', 'never'],
      [{ kind: 'signing_key', key: 'key-1' }, 'key_revoked', 'renew'],
      [{ kind: 'issuer', key: 'https://broker.example.com' }, 'key_revoked', 'renew'],
    ] as const) {
      const bench = new Bench().ready();
      const token = mint();
      expect(outcome(bench.check({ token }))).toBe('permitted');
      bench.revoke(change);
      const verdict = bench.check({ token });
      expect(verdict.permitted || [verdict.code, verdict.retry, verdict.status]).toStrictEqual([
        code,
        retry,
        401,
      ]);
    }
  });

  it('comes before authority: a dead mission learns nothing about the call', () => {
    const bench = new Bench().ready();
    bench.revoke({ kind: 'mission', key: 'msn_self' });
    expect(outcome(bench.check({ action: 'never.granted' }))).toBe('mission_revoked');
  });

  it('needs a proof first: who only holds the token learns nothing of the mission', () => {
    const bench = new Bench().ready();
    bench.revoke({ kind: 'mission', key: 'msn_self' });
    expect(outcome(bench.check({ proof: undefined }))).toBe('proof_missing');
  });
});

describe('authority', () => {
  it('refuses another action, another resource, a broken constraint, with what the token itself says', () => {
    const bench = new Bench().ready();
    expect(outcome(bench.check({ action: 'invoices.delete' }))).toBe('action_not_covered');
    expect(outcome(bench.check({ resource: 'https://mail.example.com' }))).toBe('resource_not_covered');
    expect(outcome(bench.check({ action: 'journal.post' }))).toBe('constraint_unevaluable');
    const over = bench.check({ action: 'journal.post', parameters: { amount: 101 } });
    expect(over).toMatchObject({
      permitted: false,
      code: 'constraint_violated',
      status: 403,
      error: 'insufficient_scope',
      allowed: ENTRY.constraints.parameters.amount,
    });
    expect(outcome(bench.check({ action: 'journal.post', parameters: { amount: 100 } }))).toBe('permitted');
  });
});

describe('rules and limits', () => {
  it('sequence rules without a judge deny', () => {
    const bench = new Bench().ready();
    bench.state.install(bundleOf({ sequence_rules: [{ name: 'no-exfiltration' }] }));
    expect(outcome(bench.check())).toBe('rules_unenforceable');
  });

  it('an allotment is spent call by call, and shared over the processes', () => {
    const bench = new Bench({ processes: 2 }).ready();
    const token = mint({ iat: NOW + 1, limits: { max_calls: 5 } });
    expect(outcome(bench.check({ token }))).toBe('permitted');
    expect(outcome(bench.check({ token, action: 'invoices.delete' }))).toBe('action_not_covered');
    expect(outcome(bench.check({ token }))).toBe('permitted');
    const spent = bench.check({ token });
    expect(spent.permitted || [spent.code, spent.retry]).toStrictEqual(['limit_exhausted', 'renew']);
  });

  it('the broker knows of more processes than the operator of one verifier', () => {
    const bench = new Bench({ processes: 2 }).ready();
    bench.state.install(bundleOf({ processes: 5 }));
    const token = mint({ iat: NOW + 1, limits: { max_calls: 9 } });
    expect(outcome(bench.check({ token }))).toBe('permitted');
    expect(outcome(bench.check({ token }))).toBe('limit_exhausted');
  });

  it('eviction and restart never refill an allotment', () => {
    const bench = new Bench().ready();
    const token = mint({ iat: NOW + 1, limits: { max_calls: 1 } });
    bench.check({ token });
    bench.state.tokens.retain(() => false);
    expect(outcome(bench.check({ token }))).toBe('limit_exhausted');
    const restarted = new Bench({ started_at: NOW + 1 }).ready();
    expect(outcome(restarted.check({ token }))).toBe('limit_exhausted');
    // A broker whose clock runs ahead gave the token before this process was there, whatever the local clock says.
    const behind = new Bench({ started_at: NOW - 20 }).ready();
    expect(outcome(behind.check({ token: mint({ iat: NOW, limits: { max_calls: 1 } }) }))).toBe(
      'limit_exhausted',
    );
  });

  it('egress is counted before where known, after where not', () => {
    const bench = new Bench().ready();
    const token = mint({ iat: NOW + 1, limits: { max_egress_volume: 1000 } });
    expect(outcome(bench.check({ token, egress_bytes: 600 }))).toBe('permitted');
    expect(outcome(bench.check({ token, egress_bytes: 600 }))).toBe('limit_exhausted');
    const permit = bench.check({ token });
    if (permit.permitted) bench.guard.charge(permit, 400);
    expect(outcome(bench.check({ token }))).toBe('limit_exhausted');
  });

  it('a limit that this build cannot count denies', () => {
    expect(outcome(new Bench().ready().check({ token: mint({ limits: { max_joy: 1 } }) }))).toBe(
      'rules_unenforceable',
    );
  });
});

describe('consequential actions', () => {
  const details = [
    { type: 'mission_resource_access', resource: AUDIENCE, actions: ['payments.send', 'invoices.read'] },
  ];
  const consequential = (token: string) => call(token, { action: 'payments.send' });

  it('are never permitted without the broker, and the rest never asks', async () => {
    let asked = 0;
    const bench = new Bench({
      ask: async () => {
        asked++;
        return true;
      },
    }).ready();
    const token = mint({ authorization_details: details });
    expect(outcome(bench.guard.check(consequential(token)))).toBe('broker_decision_required');
    expect(outcome(await bench.guard.decide(call(token)))).toBe('permitted');
    expect(asked).toBe(0);
    expect(outcome(await bench.guard.decide(consequential(token)))).toBe('permitted');
    expect(outcome(await bench.guard.decide(call(token, { consequential: true })))).toBe('permitted');
    expect(asked).toBe(2);
  });

  it('fail closed when the broker says no, does not answer, or is not known', async () => {
    const token = mint({ authorization_details: details });
    const no = new Bench({ ask: async () => false }).ready();
    expect(outcome(await no.guard.decide(consequential(token)))).toBe('broker_denied');
    const down = new Bench({ ask: () => Promise.reject(new Error('down')) }).ready();
    expect(outcome(await down.guard.decide(consequential(token)))).toBe('broker_unreachable');
    expect(outcome(await new Bench().ready().guard.decide(consequential(token)))).toBe('broker_unreachable');
  });

  it('a revocation that arrives while the broker is asked wins', async () => {
    const bench: Bench = new Bench({
      ask: async () => {
        bench.revoke({ kind: 'mission', key: 'msn_self' });
        return true;
      },
    }).ready();
    const token = mint({ authorization_details: details });
    expect(outcome(await bench.guard.decide(consequential(token)))).toBe('mission_revoked');
  });
});

describe('open streams', () => {
  it('are cut when the mission ends, once, and others stay', () => {
    const bench = new Bench().ready();
    const cut: string[] = [];
    const open = (id: string): void => {
      const permit = bench.check({ token: mint({ mission: { id } }) });
      if (!permit.permitted) throw new Error(permit.code);
      bench.guard.watch(permit, (denial) => cut.push(`${id} ${denial.code}`));
    };
    open('msn_a');
    open('msn_b');
    bench.streams.sweep(bench.now);
    expect(cut).toStrictEqual([]);
    bench.revoke({ kind: 'mission', key: 'msn_a' });
    bench.streams.sweep(bench.now);
    bench.streams.sweep(bench.now);
    expect(cut).toStrictEqual(['msn_a mission_revoked']);
    bench.now = NOW + 31;
    bench.streams.sweep(bench.now);
    expect(cut).toStrictEqual(['msn_a mission_revoked', 'msn_b revocations_stale']);
    expect(bench.streams.size).toBe(0);
  });
});

describe('the answer to a denied call', () => {
  it('says the same code in challenge and body', () => {
    const bench = new Bench().ready();
    const verdict = bench.check({ action: 'invoices.delete' });
    if (verdict.permitted) throw new Error('permitted');
    const answer = bench.guard.answer(verdict, 'DPoP x');
    expect(answer.status).toBe(403);
    expect(answer.headers['www-authenticate']).toBe(
      'DPoP error="insufficient_scope", mission_denial="action_not_covered", retry="with_new_mission", ' +
        'algs="ES256 Ed25519 EdDSA", resource_metadata="https://erp.example.com/.well-known/oauth-protected-resource"',
    );
    expect(answer.body).toMatchObject({
      mission_denial: 'action_not_covered',
      error: 'insufficient_scope',
      rule: 'actions',
    });
  });

  it('a call without credentials is told where to get some, and no error', () => {
    const bench = new Bench().ready();
    const verdict = bench.guard.check(call(undefined));
    if (verdict.permitted) throw new Error('permitted');
    const { status, headers } = bench.guard.answer(verdict);
    expect(status).toBe(401);
    expect(headers['www-authenticate']).toMatch(/^DPoP algs=".*", resource_metadata="https:/);
    expect(headers['www-authenticate']).not.toContain('error');
  });

  it('never shows the private reason', () => {
    const bench = new Bench().ready();
    bench.revoke({ kind: 'agent', key: 'k8s/payments/reconciler', reason_code: 'behaviour' });
    const verdict = bench.check();
    if (verdict.permitted) throw new Error('permitted');
    expect(verdict.private_reason).toBe('agent behaviour');
    expect(JSON.stringify(bench.guard.answer(verdict))).not.toContain('behaviour');
  });

  it('a guard that does not know says so with 503 and Retry-After, and no challenge', () => {
    const bench = new Bench();
    const verdict = bench.check();
    if (verdict.permitted) throw new Error('permitted');
    const { status, headers } = bench.guard.answer(verdict, 'DPoP x');
    expect([status, headers['retry-after'], headers['www-authenticate']]).toStrictEqual([
      503,
      '1',
      undefined,
    ]);
  });
});

describe('a route that wants a step-up', () => {
  it('denies a token that is too old with the advice to renew, and permits a fresh one', () => {
    const bench = new Bench().ready();
    const old = mint({ iat: NOW - 31 });
    const verdict = bench.check({ token: old, max_token_age_seconds: 30 });
    expect(verdict).toMatchObject({
      code: 'attestation_too_old',
      status: 401,
      retry: 'renew',
      error: 'insufficient_user_authentication',
    });
    expect(outcome(bench.check({ token: old }))).toBe('permitted');
    expect(outcome(bench.check({ token: mint({ iat: NOW - 29 }), max_token_age_seconds: 30 }))).toBe(
      'permitted',
    );
    expect(outcome(bench.check({ token: mint(), max_token_age_seconds: Number.NaN }))).toBe(
      'attestation_too_old',
    );
  });
});
