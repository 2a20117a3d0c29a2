import { createHash, randomUUID } from 'node:crypto';
import { exportJWK } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { JsonObject } from '../../src/domain/json.ts';
import { createGuard } from '../../src/sdk/resource/create-guard.ts';
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
let other: KeyHolder;
beforeAll(async () => {
  sortie = await startBroker();
  [key, other] = [await newKey(), await newKey()];
});
afterAll(() => sortie.close());

interface Minted {
  readonly access_token: string;
  readonly mission_id: string;
  readonly jti: string;
}

async function mint(holder = key, resource = ERP): Promise<Minted> {
  const evidence = await sortie.evidence({ run: randomUUID() });
  const { status, body } = await sortie.token(holder, creation(evidence, { resource }));
  expect(status).toBe(200);
  const claims = JSON.parse(
    Buffer.from(body.access_token.split('.')[1] ?? '', 'base64url').toString('utf8'),
  ) as {
    jti: string;
  };
  return { access_token: body.access_token, mission_id: body.mission_id, jti: claims.jti };
}

let seq = 0;
function event(token: Minted, over: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    ts: sortie.clock.now(),
    jti: token.jti,
    mission_id: token.mission_id,
    seq: ++seq,
    action: 'invoices.read',
    resource: `${ERP}/invoices/${seq}`,
    labels: ['read'],
    decision: 'permit',
    reason: 'permitted',
    outcome: 'passed',
    latency_us: 12,
    ...over,
  };
}

/** A denial as the guard reports it, with the proof of its call. */
async function denial(token: Minted, holder: KeyHolder, claims: Record<string, unknown> = {}) {
  const proof = await sortie.proof(holder, 'POST', `${ERP}/invoices/7`, {
    ath: createHash('sha256').update(token.access_token).digest('base64url'),
    nonce: undefined,
    ...claims,
  });
  return event(token, {
    action: 'invoices.approve',
    labels: ['effect'],
    decision: 'deny',
    reason: 'action_not_covered',
    outcome: 'refused',
    proof,
  });
}

