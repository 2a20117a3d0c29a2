/** Renewal, exchange and stolen things: only the key and the instance that a mission began with can go on with it. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { creation, ERP, MAIL, newKey, startBroker, type TestBroker } from '../support/broker.ts';
import { exchange, newMission, renewal } from '../support/missions.ts';
import { read } from '../support/tokens.ts';

let sortie: TestBroker;
beforeAll(async () => {
  sortie = await startBroker();
});
afterAll(() => sortie.close());

async function audit(event: string, mission_id?: string) {
  const query = mission_id === undefined ? '' : `&mission_id=${mission_id}`;
  const { body } = await sortie.admin('GET', `/audit?event=${event}&newest_first=true&limit=50${query}`);
  return body['items'] as { actor: string; details: Record<string, unknown> }[];
}

describe('renewal', () => {
  test('fresh evidence of the same instance by the same key gets the next token', async () => {
    const first = await newMission(sortie);
    const evidence = await sortie.evidence({ run: first.run });
    const { status, body } = await sortie.token(first.key, renewal(evidence, first.mission_id));
    expect(status).toBe(200);
    expect(body.mission_id).toBe(first.mission_id);
    expect(read(body.access_token).claims.jti).not.toBe(read(first.access_token).claims.jti);
    expect(body.authorization_details).toEqual(first.authorization_details);
  });

  test('may ask for less, and gets that', async () => {
    const first = await newMission(sortie);
    const evidence = await sortie.evidence({ run: first.run });
    const less = [{ type: 'mission_resource_access', resource: ERP, actions: ['journal.write'] }];
    const { body } = await sortie.token(
      first.key,
      renewal(evidence, first.mission_id, { authorization_details: JSON.stringify(less) }),
    );
    expect(body.authorization_details).toEqual(less);
  });

  test('never gets more than was granted', async () => {
    const first = await newMission(sortie, {
      authorization_details: JSON.stringify([
        { type: 'mission_resource_access', resource: ERP, actions: ['invoices.read'] },
      ]),
    });
    const more = [{ type: 'mission_resource_access', resource: ERP, actions: ['journal.write'] }];
    const { status, body } = await sortie.token(
      first.key,
      renewal(await sortie.evidence({ run: first.run }), first.mission_id, {
        authorization_details: JSON.stringify(more),
      }),
    );
    expect([status, body.error]).toEqual([400, 'invalid_authorization_details']);
  });

  test('unknown and foreign missions, another instance, another key and another agent: identical answers', async () => {
    const first = await newMission(sortie);
    const stranger = await newKey();
    const answers = await Promise.all([
      sortie.token(first.key, renewal(await sortie.evidence({ run: first.run }), 'msn_doesnotexist')),
      sortie.token(stranger, renewal(await sortie.evidence({ run: first.run }), first.mission_id)),
      sortie.token(first.key, renewal(await sortie.evidence({ run: 'another' }), first.mission_id)),
      sortie.token(
        first.key,
        renewal(await sortie.evidence({ run: first.run, sub: 'someone' }), first.mission_id),
      ),
    ]);
    for (const { status, body } of answers) {
      expect(status).toBe(400);
      expect(body).toEqual({ error: 'invalid_grant', error_description: 'no such mission for this key' });
    }
  });

  test('belongs to no creation: its parameters are refused', async () => {
    const first = await newMission(sortie);
    for (const extra of [{ template_id: 'invoices' }, { creation_request_id: 'x' }]) {
      const evidence = await sortie.evidence({ run: first.run });
      const { body } = await sortie.token(first.key, renewal(evidence, first.mission_id, extra));
      expect(body.error).toBe('invalid_request');
    }
  });
});

describe('stolen evidence', () => {
  test('with a second key is refused by the constant answer, and is on record', async () => {
    const victim = await newMission(sortie);
    const { status, body } = await sortie.token(await newKey(), creation(victim.evidence));
    expect(status).toBe(400);
    expect(body).toEqual({ error: 'invalid_request', error_description: 'the evidence was not accepted' });
    const [refusal] = await audit('exchange.refused');
    expect(refusal?.actor).toBe('agents/reconciler');
    expect(refusal?.details['private_reason']).toContain('second key');
    expect(JSON.stringify(refusal)).not.toContain(victim.evidence);
  });

  test('cannot renew the victim’s mission, and the victim still can', async () => {
    const victim = await newMission(sortie);
    const thief = await sortie.token(await newKey(), renewal(victim.evidence, victim.mission_id));
    expect(thief.body.error).toBe('invalid_grant');
    const { status } = await sortie.token(victim.key, renewal(victim.evidence, victim.mission_id));
    expect(status).toBe(200);
  });

  test('stays with its key across a restart', async () => {
    const victim = await newMission(sortie);
    await sortie.restart();
    const { body } = await sortie.token(await newKey(), creation(victim.evidence));
    expect(body.error_description).toBe('the evidence was not accepted');
  });

  test('an altered signature of the same evidence does not escape the pin', async () => {
    const victim = await newMission(sortie);
    // (r, -s) verifies wherever (r, s) does: the twin of an ECDSA signature.
    const n = BigInt('0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551');
    const [header, payload, signature = ''] = victim.evidence.split('.');
    const bytes = Buffer.from(signature, 'base64url');
    const s = n - BigInt(`0x${bytes.subarray(32).toString('hex')}`);
    const twin = Buffer.concat([bytes.subarray(0, 32), Buffer.from(s.toString(16).padStart(64, '0'), 'hex')]);
    const { status } = await sortie.token(
      await newKey(),
      creation(`${header}.${payload}.${twin.toString('base64url')}`),
    );
    expect(status).toBe(400);
  });

  test('bound evidence is worth nothing to any other key from the start', async () => {
    const key = await newKey();
    const evidence = await sortie.evidence({ aud: `${sortie.url}#jkt=${key.jkt}`, run: 'bound' });
    expect((await sortie.token(await newKey(), creation(evidence))).status).toBe(400);
    expect((await sortie.token(key, creation(evidence))).status).toBe(200);
  });
});

describe('exchange of a token', () => {
  test('its holder gets a token for another audience, no longer than the first', async () => {
    const first = await newMission(sortie);
    const { status, body } = await sortie.token(first.key, exchange(first.access_token));
    expect(status).toBe(200);
    const { claims } = read(body.access_token);
    expect(claims.aud).toBe(MAIL);
    expect(claims.mission.id).toBe(first.mission_id);
    expect(claims.exp).toBeLessThanOrEqual(read(first.access_token).claims.exp);
    expect(claims.authorization_details).toEqual([
      expect.objectContaining({ resource: MAIL, actions: ['messages.send'] }),
    ]);
  });

  test('a resource server that received a token cannot exchange it, and the attempt is on record', async () => {
    const victim = await newMission(sortie);
    const { status, body } = await sortie.token(await newKey(), exchange(victim.access_token));
    expect(status).toBe(400);
    expect(body).toEqual({ error: 'invalid_grant', error_description: 'no such mission for this key' });
    const [refusal] = await audit('exchange.refused', victim.mission_id);
    expect(refusal?.details['private_reason']).toContain('not bound to the key');
  });

  test('a token is not evidence, and evidence is not a token', async () => {
    const first = await newMission(sortie);
    const asEvidence = await sortie.token(first.key, creation(first.access_token));
    expect(asEvidence.body.error_description).toBe('the evidence was not accepted');
    const asToken = await sortie.token(first.key, exchange(first.evidence));
    expect(asToken.body).toEqual({
      error: 'invalid_grant',
      error_description: 'no such mission for this key',
    });
  });

  test('a token given back cannot be exchanged', async () => {
    const first = await newMission(sortie);
    await sortie.holder(first.key, 'POST', '/revoke', { form: { token: first.access_token } });
    const { body } = await sortie.token(first.key, exchange(first.access_token));
    expect(body.error).toBe('invalid_grant');
  });

  test('an expired token cannot be exchanged', async () => {
    const first = await newMission(sortie);
    sortie.clock.ahead += 301;
    try {
      expect((await sortie.token(first.key, exchange(first.access_token))).body.error).toBe('invalid_grant');
    } finally {
      sortie.clock.ahead -= 301;
    }
  });

  test('declares nothing: an intent or a mission id beside a token is refused', async () => {
    const first = await newMission(sortie);
    for (const extra of [{ mission_id: first.mission_id }, { mission_intent: '{"intent":{}}' }]) {
      const { body } = await sortie.token(first.key, exchange(first.access_token, extra));
      expect(body.error).toBe('invalid_request');
    }
  });
});
