import { decodeJwt } from 'jose';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  creation,
  ERP,
  inAnHour,
  type KeyHolder,
  MAIL,
  newKey,
  startBroker,
  TEMPLATE,
  type TestBroker,
} from '../support/broker.ts';

const delegation = { max_depth: 2, allowed_delegates: [{ sub_profile: 'ai_agent' }] };
const access = (resource: string, actions: string[], more = {}) => ({
  type: 'mission_resource_access',
  resource,
  actions,
  ...more,
});

let sortie: TestBroker;
beforeAll(async () => {
  sortie = await startBroker({
    template: {
      ceiling: [
        access(ERP, ['invoices.read'], { delegation }),
        access(ERP, ['journal.write']),
        ...TEMPLATE.ceiling.slice(2),
      ],
    },
  });
});
afterAll(() => sortie.close());

const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const ACCESS = 'urn:ietf:params:oauth:token-type:access_token';
const JWT = 'urn:ietf:params:oauth:token-type:jwt';
const childIntent = (resources = [ERP]) =>
  JSON.stringify({ intent: { goal: 'Read invoice 7', resources, expires_at: inAnHour() } });

async function parent() {
  const key = await newKey();
  const { body } = await sortie.token(key, creation(await sortie.evidence()));
  return { key, token: body.access_token, id: body.mission_id };
}

const reserve = (key: KeyHolder, token: string, sub: string, more: Record<string, string> = {}) =>
  sortie.token(key, {
    grant_type: EXCHANGE,
    subject_token: token,
    subject_token_type: ACCESS,
    child_actor: JSON.stringify({ sub }),
    mission_intent: childIntent(),
    ...more,
  });

const activate = async (key: KeyHolder, delegation_grant: string, sub = 'reader', run = 'child-1') =>
  sortie.token(key, {
    grant_type: EXCHANGE,
    subject_token: await sortie.evidence({ sub, run }),
    subject_token_type: JWT,
    resource: ERP,
    delegation: delegation_grant,
  });

async function child() {
  const above = await parent();
  const reserved = await reserve(above.key, above.token, 'agents/reader');
  expect(reserved.body).toMatchObject({ token_type: 'N_A', expires_in: 60 });
  const key = await newKey();
  const answer = await activate(key, reserved.body.access_token);
  expect(answer.status).toBe(200);
  return { above, reserved: reserved.body, key, answer: answer.body };
}

test('a child gets a strict subset, under its own key, named in act and path', async () => {
  const { above, reserved, key, answer } = await child();
  expect(answer.mission_id).toBe(reserved.mission_id);
  expect(answer.authorization_details.map((entry) => entry['actions'])).toEqual([['invoices.read']]);
  const claims = decodeJwt(answer.access_token);
  expect(claims).toMatchObject({
    sub: 'agents/reconciler',
    client_id: 'agents/reader',
    act: { sub: 'agents/reader' },
    cnf: { jkt: key.jkt },
    mission: { path: [above.id, answer.mission_id] },
  });
});

test('a grandchild nests act and path, and no deeper than the delegation says', async () => {
  const { above, key, answer } = await child();
  const reserved = await reserve(key, answer.access_token, 'agents/scanner');
  const own = await newKey();
  const grandchild = await activate(own, reserved.body.access_token, 'scanner', 'grandchild-1');
  const claims = decodeJwt(grandchild.body.access_token);
  expect(claims).toMatchObject({
    sub: 'agents/reconciler',
    act: { sub: 'agents/scanner', act: { sub: 'agents/reader' } },
    mission: { path: [above.id, answer.mission_id, grandchild.body.mission_id] },
  });
  const deeper = await reserve(own, grandchild.body.access_token, 'agents/deeper');
  expect(deeper.body.mission_denial_reason).toBe('delegation_not_permitted');
});

test('a grant works once, for the agent that it names, with a key of its own', async () => {
  const above = await parent();
  const reserved = await reserve(above.key, above.token, 'agents/reader');
  const grant = reserved.body.access_token;
  expect((await activate(await newKey(), grant, 'impostor')).body.error).toBe('invalid_grant');
  expect((await activate(above.key, grant)).body.error).toBe('invalid_request');
  expect((await activate(await newKey(), grant)).status).toBe(200);
  expect((await activate(await newKey(), grant, 'reader', 'child-2')).status).toBe(400);
});

test('a grant is worthless after a minute and is no access token', async () => {
  const above = await parent();
  const { body } = await reserve(above.key, above.token, 'agents/reader');
  const mission = await sortie.token(above.key, {
    grant_type: EXCHANGE,
    subject_token: body.access_token,
    subject_token_type: ACCESS,
    resource: ERP,
  });
  expect(mission.body.error).toBe('invalid_grant');
  sortie.clock.ahead += 61;
  expect((await activate(await newKey(), body.access_token)).body.error).toBe('invalid_grant');
});

test('a resource server that holds the token can reserve nothing', async () => {
  const above = await parent();
  const answer = await reserve(await newKey(), above.token, 'agents/reader');
  expect(answer.body.error).toBe('invalid_grant');
});

test('what may not be passed on is refused to the parent', async () => {
  const above = await parent();
  const journal = await reserve(above.key, above.token, 'agents/reader', {
    authorization_details: JSON.stringify([access(ERP, ['journal.write'])]),
  });
  expect(journal.body.mission_denial_reason).toBe('not_strict_subset');
  const mail = await reserve(above.key, above.token, 'agents/reader', {
    mission_intent: childIntent([MAIL]),
  });
  expect(mail.body.mission_denial_reason).toBe('delegation_not_permitted');
});

test('the end of the parent is the end of the child, in the same transaction', async () => {
  const { above, key, answer } = await child();
  const killed = await sortie.admin('POST', `/missions/${above.id}/revoke`, { reason: 'test' });
  expect(killed.body['cascaded']).toEqual([answer.mission_id]);
  const renewed = await sortie.token(key, {
    grant_type: EXCHANGE,
    subject_token: await sortie.evidence({ sub: 'reader', run: 'child-1' }),
    subject_token_type: JWT,
    resource: ERP,
    mission_id: answer.mission_id,
  });
  expect(renewed.body.mission_error).toBe('mission_revoked');
});

test('a grant of a dead parent starts nothing', async () => {
  const above = await parent();
  const { body } = await reserve(above.key, above.token, 'agents/reader');
  await sortie.admin('POST', `/missions/${above.id}/revoke`, { reason: 'test' });
  expect((await activate(await newKey(), body.access_token)).body.mission_error).toBe('mission_revoked');
});

test('containment of the parent reaches the child', async () => {
  const { above, key, answer } = await child();
  await sortie.admin('POST', `/missions/${above.id}/contain`, {
    reason: 'test',
    remove: [{ action: 'invoices.read' }],
  });
  const renewed = await sortie.token(key, {
    grant_type: EXCHANGE,
    subject_token: await sortie.evidence({ sub: 'reader', run: 'child-1' }),
    subject_token_type: JWT,
    resource: ERP,
    mission_id: answer.mission_id,
  });
  expect(renewed.body.mission_denial_reason).toBe('authority_contained');
});
