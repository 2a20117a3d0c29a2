/** Audiences: registered, reserved, bearer, and each with the signature that it wants. */
import { describe, expect, test } from 'vitest';
import { type BaseConfig, ERP, intent, MAIL, newKey } from '../support/broker.ts';
import { brokerPerTest, create } from '../support/missions.ts';
import { read } from '../support/tokens.ts';

const start = brokerPerTest();

describe('audiences', () => {
  const audiences = (base: BaseConfig, change: Record<string, unknown>) => ({
    audiences: base.audiences.map((audience) =>
      audience['resource'] === MAIL ? { ...audience, ...change } : audience,
    ),
  });

  test('one that is not registered is invalid_target, as resource and in the intent', async () => {
    const broker = await start({});
    for (const more of [
      { resource: 'https://elsewhere.example.com' },
      { mission_intent: intent({ resources: [ERP, 'https://elsewhere.example.com'] }) },
    ])
      expect((await create(broker, more)).body.error).toBe('invalid_target');
  });

  test('a reserved one is never handed out: not by creation, renewal, exchange or declaration', async () => {
    const broker = await start({ config: (base) => audiences(base, { reserved: true }) });
    expect((await create(broker, { resource: MAIL })).body.error).toBe('invalid_target');
    const { key, body } = await create(broker, {}, { run: 'reserved' });
    const grant = { grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange', resource: MAIL };
    const exchanged = await broker.token(key, {
      ...grant,
      subject_token: body.access_token,
      subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
    });
    expect(exchanged.body.error).toBe('invalid_target');
    const renewed = await broker.token(key, {
      ...grant,
      subject_token: await broker.evidence({ run: 'reserved' }),
      subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
      mission_id: body.mission_id,
    });
    expect(renewed.body.error).toBe('invalid_target');
    const declared = await broker.holder(await newKey(), 'POST', '/missions', {
      json: {
        evidence: { type: 'urn:ietf:params:oauth:token-type:jwt', token: await broker.evidence() },
        ...(JSON.parse(intent()) as object),
      },
    });
    expect((declared.body['credentials'] as { audience: string }[]).map(({ audience }) => audience)).toEqual([
      ERP,
    ]);
    const rows = (await broker.admin('GET', '/missions')).body['items'] as unknown[];
    expect(rows).toHaveLength(2);
  });

  test('a reserved one leaves where its template says so', async () => {
    const broker = await start({
      template: { deliver_audiences: [MAIL] },
      config: (base) => audiences(base, { reserved: true }),
    });
    expect((await create(broker, { resource: MAIL })).status).toBe(200);
  });

  test('a bearer audience gets a token of at most a minute without a key, good for calls only', async () => {
    const broker = await start({ template: { bearer_audiences: [MAIL] } });
    const { key, body } = await create(broker, { resource: MAIL });
    expect(body.token_type).toBe('Bearer');
    expect(body.expires_in).toBeLessThanOrEqual(60);
    const { claims } = read(body.access_token);
    expect(claims.cnf).toBeUndefined();
    expect(claims.exp - claims.iat).toBeLessThanOrEqual(60);
    expect(await broker.introspect(body.access_token, 'mail')).toMatchObject({
      active: true,
      token_type: 'Bearer',
    });
    const exchanged = await broker.token(key, {
      grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
      subject_token: body.access_token,
      subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      resource: ERP,
    });
    expect(exchanged.body.error).toBe('invalid_grant');
    const manifest = await broker.holder(key, 'GET', `/missions/${body.mission_id}`, {
      token: body.access_token,
    });
    expect(manifest.status).toBe(404);
    await broker.holder(key, 'POST', '/revoke', { form: { token: body.access_token } });
    expect((await broker.introspect(body.access_token, 'mail'))['active']).toBe(true);
  });

  test.each(['RS256', 'Ed25519'])('tokens of an audience that wants %s are signed so', async (alg) => {
    const broker = await start({ config: (base) => audiences(base, { token_alg: alg }) });
    const { body } = await create(broker, { resource: MAIL });
    expect(read(body.access_token).header['alg']).toBe(alg);
    expect((await broker.introspect(body.access_token, 'mail'))['active']).toBe(true);
  });
});
