/** What guards believe after blocks come and go: nothing that a revocation ended ever works again. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { FeedSnapshot } from '../../src/domain/revocation.ts';
import { RevocationSet } from '../../src/domain/revocation-set.ts';
import { creation, newKey, startBroker, type TestBroker } from '../support/broker.ts';
import { read } from '../support/tokens.ts';

let sortie: TestBroker;
beforeAll(async () => {
  sortie = await startBroker();
});
afterAll(() => sortie.close());

async function mission(sub: string) {
  const key = await newKey();
  const answer = await sortie.token(key, creation(await sortie.evidence({ sub, run: `run-${sub}` })));
  return { key, ...answer.body };
}

/** What a guard that has just read the feed says of a token. */
async function denied(token: string): Promise<boolean> {
  await new Promise((resolve) => setTimeout(resolve, 250));
  const response = await fetch(`${sortie.url}/revocations`, {
    headers: { authorization: `Bearer ${await sortie.assertion()}` },
  });
  const set = new RevocationSet([1, 2]);
  set.load((await response.json()) as FeedSnapshot, sortie.clock.now());
  const { header, claims } = read(token);
  return set.judge(set.keysOf({ ...claims, kid: String(header['kid']) })) !== null;
}

async function unblock(kind: string, key: string): Promise<void> {
  const { body } = await sortie.admin('GET', '/blocks');
  const blocks = body['items'] as { id: string; selector: { kind: string; key: string } }[];
  for (const { id, selector } of blocks)
    if (selector.kind === kind && selector.key === key) await sortie.admin('DELETE', `/blocks/${id}`);
}

test.each(['agent', 'instance', 'agent_key'])(
  'a %s that was revoked and unblocked may begin again; what was revoked stays dead',
  async (kind) => {
    const sub = `revoked-by-${kind}`;
    const old = await mission(sub);
    const named: Record<string, string> = {
      agent: `agents/${sub}`,
      instance: `run-${sub}`,
      agent_key: old.key.jkt,
    };
    const key = named[kind] ?? '';
    await sortie.admin('POST', '/revocations', { selector: { kind, key }, reason: 'x' });
    expect(await denied(old.access_token)).toBe(true);
    await unblock(kind, key);
    expect(await denied(old.access_token)).toBe(true);
    expect(await sortie.introspect(old.access_token)).toEqual({ active: false });
    sortie.clock.ahead += 3;
    const evidence = await sortie.evidence({ sub, run: `run-${sub}` });
    const { status, body } = await sortie.token(old.key, creation(evidence));
    expect(status).toBe(200);
    expect(await denied(body.access_token)).toBe(false);
  },
);

test('one of two blocks lifted leaves the other in force, also for guards', async () => {
  const held = await mission('twice');
  const selector = { kind: 'agent', key: 'agents/twice' };
  const first = await sortie.admin('POST', '/blocks', { selector, reason: 'one' });
  const second = await sortie.admin('POST', '/blocks', { selector, reason: 'two' });
  await sortie.admin('DELETE', `/blocks/${String(first.body['id'])}`);
  expect(await denied(held.access_token)).toBe(true);
  expect(await sortie.introspect(held.access_token)).toEqual({ active: false });
  await sortie.admin('DELETE', `/blocks/${String(second.body['id'])}`);
  sortie.clock.ahead += 3;
  const { mission_intent: _, ...form } = creation(await sortie.evidence({ sub: 'twice', run: 'run-twice' }));
  const renewed = await sortie.token(held.key, { ...form, mission_id: held.mission_id });
  expect(renewed.status).toBe(200);
  expect(await denied(renewed.body.access_token)).toBe(false);
});

test('a blocked mission is refused by guards with everything below it, and again good after renewal', async () => {
  const held = await mission('blocked-mission');
  const selector = { kind: 'mission', key: held.mission_id };
  const made = await sortie.admin('POST', '/blocks', { selector, reason: 'x' });
  expect(await denied(held.access_token)).toBe(true);
  await sortie.admin('DELETE', `/blocks/${String(made.body['id'])}`);
  sortie.clock.ahead += 3;
  const run = 'run-blocked-mission';
  const { mission_intent: _, ...form } = creation(await sortie.evidence({ sub: 'blocked-mission', run }));
  const renewed = await sortie.token(held.key, { ...form, mission_id: held.mission_id });
  expect(await denied(renewed.body.access_token)).toBe(false);
});

test.each(['mission', 'instance'])(
  'resuming a mission does not lift the block of its %s at guards',
  async (kind) => {
    const sub = `resumed-${kind}`;
    const held = await mission(sub);
    const key = kind === 'mission' ? held.mission_id : `run-${sub}`;
    const made = await sortie.admin('POST', '/blocks', { selector: { kind, key }, reason: 'x' });
    await sortie.admin('POST', `/missions/${held.mission_id}/suspend`, { reason: 'x' });
    await sortie.admin('POST', `/missions/${held.mission_id}/resume`, { reason: 'x' });
    expect(await denied(held.access_token)).toBe(true);
    await sortie.admin('DELETE', `/blocks/${String(made.body['id'])}`);
    sortie.clock.ahead += 3;
    const { mission_intent: _, ...form } = creation(await sortie.evidence({ sub, run: `run-${sub}` }));
    const renewed = await sortie.token(held.key, { ...form, mission_id: held.mission_id });
    expect(await denied(renewed.body.access_token)).toBe(false);
  },
);

test('lifting the block of a mission that was revoked meanwhile revives nothing', async () => {
  const held = await mission('revoked-meanwhile');
  const selector = { kind: 'mission', key: held.mission_id };
  const made = await sortie.admin('POST', '/blocks', { selector, reason: 'x' });
  await sortie.admin('POST', `/missions/${held.mission_id}/revoke`, { reason: 'x' });
  await sortie.admin('DELETE', `/blocks/${String(made.body['id'])}`);
  expect(await denied(held.access_token)).toBe(true);
});
