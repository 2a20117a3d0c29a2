/** Renewals and declarations that meet each other, revocations and containments: one winner, and nothing left over. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { ERP, inAnHour, newKey, type TestBroker } from '../support/broker.ts';
import { type BundleBroker, credentialOf, startBundle } from '../support/bundle.ts';
import {
  endAll,
  type Held,
  held,
  holdAndFail,
  holdMade,
  liveTypes,
  renew as renewIn,
  valued,
  works,
} from '../support/held-bundle.ts';
import { postgresFor } from '../support/postgres.ts';
import type { VaultEmulator } from '../support/vault-emulator.ts';

const bin = postgresFor('races of bundles');

describe.skipIf(bin === null)('credentials that are asked for at the same moment', () => {
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

  it('two at once: whoever is answered holds what works, and there is one of each', async () => {
    const first = await held(bundle);
    for (let round = 0; round < 3; round++) {
      bundle.advance(60);
      const answers = await Promise.all(
        Array.from({ length: 4 }, () => renew(first, [first.postgres.id, first.vault.id])),
      );
      const winners = answers.filter(({ status }) => status === 200);
      expect(winners.length).toBeGreaterThanOrEqual(1);
      for (const { status } of answers) expect([200, 409]).toContain(status);
      // A request that came after another one was answered may have replaced that one's.
      const works = await Promise.all(
        winners.map(({ body }) =>
          bundle.postgresWorks(credentialOf({ ...body, credentials: valued(body) }, 'postgres_role')),
        ),
      );
      expect(works.filter(Boolean)).toHaveLength(1);
      expect(await liveTypes(bundle, first.id)).toEqual(['postgres_role', 'vault_secret']);
      expect(await bundle.roles()).toHaveLength(1);
      expect(vault.alive()).toBe(1);
    }
  });

  it('goes to the later of two that overlap, and the earlier one says so', async () => {
    const first = await held(bundle);
    const gate = holdAndFail(bundle, 'database/creds');
    const earlier = renew(first, [first.postgres.id, first.vault.id]);
    await gate.arrival;
    vault.interfere(null);
    const later = await renew(first, [first.postgres.id, first.vault.id]);
    gate.release();
    expect(later.status).toBe(200);
    expect((await earlier).status).toBe(409);
    for (const credential of valued(later.body)) expect(await works(bundle, credential)).toBe(true);
    expect(await bundle.roles()).toHaveLength(1);
    expect(vault.alive()).toBe(1);
  });

  it('never ends a mission because an overtaken declaration of it failed', async () => {
    const key = await newKey();
    const more = {
      creation_request_id: crypto.randomUUID(),
      intent: { goal: 'Reconcile', resources: [ERP], expires_at: inAnHour() },
    };
    const gate = holdAndFail(bundle, 'database/creds');
    const earlier = bundle.declare(key, more, 'overtaken');
    await gate.arrival;
    vault.interfere(null);
    const later = await bundle.declare(key, more, 'overtaken');
    gate.release();
    expect(later.status).toBe(201);
    expect((await earlier).status).toBe(409);
    expect((await broker.broker.ports.store.mission(later.body.mission.id))?.state).toBe('active');
    expect(await bundle.postgresWorks(credentialOf(later.body, 'postgres_role'))).toBe(true);
    expect(bundle.vaultWorks(credentialOf(later.body, 'vault_secret'))).toBe(true);
    expect(await bundle.roles()).toHaveLength(1);
    expect(vault.alive()).toBe(1);
  });

  it.each([
    ['revoke', 'mission_revoked'],
    ['suspend', 'mission_suspended'],
  ])('against a %s at the same moment: nothing outlives it', async (how, mission_error) => {
    const first = await held(bundle);
    const gate = holdMade(bundle, 'vault_secret');
    const renewing = renew(first, [first.postgres.id, first.vault.id]);
    await gate.arrival;
    await broker.admin('POST', `/missions/${first.id}/${how}`, { reason: 'incident' });
    gate.release();
    const { status, body } = await renewing;
    expect(status).toBe(409);
    expect(body.mission_error).toBe(mission_error);
    // Never live, so looked at once more when nothing can be under way.
    bundle.advance(46);
    const leases = await bundle.settled(first.id);
    expect(new Set(leases.map(({ state }) => state))).toEqual(new Set(['revoked']));
    expect(await bundle.roles()).toEqual([]);
    expect(vault.alive()).toBe(0);
  });

  it('against a containment at the same moment: what was judged before it is not delivered', async () => {
    const first = await held(bundle);
    const gate = holdMade(bundle, 'vault_secret');
    const renewing = renew(first, [first.postgres.id, first.vault.id]);
    await gate.arrival;
    await broker.admin('POST', `/missions/${first.id}/contain`, {
      reason: 'no database',
      remove: [{ type: 'postgres_role' }],
    });
    gate.release();
    expect((await renewing).status).toBe(503);
    bundle.advance(46);
    for (let attempt = 0; attempt < 100 && (await bundle.roles()).length > 0; attempt++)
      await new Promise((resolve) => setTimeout(resolve, 50));
    expect(await bundle.roles()).toEqual([]);
    expect(await liveTypes(bundle, first.id)).toEqual(['vault_secret']);
    expect(bundle.vaultWorks(first.vault)).toBe(true);
  });

  it('raced by a revocation many times, it leaves nothing', async () => {
    for (let round = 0; round < 5; round++) {
      const first = await held(bundle);
      const [renewed] = await Promise.all([
        renew(first, [first.postgres.id, first.vault.id]),
        new Promise((resolve) => setTimeout(resolve, round * 8)).then(() =>
          broker.admin('POST', `/missions/${first.id}/revoke`, { reason: 'incident' }),
        ),
      ]);
      expect([200, 409]).toContain(renewed.status);
      bundle.advance(46);
      await bundle.settled(first.id);
      expect(await bundle.roles()).toEqual([]);
      expect(vault.alive()).toBe(0);
    }
  });
});
