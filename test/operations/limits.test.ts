/** Counted limits over a real broker and real guards: what a mission may do in all, it never does once more. */
import { readFileSync, writeFileSync } from 'node:fs';
import { exportJWK, SignJWT } from 'jose';
import { afterEach, describe, expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import { accessTokenHash } from '../../src/domain/dpop.ts';
import type { JsonObject } from '../../src/domain/json.ts';
import { createGuard, type RunningGuard } from '../../src/sdk/resource/create-guard.ts';
import {
  type BaseConfig,
  creation,
  ERP,
  intent,
  type KeyHolder,
  MAIL,
  newKey,
  startBroker,
  type TestBroker,
  type TestBrokerOptions,
} from '../support/broker.ts';
import { read } from '../support/tokens.ts';

const GRANT = 'urn:ietf:params:oauth:grant-type:token-exchange';
const JWT = 'urn:ietf:params:oauth:token-type:jwt';
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token';
/** A guard counts nothing of a token that may be older than itself: tokens of these tests are younger. */
const YOUNGER_SECONDS = 2;

let sortie: TestBroker | null = null;
const guards: RunningGuard[] = [];
afterEach(async () => {
  for (const guard of guards.splice(0)) await guard.close();
  await sortie?.close();
  sortie = null;
});

/** Every verifier counts, in so many processes. */
function counting(processes: number, counts_bytes = false) {
  return (base: BaseConfig) => ({
    verifiers: (base['verifiers'] as Record<string, unknown>[]).map((verifier) => ({
      ...verifier,
      processes,
      counts_bytes,
    })),
  });
}

async function start(options: TestBrokerOptions): Promise<TestBroker> {
  sortie = await startBroker(options);
  return sortie;
}

async function guarded(broker: TestBroker, instance_id: string): Promise<RunningGuard> {
  const running = createGuard({
    issuer: broker.url,
    audience: ERP,
    verifier: {
      id: 'erp',
      private_key_jwk: (await exportJWK(broker.verifierKeys.erp.privateKey)) as JsonObject,
    },
    instance_id,
    events: 'none',
  });
  guards.push(running);
  await running.ready;
  return running;
}

async function call(running: RunningGuard, key: KeyHolder, token: string, egress_bytes?: number) {
  const url = `${ERP}/invoices/1`;
  const proof = await new SignJWT({
    jti: crypto.randomUUID(),
    htm: 'GET',
    htu: url,
    iat: Math.floor(Date.now() / 1000),
    ath: accessTokenHash(token),
  })
    .setProtectedHeader({ alg: 'ES256', typ: 'dpop+jwt', jwk: key.jwk as JsonObject })
    .sign(key.privateKey);
  return running.guard.check({
    authorization: `DPoP ${token}`,
    proof,
    method: 'GET',
    url,
    action: 'invoices.read',
    resource: ERP,
    parameters: {},
    context: { amount: { amount: '20.00', currency: 'EUR' } },
    ...(egress_bytes !== undefined && { egress_bytes }),
  });
}

const limited = (controls: JsonObject, more: JsonObject = {}) => ({
  mission_intent: intent({ controls, ...more }),
});

async function create(broker: TestBroker, controls: JsonObject, more: JsonObject = {}) {
  const key = await newKey();
  const answer = await broker.token(
    key,
    creation(await broker.evidence({ run: 'counted' }), limited(controls, more)),
  );
  return { key, ...answer };
}

describe('max_calls', () => {
  test('of 10 never permits an 11th call, over many tokens, two audiences and two processes', async () => {
    const broker = await start({ config: counting(2) });
    const pair = [await guarded(broker, 'one'), await guarded(broker, 'two')] as const;
    broker.clock.ahead = YOUNGER_SECONDS;
    const { key, status, body } = await create(broker, { max_calls: 10 });
    expect(status).toBe(200);
    const renewal = async () => ({
      grant_type: GRANT,
      subject_token: await broker.evidence({ run: 'counted' }),
      subject_token_type: JWT,
      mission_id: body.mission_id,
      resource: ERP,
    });
    const exchange = {
      grant_type: GRANT,
      subject_token: body.access_token,
      subject_token_type: ACCESS_TOKEN,
      resource: ERP,
    };
    // More than there can be, at once, by renewing and by exchanging.
    const asked = await Promise.all(
      Array.from({ length: 8 }, async (_, index) =>
        broker.token(key, index % 2 === 0 ? exchange : await renewal()),
      ),
    );
    const refused = asked.filter((answer) => answer.status !== 200);
    expect(refused.map((answer) => answer.body)).toEqual(
      refused.map(() => ({ error: 'invalid_grant', mission_error: 'limit_exhausted' })),
    );
    const tokens = [
      body.access_token,
      ...asked.filter((answer) => answer.status === 200).map((answer) => answer.body.access_token),
    ];
    expect(tokens.length).toBeGreaterThan(3);
    const sum = tokens
      .map((token) => read(token).claims['limits'] as { max_calls: number })
      .reduce((total, { max_calls }) => total + max_calls, 0);
    expect(sum).toBe(10);

    const verdicts: string[] = [];
    for (const token of tokens)
      for (const running of [...pair, ...pair, ...pair]) {
        const verdict = await call(running, key, token);
        verdicts.push(verdict.permitted ? 'permitted' : verdict.code);
      }
    expect(verdicts.filter((verdict) => verdict === 'permitted')).toHaveLength(10);
    expect(new Set(verdicts)).toEqual(new Set(['permitted', 'limit_exhausted']));

    // Neither a new token nor a new process brings any back; what is left is told.
    const again = await broker.token(key, await renewal());
    expect([again.status, again.body.mission_error]).toEqual([400, 'limit_exhausted']);
    const third = await guarded(broker, 'three');
    for (const token of tokens) expect((await call(third, key, token)).permitted).toBe(false);
    const manifest = await broker.holder(key, 'GET', `/missions/${body.mission_id}`, {
      token: body.access_token,
    });
    expect(manifest.body['limits']).toMatchObject({ max_calls: { max: 10, left: 0 } });
    const introspected = await broker.introspect(body.access_token);
    expect(introspected).toMatchObject({
      active: true,
      limits: { max_calls: 2 },
      mission: { id: body.mission_id, limits: { max_calls: { max: 10, left: 0 } } },
    });
    await broker.restart();
    const later = await broker.token(key, await renewal());
    expect([later.status, later.body.mission_error]).toEqual([400, 'limit_exhausted']);
  });

  test('comes back to its audience when every process has told what it did not spend, and only then', async () => {
    const broker = await start({ config: counting(2) });
    const pair = [await guarded(broker, 'one'), await guarded(broker, 'two')] as const;
    broker.clock.ahead = YOUNGER_SECONDS;
    const { key, body } = await create(broker, { max_calls: 100 });
    const left = async () =>
      (await broker.holder(key, 'GET', `/missions/${body.mission_id}`, { token: body.access_token })).body[
        'limits'
      ] as { max_calls: { left: number; audiences: readonly unknown[] } };
    const given = (read(body.access_token).claims['limits'] as { max_calls: number }).max_calls;
    expect(given).toBe(6);
    expect((await call(pair[0], key, body.access_token)).permitted).toBe(true);
    expect((await left()).max_calls.left).toBe(94);
    // Both hear that the broker is past the token's birth; then one of them ends, and after it the other.
    const born = read(body.access_token).claims['iat'] as number;
    const heard = (running: RunningGuard) => running.health().revocation_age_seconds < 0.5;
    while (Date.now() / 1000 + YOUNGER_SECONDS < born + 1.5 || !pair.every(heard))
      await new Promise((resolve) => setTimeout(resolve, 20));
    await pair[0].close();
    expect((await left()).max_calls.left).toBe(96);
    // Whoever has told spends no more of it.
    expect((await call(pair[0], key, body.access_token)).permitted).toBe(false);
    await pair[1].close();
    expect((await left()).max_calls).toMatchObject({
      left: 99,
      audiences: [{ audience: ERP, held: 1, left: 99 }],
    });
  });

  test('is settled by nobody but those who count, and only in their own name', async () => {
    const broker = await start({ config: counting(1) });
    const { body } = await create(broker, { max_calls: 100 });
    const { claims } = read(body.access_token);
    const say = async (statement: JsonObject, assertion: string) => {
      const answer = await fetch(`${broker.url}/settlements`, {
        method: 'POST',
        headers: { authorization: `Bearer ${assertion}`, 'content-type': 'application/json' },
        body: JSON.stringify(statement),
      });
      return [answer.status, await answer.json()] as const;
    };
    const through = (claims['exp'] as number) + 1;
    const statement = { run_id: 'r', since: 0, alive_at: through, from: 0, through, spent: [] };
    // Another audience's verifier speaks of its own tokens alone.
    expect(await say(statement, await broker.assertion('mail'))).toEqual([
      200,
      { settled: 0, repeated: false },
    ]);
    expect((await say(statement, 'nobody'))[0]).toBe(401);
    expect((await say({ ...statement, spent: 1 }, await broker.assertion()))[0]).toBe(400);
    expect(await say(statement, await broker.assertion())).toEqual([200, { settled: 1, repeated: false }]);
    expect(await say(statement, await broker.assertion())).toEqual([200, { settled: 0, repeated: false }]);
  });

  test('of the template holds where the agent declares none, and the smaller one counts', async () => {
    const broker = await start({ config: counting(1), template: { limits: { max_calls: 100 } } });
    const silent = await create(broker, {});
    // Twelve tokens of five minutes in an hour, for each of two audiences.
    expect(read(silent.body.access_token).claims['limits']).toEqual({
      max_calls: Math.ceil(100 / 24),
      processes: 1,
    });
    const modest = await create(broker, { max_calls: 12 });
    const wanting = await create(broker, { max_calls: 100_000 });
    expect(read(modest.body.access_token).claims['limits']).toEqual({ max_calls: 1, processes: 1 });
    expect(read(wanting.body.access_token).claims['limits']).toEqual({ max_calls: 5, processes: 1 });
  });

  test('is divided over a whole bundle, and the manifest says what is left', async () => {
    const broker = await start({ config: counting(1) });
    const key = await newKey();
    const declare = async (controls: JsonObject) =>
      broker.holder(key, 'POST', '/missions', {
        json: {
          evidence: { type: JWT, token: await broker.evidence() },
          ...JSON.parse(intent({ controls })),
        },
      });
    const { status, body } = await declare({ max_calls: 10 });
    expect(status).toBe(201);
    const tokens = (body['credentials'] as { value: string }[]).map(({ value }) => read(value).claims);
    expect(tokens.map(({ limits }) => limits)).toEqual(Array(2).fill({ max_calls: 1, processes: 1 }));
    expect(body['limits']).toMatchObject({ max_calls: { max: 10, left: 8 } });
    const small = await declare({ max_calls: 1 });
    expect([small.status, small.body['detail']]).toEqual([
      400,
      expect.stringContaining('max_calls is too small to be divided'),
    ]);
  });

  test('of a parent is never more for being delegated', async () => {
    const delegation = { max_depth: 1 };
    const entry = { type: 'mission_resource_access', resource: ERP, actions: ['invoices.read'], delegation };
    const broker = await start({ config: counting(1), template: { ceiling: [entry] } });
    const above = await create(broker, { max_calls: 4 }, { resources: [ERP] });
    const outcomes: unknown[] = [];
    let sum = (read(above.body.access_token).claims['limits'] as { max_calls: number }).max_calls;
    for (let child = 0; child < 6; child++) {
      const reserved = await broker.token(above.key, {
        grant_type: GRANT,
        subject_token: above.body.access_token,
        subject_token_type: ACCESS_TOKEN,
        child_actor: JSON.stringify({ sub: 'agents/reader' }),
        mission_intent: intent({ resources: [ERP], ...(child === 0 && { controls: { max_calls: 100 } }) }),
      });
      expect(reserved.status).toBe(200);
      const activated = await broker.token(await newKey(), {
        grant_type: GRANT,
        subject_token: await broker.evidence({ sub: 'reader', run: `child-${child}` }),
        subject_token_type: JWT,
        resource: ERP,
        delegation: reserved.body.access_token,
      });
      outcomes.push(activated.status === 200 ? 200 : activated.body.mission_error);
      if (activated.status !== 200) continue;
      const limits = read(activated.body.access_token).claims['limits'] as { max_calls: number };
      sum += limits.max_calls;
      if (child > 0) continue;
      // Its own hundred is worth what the parent has left.
      expect(await broker.introspect(activated.body.access_token)).toMatchObject({
        mission: { limits: { max_calls: { max: 4, left: 2 } } },
      });
    }
    expect([sum, outcomes]).toEqual([4, [200, 200, 200, ...Array(3).fill('limit_exhausted')]]);
  });

  test('is refused unless every verifier of every audience counts', async () => {
    const broker = await start({
      config: (base) => ({
        verifiers: (base['verifiers'] as Record<string, unknown>[]).map((verifier) => ({
          ...verifier,
          ...(verifier['audience'] === ERP && { processes: 1 }),
        })),
      }),
    });
    const both = await create(broker, { max_calls: 10 });
    expect([both.status, both.body.error, both.body.mission_denial_reason]).toEqual([
      400,
      'access_denied',
      'unsupported_control',
    ]);
    const counted = await create(broker, { max_calls: 10 }, { resources: [ERP] });
    expect(counted.status).toBe(200);
    const uncounted = await broker.token(counted.key, {
      grant_type: GRANT,
      subject_token: counted.body.access_token,
      subject_token_type: ACCESS_TOKEN,
      resource: MAIL,
    });
    expect(uncounted.status).toBe(400);
  });
});

test('a verifier that stops counting gets no more tokens, and the broker permits it none of those that are out', async () => {
  const broker = await start({ config: counting(1) });
  const { key, body } = await create(broker, { max_calls: 100 });
  const url = `${ERP}/invoices/1`;
  const evaluate = async () => {
    const dpop = await broker.proof(key, 'GET', url, {
      ath: accessTokenHash(body.access_token),
      nonce: undefined,
    });
    const response = await fetch(`${broker.url}/access/v1/evaluation`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${await broker.assertion()}`,
        'content-type': 'application/json',
      },
      body: JSON.stringify({
        subject: { type: 'mission', id: body.mission_id },
        action: { name: 'invoices.read' },
        resource: { type: 'invoice', id: ERP },
        context: {
          access_token: body.access_token,
          dpop,
          method: 'GET',
          url,
          parameters: {},
          amount: { amount: '10.00', currency: 'EUR' },
        },
      }),
    });
    return ((await response.json()) as { decision: boolean }).decision;
  };
  // Of a verifier that counts, this is the second opinion on a call that it counted.
  expect(await evaluate()).toBe(true);
  const silent = parse(readFileSync(broker.config_path, 'utf8')) as { verifiers: { processes?: number }[] };
  for (const verifier of silent.verifiers) delete verifier.processes;
  writeFileSync(broker.config_path, stringify(silent));
  await broker.broker.reload();
  expect(await evaluate()).toBe(false);
  const renewed = await broker.token(key, {
    grant_type: GRANT,
    subject_token: await broker.evidence({ run: 'counted' }),
    subject_token_type: JWT,
    mission_id: body.mission_id,
    resource: ERP,
  });
  expect([renewed.status, renewed.body.mission_denial_reason]).toEqual([400, 'unsupported_control']);
});

describe('max_egress_volume', () => {
  test('is spent by the bytes that guards count, and refused where they count none', async () => {
    const blind = await start({ config: counting(1) });
    const refused = await create(blind, { max_egress_volume: 48_000 });
    expect([refused.status, refused.body.mission_denial_reason]).toEqual([400, 'unsupported_control']);
    await blind.close();

    const broker = await start({ config: counting(1, true) });
    const running = await guarded(broker, 'one');
    broker.clock.ahead = YOUNGER_SECONDS;
    const { key, body } = await create(broker, { max_egress_volume: 48_000 });
    const token = body.access_token;
    expect(read(token).claims['limits']).toEqual({ max_egress_volume: 2000, processes: 1 });
    expect((await call(running, key, token, 1500)).permitted).toBe(true);
    expect(await call(running, key, token, 501)).toMatchObject({ code: 'limit_exhausted', retry: 'renew' });
    const permit = await call(running, key, token);
    if (permit.permitted) running.guard.charge(permit, 500);
    expect(await call(running, key, token)).toMatchObject({ code: 'limit_exhausted' });
  });
});

test('max_budget is refused: nobody adds up money', async () => {
  const broker = await start({ config: counting(1, true) });
  const refused = await create(broker, { max_budget: { amount: '5.00', currency: 'EUR' } });
  expect([refused.status, refused.body.mission_denial_reason]).toEqual([400, 'unsupported_control']);
});
