/** The selector `credential`: one thing ends, the mission and the rest of its bundle go on. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { newKey, type TestBroker } from '../support/broker.ts';
import { type BundleBroker, credentialOf, startBundle } from '../support/bundle.ts';
import { postgresFor } from '../support/postgres.ts';

const bin = postgresFor('revoking one credential of a bundle');

describe.skipIf(bin === null)('revoking one credential', () => {
  let bundle: BundleBroker;
  let broker: TestBroker;
  beforeAll(async () => {
    bundle = await startBundle(bin ?? '');
    ({ broker } = bundle);
  }, 120_000);
  afterAll(() => bundle?.close());

  const revoke = (kind: string, key: string, more: Record<string, unknown> = {}) =>
    broker.admin('POST', '/revocations', { selector: { kind, key }, reason: 'leaked', ...more });

  /** State of the lease behind a credential, once it is not on its way any more. */
  async function leaseState(mission_id: string, credential_id: string): Promise<string | undefined> {
    for (let attempt = 0; ; attempt++) {
      const lease = (await bundle.leases(mission_id)).find((one) => one.credential_id === credential_id);
      if (lease?.state !== 'revoking' || attempt === 100) return lease?.state;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  it('ends the role at the server; the mission, its token and its secret go on', async () => {
    const { body } = await bundle.declare(await newKey());
    const role = credentialOf(body, 'postgres_role');
    const preview = await revoke('credential', role.id, { dry_run: true });
    expect(preview.body).toMatchObject({
      missions: 0,
      credentials: [{ type: 'postgres_role', count: 1 }],
    });
    expect(await bundle.postgresWorks(role)).toBe(true);

    const { status, body: answer } = await revoke('credential', role.id);
    expect(status).toBe(200);
    expect(answer).toMatchObject({ missions: 0, mission_id: body.mission.id, seq: null });
    expect(await leaseState(body.mission.id, role.id)).toBe('revoked');
    expect(await bundle.postgresWorks(role)).toBe(false);
    expect(bundle.vaultWorks(credentialOf(body, 'vault_secret'))).toBe(true);
    expect(await broker.introspect(String(credentialOf(body, 'jwt').value))).toMatchObject({ active: true });
    const shown = await broker.admin('GET', `/missions/${body.mission.id}`);
    expect(shown.body).toMatchObject({ state: 'active' });
    const [record] = (
      await broker.admin('GET', `/audit?event=revocation&mission_id=${body.mission.id}&newest_first=true`)
    ).body['items'] as { actor: string; details: Record<string, unknown> }[];
    expect(record).toMatchObject({
      actor: 'admin:alice',
      details: { selector: { kind: 'credential', key: role.id }, reason: 'leaked' },
    });
  });

  it('says so when it is over already, and a repeated event is harmless', async () => {
    const { body } = await bundle.declare(await newKey());
    const role = credentialOf(body, 'postgres_role');
    const first = await revoke('credential', role.id, { event_id: 'one' });
    const again = await revoke('credential', role.id, { event_id: 'one' });
    expect([first.status, again.status]).toEqual([200, 200]);
    expect(await leaseState(body.mission.id, role.id)).toBe('revoked');
    expect((await revoke('credential', role.id)).status).toBe(409);
  });

  it('the selector token never marks what lives at a provider as gone', async () => {
    const { body } = await bundle.declare(await newKey());
    const role = credentialOf(body, 'postgres_role');
    expect((await revoke('token', role.id)).status).toBe(400);
    expect(await leaseState(body.mission.id, role.id)).toBe('live');
    expect(await bundle.postgresWorks(role)).toBe(true);
  });

  it('takes a token by its id as well, and knows no others', async () => {
    const { body } = await bundle.declare(await newKey());
    const jwt = credentialOf(body, 'jwt');
    const { status, body: answer } = await revoke('credential', jwt.id);
    expect(status).toBe(200);
    expect(answer['selector']).toEqual({ kind: 'credential', key: jwt.id });
    expect(await broker.introspect(String(jwt.value))).toEqual({ active: false });
    expect((await revoke('credential', 'cred_nobody')).status).toBe(404);
  });

  it('cannot be blocked by: what does not exist yet has no id', async () => {
    const { status } = await broker.admin('POST', '/blocks', {
      selector: { kind: 'credential', key: 'cred_x' },
      reason: 'nonsense',
    });
    expect(status).toBe(400);
  });

  it('is for responders, and for nobody below them', async () => {
    const { body } = await bundle.declare(await newKey());
    const role = credentialOf(body, 'postgres_role');
    const asked = { selector: { kind: 'credential', key: role.id }, reason: 'leaked' };
    const viewer = await broker.adminToken('viewer', 'vera');
    const responder = await broker.adminToken('responder', 'rob');
    expect((await broker.as(viewer, 'POST', '/revocations', asked)).status).toBe(403);
    expect(await leaseState(body.mission.id, role.id)).toBe('live');
    expect((await broker.as(responder, 'POST', '/revocations', asked)).status).toBe(200);
    expect(await leaseState(body.mission.id, role.id)).toBe('revoked');
  });
});
