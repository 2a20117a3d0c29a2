/** `POST /missions`: everything at once, or nothing. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  creation,
  ERP,
  intent,
  type KeyHolder,
  MAIL,
  newKey,
  startBroker,
  type TestBroker,
} from '../support/broker.ts';
import { read } from '../support/tokens.ts';

let sortie: TestBroker;
beforeAll(async () => {
  sortie = await startBroker();
});
afterAll(() => sortie.close());

describe('POST /missions', () => {
  const declare = async (key: KeyHolder, run: string, more: Record<string, unknown> = {}) =>
    sortie.holder(key, 'POST', '/missions', {
      json: {
        evidence: { type: 'urn:ietf:params:oauth:token-type:jwt', token: await sortie.evidence({ run }) },
        ...(JSON.parse(intent({ expires_at: '2090-01-01T00:00:00Z' })) as object),
        ...more,
      },
    });

  test('grants every credential at once, with what each outlives a revocation by', async () => {
    const key = await newKey();
    const { status, body } = await declare(key, 'all');
    expect(status).toBe(201);
    const credentials = body['credentials'] as Record<string, string & number>[];
    expect(credentials.map(({ audience }) => audience).sort()).toEqual([ERP, MAIL]);
    for (const credential of credentials) {
      expect(credential['residual_after_revoke_seconds']).toBeLessThanOrEqual(30);
      expect(credential['token_type']).toBe('DPoP');
      const { claims } = read(String(credential['value']));
      expect([claims.aud, claims.jti]).toEqual([credential['audience'], credential['id']]);
    }
    expect(body['narrowed']).toEqual([expect.objectContaining({ reason: 'lifetime_shortened' })]);
  });

  test('repeated by its id is the same mission with everything anew; other content is refused', async () => {
    const key = await newKey();
    const id = { creation_request_id: crypto.randomUUID() };
    const first = await declare(key, 'twice', id);
    const second = await declare(key, 'twice', id);
    expect(second.status).toBe(201);
    expect((second.body['mission'] as { id: string }).id).toBe((first.body['mission'] as { id: string }).id);
    expect(second.body['narrowed']).toEqual(first.body['narrowed']);
    const other = await declare(key, 'twice', { ...id, template_id: 'invoices' });
    expect([other.status, other.body['type']]).toEqual([400, 'urn:sortie:problem:invalid_request']);
  });

  test('stolen evidence and refusals of policy answer as problems', async () => {
    const stolen = await sortie.evidence({ run: 'problem' });
    await sortie.token(await newKey(), creation(stolen));
    const thief = await declare(await newKey(), 'x', {
      evidence: { type: 'urn:ietf:params:oauth:token-type:jwt', token: stolen },
    });
    expect(thief.body).toEqual({
      type: 'urn:sortie:problem:invalid_request',
      title: 'invalid request',
      status: 400,
      detail: 'the evidence was not accepted',
    });
    const policy = await declare(await newKey(), 'y', { template_id: 'other' });
    expect([policy.status, policy.body['mission_denial_reason']]).toEqual([403, 'policy_denied']);
  });
});
