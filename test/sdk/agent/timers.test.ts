import { afterAll, beforeAll, expect, test } from 'vitest';
import { ERP, MAIL, startBroker, type TestBroker } from '../../support/broker.ts';
import { startWithSecrets } from './secrets.ts';
import { agentAt, claimsOf, evidenceOf, until } from './support.ts';

let sortie: TestBroker;
beforeAll(async () => {
  sortie = await startBroker({ template: { token_ttl: '2s', attest_every: '4s' } });
});
afterAll(() => sortie.close());

test('an idle mission stays attested, and a used token stays fresh, without anybody asking', async () => {
  const evidence = evidenceOf(sortie);
  const agent = await agentAt(sortie, { evidence });
  const mission = await agent.declare({ goal: 'Wait', resources: [ERP, MAIL], lifetime_seconds: 600 });
  const idle = await mission.token(MAIL);
  await until(() => evidence.presented >= 2, 'the used token is renewed');
  // Nobody uses it now: what follows is attestation alone.
  await until(() => evidence.presented >= 4, 'the mission is attested again');
  const record = await sortie.admin('GET', `/missions/${mission.id}`);
  expect(record.body['state']).toBe('active');
  expect(claimsOf(await mission.token(MAIL))['iat']).toBeGreaterThan(claimsOf(idle)['iat'] as number);
  agent.close();
  const presented = evidence.presented;
  await new Promise((resolve) => setTimeout(resolve, 2500));
  expect(evidence.presented).toBe(presented);
});

test('a mission that is over is told even while nobody calls', async () => {
  const agent = await agentAt(sortie);
  const revoked = await agent.declare({ goal: 'Wait', resources: [ERP], lifetime_seconds: 600 });
  const short = await agent.declare({ goal: 'Wait', resources: [ERP], lifetime_seconds: 2 });
  const ends: string[] = [];
  for (const mission of [revoked, short]) mission.on('ended', ({ why }) => ends.push(why));
  await revoked.token(ERP);
  await sortie.admin('POST', `/missions/${revoked.id}/revoke`, { reason: 'incident' });
  await until(() => ends.length === 2, 'both ends');
  expect(ends.sort()).toEqual(['mission_expired', 'mission_revoked']);
  expect(short.state).toBe('expired');
  agent.close();
});

test('a mission without any token stays attested, and its credential is left alone', async () => {
  const world = await startWithSecrets(600, { token_ttl: '2s', attest_every: '4s' });
  const evidence = evidenceOf(world.sortie);
  const agent = await agentAt(world.sortie, { evidence });
  const mission = await agent.declare({
    goal: 'Wait',
    resources: ['https://vault.example.com'],
    lifetime_seconds: 600,
    authorization_details: [
      { type: 'vault_secret', server: 'main', role: 'reader', paths: ['database/creds/readonly'] },
    ],
  });
  const { id } = mission.credential('vault_secret');
  await until(() => evidence.presented >= 4, 'it is attested again and again');
  const record = await world.sortie.admin('GET', `/missions/${mission.id}`);
  expect(record.body['state']).toBe('active');
  expect(mission.credential('vault_secret').id).toBe(id);
  expect(world.vault.alive()).toBe(1);
  agent.close();
  await world.close();
});
