/** Forward-auth as a gateway asks it, without one: test/gateways runs the real ones. */
import { createHash, randomUUID } from 'node:crypto';
import { rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openGateways } from '../../src/config/gateways.ts';
import {
  creation,
  ERP,
  intent,
  type KeyHolder,
  newKey,
  startBroker,
  TEMPLATE,
  type TestBroker,
} from '../support/broker.ts';

const BASE = 'https://api.example.com/erp';
const SECRET = 'a-secret-of-enough-characters';

const gateway = (id: string, kind: string) => ({
  id,
  kind,
  audience: ERP,
  secret: { from_file: secret_file },
  base_url: BASE,
  routes: [{ methods: ['GET', 'POST'], path: '/invoices/{id}', action: 'journal.write' }],
});

const secret_file = join(tmpdir(), `sortie-gateway-secret-${randomUUID()}`);
let sortie: TestBroker;
let key: KeyHolder;
beforeAll(async () => {
  writeFileSync(secret_file, SECRET, { mode: 0o600 });
  sortie = await startBroker({
    templates: [TEMPLATE, { ...TEMPLATE, id: 'bearer', bearer_audiences: [ERP], token_ttl: '60s' }],
    config: {
      gateways: ['nginx', 'caddy', 'traefik', 'envoy'].map((kind) => gateway(kind, kind)),
      dispatch: [
        { agent: 'agents/*', purpose: 'bearer', template: 'bearer' },
        { agent: 'agents/*', template: 'invoices' },
      ],
    },
  });
  key = await newKey();
});
afterAll(async () => {
  rmSync(secret_file, { force: true });
  await sortie.close();
});

async function mint(over: Record<string, string> = {}): Promise<string> {
  const evidence = await sortie.evidence({ run: randomUUID() });
  const { status, body } = await sortie.token(key, creation(evidence, over));
  expect(status).toBe(200);
  return body.access_token;
}

async function signed(token: string, method: string, path: string) {
  const ath = createHash('sha256').update(token).digest('base64url');
  return {
    authorization: `DPoP ${token}`,
    dpop: await sortie.proof(key, method, `${BASE}${path}`, { ath, nonce: undefined }),
  };
}

function ask(path: string, headers: Record<string, string>, method = 'GET'): Promise<Response> {
  return fetch(`${sortie.url}/forward-auth/${path}`, {
    method,
    headers: { 'sortie-gateway-secret': SECRET, ...headers },
  });
}

/** How each kind tells `POST /invoices/7?x=1`. */
const TOLD: Record<string, readonly [path: string, method: string, headers: Record<string, string>]> = {
  nginx: ['nginx', 'GET', { 'x-original-method': 'POST', 'x-original-uri': '/invoices/7?x=1' }],
  caddy: ['caddy', 'GET', { 'x-forwarded-method': 'POST', 'x-forwarded-uri': '/invoices/7?x=1' }],
  traefik: ['traefik', 'GET', { 'x-forwarded-method': 'POST', 'x-forwarded-uri': '/invoices/7?x=1' }],
  envoy: ['envoy/invoices/7?x=1', 'POST', {}],
};

