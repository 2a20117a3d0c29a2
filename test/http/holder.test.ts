/** Manifest, completion and giving back: for the key that holds the mission, and nobody else. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type KeyHolder, newKey, startBroker, type TestBroker, type TokenBody } from '../support/broker.ts';
import { exchange, newMission, renewal } from '../support/missions.ts';

let sortie: TestBroker;
beforeAll(async () => {
  sortie = await startBroker();
});
afterAll(() => sortie.close());

describe('the holder alone', () => {
  let held: TokenBody & { key: KeyHolder };
  beforeAll(async () => {
    held = await newMission(sortie);
  });

  test('reads its manifest, without values', async () => {
    const { status, body } = await sortie.holder(held.key, 'GET', `/missions/${held.mission_id}`, {
      token: held.access_token,
    });
    expect(status).toBe(200);
    expect(body['mission']).toMatchObject({ id: held.mission_id, state: 'active', version: 1 });
    expect(JSON.stringify(body)).not.toContain(held.access_token.slice(-20));
  });

  test('another key, another mission’s token and an unknown mission: identical answers', async () => {
    const other = await newMission(sortie);
    const answers = await Promise.all([
      sortie.holder(await newKey(), 'GET', `/missions/${held.mission_id}`, { token: held.access_token }),
      sortie.holder(other.key, 'GET', `/missions/${held.mission_id}`, { token: other.access_token }),
      sortie.holder(other.key, 'GET', '/missions/msn_unknown', { token: other.access_token }),
      sortie.holder(other.key, 'POST', `/missions/${held.mission_id}/complete`, {
        token: other.access_token,
      }),
    ]);
    for (const { status, body } of answers) {
      expect(status).toBe(404);
      expect(body).toEqual(answers[0]?.body);
    }
  });

  test('bearer use of its bound token is refused', async () => {
    for (const authorization of [`Bearer ${held.access_token}`, held.access_token, '']) {
      const target = `${sortie.url}/missions/${held.mission_id}`;
      const response = await fetch(target, {
        headers: { authorization, dpop: await sortie.proof(held.key, 'GET', target) },
      });
      expect(response.status).toBe(401);
    }
  });

  test('a proof without the digest of this token, or with another’s, is refused', async () => {
    const target = `${sortie.url}/missions/${held.mission_id}`;
    for (const ath of [undefined, 'AAAA', 'x'.repeat(43)]) {
      const response = await fetch(target, {
        headers: {
          authorization: `DPoP ${held.access_token}`,
          dpop: await sortie.proof(held.key, 'GET', target, ath === undefined ? {} : { ath }),
        },
      });
      expect(response.status).toBe(400);
      expect(((await response.json()) as { type: string }).type).toBe(
        'urn:sortie:problem:invalid_dpop_proof',
      );
    }
  });

  test('gives back a token: nobody else can, and the answer tells a thief nothing', async () => {
    const victim = await newMission(sortie);
    const thief = await sortie.holder(await newKey(), 'POST', '/revoke', {
      form: { token: victim.access_token },
    });
    const nonsense = await sortie.holder(await newKey(), 'POST', '/revoke', { form: { token: 'nonsense' } });
    expect([thief.status, thief.body]).toEqual([200, {}]);
    expect([nonsense.status, nonsense.body]).toEqual([200, {}]);
    expect((await sortie.introspect(victim.access_token))['active']).toBe(true);
    const own = await sortie.holder(victim.key, 'POST', '/revoke', { form: { token: victim.access_token } });
    expect(own.status).toBe(200);
    expect(await sortie.introspect(victim.access_token)).toEqual({ active: false });
    // Again is harmless.
    expect(
      (await sortie.holder(victim.key, 'POST', '/revoke', { form: { token: victim.access_token } })).status,
    ).toBe(200);
  });

  test('completes its mission: every token of it is refused from then on', async () => {
    const done = await newMission(sortie);
    const mail = await sortie.token(done.key, exchange(done.access_token));
    const { status } = await sortie.holder(done.key, 'POST', `/missions/${done.mission_id}/complete`, {
      token: done.access_token,
    });
    expect(status).toBe(204);
    expect(await sortie.introspect(done.access_token)).toEqual({ active: false });
    expect(await sortie.introspect(mail.body.access_token, 'mail')).toEqual({ active: false });
    const renewed = await sortie.token(
      done.key,
      renewal(await sortie.evidence({ run: done.run }), done.mission_id),
    );
    expect(renewed.body).toEqual({ error: 'invalid_grant', mission_error: 'mission_completed' });
    const again = await sortie.holder(done.key, 'POST', `/missions/${done.mission_id}/complete`, {
      token: done.access_token,
    });
    expect([again.status, again.body['mission_error']]).toEqual([409, 'mission_completed']);
  });
});
