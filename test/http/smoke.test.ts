import { afterAll, beforeAll, expect, test } from 'vitest';
import { creation, newKey, startBroker, type TestBroker } from '../support/broker.ts';

let sortie: TestBroker;
beforeAll(async () => {
  sortie = await startBroker();
});
afterAll(() => sortie.close());

test('evidence and an intent become a bound token', async () => {
  const key = await newKey();
  const answer = await sortie.token(key, creation(await sortie.evidence()));
  expect(answer.status).toBe(200);
});