describe('forward-auth', () => {
  test.each(Object.keys(TOLD))(
    '%s: permits what the mission allows, below the configured URL',
    async (kind) => {
      const [path, method, headers] = TOLD[kind] ?? ['', '', {}];
      const held = await mint();
      const answer = await ask(path, { ...headers, ...(await signed(held, 'POST', '/invoices/7')) }, method);
      expect(answer.status).toBe(200);
      expect(answer.headers.get('sortie-client')).toBe('agents%2Freconciler');
      expect(answer.headers.get('sortie-mission')).toMatch(/^msn_/);
      expect(await answer.text()).toBe('');
    },
  );

  test.each(Object.keys(TOLD))("%s: the other kinds' headers and paths say nothing", async (kind) => {
    const held = await mint();
    for (const [other, [path, method, headers]] of Object.entries(TOLD)) {
      const same = other === kind || ([other, kind].includes('caddy') && [other, kind].includes('traefik'));
      if (same) continue;
      const given = await signed(held, 'POST', '/invoices/7');
      const answer = await ask(path.replace(other, kind), { ...headers, ...given }, method);
      expect(answer.status, `${other} headers at ${kind}`).toBe(403);
    }
  });

  test('an asking POST is judged as an asking GET', async () => {
    const [path, , headers] = TOLD['nginx'] ?? ['', '', {}];
    const held = await mint();
    const answer = await ask(path, { ...headers, ...(await signed(held, 'POST', '/invoices/7')) }, 'POST');
    expect(answer.status).toBe(200);
  });

  test('method or target that is missing, repeated or odd is denied', async () => {
    const held = await mint();
    for (const headers of [
      {},
      { 'x-original-method': 'POST' },
      { 'x-original-uri': '/invoices/7' },
      { 'x-original-method': 'POST, POST', 'x-original-uri': '/invoices/7' },
      { 'x-original-method': 'POST', 'x-original-uri': '/invoices/7, /invoices/7' },
      { 'x-original-method': 'post', 'x-original-uri': '/invoices/7' },
      { 'x-original-method': 'POST', 'x-original-uri': `${BASE}/invoices/7` },
      { 'x-original-method': 'POST', 'x-original-uri': '' },
    ]) {
      const answer = await ask('nginx', { ...headers, ...(await signed(held, 'POST', '/invoices/7')) });
      expect(answer.status).toBe(403);
    }
  });

  test('a bearer token is one where the template says so, and no bound token is', async () => {
    const [path, method, headers] = TOLD['nginx'] ?? ['', '', {}];
    const bearer = await mint({ mission_intent: intent({ purpose: 'bearer' }) });
    const denial = async (authorization: string) => {
      const answer = await ask(path, { ...headers, authorization }, method);
      return answer.status === 200 ? 'permitted' : answer.headers.get('sortie-denial');
    };
    expect(await denial(`Bearer ${bearer}`)).toBe('permitted');
    expect(await denial(`DPoP ${bearer}`)).toBe('scheme_mismatch');
    expect(await denial(`Bearer ${await mint()}`)).toBe('scheme_mismatch');
    for (const odd of [
      'Basic YTpi',
      bearer,
      `Bearer  ${bearer}`,
      `Bearer ${bearer}, Bearer ${bearer}`,
      'Bearer ',
    ])
      expect(await denial(odd)).toBe('credentials_malformed');
  });

  test('an expired token is told from a forged one, so that an honest agent renews', async () => {
    const [path, method, headers] = TOLD['nginx'] ?? ['', '', {}];
    const held = await mint();
    sortie.clock.ahead = 400;
    try {
      const answer = await ask(path, { ...headers, ...(await signed(held, 'POST', '/invoices/7')) }, method);
      expect(answer.status).toBe(401);
      expect(answer.headers.get('sortie-denial')).toBe('token_expired');
      expect(((await answer.json()) as { retry: string }).retry).toBe('renew');
    } finally {
      sortie.clock.ahead = 0;
    }
  });

  test('says where to ask for authority', async () => {
    const answer = await ask('nginx', { 'x-original-method': 'GET', 'x-original-uri': '/invoices/7' });
    expect(answer.status).toBe(401);
    const challenge = answer.headers.get('www-authenticate') ?? '';
    const url = challenge.split('resource_metadata="')[1]?.split('"')[0] ?? '';
    expect(await (await fetch(url)).json()).toMatchObject({
      resource: ERP,
      authorization_servers: [sortie.url],
    });
    expect((await fetch(url.replace('nginx', 'none'))).status).toBe(404);
  });

  test('a gateway of one audience permits no token of another', async () => {
    const { status, body } = await sortie.token(
      key,
      creation(await sortie.evidence({ run: randomUUID() }), { resource: 'https://mail.example.com' }),
    );
    expect(status).toBe(200);
    const [path, method, headers] = TOLD['nginx'] ?? ['', '', {}];
    const given = await signed(body.access_token, 'POST', '/invoices/7');
    const answer = await ask(path, { ...headers, ...given }, method);
    expect(answer.status).toBe(401);
    expect(answer.headers.get('sortie-denial')).toBe('token_invalid');
  });
});

describe('gateways in the configuration', () => {
  const audiences = [{ resource: ERP, actions: [{ name: 'journal.write' }] }];
  const open = (over: Record<string, unknown>, secret = SECRET) =>
    openGateways(
      [{ ...gateway('edge', 'nginx'), ...over }] as unknown as Parameters<typeof openGateways>[0],
      audiences,
      () => secret,
    );

  test('are refused with a short secret, an unknown audience or an unknown action', () => {
    expect(open({}).get('edge')?.verifier).toEqual({ asks: true, id: 'gateway:edge', audience: ERP });
    expect(() => open({}, 'short')).toThrow(/24/);
    expect(() => open({ audience: 'https://other.example.com' })).toThrow(/audience/);
    expect(() => open({ routes: [{ methods: ['GET'], path: '/', action: 'no.such' }] })).toThrow(/no\.such/);
  });

  test('never keep the secret itself', () => {
    expect(JSON.stringify([...open({})])).not.toContain(SECRET);
  });
});
