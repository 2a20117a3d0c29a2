import request from 'supertest';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startBroker, type TestBroker } from '../support/broker.ts';

let sortie: TestBroker;
beforeAll(async () => {
  sortie = await startBroker();
});
afterAll(() => sortie.close());

test('metadata names only endpoints that answer', async () => {
  const { body } = await request(sortie.url).get('/.well-known/oauth-authorization-server').expect(200);
  expect(body).toMatchObject({ issuer: sortie.url, token_endpoint: `${sortie.url}/token` });
  for (const [name, url] of Object.entries(body as Record<string, unknown>)) {
    if (typeof url !== 'string' || !name.endsWith('endpoint')) continue;
    const path = url.slice(sortie.url.length);
    const get = await request(sortie.url).get(path);
    const post = await request(sortie.url).post(path);
    expect([name, get.status === 404 && post.status === 404]).toEqual([name, false]);
  }
});

test('the key set has public keys alone', async () => {
  const { body } = await request(sortie.url)
    .get('/jwks')
    .expect('content-type', /application\/jwk-set\+json/)
    .expect(200);
  const { keys } = body as { keys: Record<string, unknown>[] };
  expect(keys.length).toBeGreaterThan(0);
  for (const key of keys) expect(Object.keys(key).filter((member) => 'dpqk'.includes(member))).toEqual([]);
});

test('an unknown path is a problem document without a word about the server', async () => {
  const answer = await request(sortie.url).get('/nowhere').expect(404);
  expect(answer.headers['content-type']).toMatch(/application\/problem\+json/);
  expect(answer.headers['x-powered-by']).toBeUndefined();
  expect(answer.body).toEqual({ type: 'urn:sortie:problem:not_found', title: 'not found', status: 404 });
});
