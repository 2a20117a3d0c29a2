/** The agent SDK, the guard and the broker together, as docs/agents.md and examples/agent.ts show them. */
import { readFileSync } from 'node:fs';
import { exportJWK } from 'jose';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { explain, reconcile } from '../../../examples/agent.ts';
import type { JsonObject } from '../../../src/domain/json.ts';
import { CallDenied, MissionEnded } from '../../../src/sdk/agent/index.ts';
import { createGuard, type RunningGuard } from '../../../src/sdk/resource/index.ts';
import { newKey, startBroker, type TestBroker } from '../../support/broker.ts';
import { agentAt, evidenceOf, type SeenRequest, serve, type TestServer, thrownBy, until } from './support.ts';

const INVOICES: Readonly<Record<string, { amount: string; currency: string }>> = {
  '17': { amount: '120.00', currency: 'EUR' },
  '18': { amount: '900.00', currency: 'EUR' },
};

let api: TestServer;
let sortie: TestBroker;
let running: RunningGuard;

beforeAll(async () => {
  const type = 'mission_resource_access';
  const verifier = await newKey();
  let protect: (request: SeenRequest) => ReturnType<RunningGuard['guard']['decide']>;
  api = await serve(async (request, response) => {
    const verdict = await protect(request);
    if (!verdict.permitted) {
      const { status, headers, body } = running.guard.answer(verdict, request.headers.authorization);
      response.writeHead(status, headers);
      return response.end(JSON.stringify(body));
    }
    return response.end(JSON.stringify(INVOICES[request.url.split('/')[2] ?? ''] ?? {}));
  });
  sortie = await startBroker({
    template: {
      ceiling: [
        { type, resource: api.url, actions: ['invoices.read'] },
        {
          type,
          resource: api.url,
          actions: ['invoices.approve'],
          constraints: { max_amount: { amount: '500.00', currency: 'EUR' } },
        },
      ],
    },
    config: {
      audiences: [
        {
          resource: api.url,
          name: 'ERP',
          actions: { 'invoices.read': { labels: [] }, 'invoices.approve': { labels: [] } },
        },
      ],
      verifiers: [{ id: 'erp', audience: api.url, auth: { private_key_jwt: [verifier.jwk] } }],
    },
  });
  running = createGuard({
    issuer: sortie.url,
    audience: api.url,
    verifier: { id: 'erp', private_key_jwk: (await exportJWK(verifier.privateKey)) as JsonObject },
    events: 'none',
    now: () => sortie.clock.now(),
  });
  protect = (request) => {
    const [, , id = '', approve] = request.url.split('/');
    const amount = INVOICES[id];
    return running.guard.decide({
      authorization: request.headers.authorization,
      proof: request.headers['dpop'] as string | undefined,
      method: request.method,
      url: `${api.url}${request.url}`,
      action: approve === 'approve' ? 'invoices.approve' : 'invoices.read',
      resource: api.url,
      parameters: {},
      context: amount === undefined ? {} : { amount },
    });
  };
  await running.ready;
});
afterAll(async () => {
  await running.close();
  await sortie.close();
  await api.close();
});

test('the example does its work within what was granted, and leaves the rest', async () => {
  const outcome = await reconcile({ issuer: sortie.url, evidence: evidenceOf(sortie) }, api.url, [
    '17',
    '18',
  ]);
  expect(outcome.approved).toEqual(['17']);
  expect(outcome.left).toEqual([{ id: '18', why: '900.00 EUR is more than this mission may approve' }]);
  const page = await sortie.admin('GET', '/missions?state=completed');
  expect(page.body['items']).toHaveLength(1);
});

test('what can() says no to, the guard refuses with the same code', async () => {
  const agent = await agentAt(sortie);
  const mission = await agent.declare({ goal: 'x', resources: [api.url], lifetime_seconds: 600 });
  const context = { amount: INVOICES['18'] ?? { amount: '', currency: '' } };
  const local = mission.whyNot('invoices.approve', {}, { context });
  const denied = await thrownBy(() => mission.fetch(`${api.url}/invoices/18/approve`, { method: 'POST' }));
  expect(denied).toBeInstanceOf(CallDenied);
  expect(denied['code']).toBe(local?.code);
  expect(denied['rule']).toBe(local?.key);
  expect(explain(denied)).toBe('denied: constraint_violated, retry with_new_mission');
  agent.close();
});

test('a containment is felt by the next call, which renews and gets less', async () => {
  const agent = await agentAt(sortie);
  const mission = await agent.declare({ goal: 'x', resources: [api.url], lifetime_seconds: 600 });
  const approve = () => mission.fetch(`${api.url}/invoices/17/approve`, { method: 'POST' });
  expect((await approve()).status).toBe(200);
  const seq = running.health().seq;
  await sortie.admin('POST', `/missions/${mission.id}/contain`, {
    reason: 'odd',
    remove: [{ action: 'invoices.approve' }],
  });
  await until(() => running.health().seq > seq, 'the guard hears of it');
  let renewed = 0;
  mission.on('renewed', () => renewed++);
  expect((await thrownBy(approve))['code']).toBe('action_not_covered');
  expect(renewed).toBe(1);
  expect(mission.version).toBe(2);
  expect(mission.can('invoices.read')).toBe(true);
  expect((await mission.fetch(`${api.url}/invoices/17`)).status).toBe(200);
  agent.close();
});

test('a killed mission is refused by the guard, and ends for the agent', async () => {
  const agent = await agentAt(sortie);
  const mission = await agent.declare({ goal: 'x', resources: [api.url], lifetime_seconds: 600 });
  const read = () => mission.fetch(`${api.url}/invoices/17`);
  expect((await read()).status).toBe(200);
  const seq = running.health().seq;
  await sortie.admin('POST', '/revocations', {
    selector: { kind: 'mission_tree', key: mission.id },
    reason: 'incident',
  });
  await until(() => running.health().seq > seq, 'the guard hears of it');
  expect((await thrownBy(read))['code']).toBe('mission_revoked');
  await until(() => mission.state === 'revoked', 'the broker confirms it');
  const over = await thrownBy(read);
  expect(over).toBeInstanceOf(MissionEnded);
  expect(explain(over)).toBe('stopped: mission_revoked');
  agent.close();
});

test('docs/agents.md shows only code that runs here', () => {
  const read = (path: string) => readFileSync(new URL(`../../../${path}`, import.meta.url), 'utf8');
  const tested = ['examples/agent.ts', 'examples/warehouse.ts', 'test/sdk/agent/example.test.ts']
    .map(read)
    .join('\n');
  const squeezed = (text: string) =>
    text
      .split('\n')
      .map((line) => line.trim())
      .filter(Boolean)
      .join('\n');
  const blocks = read('docs/agents.md').split('```ts\n').slice(1);
  expect(blocks.length).toBeGreaterThan(3);
  for (const block of blocks) expect(squeezed(tested)).toContain(squeezed(block.split('```')[0] ?? ''));
});
