/** The error table (wire profile 2.7) as it arrives, and what neither answer nor log ever holds. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Denial, Denied } from '../../src/domain/denial.ts';
import { wireError } from '../../src/http/errors.ts';
import { creation, intent, type KeyHolder, newKey, startBroker, type TestBroker } from '../support/broker.ts';

let sortie: TestBroker;
beforeAll(async () => {
  sortie = await startBroker({ config: { log: { level: 'debug' } } });
});
afterAll(() => sortie.close());

async function mission(run: string) {
  const key = await newKey();
  const { body } = await sortie.token(key, creation(await sortie.evidence({ run })));
  return { key, run, ...body };
}

async function renew(of: { key: KeyHolder; run: string; mission_id: string }) {
  const { mission_intent: _, ...form } = creation(await sortie.evidence({ run: of.run }));
  return sortie.token(of.key, { ...form, mission_id: of.mission_id });
}

describe('a dead mission, to its own key', () => {
  test('says which way it died; to any other key it never was', async () => {
    const held = { suspended: await mission('s'), revoked: await mission('r'), expired: await mission('e') };
    await sortie.admin('POST', `/missions/${held.suspended.mission_id}/suspend`, { reason: 'look' });
    await sortie.admin('POST', `/missions/${held.revoked.mission_id}/revoke`, { reason: 'end' });
    expect((await renew(held.suspended)).body).toEqual({
      error: 'invalid_grant',
      mission_error: 'mission_suspended',
    });
    expect((await renew(held.revoked)).body).toEqual({
      error: 'invalid_grant',
      mission_error: 'mission_revoked',
    });
    const stranger = { ...held.revoked, key: await newKey() };
    expect((await renew(stranger)).body).toEqual({
      error: 'invalid_grant',
      error_description: 'no such mission for this key',
    });
    // The clock judges before the reaper does.
    sortie.clock.ahead = 3700;
    const late = await renew(held.expired);
    sortie.clock.ahead = 0;
    expect(late.body).toEqual({ error: 'invalid_grant', mission_error: 'mission_expired' });
  });
});

describe('style', () => {
  test('OAuth endpoints answer RFC 6749 JSON, all others problem documents; nothing is cached', async () => {
    for (const route of sortie.broker.routes) {
      const path = route.path.replaceAll(/\{\w+\}/g, 'x');
      const response = await fetch(`${sortie.url}${path}`, {
        method: route.method,
        ...(route.method === 'POST' && { body: new Uint8Array([0xff]) }),
      });
      const text = await response.text();
      if (response.status < 400) continue;
      const type = response.headers.get('content-type');
      expect([path, type]).toEqual([
        path,
        route.errors === 'oauth' ? 'application/json' : 'application/problem+json',
      ]);
      expect(response.headers.get('cache-control')).toBe('no-store');
      expect(response.headers.get('x-content-type-options')).toBe('nosniff');
      const body = JSON.parse(text) as Record<string, unknown>;
      if (route.errors === 'oauth') expect(body).toHaveProperty('error');
      else
        expect(body).toMatchObject({
          type: expect.stringMatching(/^urn:sortie:problem:/),
          status: response.status,
        });
    }
  });

  test('a fault of ours says nothing about itself', () => {
    for (const style of ['oauth', 'problem'] as const) {
      const { status, body, headers } = wireError(new Error('password=hunter2 at /srv/x.ts:1:2'), style);
      expect(status).toBe(503);
      expect(headers['retry-after']).toBe('1');
      expect(JSON.stringify(body)).not.toContain('hunter2');
    }
  });

  test('a private reason never reaches the wire', () => {
    const denials: Denial[] = [
      { tag: 'invalid_evidence' },
      { tag: 'unknown_mission' },
      { tag: 'invalid_target' },
      { tag: 'invalid_client' },
      { tag: 'access_denied', reason: 'policy_denied' },
      { tag: 'overloaded', retry_after_seconds: 3 },
    ];
    for (const denial of denials)
      for (const style of ['oauth', 'problem'] as const) {
        const { body } = wireError(new Denied(denial, 'for the audit alone'), style);
        expect(JSON.stringify(body)).not.toContain('audit alone');
      }
    expect(wireError(new Denied({ tag: 'overloaded', retry_after_seconds: 3 }), 'oauth')).toMatchObject({
      status: 503,
      body: { error: 'temporarily_unavailable' },
      headers: { 'retry-after': '3' },
    });
  });
});

describe('overload', () => {
  test('sheds exchanges with 503 and Retry-After; revocation is never shed', async () => {
    const broker = await startBroker({
      config: { overload: { concurrent_exchanges: 1, concurrent_per_instance: 1 } },
    });
    try {
      const held = await newKey();
      const { body } = await broker.token(held, creation(await broker.evidence()));
      const keys = await Promise.all(Array.from({ length: 12 }, () => newKey()));
      const forms = await Promise.all(
        keys.map(async () => creation(await broker.evidence({ run: crypto.randomUUID() }))),
      );
      const [revoked, ...answers] = await Promise.all([
        broker.admin('POST', `/missions/${body.mission_id}/revoke`, { reason: 'now' }),
        ...keys.map((key, index) => broker.token(key, forms[index] ?? {})),
      ]);
      const shed = answers.filter(({ status }) => status === 503);
      expect(shed.length).toBeGreaterThan(0);
      for (const { body: refusal, headers } of shed) {
        expect(refusal.error).toBe('temporarily_unavailable');
        expect(headers.get('retry-after')).toBe('1');
      }
      expect(answers.filter(({ status }) => status === 200).length).toBe(answers.length - shed.length);
      expect(revoked.status).toBe(200);
      // Room is given back.
      expect((await broker.token(held, creation(await broker.evidence({ run: 'after' })))).status).toBe(200);
    } finally {
      await broker.close();
    }
  });

  test('a client that sends slowly holds no room', async () => {
    const broker = await startBroker({ config: { overload: { concurrent_exchanges: 1 } } });
    const { connect } = await import('node:net');
    const { hostname, port } = new URL(broker.url);
    const slow = connect(Number(port), hostname);
    try {
      slow.write('POST /token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n');
      slow.write('Content-Length: 1000\r\n\r\ngrant_type=');
      await new Promise((resolve) => setTimeout(resolve, 50));
      expect((await broker.token(await newKey(), creation(await broker.evidence()))).status).toBe(200);
    } finally {
      slow.destroy();
      await broker.close();
    }
  });
});

/** A renewal has no intent. */
function without(form: Record<string, string>): Record<string, string> {
  const { mission_intent: _, ...rest } = form;
  return form['mission_id'] === undefined ? form : rest;
}

