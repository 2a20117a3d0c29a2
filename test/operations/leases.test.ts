/** One call, every credential, all or none: against a real PostgreSQL and the Vault emulator. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { LeaseRecord } from '../../src/ports.ts';
import { ERP, inAnHour, newKey, type TestBroker } from '../support/broker.ts';
import {
  type BundleBroker,
  credentialOf,
  POSTGRES_ENTRY,
  startBundle,
  VAULT_AUDIENCE,
} from '../support/bundle.ts';
import { postgresFor } from '../support/postgres.ts';
import type { VaultEmulator } from '../support/vault-emulator.ts';

const bin = postgresFor('provider bundles');

describe.skipIf(bin === null)('a bundle of provider credentials', () => {
  let bundle: BundleBroker;
  let broker: TestBroker;
  let vault: VaultEmulator;

  beforeAll(async () => {
    bundle = await startBundle(bin ?? '');
    ({ broker, vault } = bundle);
  }, 120_000);
  afterEach(() => vault.interfere(null));
  afterAll(() => bundle?.close());

  /** What is not gone by itself: waits for the keeper, which works as soon as a mission changed. */
  async function settled(mission_id: string): Promise<readonly LeaseRecord[]> {
    for (let attempt = 0; ; attempt++) {
      const leases = await broker.broker.ports.store.leases(mission_id);
      if (leases.every(({ state }) => state === 'revoked' || state === 'expired') || attempt === 100)
        return leases;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  it('comes by one call, each part stated with its residual, and works', async () => {
    const key = await newKey();
    const { status, body } = await bundle.declare(key);
    expect(status).toBe(201);
    expect(body.credentials.map(({ type }) => type).sort()).toEqual(['jwt', 'postgres_role', 'vault_secret']);
    expect(await bundle.postgresWorks(credentialOf(body, 'postgres_role'))).toBe(true);
    expect(bundle.vaultWorks(credentialOf(body, 'vault_secret'))).toBe(true);
    for (const credential of body.credentials.filter(({ type }) => type !== 'jwt')) {
      expect(credential.residual_after_revoke_seconds).toBe(0);
      expect(credential.residual_reason).not.toBe('');
      expect(Date.parse(credential.expires_at)).toBeLessThanOrEqual(Date.parse(body.mission.expires_at));
    }
    await broker.admin('POST', `/missions/${body.mission.id}/revoke`, { reason: 'test over' });
    await settled(body.mission.id);
  });

  it('keeps no secret: not in the store, the audit, or the log', async () => {
    const { body } = await bundle.declare(await newKey());
    const { password } = credentialOf(body, 'postgres_role').value as { readonly password: string };
    const leases = await broker.broker.ports.store.leases(body.mission.id);
    const audit = await broker.broker.ports.store.auditRecords({ mission_id: body.mission.id, limit: 100 });
    const kept = JSON.stringify([leases, audit, broker.log]);
    expect(leases).toHaveLength(2);
    expect(kept).toContain('lease.live');
    expect(kept.includes(password)).toBe(false);
    await broker.admin('POST', `/missions/${body.mission.id}/revoke`, { reason: 'test over' });
    await settled(body.mission.id);
  });

  it.each(['revoke', 'suspend'])('ends with its mission (%s)', async (how) => {
    const { body } = await bundle.declare(await newKey());
    await broker.admin('POST', `/missions/${body.mission.id}/${how}`, { reason: 'incident' });
    const leases = await settled(body.mission.id);
    expect(leases.map(({ state }) => state)).toEqual(['revoked', 'revoked']);
    expect(await bundle.postgresWorks(credentialOf(body, 'postgres_role'))).toBe(false);
    expect(bundle.vaultWorks(credentialOf(body, 'vault_secret'))).toBe(false);
    expect(await bundle.roles()).toEqual([]);
  });

  it('is taken away at its own end, also where the mission goes on', async () => {
    const { status, body } = await bundle.declare(await newKey(), {
      authorization_details: [{ ...POSTGRES_ENTRY, max_ttl_seconds: 2 }],
    });
    expect(status).toBe(201);
    expect(await bundle.postgresWorks(credentialOf(body, 'postgres_role'))).toBe(true);
    expect((await settled(body.mission.id)).map(({ state }) => state)).toEqual(['expired']);
    expect(await bundle.roles()).toEqual([]);
  });

  it('loses exactly what a containment takes away', async () => {
    const { body } = await bundle.declare(await newKey());
    const contained = await broker.admin('POST', `/missions/${body.mission.id}/contain`, {
      reason: 'no database',
      remove: [{ type: 'postgres_role' }],
    });
    expect(contained.status).toBe(200);
    for (
      let attempt = 0;
      attempt < 100 && (await bundle.postgresWorks(credentialOf(body, 'postgres_role')));
      attempt++
    )
      await new Promise((resolve) => setTimeout(resolve, 50));
    expect(await bundle.postgresWorks(credentialOf(body, 'postgres_role'))).toBe(false);
    expect(bundle.vaultWorks(credentialOf(body, 'vault_secret'))).toBe(true);
    await broker.admin('POST', `/missions/${body.mission.id}/revoke`, { reason: 'test over' });
    await settled(body.mission.id);
  });

  it.each([
    ['before issue', 'auth/jwt/login'],
    ['during issue', 'database/creds'],
    ['while it is prolonged', 'auth/token/renew-self'],
  ])('is all or nothing when one provider fails %s', async (_when, path) => {
    const before = vault.alive();
    vault.interfere(path, (_request, response) => {
      response.statusCode = 500;
      response.end('{}');
    });
    const { status, body } = await bundle.declare(await newKey());
    expect(status).toBe(503);
    expect(JSON.stringify(body)).toContain('vault_secret');
    vault.interfere(null);
    expect(await bundle.roles()).toEqual([]);
    expect(vault.alive()).toBe(before);
  });

  it('replaces the credentials of a repeated declaration', async () => {
    const key = await newKey();
    const more = {
      creation_request_id: crypto.randomUUID(),
      intent: { goal: 'Reconcile', resources: [ERP], expires_at: inAnHour() },
    };
    const first = await bundle.declare(key, more);
    const second = await bundle.declare(key, more, first.instance);
    expect(second.body.mission.id).toBe(first.body.mission.id);
    expect(await bundle.postgresWorks(credentialOf(first.body, 'postgres_role'))).toBe(false);
    expect(bundle.vaultWorks(credentialOf(first.body, 'vault_secret'))).toBe(false);
    expect(await bundle.postgresWorks(credentialOf(second.body, 'postgres_role'))).toBe(true);
    await broker.admin('POST', `/missions/${first.body.mission.id}/revoke`, { reason: 'test over' });
    await settled(first.body.mission.id);
  });

  it('tries a failed revocation again, and shows it until it succeeds', async () => {
    const { body } = await bundle.declare(await newKey());
    vault.interfere('auth/token/revoke-accessor', (_request, response) => {
      response.statusCode = 503;
      response.end('{}');
    });
    await broker.admin('POST', `/missions/${body.mission.id}/revoke`, { reason: 'incident' });
    let failing: LeaseRecord | undefined;
    for (let attempt = 0; attempt < 100 && failing === undefined; attempt++) {
      await new Promise((resolve) => setTimeout(resolve, 50));
      failing = (await broker.broker.ports.store.leases(body.mission.id)).find(
        ({ attempts }) => attempts > 0,
      );
    }
    expect(failing).toMatchObject({ type: 'vault_secret', state: 'revoking' });
    expect(failing?.last_error).toContain('unavailable');
    const shown = await broker.admin('GET', `/missions/${body.mission.id}`);
    expect(shown.body['leases']).toContainEqual(
      expect.objectContaining({
        type: 'vault_secret',
        state: 'revoking',
        last_error: failing?.last_error,
        next_attempt_at: expect.any(String),
      }),
    );
    // The other one was not held up.
    expect(await bundle.postgresWorks(credentialOf(body, 'postgres_role'))).toBe(false);
    vault.interfere(null);
    expect((await settled(body.mission.id)).map(({ state }) => state)).toEqual(['revoked', 'revoked']);
    expect(bundle.vaultWorks(credentialOf(body, 'vault_secret'))).toBe(false);
  });

  it('finishes after a restart what was left pending', async () => {
    const { store, clock } = broker.broker.ports;
    const { body } = await bundle.declare(await newKey());
    const [live] = (await store.leases(body.mission.id)).filter(({ type }) => type === 'postgres_role');
    if (live === undefined) throw new Error('no lease');
    // As if the broker had died between making the role and recording that it is live.
    await store.atomically([
      {
        kind: 'update_lease',
        id: live.id,
        from: ['live'],
        set: { state: 'pending', next_at: clock.now() + 45 },
      },
    ]);
    await broker.restart();
    broker.clock.ahead += 60;
    for (
      let attempt = 0;
      attempt < 100 && (await bundle.postgresWorks(credentialOf(body, 'postgres_role')));
      attempt++
    )
      await new Promise((resolve) => setTimeout(resolve, 100));
    expect(await bundle.postgresWorks(credentialOf(body, 'postgres_role'))).toBe(false);
    expect(bundle.vaultWorks(credentialOf(body, 'vault_secret'))).toBe(true);
    await broker.admin('POST', `/missions/${body.mission.id}/revoke`, { reason: 'test over' });
    await settled(body.mission.id);
  });

  it('never hands out the JWT that it logs in with', async () => {
    const key = await newKey();
    const { status, body } = await broker.token(key, {
      grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
      subject_token: await broker.evidence({ run: 'thief' }),
      subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
      resource: VAULT_AUDIENCE,
      mission_intent: JSON.stringify({
        intent: { goal: 'Steal', resources: [VAULT_AUDIENCE], expires_at: inAnHour() },
      }),
    });
    expect(status).toBe(400);
    expect(body.error).toBe('invalid_target');
  });
});
