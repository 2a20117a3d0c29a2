/** DPoP at the broker (RFC 9449): a proof is good for one request, here, now, once. */
import { request } from 'node:http';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { creation, newKey, startBroker, type TestBroker } from '../support/broker.ts';

let sortie: TestBroker;
beforeAll(async () => {
  sortie = await startBroker();
  // The first answer brings a nonce for all that follow.
  await sortie.token(await newKey(), creation('x'));
});
afterAll(() => sortie.close());

async function present(proof: string | undefined, headers: Record<string, string> = {}) {
  const response = await fetch(`${sortie.url}/token`, {
    method: 'POST',
    headers: { ...(proof !== undefined && { dpop: proof }), ...headers },
    body: new URLSearchParams(creation(await sortie.evidence({ run: crypto.randomUUID() }))),
  });
  const body = (await response.json()) as Record<string, unknown>;
  return { status: response.status, error: body['error'], headers: response.headers };
}

const REFUSED = { status: 400, error: 'invalid_dpop_proof' };

describe('replay', () => {
  test('a proof is good once', async () => {
    const proof = await sortie.proof(await newKey(), 'POST', `${sortie.url}/token`);
    expect(await present(proof)).toMatchObject({ status: 200 });
    expect(await present(proof)).toMatchObject(REFUSED);
  });

  test('a proof stays used across a restart of the broker', async () => {
    const proof = await sortie.proof(await newKey(), 'POST', `${sortie.url}/token`);
    expect(await present(proof)).toMatchObject({ status: 200 });
    await sortie.restart();
    expect(await present(proof)).toMatchObject(REFUSED);
  });

  test('of twenty uses at once one wins', async () => {
    const proof = await sortie.proof(await newKey(), 'POST', `${sortie.url}/token`);
    const answers = await Promise.all(Array.from({ length: 20 }, () => present(proof)));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
  });

  test('a proof from ahead of time is not forgotten before it ends', async () => {
    const key = await newKey();
    const ahead = { iat: Math.floor(Date.now() / 1000) + 55 };
    const proof = await sortie.proof(key, 'POST', `${sortie.url}/token`, ahead);
    expect(await present(proof)).toMatchObject({ status: 200 });
    sortie.clock.ahead = 112;
    try {
      await sortie.broker.ports.store.prune(sortie.clock.now(), {
        missions_seconds: 1e6,
        credentials_seconds: 1e6,
        audit_seconds: 1e6,
      });
      expect(await present(proof)).toMatchObject({ status: 400 });
    } finally {
      sortie.clock.ahead = 0;
    }
  });

  test('used at one endpoint, a proof is not good at another', async () => {
    const key = await newKey();
    const proof = await sortie.proof(key, 'POST', `${sortie.url}/revoke`);
    expect(await present(proof)).toMatchObject(REFUSED);
  });
});

describe('what a proof is for', () => {
  const url = (path: string) => `${sortie.url}${path}`;
  test.each([
    ['another method', 'GET', () => url('/token')],
    ['the method in lower case', 'post', () => url('/token')],
    ['another path', 'POST', () => url('/missions')],
    ['a path below', 'POST', () => url('/token/')],
    ['a path with dot segments', 'POST', () => url('/missions/../token')],
    ['another host', 'POST', () => 'https://evil.example.com/token'],
    ['another port', 'POST', () => sortie.url.replace(/:\d+$/, ':1') + '/token'],
    ['another scheme', 'POST', () => url('/token').replace('http:', 'https:')],
    ['user information', 'POST', () => url('/token').replace('http://', 'http://user@')],
    ['no URL', 'POST', () => '/token'],
  ])('%s is refused', async (_name, method, target) => {
    expect(await present(await sortie.proof(await newKey(), method, target()))).toMatchObject(REFUSED);
  });

  test('query and fragment do not matter, nor the case of scheme and host (RFC 9449 section 4.3)', async () => {
    const key = await newKey();
    const target = `${url('/token').replace('http://', 'HTTP://')}?a=b#c`;
    expect(await present(await sortie.proof(key, 'POST', target))).toMatchObject({ status: 200 });
  });

  test('a Host header does not move the broker: the configured issuer counts', async () => {
    const key = await newKey();
    const send = (proof: string, form: string) =>
      new Promise<string>((resolve, reject) => {
        const sent = request(
          url('/token'),
          {
            method: 'POST',
            headers: {
              host: 'evil.example.com',
              'x-forwarded-host': 'evil.example.com',
              forwarded: 'host=evil.example.com;proto=https',
              'content-type': 'application/x-www-form-urlencoded',
              dpop: proof,
            },
          },
          (response) => {
            let text = '';
            response.on('data', (chunk: Buffer) => (text += chunk.toString()));
            response.on('end', () => resolve(text));
          },
        );
        sent.on('error', reject);
        sent.end(form);
      });
    const form = new URLSearchParams(creation(await sortie.evidence({ run: 'host' }))).toString();
    const spoofed = await send(await sortie.proof(key, 'POST', 'http://evil.example.com/token'), form);
    expect(JSON.parse(spoofed)).toMatchObject({ error: 'invalid_dpop_proof' });
    const true_ = await send(await sortie.proof(key, 'POST', url('/token')), form);
    expect(JSON.parse(true_)).toHaveProperty('access_token');
  });
});

