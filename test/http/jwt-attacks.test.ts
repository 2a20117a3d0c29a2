/** Every known JWT attack, against each place where the broker reads a JWT that a stranger sent. */
import { createPublicKey, generateKeyPairSync, type JsonWebKey, KeyObject } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import { CompactEncrypt, type CryptoKey, exportSPKI, importJWK } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { creation, type KeyHolder, newKey, startBroker, type TestBroker } from '../support/broker.ts';
import { es256, forge, hmac, type Json, read, unsigned } from '../support/tokens.ts';

let sortie: TestBroker;
let trap: Server;
let trapped = 0;
let trapUrl = '';

beforeAll(async () => {
  sortie = await startBroker();
  trap = createServer((_request, response) => {
    trapped++;
    response.end('{"keys":[]}');
  });
  await new Promise<void>((resolve) => trap.listen(0, '127.0.0.1', resolve));
  const address = trap.address();
  if (typeof address === 'object' && address) trapUrl = `http://127.0.0.1:${address.port}/keys`;
});
afterAll(async () => {
  expect(trapped).toBe(0);
  await new Promise((resolve) => trap.close(resolve));
  await sortie.close();
});

const attacker = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const attackerJwk = attacker.publicKey.export({ format: 'jwk' });

function keyObject(key: CryptoKey): KeyObject {
  return KeyObject.from(key as Parameters<typeof KeyObject.from>[0]);
}

/** Every attack on a token that would be good as it is; `owner` is the key that rightly signs it. */
async function attacks(good: string, owner: KeyHolder): Promise<[string, string][]> {
  const { header, claims } = read(good);
  const sign = es256(keyObject(owner.privateKey));
  const publicKey = createPublicKey({ key: owner.jwk as JsonWebKey, format: 'jwk' });
  const spki = await exportSPKI((await importJWK(owner.jwk, 'ES256')) as CryptoKey);
  const with_ = (more: Json, signer = sign): string => forge({ ...header, ...more }, claims, signer);
  const foreign = es256(attacker.privateKey);
  const [h = '', p = '', s = ''] = good.split('.');
  const jwe = await new CompactEncrypt(Buffer.from(good))
    .setProtectedHeader({ alg: 'ECDH-ES', enc: 'A128GCM' })
    .encrypt((await importJWK(owner.jwk, 'ECDH-ES')) as CryptoKey);
  return [
    ['alg none', with_({ alg: 'none' }, unsigned)],
    ['alg None', with_({ alg: 'None' }, unsigned)],
    ['alg none with the old signature', with_({ alg: 'none' }, () => s)],
    ['no signature', `${h}.${p}.`],
    ['HS256 with the public key as PEM', with_({ alg: 'HS256' }, hmac(spki))],
    [
      'HS256 with the public key as DER',
      with_({ alg: 'HS256' }, hmac(publicKey.export({ format: 'der', type: 'spki' }))),
    ],
    ['HS256 with the public key as JWK', with_({ alg: 'HS256' }, hmac(JSON.stringify(owner.jwk)))],
    ['HS256 with an empty key', with_({ alg: 'HS256' }, hmac(''))],
    ['another alg of the same family', with_({ alg: 'ES384' })],
    ['RS256 over an EC key', with_({ alg: 'RS256' })],
    ['embedded jwk', with_({ jwk: attackerJwk }, foreign)],
    ['embedded jwk without kid', with_({ jwk: attackerJwk, kid: undefined }, foreign)],
    ['jku', with_({ jku: trapUrl }, foreign)],
    ['jku, rightly signed', with_({ jku: trapUrl })],
    ['x5u', with_({ x5u: trapUrl }, foreign)],
    ['x5c', with_({ x5c: ['MIIB'] }, foreign)],
    ['kid that is an address', with_({ kid: trapUrl }, foreign)],
    ['kid that is a path', with_({ kid: '../../../../dev/null' }, foreign)],
    ['kid that is SQL', with_({ kid: "' or '1'='1" }, foreign)],
    ['kid that is no text', with_({ kid: { $ne: null } }, foreign)],
    ['kid of a prototype', with_({ kid: '__proto__' }, foreign)],
    ['crit that nobody knows, rightly signed', with_({ crit: ['urn:x'], 'urn:x': true })],
    ['crit b64, rightly signed', with_({ crit: ['b64'], b64: false })],
    ['zip', with_({ zip: 'DEF' }, foreign)],
    ['another key', with_({}, foreign)],
    ['zero signature', `${h}.${p}.${Buffer.alloc(64).toString('base64url')}`],
    ['psychic signature', `${h}.${p}.${Buffer.alloc(72, 0x30).toString('base64url')}`],
    [
      'DER signature',
      forge(header, claims, (input) => es256(keyObject(owner.privateKey))(input).slice(0, 40)),
    ],
    ['changed claims under the old signature', forge(header, { ...claims, exp: 9_999_999_999 }, () => s)],
    ['JWE instead of JWS', jwe],
    ['five parts', `${good}.a.b`],
    ['two parts', `${h}.${p}`],
    ['JSON serialization', JSON.stringify({ payload: p, protected: h, signature: s })],
    [
      'repeated header member',
      forge(JSON.stringify(header).replace('{', '{"alg":"none",'), claims, unsigned),
    ],
    ['header that is a list', forge('[]', claims, sign)],
    ['payload that is a text', forge(header, '"text"', sign)],
    ['payload that nests deep', forge(header, `${'['.repeat(5000)}${']'.repeat(5000)}`, sign)],
    ['huge header', forge({ ...header, pad: 'x'.repeat(9000) }, claims, sign)],
    ['nothing but dots', '..'],
    ['not ASCII', 'é.é.é'],
  ];
}

