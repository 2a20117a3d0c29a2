/** What verifiers are told: introspection, status lists, bundles, and what containment does to all of them. */
import { createRemoteJWKSet, jwtVerify } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { decodeStatusList, statusAt } from '../../src/domain/status-list.ts';
import {
  creation,
  ERP,
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

interface Held {
  readonly key: KeyHolder;
  readonly run: string;
  readonly mission_id: string;
  readonly access_token: string;
}

async function mission(resource = ERP): Promise<Held> {
  const [key, run] = [await newKey(), crypto.randomUUID()];
  const { body } = await sortie.token(key, creation(await sortie.evidence({ run }), { resource }));
  return { key, run, mission_id: body.mission_id, access_token: body.access_token };
}

async function renew(held: Held, resource = ERP, more: Record<string, string> = {}) {
  const { mission_intent: _, ...form } = creation(await sortie.evidence({ run: held.run }), {
    resource,
    ...more,
  });
  return sortie.token(held.key, { ...form, mission_id: held.mission_id });
}

const contain = (held: Held, body: Record<string, unknown>) =>
  sortie.admin('POST', `/missions/${held.mission_id}/contain`, { reason: 'a test', ...body });

const keys = () => createRemoteJWKSet(new URL(`${sortie.url}/jwks`));

describe('introspection', () => {
  test('tells a verifier the claims of a token for its own audience, and nothing of another’s', async () => {
    const held = await mission();
    const answer = await sortie.introspect(held.access_token);
    const { claims } = read(held.access_token);
    expect(answer).toEqual({ active: true, token_type: 'DPoP', ...claims });
    expect(await sortie.introspect(held.access_token, 'mail')).toEqual({ active: false });
  });

  test('signs its answer for the asking client where it wants that (RFC 9701)', async () => {
    const held = await mission();
    const ask = async (token: string) => {
      const response = await fetch(`${sortie.url}/introspect`, {
        method: 'POST',
        headers: {
          authorization: `Bearer ${await sortie.assertion()}`,
          accept: 'application/token-introspection+jwt',
        },
        body: new URLSearchParams({ token }),
      });
      expect(response.headers.get('content-type')).toBe('application/token-introspection+jwt');
      expect(response.headers.get('cache-control')).toBe('no-store');
      const { payload } = await jwtVerify(await response.text(), keys(), {
        issuer: sortie.url,
        audience: 'erp',
        typ: 'token-introspection+jwt',
      });
      return payload['token_introspection'];
    };
    expect(await ask(held.access_token)).toMatchObject({ active: true, aud: ERP });
    expect(await ask('nonsense')).toEqual({ active: false });
  });

  test('takes the assertion as form members too (RFC 7523)', async () => {
    const held = await mission();
    const response = await fetch(`${sortie.url}/introspect`, {
      method: 'POST',
      body: new URLSearchParams({
        token: held.access_token,
        client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
        client_assertion: await sortie.assertion(),
      }),
    });
    expect(((await response.json()) as { active: boolean }).active).toBe(true);
  });

  test('strangers get 401, whatever they show', async () => {
    for (const authorization of [undefined, 'Bearer x', 'Basic eDp5', `Bearer ${'x'.repeat(9000)}`]) {
      const response = await fetch(`${sortie.url}/introspect`, {
        method: 'POST',
        ...(authorization !== undefined && { headers: { authorization } }),
        body: new URLSearchParams({ token: 'x' }),
      });
      expect([response.status, await response.json()]).toEqual([401, { error: 'invalid_client' }]);
    }
  });

  test('the clock ends a token and a mission before anybody writes it down', async () => {
    const held = await mission();
    sortie.clock.ahead = 301;
    const late = await sortie.introspect(held.access_token);
    sortie.clock.ahead = 0;
    expect(late).toEqual({ active: false });
  });
});

describe('containment', () => {
  test('takes an action away: the old token is refused, the renewed one has less, the manifest says so', async () => {
    const held = await mission();
    const { status, body } = await contain(held, {
      remove: [{ action: 'invoices.approve' }],
      event_id: 'c1',
    });
    expect(status).toBe(200);
    expect(body['mission']).toMatchObject({ version: 2, state: 'active' });
    expect(await sortie.introspect(held.access_token)).toEqual({ active: false });

    const renewed = await renew(held);
    expect(renewed.status).toBe(200);
    expect(JSON.stringify(renewed.body.authorization_details)).not.toContain('invoices.approve');
    expect(JSON.stringify(renewed.body.authorization_details)).toContain('invoices.read');
    const { claims } = read(renewed.body.access_token);
    expect(claims.mission.version).toBe(2);
    expect(claims.mission.authority_hash).toBe(read(held.access_token).claims.mission.authority_hash);
    expect((await sortie.introspect(renewed.body.access_token))['active']).toBe(true);

    const manifest = await sortie.holder(held.key, 'GET', `/missions/${held.mission_id}`, {
      token: renewed.body.access_token,
    });
    expect(JSON.stringify(manifest.body['authorization_details'])).not.toContain('invoices.approve');
    expect(manifest.body['mission']).toMatchObject({ version: 2 });

    const snapshot = await fetch(`${sortie.url}/revocations`, {
      headers: { authorization: `Bearer ${await sortie.assertion()}` },
    });
    expect(((await snapshot.json()) as { entries: unknown[] }).entries).toContainEqual(
      expect.objectContaining({
        kind: 'mission',
        key: held.mission_id,
        effect: 'narrow',
        min_version: 2,
        reason_code: 'admin_contained',
      }),
    );
  });

  test('of a whole audience leaves nothing there and tells why', async () => {
    const held = await mission();
    await contain(held, { remove: [{ audience: MAIL }] });
    expect((await renew(held)).status).toBe(200);
    const gone = await renew(held, MAIL);
    expect([gone.status, gone.body.error, gone.body.mission_denial_reason]).toEqual([
      400,
      'invalid_authorization_details',
      'authority_contained',
    ]);
  });

  test('brings the end forward, never back; tokens from before are not honoured past it', async () => {
    const held = await mission();
    const soon = new Date(Date.now() + 60_000).toISOString();
    const later = new Date(Date.now() + 30 * 3_600_000).toISOString();
    expect((await contain(held, { expires_at: later })).status).toBe(400);
    expect((await contain(held, { expires_at: soon })).status).toBe(200);
    expect(await sortie.introspect(held.access_token)).toEqual({ active: false });
    const { body } = await renew(held);
    expect(read(body.access_token).claims.exp).toBeLessThanOrEqual(Date.parse(soon) / 1000);
  });

  test('of one entry, and of the end, shows in manifest, introspection and the next token alike', async () => {
    const held = await mission();
    const granted = read(held.access_token).claims['authorization_details'] as unknown[];
    const soon = new Date(Math.floor(Date.now() / 1000 + 90) * 1000).toISOString();
    const contained = await contain(held, { remove: [{ entry: 0 }], expires_at: soon, event_id: 'both' });
    expect(contained.status).toBe(200);
    const { body } = await renew(held);
    expect(body.authorization_details).toEqual(granted.slice(1));
    const seconds = Date.parse(soon) / 1000;
    expect(await sortie.introspect(body.access_token)).toMatchObject({
      active: true,
      exp: seconds,
      authorization_details: granted.slice(1),
      mission: { version: 2, expires_at: seconds },
    });
    const manifest = await sortie.holder(held.key, 'GET', `/missions/${held.mission_id}`, {
      token: body.access_token,
    });
    expect(manifest.body['mission']).toMatchObject({ version: 2 });
    expect(Date.parse((manifest.body['mission'] as { expires_at: string }).expires_at)).toBe(seconds * 1000);
    expect(JSON.stringify(manifest.body['authorization_details'])).not.toContain('invoices.read');
    const repeated = await contain(held, { remove: [{ entry: 0 }], expires_at: soon, event_id: 'both' });
    expect([repeated.status, repeated.body['repeated']]).toEqual([200, true]);
    expect((await sortie.introspect(body.access_token))['active']).toBe(true);
    // What was granted, and its anchor, stay as they were.
    const { body: detail } = await sortie.admin('GET', `/missions/${held.mission_id}`);
    expect(JSON.stringify(detail['granted'])).toContain('invoices.read');
    expect(JSON.stringify(detail['effective'])).not.toContain('invoices.read');
  });

  test('repeated by its event_id changes nothing; the id for something else, nothing to take, a wrong version: refused', async () => {
    const held = await mission();
    const asked = { remove: [{ action: 'journal.write' }], event_id: 'again', expected_version: 1 };
    expect((await contain(held, asked)).body['repeated']).toBe(false);
    const repeated = await contain(held, asked);
    expect([repeated.status, repeated.body['repeated']]).toEqual([200, true]);
    expect(repeated.body['mission']).toMatchObject({ version: 2 });
    expect((await contain(held, { ...asked, remove: [{ audience: MAIL }] })).status).toBe(409);
    expect((await contain(held, { remove: [{ action: 'journal.write' }] })).status).toBe(400);
    expect((await contain(held, { remove: [{ audience: MAIL }], expected_version: 1 })).status).toBe(409);
    for (const remove of [[{}], [{ nonsense: 1 }], [{ entry: 99 }], [{ audience: 'not a uri' }], 'all', []])
      expect((await contain(held, { remove })).status).toBe(400);
    expect((await contain(held, {})).status).toBe(400);
    await sortie.admin('POST', `/missions/${held.mission_id}/revoke`, { reason: 'over' });
    expect((await contain(held, { remove: [{ audience: MAIL }] })).status).toBe(409);
  });

  test('races with renewals: no token is left that has what was taken and a version that passes', async () => {
    const held = await mission();
    const [contained, ...renewed] = await Promise.all([
      contain(held, { remove: [{ action: 'invoices.approve' }] }),
      ...Array.from({ length: 10 }, () => renew(held)),
    ]);
    expect(contained.status).toBe(200);
    for (const { status, body } of renewed) {
      expect(status).toBe(200);
      const { claims } = read(body.access_token);
      const has = JSON.stringify(claims.authorization_details).includes('invoices.approve');
      expect(has).toBe(claims.mission.version === 1);
    }
  });
});

describe('the status list', () => {
  const list = async (id = '0') => fetch(`${sortie.url}/status-lists/${id}`);
  const statusOf = async (token: string) => {
    const { idx, uri } = read(token).claims.status.status_list;
    const { payload } = await jwtVerify(await (await fetch(uri)).text(), keys(), { typ: 'statuslist+jwt' });
    expect(payload.sub).toBe(uri);
    const { bits, lst } = payload['status_list'] as { bits: 2; lst: string };
    expect(bits).toBe(2);
    const bytes = decodeStatusList({ bits, lst }, 2 ** 20);
    expect(bytes.length * 4).toBeGreaterThanOrEqual(2 ** 17);
    return statusAt(bytes, bits, idx);
  };

  test('shows each mission’s state at its index', async () => {
    const held = { fine: await mission(), suspended: await mission(), revoked: await mission() };
    await sortie.admin('POST', `/missions/${held.suspended.mission_id}/suspend`, { reason: 'x' });
    await sortie.admin('POST', `/missions/${held.revoked.mission_id}/revoke`, { reason: 'x' });
    sortie.clock.ahead += 16;
    expect(await statusOf(held.fine.access_token)).toBe(0);
    expect(await statusOf(held.revoked.access_token)).toBe(1);
    expect(await statusOf(held.suspended.access_token)).toBe(2);
    const response = await list();
    expect(response.headers.get('content-type')).toBe('application/statuslist+jwt');
    const { claims } = read(await response.text()) as unknown as {
      claims: { ttl: number; exp: number; iat: number };
    };
    expect(claims.ttl).toBeGreaterThan(0);
    expect(claims.exp - claims.iat).toBeGreaterThanOrEqual(claims.ttl);
    sortie.clock.ahead = 0;
  });

  test.each(['1', '999', '-1', '00', 'x', '0x0', '99999999999'])('%s is not one', async (id) => {
    expect((await list(id)).status).toBe(404);
  });
});

describe('the bundle', () => {
  test('is signed, for this audience, and cheap to ask for again', async () => {
    const headers = { authorization: `Bearer ${await sortie.assertion()}` };
    const response = await fetch(`${sortie.url}/verifier/bundle`, { headers });
    const etag = response.headers.get('etag') ?? '';
    const { payload } = await jwtVerify(await response.text(), keys(), {
      issuer: sortie.url,
      audience: ERP,
      typ: 'sortie-bundle+jwt',
    });
    expect(etag).toBe(`"${String(payload['version'])}"`);
    expect(payload['max_token_seconds']).toBe(900);
    expect(JSON.stringify(payload)).not.toContain('messages.send');
    const again = await fetch(`${sortie.url}/verifier/bundle`, {
      headers: { ...headers, 'if-none-match': etag },
    });
    expect(again.status).toBe(304);
  });
});
