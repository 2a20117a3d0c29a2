/** Missions that hold credentials of other systems and not one token: attested, looked at and ended by evidence. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { reap } from '../../src/operations/reap.ts';
import { type BrokerWithSecrets, startWithSecrets } from '../sdk/agent/secrets.ts';
import { inAnHour, type KeyHolder, newKey } from '../support/broker.ts';

const VAULT = 'https://vault.example.com';

let world: BrokerWithSecrets;
beforeAll(async () => {
  world = await startWithSecrets(600);
});
afterAll(() => world.close());

let run = 0;
async function tokenless() {
  run += 1;
  const instance = `tokenless-${run}`;
  const key = await newKey();
  const evidence = async (claims = {}) => ({
    type: 'urn:ietf:params:oauth:token-type:jwt',
    token: await world.sortie.evidence({ run: instance, ...claims }),
  });
  const { status, body } = await world.sortie.holder(key, 'POST', '/missions', {
    json: {
      evidence: await evidence(),
      intent: { goal: 'Read a secret', resources: [VAULT], expires_at: inAnHour() },
      authorization_details: [
        {
          type: 'vault_secret',
          server: 'main',
          role: 'reader',
          paths: ['database/creds/readonly'],
          max_ttl_seconds: 600,
        },
      ],
    },
  });
  expect(status).toBe(201);
  const { mission, credentials } = body as {
    mission: { id: string };
    credentials: { id: string; type: string }[];
  };
  expect(credentials.map(({ type }) => type)).toEqual(['vault_secret']);
  const post = (path: string, json: unknown, as: KeyHolder = key) =>
    world.sortie.holder(as, 'POST', `/missions/${mission.id}/${path}`, { json });
  const state = async () => (await world.sortie.admin('GET', `/missions/${mission.id}`)).body['state'];
  return { id: mission.id, key, evidence, credentials, post, state };
}

test('a renewal of nothing attests, shows the manifest, and replaces nothing', async () => {
  const { evidence, credentials, post, state } = await tokenless();
  const before = world.vault.alive();
  world.ahead(400);
  const answer = await post('credentials', { ids: [], evidence: await evidence() });
  expect(answer.status).toBe(200);
  expect((answer.body['credentials'] as { id: string }[]).map(({ id }) => id)).toEqual(
    credentials.map(({ id }) => id),
  );
  expect(JSON.stringify(answer.body)).not.toContain('"value"');
  expect(world.vault.alive()).toBe(before);
  // Past the first deadline of attestation, not past the second.
  world.ahead(250);
  await reap(world.sortie.broker.ports);
  expect(await state()).toBe('active');
});

test('evidence of the instance and a proof by the key end it', async () => {
  const { evidence, post, state } = await tokenless();
  expect((await post('complete', { evidence: await evidence() })).status).toBe(204);
  expect(await state()).toBe('completed');
  await expect.poll(() => world.vault.alive(), { timeout: 20_000 }).toBe(0);
  expect((await post('complete', { evidence: await evidence() })).status).toBe(409);
});

test('another key, another instance and another agent cannot end it, and learn nothing', async () => {
  const { evidence, post, state } = await tokenless();
  const unknown = await world.sortie.holder(await newKey(), 'POST', '/missions/msn_nobody/complete', {
    json: { evidence: await evidence({ run: 'nobody' }) },
  });
  const others = [
    await post('complete', { evidence: await evidence({ run: 'thief' }) }),
    await post('complete', { evidence: await evidence({ sub: 'thief' }) }),
    await post('complete', { evidence: await evidence() }, await newKey()),
  ];
  for (const { status, body } of others) {
    expect(status).toBe(unknown.status);
    expect({ ...body, instance: undefined }).toEqual({ ...unknown.body, instance: undefined });
  }
  expect(await state()).toBe('active');
});

test('evidence that was not accepted, none, and unknown members are refused', async () => {
  const { evidence, post, state } = await tokenless();
  const { type } = await evidence();
  expect((await post('complete', { evidence: { type, token: 'a.b.c' } })).status).toBe(400);
  expect((await post('complete', {})).status).toBe(400);
  expect((await post('complete', { evidence: await evidence(), reason: 'x' })).status).toBe(400);
  expect(await state()).toBe('active');
});
