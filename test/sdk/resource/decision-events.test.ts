import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { JsonObject } from '../../../src/domain/json.ts';
import { BrokerClient } from '../../../src/sdk/resource/broker-client.ts';
import { DecisionEvents, type DecisionEventsOptions } from '../../../src/sdk/resource/decision-events.ts';
import { denied } from '../../../src/sdk/resource/denial.ts';
import { BrokerDouble, until, verifierKey } from './broker-double.ts';
import { Bench, bundleOf, call, ISSUER, mint } from './support.ts';

let broker: BrokerDouble;

beforeEach(async () => {
  broker = new BrokerDouble();
  broker.heartbeat_ms = 0;
  await broker.start();
});

afterEach(() => broker.stop());

function observed(options: Partial<DecisionEventsOptions> = {}): { events: DecisionEvents; bench: Bench } {
  const jwk = verifierKey.private_key.export({ format: 'jwk' }) as JsonObject;
  const client = new BrokerClient({
    issuer: ISSUER,
    broker_url: broker.url,
    verifier: { id: 'erp-verifier', private_key_jwk: jwk },
    now: () => Date.now() / 1000,
  });
  const events = new DecisionEvents({ client, instance_id: 'pod-1', ...options });
  return { events, bench: new Bench({ observer: events }).ready() };
}

const sent = (): JsonObject[] => broker.batches.flatMap((batch) => batch['events'] as readonly JsonObject[]);

