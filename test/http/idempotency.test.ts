/** `creation_request_id`: a repeated creation is the same mission. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { canonicalize } from '../../src/domain/json.ts';
import {
  creation,
  ERP,
  inAnHour,
  intent,
  MAIL,
  newKey,
  startBroker,
  type TestBroker,
} from '../support/broker.ts';
import { entry } from '../support/missions.ts';
import { read } from '../support/tokens.ts';

let sortie: TestBroker;
beforeAll(async () => {
  sortie = await startBroker();
});
afterAll(() => sortie.close());

describe('idempotency', () => {
  test('the same id and content is the same mission with a fresh token', async () => {
    const key = await newKey();
    const form = { creation_request_id: crypto.randomUUID(), mission_intent: intent() };
    const first = await sortie.token(key, creation(await sortie.evidence(), form));
    const second = await sortie.token(key, creation(await sortie.evidence(), form));
    expect(second.status).toBe(200);
    expect(second.body.mission_id).toBe(first.body.mission_id);
    expect(second.body.access_token).not.toBe(first.body.access_token);
  });

  test('a lost answer is learned again: the repeated one reports the same narrowing', async () => {
    const key = await newKey();
    const form = {
      creation_request_id: crypto.randomUUID(),
      mission_intent: intent(),
      authorization_details: JSON.stringify([entry(['invoices.read', 'payments.send'])]),
    };
    const first = await sortie.token(key, creation(await sortie.evidence(), form));
    const second = await sortie.token(key, creation(await sortie.evidence(), form));
    expect(first.body.narrowed.length).toBeGreaterThan(0);
    expect(second.body.narrowed).toEqual(first.body.narrowed);
  });

  test.each([
    ['another intent', { mission_intent: intent({ goal: 'Something else' }) }],
    ['another proposal', { authorization_details: JSON.stringify([entry(['invoices.read'])]) }],
    ['another resource', { resource: MAIL }],
    ['another template', { template_id: 'invoices' }],
  ])('the same id with %s is refused', async (_name, change) => {
    const key = await newKey();
    const form = { creation_request_id: crypto.randomUUID(), mission_intent: intent({ goal: 'One' }) };
    await sortie.token(key, creation(await sortie.evidence(), form));
    const { status, body } = await sortie.token(
      key,
      creation(await sortie.evidence(), { ...form, ...change }),
    );
    expect([status, body.error]).toEqual([400, 'invalid_request']);
    expect(body.error_description).toContain('creation_request_id');
  });

  test('an id is the key’s own: another key with it makes another mission', async () => {
    const form = { creation_request_id: 'shared', mission_intent: intent() };
    const first = await sortie.token(await newKey(), creation(await sortie.evidence(), form));
    const second = await sortie.token(await newKey(), creation(await sortie.evidence(), form));
    expect(second.body.mission_id).not.toBe(first.body.mission_id);
  });

  test('twenty identical creations at once are one mission', async () => {
    const key = await newKey();
    const form = creation(await sortie.evidence({ run: 'race' }), {
      creation_request_id: crypto.randomUUID(),
      mission_intent: intent({ goal: 'race' }),
    });
    await sortie.token(key, { ...form, resource: 'https://unregistered.example.com' });
    const answers = await Promise.all(Array.from({ length: 20 }, () => sortie.token(key, form)));
    expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(200));
    expect(new Set(answers.map(({ body }) => body.mission_id)).size).toBe(1);
    expect(new Set(answers.map(({ body }) => read(body.access_token).claims.jti)).size).toBe(20);
    const { body } = await sortie.admin('GET', '/missions?q=race');
    expect((body['items'] as { goal: string }[]).filter(({ goal }) => goal === 'race')).toHaveLength(1);
  });

  test('members in another order are the same content', async () => {
    const key = await newKey();
    const declared = { goal: 'g', resources: [ERP], expires_at: inAnHour() };
    const id = crypto.randomUUID();
    const asked = (mission_intent: string) => ({ creation_request_id: id, mission_intent });
    const first = await sortie.token(
      key,
      creation(await sortie.evidence(), asked(JSON.stringify({ intent: declared }))),
    );
    const reordered = JSON.stringify({ intent: JSON.parse(canonicalize(declared)) as unknown }, null, 1);
    const second = await sortie.token(key, creation(await sortie.evidence(), asked(reordered)));
    expect(second.body.mission_id).toBe(first.body.mission_id);
  });
});
