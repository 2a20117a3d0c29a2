/** `POST /token` with evidence and an intent: what is granted, reported and signed. */
import { readFileSync } from 'node:fs';
import { createRemoteJWKSet, jwtVerify } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { anchor } from '../../src/domain/anchors.ts';
import { creation, ERP, inAnHour, intent, newKey, startBroker, type TestBroker } from '../support/broker.ts';
import { entry } from '../support/missions.ts';
import { read } from '../support/tokens.ts';

let sortie: TestBroker;
beforeAll(async () => {
  sortie = await startBroker();
});
afterAll(() => sortie.close());

async function create(more: Record<string, string> = {}, claims: Record<string, unknown> = {}) {
  const key = await newKey();
  return { key, ...(await sortie.token(key, creation(await sortie.evidence(claims), more))) };
}

describe('what a token says', () => {
  test('carries exactly the claims of wire profile 2.5, and verifies with the published keys', async () => {
    const { key, body } = await create();
    const { payload, protectedHeader } = await jwtVerify(
      body.access_token,
      createRemoteJWKSet(new URL(`${sortie.url}/jwks`)),
      { issuer: sortie.url, audience: ERP, typ: 'at+jwt' },
    );
    expect(Object.keys(protectedHeader).sort()).toEqual(['alg', 'kid', 'typ']);
    expect(protectedHeader.alg).toBe('ES256');
    expect(Object.keys(payload).sort()).toEqual(
      'aud authorization_details client_id cnf exp iat iss jti mission status sub'.split(' '),
    );
    const { claims } = read(body.access_token);
    expect(Object.keys(claims.mission).sort()).toEqual(
      'attester authority_hash expires_at id issuer path rule template version'.split(' '),
    );
    expect(claims).toMatchObject({
      sub: 'agents/reconciler',
      client_id: 'agents/reconciler',
      aud: ERP,
      cnf: { jkt: key.jkt },
      mission: {
        id: body.mission_id,
        version: 1,
        path: [body.mission_id],
        issuer: sortie.url,
        attester: 'workloads',
        rule: 'by-sub',
        template: { id: 'invoices', version: '1' },
      },
    });
    expect(claims.jti).toMatch(/^cred_[\w-]{22,}$/);
    expect(body.mission_id).toMatch(/^msn_[\w-]{22,}$/);
    expect(claims.exp - claims.iat).toBe(300);
    expect(claims.authorization_details).toEqual(body.authorization_details);
    const { idx, uri } = claims.status.status_list;
    expect(uri).toBe(`${sortie.url}/status-lists/0`);
    expect(idx).toBeGreaterThanOrEqual(0);
    expect(idx).toBeLessThan(2 ** 17);
  });

  test('holds no prose and no user data', async () => {
    const { body } = await create({
      mission_intent: intent({ goal: 'a-very-private-goal', success_criteria: ['a-very-private-criterion'] }),
    });
    expect(JSON.stringify(read(body.access_token).claims)).not.toContain('very-private');
  });

  test('never outlives the mission, not even by the rounding of its end', async () => {
    const soon = new Date(Date.now() + 20_400).toISOString();
    const { body } = await create({ mission_intent: intent({ expires_at: soon }) });
    const { claims } = read(body.access_token);
    expect(claims.exp).toBeLessThanOrEqual(Date.parse(soon) / 1000);
    expect(claims.mission.expires_at).toBeLessThanOrEqual(Date.parse(soon) / 1000);
    expect(body.expires_in).toBe(claims.exp - claims.iat);
  });

  test('a mission whose end is over before it could be used is not created', async () => {
    for (const end of [-1000, 150]) {
      const { status, body } = await create({
        mission_intent: intent({
          expires_at: new Date(Math.floor(Date.now() / 1000) * 1000 + end).toISOString(),
        }),
      });
      expect([status, body.error]).toEqual([400, 'invalid_request']);
    }
  });

  test('the answer must not be cached and brings the next nonce', async () => {
    const { headers } = await create();
    expect(headers.get('cache-control')).toBe('no-store');
    expect(headers.get('dpop-nonce')).toMatch(/^[\w-]{20,}$/);
    expect(headers.get('content-type')).toBe('application/json');
  });
});