describe('decision events', () => {
  it('tell what was decided and why, without the token and without parameters', async () => {
    const { events, bench } = observed();
    const token = mint({ jti: 'cred_1' });
    bench.check({ token, context: { region: 'eu-1' }, parameters: { iban: 'DE00SECRET' } });
    const proof = call(token).proof as string;
    bench.check({ token, proof, action: 'invoices.delete' });
    await events.close();
    expect(sent()).toMatchObject([
      {
        jti: 'cred_1',
        mission_id: 'msn_self',
        seq: 1,
        action: 'invoices.read',
        decision: 'permit',
        outcome: 'passed',
        region: 'eu-1',
        labels: [],
      },
      {
        seq: 2,
        action: 'invoices.delete',
        decision: 'deny',
        reason: 'action_not_covered',
        outcome: 'refused',
        proof,
      },
    ]);
    const text = JSON.stringify(broker.batches);
    expect(text).not.toContain('SECRET');
    expect(text).not.toContain(token);
    expect(broker.batches[0]).toMatchObject({ instance_id: 'pod-1', lost: 0 });
  });

  it('an effect carries its proof, a plain read does not', async () => {
    const { events, bench } = observed();
    bench.state.install(
      bundleOf({
        actions: [
          { name: 'invoices.read', labels: [] },
          { name: 'journal.post', labels: ['effect'] },
        ],
      }),
    );
    bench.check();
    bench.check({ action: 'journal.post', parameters: { amount: 1 } });
    await events.close();
    expect(sent().map((event) => [event['labels'], typeof event['proof']])).toStrictEqual([
      [[], 'undefined'],
      [['effect'], 'string'],
    ]);
  });

  it('permits travel in batches, a denial takes along what waits', async () => {
    const { events, bench } = observed();
    for (let turn = 0; turn < 5; turn++) bench.check();
    expect(broker.batches).toHaveLength(0);
    bench.check({ action: 'invoices.delete' });
    await until(() => broker.batches.length === 1, 'batch');
    expect(sent()).toHaveLength(6);
    bench.check();
    await until(() => broker.batches.length === 2, 'second batch, by the clock');
    await events.close();
  });

  it('calls without a valid token belong to no mission and are not sent', async () => {
    const { events, bench } = observed();
    bench.check({ token: 'x.y.z' });
    bench.guard.check(call(undefined));
    await events.close();
    expect(broker.batches).toHaveLength(0);
  });

  it('are bounded: permits are lost first, a denial pushes one out, and the loss is told', async () => {
    const { events, bench } = observed({ capacity: 3 });
    for (let turn = 0; turn < 5; turn++) bench.check();
    expect([events.waiting, events.lost]).toStrictEqual([3, 2]);
    bench.check({ action: 'invoices.delete' });
    expect([events.waiting, events.lost]).toStrictEqual([3, 3]);
    await events.close();
    expect(sent().map((event) => event['decision'])).toStrictEqual(['permit', 'permit', 'deny']);
    expect(broker.batches[0]?.['lost']).toBe(3);
  });

  it('a broker that does not take them costs events, never calls', async () => {
    const { events, bench } = observed();
    broker.override = (_request, response) => {
      response.writeHead(503).end();
      return true;
    };
    expect(bench.check().permitted).toBe(true);
    await events.close();
    expect(events.lost).toBe(1);
  });

  it('a batch that failed once is sent again under the same id', async () => {
    const { events, bench } = observed();
    const ids: unknown[] = [];
    let failures = 1;
    broker.override = (_request, response) => {
      ids.push(broker.asked.at(-1)?.body?.['batch_id']);
      if (failures-- <= 0) return false;
      response.writeHead(503).end();
      return true;
    };
    bench.check({ action: 'invoices.delete' });
    await until(() => broker.batches.length === 1, 'second try');
    expect(ids).toHaveLength(2);
    expect(new Set(ids).size).toBe(1);
    await events.close();
    expect(events.lost).toBe(0);
  });

  it('only denials, where that is wanted', async () => {
    const { events, bench } = observed({ what: 'denials' });
    bench.check();
    bench.check({ action: 'invoices.delete' });
    await events.close();
    expect(sent()).toHaveLength(1);
  });

  it('carry the digest that the server makes, and are sent where it cannot be made', async () => {
    const digest = (mission_id: string, parameters: JsonObject): string => {
      if (parameters['broken'] === true) throw new Error('no key');
      return `${mission_id}:${Object.keys(parameters).join()}`;
    };
    const { events, bench } = observed({ digest });
    bench.check({ parameters: { iban: 'DE00SECRET' } });
    bench.check({ parameters: { broken: true } });
    await events.close();
    expect(sent().map((event) => event['parameters_digest'])).toStrictEqual(['msn_self:iban', undefined]);
    expect(JSON.stringify(broker.batches)).not.toContain('SECRET');
  });

  it('name the bundle that judged them: a batch never mixes two', async () => {
    let version = 'v1';
    const { events, bench } = observed({ bundle_version: () => version });
    const token = mint();
    bench.check({ token });
    version = 'v2';
    bench.check({ token });
    bench.check({ token });
    await events.close();
    expect(
      broker.batches.map(({ bundle_version, events: told }) => [bundle_version, (told as unknown[]).length]),
    ).toEqual([
      ['v1', 1],
      ['v2', 2],
    ]);
  });

  it('of a verdict that asks for a response carry the token, and of every other not', async () => {
    const { events } = observed();
    const { bench } = observed();
    const guarded = call(mint());
    const token = bench.check({ token: guarded.authorization?.slice('DPoP '.length) ?? '' });
    if (!token.permitted) throw new Error('a good token');
    const record = {
      mission_id: token.mission_id,
      seq: 0,
      action: guarded.action,
      decision: 'deny',
      rule: 'stray_effect',
      findings: [],
      tainted: true,
      detour: true,
      memory: { values: 0, overflow: false },
      catalogue_version: '1',
      history_version: null,
      rules_version: '1',
    } as const;
    const facts = { ts: 1, latency_us: 1, labels: ['effect'] };
    for (const [response, enforced] of [
      ['suspend', true],
      ['none', true],
      ['suspend', false],
    ] as const)
      events.decided(guarded, token, denied('behaviour_denied'), {
        ...facts,
        verdict: { record: { ...record, response }, enforced, evidence: '{}' },
      });
    await events.close();
    expect(sent().map((event) => event['access_token'] !== undefined)).toEqual([true, false, false]);
    expect(sent().every((event) => (event['verdict'] as JsonObject)['evidence'] === '{}')).toBe(true);
  });
});
