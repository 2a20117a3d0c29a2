/** The admin API: who may do what, once, and with the consequences shown first. */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { creation, ERP, startBroker, type TestBroker } from '../support/broker.ts';
import { newMission } from '../support/missions.ts';

let sortie: TestBroker;
let viewer = '';
let responder = '';
beforeAll(async () => {
  sortie = await startBroker();
  viewer = await sortie.adminToken('viewer', 'vera');
  responder = await sortie.adminToken('responder', 'rob');
});
afterAll(() => sortie.close());

const reason = 'a test';

describe('bootstrap', () => {
  test('the token is in a 0600 file, makes the first admin and nothing else, once', async () => {
    const broker = await startBroker();
    try {
      const file = join(broker.folder, 'bootstrap-token');
      expect(statSync(file).mode & 0o777).toBe(0o600);
      const bootstrap = readFileSync(file, 'utf8').trim();
      expect((await broker.as(bootstrap, 'GET', '/missions')).status).toBe(403);
      expect((await broker.as(bootstrap, 'POST', '/tokens', { name: 'a', role: 'viewer' })).status).toBe(403);
      const past = { name: 'a', role: 'admin', expires_at: '2020-01-01T00:00:00Z' };
      expect((await broker.as(bootstrap, 'POST', '/tokens', past)).status).toBe(400);
      const answers = await Promise.all(
        ['a', 'b', 'c'].map((name) => broker.as(bootstrap, 'POST', '/tokens', { name, role: 'admin' })),
      );
      expect(answers.map(({ status }) => status).sort()).toEqual([201, 401, 401]);
      expect((await broker.as(bootstrap, 'POST', '/tokens', { name: 'd', role: 'admin' })).status).toBe(401);
      await broker.restart();
      expect(existsSync(file)).toBe(false);
    } finally {
      await broker.close();
    }
  });

  test('the token expires in an hour; a restart without an admin makes a new one and kills the old', async () => {
    const broker = await startBroker();
    try {
      const read = () => readFileSync(join(broker.folder, 'bootstrap-token'), 'utf8').trim();
      const first = read();
      broker.clock.ahead = 3601;
      expect((await broker.as(first, 'POST', '/tokens', { name: 'a', role: 'admin' })).status).toBe(401);
      broker.clock.ahead = 0;
      await broker.restart();
      expect(read()).not.toBe(first);
      expect((await broker.as(first, 'POST', '/tokens', { name: 'a', role: 'admin' })).status).toBe(401);
      expect((await broker.as(read(), 'POST', '/tokens', { name: 'a', role: 'admin' })).status).toBe(201);
    } finally {
      await broker.close();
    }
  });
});

