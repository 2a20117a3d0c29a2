import { afterAll, beforeAll, expect, test } from 'vitest';
import { closeOldSegment, sealAudit } from '../../src/operations/audit.ts';
import { reap } from '../../src/operations/reap.ts';
import { creation, ERP, newKey, startBroker, type TestBroker } from '../support/broker.ts';

let sortie: TestBroker;
beforeAll(async () => {
  sortie = await startBroker({ template: { token_ttl: '1m', attest_every: '2m' } });
});
afterAll(() => sortie.close());

const renewal = (subject_token: string, mission_id: string) => ({
  grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
  subject_token,
  subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
  resource: ERP,
  mission_id,
});

async function silentMission() {
  const key = await newKey();
  const { body } = await sortie.token(key, creation(await sortie.evidence()));
  sortie.clock.ahead += 130;
  await reap(sortie.broker.ports);
  const mission = await sortie.broker.ports.store.mission(body.mission_id);
  expect(mission?.state).toBe('suspended');
  return { key, mission_id: body.mission_id };
}

test('a silent mission is woken by what it lacked: fresh evidence and its own key', async () => {
  const { key, mission_id } = await silentMission();
  const thief = await sortie.token(await newKey(), renewal(await sortie.evidence(), mission_id));
  expect(thief.body.error).toBe('invalid_grant');
  expect(thief.body.mission_error).toBeUndefined();
  const woken = await sortie.token(key, renewal(await sortie.evidence(), mission_id));
  expect(woken.status).toBe(200);
  const mission = await sortie.broker.ports.store.mission(mission_id);
  expect(mission?.state).toBe('active');
});

test('what a person suspended stays suspended, whatever evidence comes', async () => {
  const key = await newKey();
  const { body } = await sortie.token(key, creation(await sortie.evidence()));
  await sortie.admin('POST', `/missions/${body.mission_id}/suspend`, { reason: 'looking into it' });
  const refused = await sortie.token(key, renewal(await sortie.evidence(), body.mission_id));
  expect(refused.body.mission_error).toBe('mission_suspended');
});

test('a person cannot borrow the reason that evidence lifts', async () => {
  const { key, mission_id } = await silentMission();
  await sortie.token(key, renewal(await sortie.evidence(), mission_id));
  const answer = await sortie.admin('POST', `/missions/${mission_id}/suspend`, {
    reason: 'broker: not re-attested in time',
  });
  expect(answer.status).toBe(400);
});

test('a quiet broker seals its audit segments by age', async () => {
  const { ports } = sortie.broker;
  expect(await sealAudit(ports)).toBe(0);
  sortie.clock.ahead += 3700;
  await closeOldSegment(ports);
  expect(await sealAudit(ports)).toBe(1);
  const [segment] = await ports.store.auditSegments();
  expect(segment?.seal?.split('.')).toHaveLength(3);
});
