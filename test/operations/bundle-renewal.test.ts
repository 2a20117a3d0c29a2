/** `POST /missions/{id}/credentials`: provider credentials made anew, by nobody but the instance that holds them. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { reap } from '../../src/operations/reap.ts';
import { ERP, inAnHour, newKey, type TestBroker } from '../support/broker.ts';
import { type BundleBroker, type BundleCredential, credentialOf, startBundle } from '../support/bundle.ts';
import {
  endAll,
  type Held,
  held,
  holdAndFail,
  liveTypes,
  renew as renewIn,
  valued,
  works,
} from '../support/held-bundle.ts';
import { postgresFor } from '../support/postgres.ts';
import type { VaultEmulator } from '../support/vault-emulator.ts';

const bin = postgresFor('renewal of bundles');

describe.skipIf(bin === null)('renewing provider credentials', () => {
  let bundle: BundleBroker;
  let broker: TestBroker;
  let vault: VaultEmulator;

  beforeAll(async () => {
    bundle = await startBundle(bin ?? '');
    ({ broker, vault } = bundle);
  }, 120_000);
  afterEach(async () => {
    vault.interfere(null);
    await endAll(bundle);
  });
  afterAll(() => bundle?.close());

  const renew = (from: Held, ids: readonly string[]) => renewIn(bundle, from, ids);

  it('makes exactly the named ones anew, and then ends those that they replace', async () => {
    const first = await held(bundle);
    const { status, body } = await renew(first, [first.postgres.id]);
    expect(status).toBe(200);
    const [renewed, ...others] = valued(body);
    expect(others).toEqual([]);
    expect(renewed).toMatchObject({ type: 'postgres_role', replaces: first.postgres.id });
    expect(renewed?.id).not.toBe(first.postgres.id);
    expect(await bundle.postgresWorks(renewed as BundleCredential)).toBe(true);
    expect(await bundle.postgresWorks(first.postgres)).toBe(false);
    // What was not asked for is as it was, and shown without its value.
    expect(bundle.vaultWorks(first.vault)).toBe(true);
    expect(body.credentials.map(({ id }) => id)).toContain(first.vault.id);
    expect(body.credentials.map(({ id }) => id)).not.toContain(first.postgres.id);
    expect(await bundle.roles()).toHaveLength(1);
  });

  it('renews several by one request', async () => {
    const first = await held(bundle);
    const { body } = await renew(first, [first.vault.id, first.postgres.id]);
    expect(Object.fromEntries(valued(body).map(({ type, replaces }) => [type, replaces]))).toEqual({
      vault_secret: first.vault.id,
      postgres_role: first.postgres.id,
    });
    expect(
      await bundle.postgresWorks(credentialOf({ ...body, credentials: valued(body) }, 'postgres_role')),
    ).toBe(true);
    expect(bundle.vaultWorks(first.vault)).toBe(false);
    expect(vault.alive()).toBe(1);
  });

  it('keeps what there is until all of it is live', async () => {
    const first = await held(bundle);
    const gate = holdAndFail(bundle, 'database/creds');
    const answered = renew(first, [first.postgres.id, first.vault.id]);
    await gate.arrival;
    expect(await bundle.postgresWorks(first.postgres)).toBe(true);
    expect(bundle.vaultWorks(first.vault)).toBe(true);
    gate.release();
    expect((await answered).status).toBe(503);
  });

  it.each(['auth/jwt/login', 'database/creds', 'auth/token/renew-self'])(
    'is all or none: where %s fails, everything is as before',
    async (path) => {
      const first = await held(bundle);
      vault.interfere(path, (_request, response) => {
        response.statusCode = 500;
        response.end('{}');
      });
      const { status, body } = await renew(first, [first.postgres.id, first.vault.id]);
      expect(status).toBe(503);
      expect(JSON.stringify(body)).toContain('vault_secret');
      vault.interfere(null);
      expect(await bundle.postgresWorks(first.postgres)).toBe(true);
      expect(bundle.vaultWorks(first.vault)).toBe(true);
      expect(await bundle.roles()).toHaveLength(1);
      expect(vault.alive()).toBe(1);
      expect(await liveTypes(bundle, first.id)).toEqual(['postgres_role', 'vault_secret']);
      // And another moment may do.
      expect((await renew(first, [first.vault.id])).status).toBe(200);
    },
  );

  it('answers the same question again: the first answer may have been lost', async () => {
    const first = await held(bundle);
    const lost = await renew(first, [first.postgres.id]);
    const again = await renew(first, [first.postgres.id]);
    expect(again.status).toBe(200);
    expect(valued(again.body)[0]?.replaces).toBe(first.postgres.id);
    expect(await bundle.postgresWorks(valued(lost.body)[0] as BundleCredential)).toBe(false);
    expect(await bundle.postgresWorks(valued(again.body)[0] as BundleCredential)).toBe(true);
    expect(await bundle.roles()).toHaveLength(1);
    const both = await renew(first, [first.postgres.id, String(valued(again.body)[0]?.id)]);
    expect(both.status).toBe(400);
    expect(both.body.detail).toContain('the same credential twice');
  });

  it('is re-attesting: it wakes a mission that was silent, and gives back what silence took', async () => {
    const first = await held(bundle);
    bundle.advance(700);
    await reap(broker.broker.ports);
    expect((await broker.broker.ports.store.mission(first.id))?.state).toBe('suspended');
    await bundle.settled(first.id);
    expect(await bundle.postgresWorks(first.postgres)).toBe(false);
    const { status, body } = await renew(first, [first.postgres.id, first.vault.id]);
    expect(status).toBe(200);
    expect(body.mission.state).toBe('active');
    for (const credential of valued(body)) expect(await works(bundle, credential)).toBe(true);
    const mission = await broker.broker.ports.store.mission(first.id);
    expect(mission?.last_attested_at).toBeGreaterThan((mission?.created_at ?? 0) + 600);
  });

  it('does not wake what a person suspended', async () => {
    const first = await held(bundle);
    await broker.admin('POST', `/missions/${first.id}/suspend`, { reason: 'looking into it' });
    await bundle.settled(first.id);
    const { status, body } = await renew(first, [first.postgres.id]);
    expect(status).toBe(409);
    expect(body.mission_error).toBe('mission_suspended');
    expect(await bundle.roles()).toEqual([]);
  });

  it('gives a dead mission nothing, and tells its own key why', async () => {
    const first = await held(bundle);
    await broker.admin('POST', `/missions/${first.id}/revoke`, { reason: 'incident' });
    const { status, body } = await renew(first, [first.postgres.id]);
    expect(status).toBe(409);
    expect(body.mission_error).toBe('mission_revoked');
    await bundle.settled(first.id);
    expect(await bundle.roles()).toEqual([]);
  });

  it('answers whoever is not this instance with this key as if there were no mission', async () => {
    const first = await held(bundle);
    const thief = await newKey();
    const ids = [first.postgres.id];
    const answers = [
      await bundle.renew(thief, first.id, ids, first.instance),
      await bundle.renew(first.key, first.id, ids, 'another-run'),
      await bundle.renew(first.key, first.id, ids, first.instance, {
        evidence: {
          type: 'urn:ietf:params:oauth:token-type:jwt',
          token: await broker.evidence({ run: first.instance, sub: 'somebody-else' }),
        },
      }),
      await bundle.renew(first.key, 'msn_AAAAAAAAAAAAAAAAAAAAAA', ids, first.instance),
    ];
    for (const { status, body } of answers) {
      expect(status).toBe(404);
      expect(body).toEqual(answers[0]?.body);
    }
    expect(await bundle.postgresWorks(first.postgres)).toBe(true);
  });

  it('takes no token in place of evidence: who was shown one can renew nothing', async () => {
    const first = await held(bundle);
    const token = String(credentialOf(first.body, 'jwt').value);
    const refused = await broker.holder(first.key, 'POST', `/missions/${first.id}/credentials`, {
      token,
      json: { ids: [first.postgres.id] },
    });
    expect(refused.status).toBe(400);
    const as_evidence = await bundle.renew(first.key, first.id, [first.postgres.id], first.instance, {
      evidence: { type: 'urn:ietf:params:oauth:token-type:jwt', token },
    });
    expect(as_evidence.status).toBe(400);
    expect(as_evidence.body.detail).toBe('the evidence was not accepted');
  });

  it('answers ids of others as ids of nobody, and says what to do with tokens', async () => {
    const [first, other] = [await held(bundle), await held(bundle)];
    const foreign = await renew(first, [first.postgres.id, other.postgres.id]);
    const foreign_token = await renew(first, [credentialOf(other.body, 'jwt').id]);
    const nobody = await renew(first, ['cred_AAAAAAAAAAAAAAAAAAAAAA']);
    expect(foreign.status).toBe(400);
    expect(nobody.body).toEqual(foreign.body);
    expect(foreign_token.body).toEqual(foreign.body);
    const own_token = await renew(first, [credentialOf(first.body, 'jwt').id]);
    expect(own_token.status).toBe(400);
    expect(own_token.body.detail).toContain('tokens are renewed at /token');
    // None of it touched anything.
    expect(await bundle.postgresWorks(first.postgres)).toBe(true);
    expect(await bundle.postgresWorks(other.postgres)).toBe(true);
    expect(await bundle.roles()).toHaveLength(2);
  });

  it.each<[string, unknown]>([
    ['no list', 'cred_1'],
    ['an id twice', ['cred_1', 'cred_1']],
    ['an id that is no text', [1]],
    ['an empty id', ['']],
    ['an id too long', ['c'.repeat(129)]],
    ['more than it takes', Array.from({ length: 65 }, (_, at) => `cred_${at}`)],
  ])('refuses %s before it looks at evidence', async (_what, ids) => {
    const { status } = await broker.holder(await newKey(), 'POST', '/missions/msn_x/credentials', {
      json: { ids, evidence: { type: 'urn:ietf:params:oauth:token-type:jwt', token: 'none' } },
    });
    expect(status).toBe(400);
  });

  it('refuses members that it does not know', async () => {
    const first = await held(bundle);
    const { status, body } = await bundle.renew(first.key, first.id, [first.postgres.id], first.instance, {
      max_ttl_seconds: 86_400,
    });
    expect(status).toBe(400);
    expect(body.detail).toContain('max_ttl_seconds');
  });

  it('is not there for who is blocked', async () => {
    const first = await held(bundle);
    const { body: block } = await broker.admin('POST', '/blocks', {
      selector: { kind: 'rule', key: 'by-sub' },
      reason: 'leaked',
    });
    const { status } = await renew(first, [first.postgres.id]);
    expect(status).toBe(403);
    expect(await bundle.roles()).toHaveLength(1);
    await broker.admin('DELETE', `/blocks/${String(block['id'])}`);
    expect((await renew(first, [first.postgres.id])).status).toBe(200);
  });

  it('does not bring back what a containment took', async () => {
    const first = await held(bundle);
    await broker.admin('POST', `/missions/${first.id}/contain`, {
      reason: 'no database',
      remove: [{ type: 'postgres_role' }],
    });
    const refused = await renew(first, [first.vault.id, first.postgres.id]);
    expect(refused.status).toBe(400);
    expect(refused.body).toMatchObject({ mission_denial_reason: 'authority_contained' });
    expect(vault.alive()).toBe(1);
    expect((await renew(first, [first.vault.id])).status).toBe(200);
    for (let attempt = 0; attempt < 100 && (await bundle.roles()).length > 0; attempt++)
      await new Promise((resolve) => setTimeout(resolve, 50));
    expect(await bundle.roles()).toEqual([]);
  });

  it('counts each credential against max_derivations, exactly', async () => {
    // One token at the declaration, and three more of anything.
    const first = await held(bundle, {
      intent: {
        goal: 'Reconcile',
        resources: [ERP],
        expires_at: inAnHour(),
        controls: { max_derivations: 4 },
      },
    });
    expect((await renew(first, [first.postgres.id, first.vault.id])).body.limits.derivations).toEqual({
      max: 4,
      left: 1,
    });
    const over = await renew(first, [first.postgres.id, first.vault.id]);
    expect(over.status).toBe(409);
    expect(over.body.mission_error).toBe('derivations_exhausted');
    expect(await liveTypes(bundle, first.id)).toEqual(['postgres_role', 'vault_secret']);
    expect((await renew(first, [first.vault.id])).status).toBe(200);
    expect((await renew(first, [first.vault.id])).body.mission_error).toBe('derivations_exhausted');
    expect(vault.alive()).toBe(1);
  });

  it('makes a credential anew only so often: each time leaves something at its counterpart', async () => {
    const first = await held(bundle);
    const answers: number[] = [];
    for (let time = 0; time < 7; time++) answers.push((await renew(first, [first.vault.id])).status);
    expect(answers.filter((status) => status === 200).length).toBeGreaterThanOrEqual(5);
    expect(answers.at(-1)).toBe(403);
    bundle.advance(11);
    expect((await renew(first, [first.vault.id])).status).toBe(200);
  });

  it('takes a proof once', async () => {
    const first = await held(bundle);
    const url = `${broker.url}/missions/${first.id}/credentials`;
    const dpop = await broker.proof(first.key, 'POST', url);
    const send = async () =>
      fetch(url, {
        method: 'POST',
        headers: { dpop, 'content-type': 'application/json' },
        body: JSON.stringify({
          ids: [first.postgres.id],
          evidence: {
            type: 'urn:ietf:params:oauth:token-type:jwt',
            token: await broker.evidence({ run: first.instance }),
          },
        }),
      });
    expect((await send()).status).toBe(200);
    const replayed = await send();
    expect(replayed.status).toBe(400);
    expect(await replayed.text()).toContain('invalid_dpop_proof');
  });

  it('keeps no value: not in the store, the audit, or the log', async () => {
    const first = await held(bundle);
    const { body } = await renew(first, [first.postgres.id]);
    const [renewed] = valued(body);
    const { password } = (renewed?.value ?? {}) as { readonly password?: string };
    const audit = await broker.broker.ports.store.auditRecords({ mission_id: first.id, limit: 100 });
    const kept = JSON.stringify([await bundle.leases(first.id), audit, broker.log]);
    expect(kept).toContain(String(renewed?.id));
    expect(password).toHaveLength(32);
    expect(kept.includes(String(password))).toBe(false);
  });

  it('records who asked and was refused', async () => {
    const first = await held(bundle);
    await bundle.renew(await newKey(), first.id, [first.postgres.id], first.instance);
    const { body } = await broker.admin('GET', `/audit?event=exchange.refused&mission_id=${first.id}`);
    expect(JSON.stringify(body['items'])).toContain('renewal by another instance or key');
  });
});