describe('evidence', () => {
  test('of every forged kind gets one and the same answer, and nothing is fetched', async () => {
    const cases = await attacks(await sortie.evidence(), sortie.issuerKey);
    const claims = read(await sortie.evidence()).claims;
    const sign = es256(keyObject(sortie.issuerKey.privateKey));
    const now = Math.floor(Date.now() / 1000);
    const own = { alg: 'ES256', kid: 'w1' };
    cases.push(
      ['typ at+jwt', forge({ ...own, typ: 'at+jwt' }, claims, sign)],
      ['typ dpop+jwt', forge({ ...own, typ: 'dpop+jwt' }, claims, sign)],
      ['typ logout+jwt', forge({ ...own, typ: 'logout+jwt' }, claims, sign)],
      ['expired', await sortie.evidence({ exp: now - 3600, iat: now - 7200 })],
      ['early', await sortie.evidence({ nbf: now + 3600 })],
      ['issued in the future', await sortie.evidence({ iat: now + 3600, exp: now + 7200 })],
      ['no exp', await sortie.evidence({ exp: undefined })],
      ['exp in milliseconds', await sortie.evidence({ exp: Date.now() * 1000 })],
      ['exp as text', await sortie.evidence({ exp: '9999999999' })],
      ['another audience', await sortie.evidence({ aud: 'https://elsewhere.example.com' })],
      ['two audiences', await sortie.evidence({ aud: [sortie.url, 'https://elsewhere.example.com'] })],
      ['audience with a slash', await sortie.evidence({ aud: `${sortie.url}/` })],
      ['bound to another key', await sortie.evidence({ aud: `${sortie.url}#jkt=${(await newKey()).jkt}` })],
      ['unknown issuer', await sortie.evidence({ iss: 'https://evil.example.com' })],
      ['issuer that is an address', await sortie.evidence({ iss: trapUrl })],
      ['the broker as issuer', await sortie.evidence({ iss: sortie.url })],
      ['no subject', await sortie.evidence({ sub: undefined })],
      ['subject of several segments', await sortie.evidence({ sub: 'a/b' })],
      ['subject that is an object', await sortie.evidence({ sub: { a: 1 } })],
      ['no instance', await sortie.evidence({ run: undefined })],
    );
    const key = await newKey();
    for (const [name, evidence] of cases) {
      const { status, body } = await sortie.token(key, creation(evidence));
      expect([name, status, body]).toEqual([
        name,
        400,
        { error: 'invalid_request', error_description: 'the evidence was not accepted' },
      ]);
    }
    expect(trapped).toBe(0);
  });
});

describe('a Sortie token as subject_token', () => {
  test('of every forged kind is an unknown mission', async () => {
    const key = await newKey();
    const { body } = await sortie.token(key, creation(await sortie.evidence({ run: 'attacked' })));
    // The broker's own private key is not at hand: what would be rightly signed is signed by the attacker.
    const stand_in = { ...(await newKey()) };
    const cases = await attacks(body.access_token, stand_in);
    cases.push([
      'typ JWT',
      forge(
        { ...read(body.access_token).header, typ: 'JWT' },
        read(body.access_token).claims,
        es256(attacker.privateKey),
      ),
    ]);
    for (const [name, token] of cases) {
      const answer = await sortie.token(key, {
        grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
        subject_token: token,
        subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
        resource: 'https://mail.example.com',
      });
      expect([name, answer.status, answer.body.error]).toEqual([name, 400, 'invalid_grant']);
      if (token.length < 30_000)
        expect([name, await sortie.introspect(token)]).toEqual([name, { active: false }]);
    }
  });

  test('other documents that the broker signs are no tokens', async () => {
    const list = await (await fetch(`${sortie.url}/status-lists/0`)).text();
    const bundle = await (
      await fetch(`${sortie.url}/verifier/bundle`, {
        headers: { authorization: `Bearer ${await sortie.assertion()}` },
      })
    ).text();
    for (const token of [list, bundle]) {
      expect(await sortie.introspect(token)).toEqual({ active: false });
      const answer = await sortie.token(await newKey(), {
        grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
        subject_token: token,
        subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
        resource: 'https://mail.example.com',
      });
      expect(answer.body.error).toBe('invalid_grant');
    }
  });
});