describe('narrowing', () => {
  test('without a proposal the ceiling at the intent’s resources is granted, families expanded', async () => {
    const { body } = await create({ mission_intent: intent({ resources: [ERP] }) });
    expect(body.authorization_details).toEqual([
      entry(['invoices.approve', 'invoices.read'], {
        constraints: { max_amount: { amount: '500.00', currency: 'EUR' } },
      }),
      entry(['journal.write']),
    ]);
    expect(body.narrowed).toEqual([]);
  });

  test('every cut is reported with what was wanted, what was granted and the rule', async () => {
    const { status, body } = await create({
      authorization_details: JSON.stringify([
        entry(['invoices.read', 'payments.send'], {
          constraints: { max_amount: { amount: '900.00', currency: 'EUR' } },
        }),
      ]),
    });
    expect(status).toBe(200);
    expect(body.authorization_details).toEqual([
      entry(['invoices.read'], { constraints: { max_amount: { amount: '500.00', currency: 'EUR' } } }),
    ]);
    expect(body.narrowed.length).toBeGreaterThan(0);
    for (const cut of body.narrowed) expect(cut.rule).toContain('template invoices@1');
    expect(JSON.stringify(body.narrowed)).toContain('payments.send');
    expect(JSON.stringify(body.narrowed)).toContain('900.00');
  });

  test('a constraint of the ceiling that the proposal leaves out is added, never dropped', async () => {
    const { body } = await create({ authorization_details: JSON.stringify([entry(['invoices.read'])]) });
    expect(body.authorization_details).toEqual([
      entry(['invoices.read'], { constraints: { max_amount: { amount: '500.00', currency: 'EUR' } } }),
    ]);
  });

  test('a lifetime beyond the template’s is cut and reported', async () => {
    const { body } = await create({
      mission_intent: intent({ expires_at: new Date(Date.now() + 10 * 3_600_000).toISOString() }),
    });
    expect(body.narrowed).toEqual([expect.objectContaining({ reason: 'lifetime_shortened' })]);
  });

  test('narrowing=refuse refuses instead, and leaves nothing behind', async () => {
    const before = (await sortie.admin('GET', '/missions?limit=500')).body['items'] as unknown[];
    const { status, body } = await create({
      narrowing: 'refuse',
      authorization_details: JSON.stringify([entry(['invoices.read', 'payments.send'])]),
    });
    expect([status, body.error, body.mission_denial_reason]).toEqual([
      400,
      'invalid_authorization_details',
      'out_of_template_ceiling',
    ]);
    const after = (await sortie.admin('GET', '/missions?limit=500')).body['items'] as unknown[];
    expect(after.length).toBe(before.length);
  });

  test.each([
    [
      'outside the ceiling',
      [entry(['payments.send'])],
      'invalid_authorization_details',
      'out_of_template_ceiling',
    ],
    ['unknown type', [{ type: 'root_shell', actions: ['x'] }], 'invalid_authorization_details', undefined],
    [
      'unknown field',
      [entry(['invoices.read'], { surprise: 1 })],
      'invalid_authorization_details',
      undefined,
    ],
    [
      'unknown constraint',
      [entry(['invoices.read'], { constraints: { moon_phase: 'full' } })],
      'invalid_authorization_details',
      undefined,
    ],
    [
      'resource outside the intent',
      [entry(['x.y'], {}, 'https://other.example.com')],
      'invalid_request',
      undefined,
    ],
    ['traversal', [entry(['invoices.read'], {}, `${ERP}/a/../b`)], undefined, undefined],
    ['encoded slash', [entry(['invoices.read'], {}, `${ERP}/a%2Fb`)], undefined, undefined],
    ['not a list', { type: 'mission_resource_access' }, undefined, undefined],
  ])('%s grants nothing', async (_name, proposal, error, reason) => {
    const { status, body } = await create({ authorization_details: JSON.stringify(proposal) });
    expect(status).toBe(400);
    expect(body.access_token).toBeUndefined();
    if (error !== undefined) expect(body.error).toBe(error);
    if (reason !== undefined) expect(body.mission_denial_reason).toBe(reason);
    expect(['invalid_request', 'invalid_authorization_details']).toContain(body.error);
  });
});

describe('anchors', () => {
  test('of a mission follow the rule that the published vectors hold', async () => {
    const declared = { goal: 'Anchor me', resources: [ERP], expires_at: inAnHour() };
    const proposal = [entry(['invoices.*'])];
    const { body } = await create({
      mission_intent: JSON.stringify({ intent: declared }),
      authorization_details: JSON.stringify(proposal),
    });
    const { body: mission } = await sortie.admin('GET', `/missions/${body.mission_id}`);
    expect(mission['intent_hash']).toBe(anchor(sortie.url, 'mission-intent', declared));
    expect(mission['proposal_hash']).toBe(anchor(sortie.url, 'mission-proposed-authority', proposal));
    expect(mission['authority_hash']).toBe(
      anchor(sortie.url, 'mission-authority-set', body.authorization_details),
    );
    expect(read(body.access_token).claims.mission.authority_hash).toBe(mission['authority_hash']);
    // The same function gives the published values.
    const { anchors } = JSON.parse(readFileSync('test/vectors/mission-anchors.json', 'utf8')) as {
      anchors: { iss: string; typ: Parameters<typeof anchor>[1]; value: unknown; expect: string }[];
    };
    expect(anchors.length).toBeGreaterThan(3);
    for (const vector of anchors) expect(anchor(vector.iss, vector.typ, vector.value)).toBe(vector.expect);
  });
});