describe('time and nonce', () => {
  test.each([
    ['stale', -62],
    ['ahead', 62],
    ['of the last century', -1e9],
  ])('a proof %s is refused', async (_name, offset) => {
    const iat = Math.floor(Date.now() / 1000) + offset;
    const proof = await sortie.proof(await newKey(), 'POST', `${sortie.url}/token`, { iat });
    expect(await present(proof)).toMatchObject(REFUSED);
  });

  test.each([['text'], [null], [{}], [[]], [true]])('iat %j is no time', async (iat) => {
    const proof = await sortie.proof(await newKey(), 'POST', `${sortie.url}/token`, { iat });
    expect(await present(proof)).toMatchObject(REFUSED);
  });

  test.each([[undefined], [''], ['short'], [5], ['x'.repeat(300)]])('jti %j is refused', async (jti) => {
    const proof = await sortie.proof(await newKey(), 'POST', `${sortie.url}/token`, { jti });
    expect(await present(proof)).toMatchObject(REFUSED);
  });

  test('without a nonce, or with a forged or old one, a fresh one is given', async () => {
    const old = (await present(undefined)).headers.get('dpop-nonce') ?? '';
    const flipped = `${old.slice(0, -2)}${old.endsWith('AA') ? 'BB' : 'AA'}`;
    const later = Buffer.from(old, 'base64url');
    later.writeUIntBE(Math.floor(Date.now() / 1000) - 10, 0, 6);
    for (const nonce of [undefined, '', 'forged', flipped, later.toString('base64url'), `${old}AAAA`]) {
      const answer = await present(
        await sortie.proof(await newKey(), 'POST', `${sortie.url}/token`, { nonce }),
      );
      expect(answer).toMatchObject({ status: 400, error: 'use_dpop_nonce' });
      expect(answer.headers.get('dpop-nonce')).toMatch(/^[\w-]{28,}$/);
    }
    sortie.clock.ahead = 302;
    try {
      const proof = await sortie.proof(await newKey(), 'POST', `${sortie.url}/token`, { nonce: old });
      expect(await present(proof)).toMatchObject({ error: 'use_dpop_nonce' });
    } finally {
      sortie.clock.ahead = 0;
    }
  });

  test('a nonce is good after a restart: clients do not notice one', async () => {
    const proof = await sortie.proof(await newKey(), 'POST', `${sortie.url}/token`);
    await sortie.restart();
    expect(await present(proof)).toMatchObject({ status: 200 });
  });

  test('no proof, no token', async () => {
    expect(await present(undefined)).toMatchObject(REFUSED);
  });

  test.each(['ES256', 'Ed25519', 'RS256', 'PS256', 'ES384'])('keys for %s are accepted', async (alg) => {
    const { SignJWT } = await import('jose');
    const key = await newKey(alg);
    const nonce = (await present(undefined)).headers.get('dpop-nonce') ?? '';
    const proof = await new SignJWT({
      jti: crypto.randomUUID(),
      htm: 'POST',
      htu: `${sortie.url}/token`,
      iat: Math.floor(Date.now() / 1000),
      nonce,
    })
      .setProtectedHeader({ alg, typ: 'dpop+jwt', jwk: key.jwk })
      .sign(key.privateKey);
    expect(await present(proof)).toMatchObject({ status: 200 });
  });
});