describe('a DPoP proof', () => {
  test('of every forged kind is invalid_dpop_proof', async () => {
    const key = await newKey();
    await sortie.token(key, creation('x'));
    const good = await sortie.proof(key, 'POST', `${sortie.url}/token`);
    const cases = (await attacks(good, key)).filter(
      // A proof has no kid to speak of, and an embedded key is its nature.
      ([name]) => name !== 'not ASCII' && !name.startsWith('embedded jwk'),
    );
    const { header, claims } = read(good);
    const sign = es256(keyObject(key.privateKey));
    const privateJwk = keyObject(key.privateKey).export({ format: 'jwk' });
    cases.push(
      ['typ JWT', forge({ ...header, typ: 'JWT' }, claims, sign)],
      ['typ at+jwt', forge({ ...header, typ: 'at+jwt' }, claims, sign)],
      ['no jwk', forge({ ...header, jwk: undefined }, claims, sign)],
      ['a private key in jwk', forge({ ...header, jwk: privateJwk }, claims, sign)],
      ['a symmetric key in jwk', forge({ ...header, jwk: { kty: 'oct', k: 'AAAA' } }, claims, sign)],
      ['another key in jwk', forge({ ...header, jwk: attackerJwk }, claims, sign)],
      ['a point off the curve', forge({ ...header, jwk: { ...key.jwk, x: key.jwk.y } }, claims, sign)],
      ['two proofs', `${good}, ${good}`],
      ['empty', ''],
    );
    for (const [name, proof] of cases) {
      const response = await fetch(`${sortie.url}/token`, {
        method: 'POST',
        headers: { dpop: proof },
        body: new URLSearchParams(creation(await sortie.evidence())),
      });
      const body = (await response.json()) as { error: string };
      expect([name, response.status, body.error]).toEqual([name, 400, 'invalid_dpop_proof']);
    }
  });

  test('by a weak RSA key is refused', async () => {
    const weak = generateKeyPairSync('rsa', { modulusLength: 1024 });
    const good = await sortie.proof(await newKey(), 'POST', `${sortie.url}/token`);
    const { header, claims } = read(good);
    const { sign } = await import('node:crypto');
    const proof = forge(
      { ...header, alg: 'RS256', jwk: weak.publicKey.export({ format: 'jwk' }) },
      claims,
      (input) => sign('sha256', Buffer.from(input), weak.privateKey).toString('base64url'),
    );
    const response = await fetch(`${sortie.url}/token`, {
      method: 'POST',
      headers: { dpop: proof },
      body: new URLSearchParams(creation(await sortie.evidence())),
    });
    expect(((await response.json()) as { error: string }).error).toBe('invalid_dpop_proof');
  });
});

describe('a verifier’s assertion', () => {
  const ask = async (assertion: string) => {
    const response = await fetch(`${sortie.url}/introspect`, {
      method: 'POST',
      headers: { authorization: `Bearer ${assertion}` },
      body: new URLSearchParams({ token: 'x' }),
    });
    return [response.status, await response.json()];
  };

  test('of every forged kind gets one and the same answer, and harms its owner not', async () => {
    const good = await sortie.assertion();
    const { header, claims } = read(good);
    const sign = es256(keyObject(sortie.verifierKeys.erp.privateKey));
    const now = Math.floor(Date.now() / 1000);
    const cases = (await attacks(good, sortie.verifierKeys.erp)).filter(
      ([name]) => name !== 'not ASCII' && !/huge header|jku, rightly/.test(name),
    );
    const changed = (more: Json) => forge(header, { ...claims, ...more }, sign);
    cases.push(
      ['typ at+jwt', forge({ ...header, typ: 'at+jwt' }, claims, sign)],
      ['typ dpop+jwt', forge({ ...header, typ: 'dpop+jwt' }, claims, sign)],
      ['another issuer than subject', changed({ iss: 'mail' })],
      ['another verifier', changed({ iss: 'mail', sub: 'mail' })],
      ['unknown verifier', changed({ iss: 'x', sub: 'x' })],
      ['another audience', changed({ aud: 'https://elsewhere.example.com' })],
      ['two audiences', changed({ aud: [sortie.url, 'https://elsewhere.example.com'] })],
      ['expired', changed({ exp: now - 60, iat: now - 120 })],
      ['too long', changed({ exp: now + 3600 })],
      ['issued long ago', changed({ iat: now - 3600, exp: now + 10 })],
      ['no jti', changed({ jti: undefined })],
      ['no exp', changed({ exp: undefined })],
    );
    for (const [name, assertion] of cases)
      expect([name, ...(await ask(assertion))]).toEqual([name, 401, { error: 'invalid_client' }]);
    expect(await ask(good)).toEqual([200, { active: false }]);
  });

  test('that names an algorithm of another family first does not lock the verifier out', async () => {
    const fresh = await startBroker();
    try {
      const good = await fresh.assertion();
      const { header, claims } = read(good);
      for (const alg of ['RS256', 'Ed25519', 'EdDSA'])
        await fetch(`${fresh.url}/introspect`, {
          method: 'POST',
          headers: { authorization: `Bearer ${forge({ ...header, alg }, claims, () => 'AAAA')}` },
          body: new URLSearchParams({ token: 'x' }),
        });
      expect(await fresh.introspect('x')).toEqual({ active: false });
    } finally {
      await fresh.close();
    }
  });
});