describe('roles', () => {
  /** The status alone: one route is a stream that never ends. */
  const statusOf = async (token: string, method: string, path: string, body?: unknown) => {
    const response = await fetch(`${sortie.url}/admin/v1${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    await response.body?.cancel();
    return response.status;
  };

  test('each route refuses the role below it, and everybody without a token', async () => {
    const RANK = ['viewer', 'responder', 'admin'] as const;
    const tokens = { viewer, responder };
    let judged = 0;
    for (const route of sortie.broker.routes) {
      if (route.auth.kind !== 'admin' || !route.path.startsWith('/admin/v1')) continue;
      const path = route.path.replace('/admin/v1', '').replaceAll(/\{\w+\}/g, 'x');
      const body = route.method === 'POST' ? {} : undefined;
      for (const token of ['', 'sortie_adm_nonsense', `${viewer}x`])
        expect([path, await statusOf(token, route.method, path, body)]).toEqual([path, 401]);
      const needed = RANK.indexOf(route.auth.role);
      for (const [role, token] of Object.entries(tokens)) {
        const status = await statusOf(token, route.method, path, body);
        const allowed = RANK.indexOf(role as 'viewer') >= needed;
        expect([path, role, status === 403]).toEqual([path, role, !allowed]);
        expect(status).not.toBe(401);
        judged++;
      }
    }
    expect(judged).toBeGreaterThan(20);
  });

  test('a responder ends missions, instances and agents, not templates, rules or attesters', async () => {
    for (const kind of ['template', 'rule', 'attester', 'agent_key']) {
      const asked = { selector: { kind, key: 'nothing' }, reason };
      expect([kind, (await sortie.as(responder, 'POST', '/revocations', asked)).status]).toEqual([kind, 403]);
      expect((await sortie.as(responder, 'POST', '/revocations', { ...asked, dry_run: true })).status).toBe(
        200,
      );
    }
    const asked = { selector: { kind: 'instance', key: 'nothing' }, reason };
    expect((await sortie.as(responder, 'POST', '/revocations', asked)).status).toBe(200);
    const held = await newMission(sortie);
    const path = `/missions/${held.mission_id}`;
    expect((await sortie.as(responder, 'POST', `${path}/suspend`, { reason })).status).toBe(200);
    expect((await sortie.as(responder, 'POST', `${path}/resume`, { reason })).status).toBe(403);
    expect((await sortie.as(responder, 'POST', `${path}/revoke`, { reason })).status).toBe(200);
  });

  test('a revoked or expired token is nothing', async () => {
    const { body } = await sortie.admin('POST', '/tokens', { name: 'gone', role: 'viewer' });
    expect((await sortie.as(String(body['token']), 'GET', '/missions')).status).toBe(200);
    expect((await sortie.admin('DELETE', `/tokens/${String(body['id'])}`)).status).toBe(204);
    expect((await sortie.as(String(body['token']), 'GET', '/missions')).status).toBe(401);
    const soon = new Date(Date.now() + 60_000).toISOString();
    const short = await sortie.admin('POST', '/tokens', { name: 'short', role: 'viewer', expires_at: soon });
    sortie.clock.ahead = 61;
    const late = await sortie.as(String(short.body['token']), 'GET', '/missions');
    sortie.clock.ahead = 0;
    expect(late.status).toBe(401);
    const listed = await sortie.admin('GET', '/tokens');
    expect(JSON.stringify(listed.body)).not.toMatch(/digest|sortie_adm_/);
  });
});

describe('suspend, resume, revoke', () => {
  test('stop and restart renewal and introspection; a wrong state or version is 409', async () => {
    const held = await newMission(sortie);
    const path = `/missions/${held.mission_id}`;
    const suspended = await sortie.admin('POST', `${path}/suspend`, { reason, expected_version: 1 });
    expect(suspended.body['mission']).toMatchObject({ state: 'suspended', version: 2 });
    expect(await sortie.introspect(held.access_token)).toEqual({ active: false });
    expect((await sortie.admin('POST', `${path}/suspend`, { reason })).status).toBe(409);
    expect((await sortie.admin('POST', `${path}/resume`, { reason, expected_version: 1 })).status).toBe(409);
    const resumed = await sortie.admin('POST', `${path}/resume`, { reason, expected_version: 2 });
    expect(resumed.body['mission']).toMatchObject({ state: 'active', version: 3 });
    expect((await sortie.introspect(held.access_token))['active']).toBe(true);
    expect((await sortie.admin('POST', `${path}/resume`, { reason })).status).toBe(409);
    expect((await sortie.admin('POST', `${path}/revoke`, { reason })).body['mission']).toMatchObject({
      state: 'revoked',
    });
    expect((await sortie.admin('POST', `${path}/revoke`, { reason })).status).toBe(409);
    expect((await sortie.admin('POST', `${path}/resume`, { reason })).status).toBe(409);
    expect((await sortie.admin('POST', '/missions/msn_unknown/revoke', { reason })).status).toBe(404);
  });

  test('a repeated event_id is idempotent, and never swallows another act', async () => {
    const held = await newMission(sortie);
    const path = `/missions/${held.mission_id}`;
    const first = await sortie.admin('POST', `${path}/suspend`, {
      reason,
      event_id: 'e1',
      expected_version: 1,
    });
    const again = await sortie.admin('POST', `${path}/suspend`, {
      reason,
      event_id: 'e1',
      expected_version: 1,
    });
    expect([first.body['repeated'], again.body['repeated'], again.status]).toEqual([false, true, 200]);
    expect(again.body['mission']).toMatchObject({ state: 'suspended', version: 2 });
    const other = await sortie.admin('POST', `${path}/revoke`, { reason, event_id: 'e1' });
    expect(other.body).toMatchObject({ repeated: false, mission: { state: 'revoked' } });
    const elsewhere = await newMission(sortie);
    const revoked = await sortie.admin('POST', `/missions/${elsewhere.mission_id}/suspend`, {
      reason,
      event_id: 'e1',
    });
    expect(revoked.body['repeated']).toBe(false);
  });

  test('a silent mission that an admin resumes gets its time again', async () => {
    const broker = await startBroker({ template: { token_ttl: '1m', attest_every: '2m' } });
    try {
      const held = await newMission(broker, {}, { run: 'silent' });
      broker.clock.ahead = 121;
      await expect
        .poll(async () => (await broker.admin('GET', `/missions/${held.mission_id}`)).body['state'], {
          timeout: 5000,
        })
        .toBe('suspended');
      const { body } = await broker.admin('GET', `/missions/${held.mission_id}`);
      expect(body['state_reason']).toContain('not re-attested in time');
      await broker.admin('POST', `/missions/${held.mission_id}/resume`, { reason });
      // Two rounds of the reaper.
      await new Promise((resolve) => setTimeout(resolve, 2100));
      const { mission_intent: _, ...form } = creation(await broker.evidence({ run: 'silent' }));
      expect((await broker.token(held.key, { ...form, mission_id: held.mission_id })).status).toBe(200);
    } finally {
      await broker.close();
    }
  });

  test('of twenty revocations at once one is done, and all are answered', async () => {
    const held = await newMission(sortie);
    const answers = await Promise.all(
      Array.from({ length: 20 }, () =>
        sortie.admin('POST', `/missions/${held.mission_id}/revoke`, { reason }),
      ),
    );
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    expect(answers.filter(({ status }) => status === 409)).toHaveLength(19);
  });
});

describe('reading', () => {
  test('pages hold each mission once, newest first, by filter', async () => {
    const made = [];
    for (let i = 0; i < 7; i++) made.push((await newMission(sortie, {}, { sub: 'paged' })).mission_id);
    const seen: string[] = [];
    let cursor: string | null = null;
    do {
      const query = new URLSearchParams({
        agent: 'agents/paged',
        limit: '3',
        ...(cursor !== null && { cursor }),
      });
      const { body } = await sortie.admin('GET', `/missions?${query}`);
      seen.push(...(body['items'] as { id: string }[]).map(({ id }) => id));
      cursor = body['next_cursor'] as string | null;
    } while (cursor !== null);
    expect(seen).toEqual(made.reverse());
  });

  test.each(['limit=0', 'limit=501', 'limit=x', 'state=nonsense', 'limit=1&limit=2', 'unknown=1'])(
    'the query %s is refused',
    async (query) => {
      expect((await sortie.admin('GET', `/missions?${query}`)).status).toBe(400);
    },
  );

  test('a mission shows what was declared beside what was granted, its credentials and its history', async () => {
    const held = await newMission(sortie);
    const { body } = await sortie.admin('GET', `/missions/${held.mission_id}`);
    expect(body).toMatchObject({
      goal: 'Reconcile Q3 invoices',
      jkt: held.key.jkt,
      path: [held.mission_id],
      declared_by: 'agent',
      tainted: false,
    });
    expect(body['credentials']).toEqual([
      expect.objectContaining({ type: 'jwt', target: ERP, revoked_at: null }),
    ]);
    expect((body['audit'] as { event: string }[]).map(({ event }) => event)).toContain('mission.created');
    expect((await sortie.admin('GET', '/missions/msn_unknown')).status).toBe(404);
  });
});
