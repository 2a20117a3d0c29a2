import { createHash } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  creation,
  ERP,
  type KeyHolder,
  MAIL,
  newKey,
  startBroker,
  type TestBroker,
} from '../support/broker.ts';

let sortie: TestBroker;
let key: KeyHolder;
beforeAll(async () => {
  sortie = await startBroker();
  key = await newKey();
});
afterAll(() => sortie.close());

const CALL_URL = `${ERP}/invoices/7`;

async function mission() {
  const answer = await sortie.token(key, creation(await sortie.evidence()));
  expect(answer.status).toBe(200);
  return answer.body;
}

async function question(
  token: { access_token: string; mission_id: string },
  overrides: Record<string, unknown> = {},
) {
  return {
    subject: { type: 'mission', id: token.mission_id },
    action: { name: 'invoices.read' },
    resource: { type: 'invoice', id: ERP },
    context: {
      access_token: token.access_token,
      dpop: await sortie.proof(key, 'GET', CALL_URL, {
        ath: createHash('sha256').update(token.access_token).digest('base64url'),
        nonce: undefined,
      }),
      method: 'GET',
      url: CALL_URL,
      parameters: {},
      amount: { amount: '10.00', currency: 'EUR' },
      ...overrides,
    },
  };
}

async function ask(body: unknown, path = 'evaluation', verifier: 'erp' | 'mail' = 'erp') {
  const response = await fetch(`${sortie.url}/access/v1/${path}`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${await sortie.assertion(verifier)}`,
      'content-type': 'application/json',
    },
    body: JSON.stringify(body),
  });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}

test('permits a granted call and records it', async () => {
  const token = await mission();
  expect((await ask(await question(token))).body).toEqual({ decision: true });
  const { body } = await sortie.admin('GET', `/audit?mission_id=${token.mission_id}&event=call.permitted`);
  expect(body['items']).toHaveLength(1);
});

test('denies what the constraint forbids, and says which code', async () => {
  const token = await mission();
  const over = await question(token, { amount: { amount: '501.00', currency: 'EUR' } });
  expect((await ask(over)).body).toEqual({ decision: false, context: { reason: 'constraint_violated' } });
});

test('a proof is good for one question', async () => {
  const token = await mission();
  const asked = await question(token);
  expect((await ask(asked)).body['decision']).toBe(true);
  expect((await ask(asked)).body).toEqual({ decision: false, context: { reason: 'proof_replayed' } });
});

test('permits nothing without a proof, with another key, or to another audience', async () => {
  const token = await mission();
  const bare = await question(token, { dpop: undefined });
  expect((await ask(bare)).body['decision']).toBe(false);
  const thief = await newKey();
  const stolen = await question(token, {
    dpop: await sortie.proof(thief, 'GET', CALL_URL, {
      ath: createHash('sha256').update(token.access_token).digest('base64url'),
    }),
  });
  expect((await ask(stolen)).body['decision']).toBe(false);
  expect((await ask(await question(token), 'evaluation', 'mail')).body['decision']).toBe(false);
  expect(MAIL).not.toBe(ERP);
});

test('an answered revocation is a denial', async () => {
  const token = await mission();
  await sortie.admin('POST', `/missions/${token.mission_id}/revoke`, { reason: 'test' });
  expect((await ask(await question(token))).body).toEqual({
    decision: false,
    context: { reason: 'mission_revoked' },
  });
});

test('a boxcar answers in order, shares the proof of its call and stops where asked', async () => {
  const token = await mission();
  const { context, subject, resource } = await question(token);
  const boxcar = (semantic: string) => ({
    subject,
    resource,
    context,
    options: { evaluations_semantic: semantic },
    evaluations: [
      { action: { name: 'invoices.read' } },
      { action: { name: 'invoices.delete' } },
      { action: { name: 'invoices.approve' } },
    ],
  });
  const all = (await ask(boxcar('execute_all'), 'evaluations')).body['evaluations'] as {
    decision: boolean;
  }[];
  expect(all.map(({ decision }) => decision)).toEqual([true, false, true]);
});

test('a stranger learns nothing', async () => {
  const response = await fetch(`${sortie.url}/access/v1/evaluation`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{}',
  });
  expect(response.status).toBe(401);
});