async function post(path: string, body: unknown, verifier: 'erp' | 'mail' = 'erp') {
  const response = await fetch(`${sortie.url}${path}`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${await sortie.assertion(verifier)}`,
      'content-type': 'application/json',
    },
    body: JSON.stringify(body),
  });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}

const report = (
  events: readonly unknown[],
  over: Record<string, unknown> = {},
  verifier: 'erp' | 'mail' = 'erp',
) => post('/events', { batch_id: randomUUID(), instance_id: 'p1', lost: 0, events, ...over }, verifier);

interface Shown {
  readonly id: string;
  readonly action: string;
  readonly decision: string;
  readonly reason: string;
  readonly proof: string;
  readonly judged_by: string;
  readonly mission_id: string;
}

async function decisions(query: string): Promise<{ items: Shown[]; next_cursor: string | null }> {
  const { status, body } = await sortie.admin('GET', `/decisions?${query}`);
  expect(status).toBe(200);
  return body as unknown as { items: Shown[]; next_cursor: string | null };
}

describe('reported decisions', () => {
  test('every call of a mission is shown with why it was permitted or denied, also after a restart', async () => {
    const token = await mint();
    const sent = await report([event(token), event(token), await denial(token, key)]);
    expect(sent).toMatchObject({ status: 200, body: { accepted: 3, proven: 1, repeated: false } });
    await sortie.restart();
    const { items } = await decisions(`mission_id=${token.mission_id}`);
    expect(items.map(({ decision, reason, proof }) => [decision, reason, proof])).toEqual([
      ['deny', 'action_not_covered', 'valid'],
      ['permit', 'permitted', 'absent'],
      ['permit', 'permitted', 'absent'],
    ]);
    const mission = await sortie.admin('GET', `/missions/${token.mission_id}`);
    expect(mission.body['decisions']).toHaveLength(3);
  });

  test('a batch that comes again is counted once', async () => {
    const token = await mint();
    const batch = { batch_id: randomUUID(), events: [event(token)] };
    expect((await post('/events', batch)).body).toMatchObject({ accepted: 1, repeated: false });
    expect((await post('/events', batch)).body).toMatchObject({ repeated: true });
    expect((await decisions(`mission_id=${token.mission_id}`)).items).toHaveLength(1);
  });

  test("nobody reports on another audience's tokens, and neither on missions they do not belong to", async () => {
    const [token, elsewhere] = [await mint(), await mint(other)];
    const foreign = await report([event(token), event(token)], {}, 'mail');
    expect(foreign.body).toMatchObject({ accepted: 0, dropped: { foreign: 2 } });
    const crossed = await report([
      event({ ...token, mission_id: elsewhere.mission_id }),
      event({ ...token, jti: 'cred_unknown' }),
    ]);
    expect(crossed.body).toMatchObject({ accepted: 0, dropped: { foreign: 2 } });
    expect((await decisions(`mission_id=${token.mission_id}`)).items).toEqual([]);
    expect((await decisions(`mission_id=${elsewhere.mission_id}`)).items).toEqual([]);
  });

  test('a denial without a good proof of its call counts for display only', async () => {
    const token = await mint();
    const good = await denial(token, key);
    const { proof: _proof, ...bare } = await denial(token, key);
    const told = await report([
      good,
      { ...event(token, { decision: 'deny', reason: 'token_revoked' }), proof: good['proof'] },
      bare,
      await denial(token, other),
      await denial(token, key, { htu: `${MAIL}/messages` }),
      await denial(token, key, { htu: `${sortie.url}/token` }),
      await denial(token, key, { ath: undefined }),
      await denial(token, key, { iat: Math.floor(sortie.clock.now()) - 3600 }),
      { ...(await denial(token, key)), ts: sortie.clock.now() - 3600 },
      { ...bare, proof: 'not.a.proof' },
    ]);
    expect(told.body).toMatchObject({ accepted: 10, proven: 1 });
    const { items } = await decisions(`mission_id=${token.mission_id}&decision=deny`);
    expect(items.map(({ proof }) => proof).reverse()).toEqual([
      'valid',
      'repeated',
      'absent',
      ...Array.from({ length: 7 }, () => 'invalid'),
    ]);
    const again = await report([{ ...good, seq: 9_999 }]);
    expect(again.body, 'a proof stands behind one event, in whatever batch').toMatchObject({ proven: 0 });
  });

  test('what is not an event is dropped and counted; what is not a batch is refused', async () => {
    const token = await mint();
    const told = await report([
      event(token),
      event(token, { decision: 'maybe' }),
      event(token, { reason: '<script>alert(1)</script>' }),
      event(token, { ts: 'now' }),
      event(token, { parameters_digest: 'sha-256:guessable' }),
      event(token, { latency_us: -1 }),
      event(token, { action: 'x'.repeat(1000) }),
      null,
      7,
    ]);
    expect(told.body).toMatchObject({ accepted: 1, dropped: { malformed: 8, foreign: 0 } });
    for (const body of [
      [],
      {},
      { batch_id: 'b' },
      { events: [] },
      { batch_id: 'b', events: 'many' },
      { batch_id: '', events: [] },
      { batch_id: 'b', events: [], lost: -1 },
      { batch_id: 'b', events: Array.from({ length: 1001 }, () => ({})) },
    ])
      expect((await post('/events', body)).status).toBe(400);
  });

  test('what a process lost is shown beside what was dropped', async () => {
    const token = await mint();
    const instance_id = `p-${randomUUID()}`;
    await report([event(token)], { instance_id, lost: 3 });
    await report([event(token), null], { instance_id, lost: 10 });
    await report([event({ ...token, jti: 'cred_x' })], { instance_id, lost: 10 });
    const { body } = await sortie.admin('GET', '/decisions/sources');
    const own = (body['items'] as Record<string, unknown>[]).find(
      (item) => item['instance_id'] === instance_id,
    );
    expect(own).toMatchObject({
      verifier_id: 'erp',
      batches: 3,
      events: 2,
      lost: 10,
      dropped_malformed: 1,
      dropped_foreign: 1,
    });
  });

  test('a verifier that floods is told to come again, and leaves room for others', async () => {
    const token = await mint();
    const assertion = await sortie.assertion('erp');
    const flood = Array.from({ length: 64 }, () =>
      fetch(`${sortie.url}/events`, {
        method: 'POST',
        headers: { authorization: `Bearer ${assertion}`, 'content-type': 'application/json' },
        body: JSON.stringify({
          batch_id: randomUUID(),
          events: Array.from({ length: 500 }, () => event(token)),
        }),
      }).then(async (response) => {
        await response.arrayBuffer();
        return response.status;
      }),
    );
    const beside = await report([], {}, 'mail');
    const statuses = new Set(await Promise.all(flood));
    expect(beside.status).toBe(200);
    for (const status of statuses) expect([200, 503]).toContain(status);
    expect(statuses.has(200)).toBe(true);
  });

  test('only verifiers report, only admins read', async () => {
    const bare = await fetch(`${sortie.url}/events`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ batch_id: 'b', events: [] }),
    });
    expect(bare.status).toBe(401);
    for (const path of ['/decisions', '/decisions/sources', '/decisions/dec_1/explain', '/stream'])
      expect((await sortie.as('sortie_adm_none', 'GET', path)).status).toBe(401);
  });
});

test("a guard's decisions arrive with their proofs", async () => {
  const running = createGuard({
    issuer: sortie.url,
    audience: ERP,
    verifier: {
      id: 'erp',
      private_key_jwk: (await exportJWK(sortie.verifierKeys.erp.privateKey)) as JsonObject,
    },
    instance_id: 'guard-1',
  });
  try {
    await running.ready;
    const token = await mint();
    const url = `${ERP}/invoices/1`;
    for (const action of ['invoices.read', 'invoices.destroy']) {
      const proof = await sortie.proof(key, 'GET', url, {
        ath: createHash('sha256').update(token.access_token).digest('base64url'),
        nonce: undefined,
      });
      await running.guard.check({
        authorization: `DPoP ${token.access_token}`,
        proof,
        method: 'GET',
        url,
        action,
        resource: ERP,
        parameters: {},
        context: { amount: { amount: '20.00', currency: 'EUR' } },
      });
    }
    let items: Shown[] = [];
    for (let turn = 0; turn < 100 && items.length < 2; turn++) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      ({ items } = await decisions(`mission_id=${token.mission_id}`));
    }
    expect(items.map(({ action, reason, proof }) => [action, reason, proof]).sort()).toEqual([
      ['invoices.destroy', 'action_not_covered', 'valid'],
      ['invoices.read', 'permitted', 'absent'],
    ]);
  } finally {
    await running.close();
  }
});

describe('decisions for admins', () => {
  test('pages go through all of them once, whoever judged', async () => {
    const token = await mint();
    for (let batch = 0; batch < 5; batch++) await report(Array.from({ length: 7 }, () => event(token)));
    await judged(token, 'invoices.read');
    await judged(token, 'invoices.destroy');
    const seen: string[] = [];
    let cursor: string | null = null;
    for (let page = 0; page < 40; page++) {
      const answer = await decisions(
        `mission_id=${token.mission_id}&limit=4${cursor === null ? '' : `&cursor=${cursor}`}`,
      );
      seen.push(...answer.items.map(({ id }) => id));
      cursor = answer.next_cursor;
      if (cursor === null) break;
    }
    expect(cursor).toBeNull();
    expect(seen).toHaveLength(37);
    expect(new Set(seen).size).toBe(37);
  });

  test("the broker's own judgements stand beside the verifiers'", async () => {
    const token = await mint();
    await report([event(token)]);
    await judged(token, 'invoices.read');
    const { items } = await decisions(`mission_id=${token.mission_id}`);
    expect(items.map(({ judged_by, proof }) => [judged_by, proof])).toEqual([
      ['broker', 'broker'],
      ['verifier', 'absent'],
    ]);
  });

  test('filters by audience and decision', async () => {
    const token = await mint();
    await report([event(token), await denial(token, key)]);
    const denied = await decisions(`audience=${encodeURIComponent(ERP)}&decision=deny&limit=500`);
    expect(denied.items.some(({ mission_id }) => mission_id === token.mission_id)).toBe(true);
    expect(denied.items.every(({ decision }) => decision === 'deny')).toBe(true);
    expect((await decisions(`audience=${encodeURIComponent(MAIL)}`)).items).toEqual([]);
    expect((await sortie.admin('GET', '/decisions?cursor=AAAA')).status).toBe(400);
  });

  test('a decision is explained by authority, template, policy and bundle', async () => {
    const token = await mint();
    await report([await denial(token, key)], { bundle_version: 'v-7' });
    const [shown] = (await decisions(`mission_id=${token.mission_id}`)).items;
    const { status, body } = await sortie.admin('GET', `/decisions/${shown?.id}/explain`);
    expect(status).toBe(200);
    expect(body).toMatchObject({
      decision: { id: shown?.id, reason: 'action_not_covered' },
      mission: { id: token.mission_id, template: { id: 'invoices', version: '1' } },
      refusal: 'action_not_covered',
      bundle: { judged_by: 'v-7' },
    });
    expect(JSON.stringify(body['effective_authority'])).toContain('only up to 500.00 EUR');
    for (const id of [
      'dec_0',
      'dec_999999',
      'dec_nope',
      `${shown?.id}9`,
      '..',
      'dec_AAAAAAAAAAAAAAAAAAAAAA.0',
    ])
      expect((await sortie.admin('GET', `/decisions/${id}/explain`)).status).toBe(404);
  });

  test('a live stream shows audit records and decisions, and ends with its token', async () => {
    const watcher = await sortie.adminToken('viewer', 'watcher');
    const response = await fetch(`${sortie.url}/admin/v1/stream`, {
      headers: { authorization: `Bearer ${watcher}` },
    });
    expect(response.headers.get('content-type')).toBe('text/event-stream');
    const reader = (response.body ?? new ReadableStream()).pipeThrough(new TextDecoderStream()).getReader();
    const token = await mint();
    await report([await denial(token, key)]);
    let text = '';
    while (!(text.includes('event: decisions') && text.includes('mission.created'))) {
      const { value, done } = await reader.read();
      expect(done).toBe(false);
      text += value;
    }
    expect(text).toContain(token.mission_id);
    expect(text, 'no proof, no token').not.toContain('eyJ');
    const { body } = await sortie.admin('GET', '/tokens');
    const own = (body['items'] as { id: string; name: string }[]).find(({ name }) => name === 'watcher');
    await sortie.admin('DELETE', `/tokens/${own?.id}`);
    let ended = false;
    while (!ended)
      ended = await reader.read().then(
        ({ done }) => done,
        () => true,
      );
    expect(ended).toBe(true);
  });
});

describe('observations', () => {
  const digest = `hmac-sha-256:${'A'.repeat(43)}`;
  const observation = (token: Minted, over: Record<string, unknown> = {}) => ({
    mission_id: token.mission_id,
    jti: token.jti,
    seq: ++seq,
    origin: 'text',
    field: 'body',
    digests: [digest],
    ...over,
  });

  test('one, or a batch, is kept before it is answered; the same one once', async () => {
    const token = await mint();
    const one = observation(token);
    expect((await post('/observations', one)).body).toMatchObject({ accepted: 1, repeated: false });
    expect((await post('/observations', one)).body).toMatchObject({ repeated: true });
    const batch = { batch_id: randomUUID(), observations: [observation(token), observation(token)] };
    expect((await post('/observations', batch)).body).toMatchObject({ accepted: 2 });
    const kept = await sortie.broker.ports.store.reports({
      kind: 'observations',
      mission_id: token.mission_id,
      limit: 10,
    });
    expect(kept.map(({ report: { count } }) => count)).toEqual([2, 1]);
    expect((await decisions(`mission_id=${token.mission_id}`)).items).toEqual([]);
  });

  test('values themselves, plain digests and other audiences are not taken', async () => {
    const token = await mint();
    for (const over of [
      { digests: ['alice@example.com'] },
      { digests: [`sha-256:${'A'.repeat(43)}`] },
      { origin: 'A B' },
    ])
      expect((await post('/observations', observation(token, over))).body).toMatchObject({
        accepted: 0,
        dropped: { malformed: 1 },
      });
    expect((await post('/observations', observation(token), 'mail')).body).toMatchObject({
      accepted: 0,
      dropped: { foreign: 1 },
    });
  });
});

/** A call that the broker judges itself. */
async function judged(token: Minted, action: string) {
  const answer = await post('/access/v1/evaluation', {
    subject: { type: 'mission', id: token.mission_id },
    action: { name: action },
    resource: { type: 'invoice', id: ERP },
    context: {
      access_token: token.access_token,
      dpop: await sortie.proof(key, 'GET', `${ERP}/x`, {
        ath: createHash('sha256').update(token.access_token).digest('base64url'),
        nonce: undefined,
      }),
      method: 'GET',
      url: `${ERP}/x`,
      amount: { amount: '1.00', currency: 'EUR' },
    },
  });
  expect(answer.status).toBe(200);
}
