/** What the broker counts itself: calls at gateways and engines that ask for each, and money. Exactly, or not at all. */
import { randomUUID } from 'node:crypto';
import { rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { exportJWK, SignJWT } from 'jose';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { limitsTable } from '../../src/cli/limits-table.ts';
import { accessTokenHash } from '../../src/domain/dpop.ts';
import type { JsonObject } from '../../src/domain/json.ts';
import { createGuard } from '../../src/sdk/resource/create-guard.ts';
import {
  type BaseConfig,
  creation,
  ERP,
  intent,
  type KeyHolder,
  newKey,
  startBroker,
  TEMPLATE,
  type TestBroker,
  type TestBrokerOptions,
} from '../support/broker.ts';
import { read } from '../support/tokens.ts';

const BASE = 'https://api.example.com/erp';
const SECRET = 'a-secret-of-enough-characters';
const secret_file = join(tmpdir(), `sortie-counted-secret-${randomUUID()}`);
beforeAll(() => writeFileSync(secret_file, SECRET, { mode: 0o600 }));
afterAll(() => rmSync(secret_file, { force: true }));

let sortie: TestBroker | null = null;
afterEach(async () => {
  await sortie?.close();
  sortie = null;
});
async function start(options: TestBrokerOptions): Promise<TestBroker> {
  sortie = await startBroker(options);
  return sortie;
}

const GATEWAY = {
  id: 'edge',
  kind: 'nginx',
  audience: ERP,
  secret: { from_file: secret_file },
  base_url: BASE,
  routes: [{ methods: ['GET'], path: '/invoices/{id}', action: 'invoices.read' }],
};
const CEILING = [
  { type: 'mission_resource_access', resource: ERP, actions: ['invoices.read', 'journal.write'] },
];

/** What each verifier of the audience is registered as. */
function config(erp: JsonObject, gateways: readonly object[], labels: readonly string[] = ['effect']) {
  return (base: BaseConfig) => ({
    gateways,
    verifiers: (base['verifiers'] as Record<string, unknown>[]).map((verifier) => ({
      ...verifier,
      ...(verifier['audience'] === ERP && erp),
    })),
    audiences: (base['audiences'] as Record<string, unknown>[]).map((audience) =>
      audience['resource'] === ERP
        ? {
            ...audience,
            actions: { 'invoices.read': { labels: ['read'] }, 'journal.write': { labels: [...labels] } },
          }
        : audience,
    ),
  });
}

async function create(broker: TestBroker, controls: JsonObject) {
  const key = await newKey();
  const answer = await broker.token(
    key,
    creation(await broker.evidence({ run: randomUUID() }), {
      mission_intent: intent({ controls, resources: [ERP] }),
    }),
  );
  return { key, ...answer };
}

async function atGateway(broker: TestBroker, key: KeyHolder, token: string): Promise<string> {
  const path = '/invoices/7';
  const dpop = await broker.proof(key, 'GET', `${BASE}${path}`, {
    ath: accessTokenHash(token),
    nonce: undefined,
  });
  const answer = await fetch(`${broker.url}/forward-auth/nginx`.replace('nginx', 'edge'), {
    headers: {
      'sortie-gateway-secret': SECRET,
      'x-original-method': 'GET',
      'x-original-uri': path,
      authorization: `DPoP ${token}`,
      dpop,
    },
  });
  await answer.body?.cancel();
  return answer.headers.get('sortie-denial') ?? `permitted ${answer.status}`;
}

async function evaluate(
  broker: TestBroker,
  key: KeyHolder,
  token: string,
  action: string,
  amount?: JsonObject,
): Promise<{ decision: boolean; reason?: string }> {
  const url = `${ERP}/journal`;
  const dpop = await broker.proof(key, 'POST', url, { ath: accessTokenHash(token), nonce: undefined });
  const response = await fetch(`${broker.url}/access/v1/evaluation`, {
    method: 'POST',
    headers: { authorization: `Bearer ${await broker.assertion()}`, 'content-type': 'application/json' },
    body: JSON.stringify({
      subject: { type: 'mission', id: (read(token).claims['mission'] as { id: string }).id },
      action: { name: action },
      resource: { type: 'journal', id: ERP },
      context: { access_token: token, dpop, method: 'POST', url, parameters: {}, ...(amount && { amount }) },
    }),
  });
  const { decision, context } = (await response.json()) as {
    decision: boolean;
    context?: { reason?: string };
  };
  return { decision, ...(context?.reason !== undefined && { reason: context.reason }) };
}

const manifestLimits = async (broker: TestBroker, key: KeyHolder, token: string) => {
  const { id } = read(token).claims['mission'] as { id: string };
  return (await broker.holder(key, 'GET', `/missions/${id}`, { token })).body['limits'] as JsonObject;
};

describe('max_calls', () => {
  test('behind a gateway is counted by the broker: of calls at once exactly so many pass, and not one is lost', async () => {
    const broker = await start({
      template: { ...TEMPLATE, ceiling: CEILING },
      config: config({ asks: true }, [GATEWAY]),
    });
    const { key, status, body } = await create(broker, { max_calls: 5 });
    expect(status).toBe(200);
    // Nothing was reserved: a guard that met this token would permit nothing with it.
    expect(read(body.access_token).claims['limits']).toEqual({ max_calls: 0 });
    const again = await broker.token(key, {
      grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
      subject_token: body.access_token,
      subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      resource: ERP,
    });
    const tokens = [body.access_token, again.body.access_token];
    const verdicts = await Promise.all(
      Array.from({ length: 12 }, (_, index) => atGateway(broker, key, tokens[index % 2] as string)),
    );
    expect(verdicts.filter((one) => one === 'permitted 200')).toHaveLength(5);
    expect(new Set(verdicts)).toEqual(new Set(['permitted 200', 'limit_exhausted']));
    expect(await manifestLimits(broker, key, body.access_token)).toMatchObject({
      max_calls: { max: 5, left: 0 },
    });
    const renewed = await broker.token(key, {
      grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
      subject_token: body.access_token,
      subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      resource: ERP,
    });
    expect([renewed.status, renewed.body.mission_error]).toEqual([400, 'limit_exhausted']);
  });

  test('of an engine that asks for each call is counted by the broker as well', async () => {
    const broker = await start({
      template: { ...TEMPLATE, ceiling: CEILING },
      config: config({ asks: true }, []),
    });
    const { key, body } = await create(broker, { max_calls: 2 });
    const asked = [];
    for (let time = 0; time < 3; time++)
      asked.push((await evaluate(broker, key, body.access_token, 'invoices.read')).decision);
    expect(asked).toEqual([true, true, false]);
    // What is refused for another reason costs nothing.
    const other = await create(broker, { max_calls: 1 });
    expect((await evaluate(broker, other.key, other.body.access_token, 'invoices.approve')).decision).toBe(
      false,
    );
    expect((await evaluate(broker, other.key, other.body.access_token, 'invoices.read')).decision).toBe(true);
  });

  test('is one limit for a gateway and guards together', async () => {
    const broker = await start({
      template: { ...TEMPLATE, ceiling: CEILING },
      config: config({ processes: 1 }, [GATEWAY]),
    });
    const running = createGuard({
      issuer: broker.url,
      audience: ERP,
      verifier: {
        id: 'erp',
        private_key_jwk: (await exportJWK(broker.verifierKeys.erp.privateKey)) as JsonObject,
      },
      events: 'none',
    });
    try {
      await running.ready;
      broker.clock.ahead = 2;
      const { key, body } = await create(broker, { max_calls: 24 });
      const token = body.access_token;
      const allotment = (read(token).claims['limits'] as { max_calls: number }).max_calls;
      const atGuard = async () => {
        const url = `${ERP}/invoices/1`;
        const proof = await new SignJWT({
          jti: randomUUID(),
          htm: 'GET',
          htu: url,
          iat: Math.floor(Date.now() / 1000),
          ath: accessTokenHash(token),
        })
          .setProtectedHeader({ alg: 'ES256', typ: 'dpop+jwt', jwk: key.jwk as JsonObject })
          .sign(key.privateKey);
        const call = {
          authorization: `DPoP ${token}`,
          proof,
          method: 'GET',
          url,
          parameters: {},
          context: {},
        };
        return running.guard.check({ ...call, action: 'invoices.read', resource: ERP }).permitted;
      };
      let guarded = 0;
      while (await atGuard()) guarded++;
      expect(guarded).toBe(allotment);
      let passed = 0;
      while ((await atGateway(broker, key, token)) === 'permitted 200') passed++;
      expect(guarded + passed).toBe(24);
    } finally {
      await running.close();
    }
  });

  test('and bytes that nobody sees are refused', async () => {
    const broker = await start({
      template: { ...TEMPLATE, ceiling: CEILING },
      config: config({ processes: 1, counts_bytes: true }, [GATEWAY]),
    });
    const refused = await create(broker, { max_egress_volume: 10_000 });
    expect([refused.status, refused.body.mission_denial_reason]).toEqual([400, 'unsupported_control']);
  });
});

describe('max_budget', () => {
  const consequential = ['effect', 'consequential'];
  const eur = (amount: string) => ({ amount, currency: 'EUR' });

  test('is spent by the broker, exactly, and by nobody else', async () => {
    const broker = await start({
      template: { ...TEMPLATE, ceiling: CEILING },
      config: config({}, [], consequential),
    });
    const { key, status, body } = await create(broker, { max_budget: eur('1.00') });
    expect(status).toBe(200);
    const token = body.access_token;
    expect(read(token).claims['limits']).toEqual({ max_budget: eur('1.00') });
    const spend = async (amount?: JsonObject) =>
      (await evaluate(broker, key, token, 'journal.write', amount)).decision;
    // Of ten at once that would come to 1.10, the last is refused; as doubles they would pass or miss the end.
    const spent = await Promise.all(Array.from({ length: 11 }, () => spend(eur('0.10'))));
    expect(spent.filter(Boolean)).toHaveLength(10);
    expect(await spend(eur('0.000000000000000001'))).toBe(false);
    expect(await manifestLimits(broker, key, token)).toMatchObject({
      max_budget: { max: '1.00', left: '0', currency: 'EUR' },
    });
  });

  test('permits no call that does not say what it spends, and lets reading be', async () => {
    const broker = await start({
      template: { ...TEMPLATE, ceiling: CEILING },
      config: config({}, [], consequential),
    });
    const { key, body } = await create(broker, { max_budget: eur('5') });
    const ask = async (action: string, amount?: JsonObject) =>
      (await evaluate(broker, key, body.access_token, action, amount)).decision;
    for (const amount of [undefined, eur('-1'), eur('1e0'), { amount: 1, currency: 'EUR' }])
      expect(await ask('journal.write', amount as JsonObject)).toBe(false);
    expect(await ask('journal.write', { amount: '1', currency: 'USD' })).toBe(false);
    expect(await ask('journal.write', eur('5.01'))).toBe(false);
    expect(await ask('invoices.read')).toBe(true);
    expect(await ask('journal.write', eur('5'))).toBe(true);
    expect(await ask('journal.write', eur('0.01'))).toBe(false);
  });

  test('is refused where an action could spend without the broker', async () => {
    const broker = await start({ template: { ...TEMPLATE, ceiling: CEILING }, config: config({}, []) });
    const refused = await create(broker, { max_budget: eur('5') });
    expect([refused.status, refused.body.mission_denial_reason]).toEqual([400, 'unsupported_control']);
  });
});

test('an admin sees what is left, in all and at each audience; so does the holder', async () => {
  const broker = await start({
    template: { ...TEMPLATE, ceiling: CEILING, limits: { max_calls: 9 } },
    config: config({ asks: true }, [], ['effect', 'consequential']),
  });
  const { key, body } = await create(broker, {
    max_budget: { amount: '2.50', currency: 'EUR' },
    max_calls: 5,
  });
  const amount = { amount: '0.75', currency: 'EUR' };
  expect((await evaluate(broker, key, body.access_token, 'journal.write', amount)).decision).toBe(true);
  const limits = {
    max_calls: { max: 5, left: 4, audiences: [{ audience: ERP, held: 1, left: 4 }] },
    max_budget: { max: '2.50', left: '1.75', currency: 'EUR' },
  };
  expect(await manifestLimits(broker, key, body.access_token)).toEqual(limits);
  const shown = await broker.admin('GET', `/missions/${body.mission_id}`);
  expect((shown.body as JsonObject)['limits']).toEqual(limits);
  expect(limitsTable(limits).replaceAll(/ +/g, ' ')).toBe(
    [
      'LIMIT AUDIENCE MAX HELD LEFT',
      'max_calls all 5 4',
      ` ${ERP} 1 4`,
      'max_budget all 2.50 EUR 1.75 EUR',
      '',
    ].join('\n'),
  );
  expect(limitsTable({})).toBe('no limits\n');
});
