/** `POST /observations` on the wire: what is taken, what is answered, and what is not believed. */
import { decodeJwt } from 'jose';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { creation, newKey, startBroker, type TestBroker } from '../support/broker.ts';

let sortie: TestBroker;
beforeAll(async () => {
  sortie = await startBroker();
});
afterAll(() => sortie.close());

async function minted() {
  const key = await newKey();
  const { body } = await sortie.token(key, creation(await sortie.evidence({ run: crypto.randomUUID() })));
  return { mission_id: body.mission_id, jti: decodeJwt(body.access_token).jti ?? '' };
}

async function post(body: unknown, verifier: 'erp' | 'mail' = 'erp') {
  const response = await fetch(`${sortie.url}/observations`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${await sortie.assertion(verifier)}`,
      'content-type': 'application/json',
    },
    body: JSON.stringify(body),
  });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}

const batch = (...observations: unknown[]) => ({ batch_id: crypto.randomUUID(), observations });
const DIGEST = '0123456789ab';

test('a batch is answered with what it proves nothing by, and by whom it is kept', async () => {
  const token = await minted();
  const observation = { ...token, seq: 1, field: '*', digests: [DIGEST] };
  const { status, body } = await post(batch({ ...observation, origin: 'echo' }));
  expect(status).toBe(200);
  expect(body).toStrictEqual({
    accepted: 1,
    dropped: { foreign: 0, malformed: 0 },
    proven: 0,
    repeated: false,
    unsettled: [],
    observed_by: expect.any(String),
  });
  const again = await post(batch({ ...observation, origin: 'text' }));
  expect(again.body['observed_by']).toBe(body['observed_by']);
});

test('the same batch again adds nothing, and is answered as at first', async () => {
  const token = await minted();
  const sent = batch({ ...token, seq: 1, origin: 'text', field: '*', digests: [DIGEST] });
  const first = await post(sent);
  expect(await post(sent)).toStrictEqual({ ...first, body: { ...first.body, repeated: true } });
});

test('another audience’s token is foreign, and so is another mission’s', async () => {
  const [token, other] = [await minted(), await minted()];
  const observation = { ...token, seq: 1, origin: 'text', field: '*', digests: [] };
  expect((await post(batch(observation), 'mail')).body).toMatchObject({
    accepted: 0,
    dropped: { foreign: 1 },
  });
  expect((await post(batch({ ...observation, jti: other.jti }))).body).toMatchObject({
    accepted: 0,
    dropped: { foreign: 1 },
  });
  const facts = await fetch(`${sortie.url}/verifier/missions/${token.mission_id}`, {
    headers: { authorization: `Bearer ${await sortie.assertion('erp')}` },
  });
  expect(await facts.json()).toMatchObject({ tainted: false, marked: false });
});

test('what is no digest, no code or no list is malformed, and the rest is taken', async () => {
  const token = await minted();
  const good = { ...token, seq: 1, origin: 'text', field: '*', digests: [DIGEST] };
  const { body } = await post(
    batch(
      good,
      { ...good, digests: ['plain text'] },
      { ...good, origin: 'Vouched For' },
      { ...good, digests: DIGEST },
      { ...good, digests: Array.from({ length: 1025 }, () => DIGEST) },
    ),
  );
  expect(body).toMatchObject({ accepted: 1, dropped: { foreign: 0, malformed: 4 } });
});

test('of a mission that ended it is kept for people, and learned by nobody', async () => {
  const token = await minted();
  await sortie.admin('POST', `/missions/${token.mission_id}/revoke`, { reason: 'over' });
  const { body } = await post(batch({ ...token, seq: 1, origin: 'system', field: '*', digests: [DIGEST] }));
  expect(body).toMatchObject({ accepted: 1, unsettled: [] });
});