describe('what is written down', () => {
  test('no token, evidence, proof, nonce or admin token is in log, audit or database', async () => {
    const { readFileSync, existsSync } = await import('node:fs');
    const key = await newKey();
    const evidence = await sortie.evidence({ run: 'secrets' });
    const { body } = await sortie.token(key, creation(evidence));
    const admin = await sortie.adminToken('viewer', 'vera');
    const assertion = await sortie.assertion();
    const proof = await sortie.proof(key, 'POST', `${sortie.url}/token`);
    // Each secret also in places where it does not belong.
    for (const secret of [body.access_token, evidence, admin, assertion, proof]) {
      for (const change of [
        { resource: secret.slice(-2000) },
        { [secret.slice(-200)]: 'x' },
        { template_id: secret.slice(-120) },
        { mission_id: secret.slice(-120) },
        { client_id: secret.slice(-120) },
        { mission_intent: intent({ resources: [secret.slice(-2000)] }) },
        { authorization_details: JSON.stringify([{ type: secret.slice(-100) }]) },
        { subject_token: secret },
      ])
        await sortie.token(key, without(creation(evidence, change)));
      await fetch(`${sortie.url}/${secret.slice(0, 500)}?token=${secret}`, {
        headers: { authorization: `Bearer ${secret}` },
      });
      await fetch(`${sortie.url}/admin/v1/missions?q=x&unknown=${secret}`, {
        headers: { authorization: `Bearer ${secret}` },
      });
      await sortie.introspect(secret);
      await sortie.admin('GET', `/missions?q=${secret.slice(-200)}`);
      await sortie.admin('POST', '/templates', { [secret.slice(-100)]: 1 });
      await sortie.holder(key, 'POST', '/revoke', { form: { token: secret } });
    }
    const { body: audit } = await sortie.admin('GET', '/audit?limit=1000');
    const files = ['sortie.db', 'sortie.db-wal'].map((name) => `${sortie.folder}/${name}`).filter(existsSync);
    const written: [string, string][] = [
      ['log', sortie.log.join('')],
      ['audit', JSON.stringify(audit)],
      ...files.map((file): [string, string] => [file, readFileSync(file, 'latin1')]),
    ];
    expect(sortie.log.length).toBeGreaterThan(20);
    for (const [name, secret] of Object.entries({
      token: body.access_token,
      evidence,
      admin,
      assertion,
      proof,
    })) {
      // The signature is the part that makes it worth stealing; a whole admin token is all secret.
      const needle = name === 'admin' ? secret.slice(11, 40) : secret.slice(-40);
      for (const [place, text] of written)
        expect([place, name, text.includes(needle)]).toEqual([place, name, false]);
    }
  });
});
