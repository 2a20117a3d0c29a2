import { createHmac, createPublicKey } from 'node:crypto';
import { CompactEncrypt, exportSPKI, SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { AttesterConfigInput } from '../../src/attesters/config.ts';
import type { AttestationRegistry } from '../../src/attesters/registry.ts';
import { attestation, BROKER, JKT, jwt, NOW, OTHER_JKT, refusalOf } from './support/evidence.ts';
import { type LocalIssuer, makeKey, signWith, startIssuer, type TestKey } from './support/issuer.ts';

let issuer: LocalIssuer;
let rsa: TestKey;
let ec: TestKey;
let registry: AttestationRegistry;

const context = { jkt: JKT, now: NOW };
const claims = (over: Record<string, unknown> = {}) => ({
  iss: issuer.url,
  sub: 'svc/reconciler',
  aud: BROKER,
  iat: NOW - 10,
  exp: NOW + 300,
  run: 'run-1',
  ...over,
});
const config = (over: Record<string, unknown> = {}): AttesterConfigInput =>
  ({
    kind: 'oidc',
    name: 'ci',
    issuer: issuer.url,
    allow_private_addresses: true,
    rules: [{ name: 'services', match: { sub: 'svc/*' }, agent: 'ci/{sub}', instance: '{run}' }],
    ...over,
  }) as AttesterConfigInput;
const appraise = (token: string) => registry.appraise(jwt(token), context);
const b64 = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');

beforeAll(async () => {
  rsa = await makeKey('rsa-1', 'RS256');
  ec = await makeKey('ec-1', 'ES256');
  issuer = await startIssuer(rsa, ec);
  registry = attestation([config()]);
});
afterAll(() => issuer.close());

describe('a token of the configured issuer', () => {
  it('yields agent, instance and tier by the rule that matches', async () => {
    expect(await appraise(await signWith(rsa, claims()))).toEqual({
      agent: 'ci/svc%2Freconciler',
      instance: 'run-1',
      tier: 'reusable',
      attester: 'ci',
      rule: 'services',
      digest: expect.stringMatching(/^sha-256:[\w-]{43}$/),
      bound_jkt: null,
      expires_at: NOW + 300,
      caps_token: false,
      once: null,
      max_keys: 1,
    });
    expect((await appraise(await signWith(ec, claims()))).rule).toBe('services');
  });

  it('is bound to a key by its audience, and to that key only', async () => {
    const token = await signWith(ec, claims({ aud: `${BROKER}#jkt=${JKT}` }));
    expect(await appraise(token)).toMatchObject({ tier: 'bound', bound_jkt: JKT });
    expect(await refusalOf(registry.appraise(jwt(token), { jkt: OTHER_JKT, now: NOW }))).toContain(
      'wrong_key',
    );
  });

  it('has one digest, whatever twin its ECDSA signature has', async () => {
    const token = await signWith(ec, claims());
    const [header, payload, signature] = token.split('.') as [string, string, string];
    const raw = Buffer.from(signature, 'base64url');
    const order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
    const s = BigInt(`0x${raw.subarray(32).toString('hex')}`);
    const twin = Buffer.concat([
      raw.subarray(0, 32),
      Buffer.from((order - s).toString(16).padStart(64, '0'), 'hex'),
    ]);
    const forged = `${header}.${payload}.${twin.toString('base64url')}`;
    expect(forged).not.toBe(token);
    expect((await appraise(forged)).digest).toBe((await appraise(token)).digest);
  });

  it('may carry its audience in a list of one', async () => {
    expect((await appraise(await signWith(ec, claims({ aud: [BROKER] })))).agent).toBe('ci/svc%2Freconciler');
  });
});

describe('refuses, with one constant answer,', () => {
  const cases: [string, Record<string, unknown>, string][] = [
    ['another audience', { aud: 'https://other.example.com' }, 'wrong_audience'],
    ['an audience that only begins like this broker', { aud: `${BROKER}.evil.example` }, 'wrong_audience'],
    ['a trailing slash in the audience', { aud: `${BROKER}/` }, 'wrong_audience'],
    ['several audiences', { aud: [BROKER, 'https://other.example.com'] }, 'wrong_audience'],
    ['an empty list of audiences', { aud: [] }, 'wrong_audience'],
    ['no audience', { aud: undefined }, 'claim_missing'],
    ['a key binding that is no thumbprint', { aud: `${BROKER}#jkt=short` }, 'wrong_audience'],
    ['a second fragment in the key binding', { aud: `${BROKER}#jkt=${JKT}#jkt=${JKT}` }, 'wrong_audience'],
    ['an expired token', { iat: NOW - 400, exp: NOW - 11 }, 'expired'],
    ['no expiry', { exp: undefined }, 'claim_missing'],
    ['an expiry that is text', { exp: String(NOW + 300) }, 'evidence_malformed'],
    ['an expiry in milliseconds', { exp: NOW * 1000 }, 'evidence_malformed'],
    ['a negative issue time', { iat: -1 }, 'evidence_malformed'],
    ['no issue time', { iat: undefined }, 'claim_missing'],
    ['a token from the future', { iat: NOW + 60 }, 'not_yet_valid'],
    ['a token not valid yet', { nbf: NOW + 60 }, 'not_yet_valid'],
    ['a token that is too old though not expired', { iat: NOW - 7_200 }, 'too_old'],
    ['claims that no rule matches', { sub: 'svc/a/b' }, 'no_rule_matched'],
    ['claims without the instance', { run: undefined }, 'no_rule_matched'],
    ['an unknown issuer', { iss: 'https://evil.example.com' }, 'unknown_issuer'],
    ['a neighbour issuer', { iss: 'http://127.0.0.1:1' }, 'unknown_issuer'],
    ['an issuer that is a list', { iss: ['http://127.0.0.1'] }, 'unknown_issuer'],
    ['no issuer', { iss: undefined }, 'unknown_issuer'],
  ];
  it.each(cases)('%s', async (_name, over, code) => {
    expect(await refusalOf(appraise(await signWith(ec, claims(over))))).toContain(code);
  });
});

describe('JWT attacks: refuses', () => {
  it('alg none, in every spelling', async () => {
    for (const alg of ['none', 'None', 'NONE', 'nOnE', '', null, 0]) {
      const token = `${b64({ alg, typ: 'JWT' })}.${b64(claims())}.`;
      expect(await refusalOf(appraise(token))).toMatch(/algorithm_refused/);
      expect(await refusalOf(appraise(`${token}AAAA`))).toMatch(/algorithm_refused/);
    }
  });

  it('HMAC keyed with the public key', async () => {
    const spki = await exportSPKI(rsa.publicKey);
    for (const secret of [spki, spki.trim(), JSON.stringify(rsa.jwk)]) {
      for (const alg of ['HS256', 'HS384', 'HS512']) {
        const input = `${b64({ alg, kid: 'rsa-1' })}.${b64(claims())}`;
        const mac = createHmac(alg.replace('HS', 'sha'), secret).update(input).digest('base64url');
        expect(await refusalOf(appraise(`${input}.${mac}`))).toContain('algorithm_refused');
      }
    }
  });

  it('a key, or the address of one, inside the token; and fetches nothing from there', async () => {
    const mallory = await makeKey('ec-1');
    const trap = await startIssuer(mallory);
    for (const header of [
      { jwk: mallory.jwk },
      { jku: `${trap.url}/jwks` },
      { x5u: `${trap.url}/chain` },
      { x5c: ['MIIB'] },
    ]) {
      const forged = await signWith(mallory, claims(), header as object);
      expect(await refusalOf(appraise(forged))).toContain('header_refused');
      const honest = await signWith(ec, claims(), header as object);
      expect(await refusalOf(appraise(honest))).toContain('header_refused');
    }
    expect(trap.requests).toEqual([]);
    await trap.close();
  });

  it('critical extensions, unencoded payloads and foreign header members of other formats', async () => {
    for (const extra of [
      { crit: ['exp'], exp: 1 },
      { crit: [] },
      { b64: false },
      { zip: 'DEF' },
      { cty: 'JWT' },
    ]) {
      const input = `${b64({ alg: 'ES256', kid: 'ec-1', ...extra })}.${b64(claims())}`;
      expect(await refusalOf(appraise(`${input}.${'A'.repeat(86)}`))).toContain('header_refused');
    }
  });

  it('a kid that is a path, a query or not text: it is only looked up', async () => {
    for (const kid of [
      '../../dev/null',
      "x' UNION SELECT 'a",
      '/proc/self/environ',
      '__proto__',
      'x'.repeat(600),
    ]) {
      expect(await refusalOf(appraise(await signWith(ec, claims(), { kid })))).toMatch(
        /key_unknown|header_refused/,
      );
    }
    const input = `${b64({ alg: 'ES256', kid: { $ne: 1 } })}.${b64(claims())}.${'A'.repeat(86)}`;
    expect(await refusalOf(appraise(input))).toContain('header_refused');
  });

  it('a JWE in place of a JWS, and the JSON form', async () => {
    const jwe = await new CompactEncrypt(Buffer.from('{}'))
      .setProtectedHeader({ alg: 'dir', enc: 'A128GCM' })
      .encrypt(Buffer.alloc(16));
    expect(await refusalOf(appraise(jwe))).toContain('evidence_malformed');
    const [header, payload, signature] = (await signWith(ec, claims())).split('.');
    expect(await refusalOf(appraise(JSON.stringify({ protected: header, payload, signature })))).toContain(
      'malformed',
    );
  });

  it('another type of token by the same issuer', async () => {
    for (const typ of ['at+jwt', 'dpop+jwt', 'logout+jwt', 'application/at+jwt', 'secevent+jwt']) {
      expect(await refusalOf(appraise(await signWith(ec, claims(), { typ })))).toContain('header_refused');
    }
    expect((await appraise(await signWith(ec, claims(), { typ: 'application/JWT' }))).rule).toBe('services');
  });

  it('an algorithm unlike the key', async () => {
    expect(await refusalOf(appraise(await signWith(ec, claims(), { kid: 'rsa-1' })))).toContain(
      'key_unknown',
    );
    const pss = await makeKey('rsa-1', 'PS256');
    expect(await refusalOf(appraise(await signWith(pss, claims())))).toContain('algorithm_refused');
  });

  it('a changed payload, a cut signature, one of zeros, one in DER', async () => {
    const [header, payload, signature] = (await signWith(ec, claims())).split('.') as [
      string,
      string,
      string,
    ];
    const other = b64(claims({ sub: 'svc/admin' }));
    const der = Buffer.concat([Buffer.from([0x30, 0x44]), Buffer.alloc(68, 2)]).toString('base64url');
    for (const token of [
      `${header}.${other}.${signature}`,
      `${header}.${payload}.${signature.slice(0, -4)}`,
      `${header}.${payload}.${'A'.repeat(86)}`,
      `${header}.${payload}.${der}`,
      `${header}.${payload}.`,
    ]) {
      expect(await refusalOf(appraise(token))).toMatch(/bad_signature|malformed/);
    }
  });

  it('encodings that are not canonical: padding, the other alphabet, stray bits, white space', async () => {
    const token = await signWith(ec, claims());
    const [header, payload, signature] = token.split('.') as [string, string, string];
    for (const bent of [
      `${header}=.${payload}.${signature}`,
      `${header}.${payload}.${signature}==`,
      ` ${token}`,
      `${token}\n`,
    ]) {
      expect(await refusalOf(appraise(bent))).toContain('evidence_malformed');
    }
    // The last character of 64 bytes carries four bits that say nothing.
    const stray = signature.slice(0, -1) + String.fromCharCode(signature.charCodeAt(85) + 1);
    expect(await refusalOf(appraise(`${header}.${payload}.${stray}`))).toMatch(/malformed|bad_signature/);
  });

  it('repeated members, in header or payload', async () => {
    const encode = (text: string) => Buffer.from(text).toString('base64url');
    for (const [header, payload] of [
      ['{"alg":"none","alg":"ES256","kid":"ec-1"}', JSON.stringify(claims())],
      ['{"alg":"ES256","kid":"ec-1"}', `{"sub":"a",${JSON.stringify(claims()).slice(1)}`],
    ] as const) {
      const input = `${encode(header)}.${encode(payload)}`;
      expect(await refusalOf(appraise(`${input}.${'A'.repeat(86)}`))).toContain('evidence_malformed');
    }
  });

  it('huge headers, huge tokens and deep nesting, before any arithmetic', async () => {
    const deep = '['.repeat(5_000) + ']'.repeat(5_000);
    const parts = (header: string, payload: string) =>
      `${Buffer.from(header).toString('base64url')}.${Buffer.from(payload).toString('base64url')}.AAAA`;
    expect(await refusalOf(appraise(parts(`{"alg":"ES256","x":"${'x'.repeat(8_000)}"}`, '{}')))).toContain(
      'too_large',
    );
    expect(await refusalOf(appraise(parts('{"alg":"ES256"}', `{"x":"${'x'.repeat(60_000)}"}`)))).toContain(
      'too_large',
    );
    expect(await refusalOf(appraise(parts('{"alg":"ES256"}', `{"x":${deep}}`)))).toContain('malformed');
  });

  it('a token signed for another attester with that attester’s own key', async () => {
    const other = await startIssuer(await makeKey('ec-1'));
    const both = attestation([config(), config({ name: 'other', issuer: other.url })]);
    const forged = await other.sign(claims());
    expect(await refusalOf(both.appraise(jwt(forged), context))).toContain('ci: bad_signature');
    await other.close();
  });
});

describe('agrees with jose', () => {
  it.each(['RS256', 'RS512', 'PS256', 'PS384', 'ES256', 'ES384', 'ES512', 'Ed25519', 'EdDSA'])(
    'on %s',
    async (alg) => {
      const key = await makeKey('k', alg);
      const local = attestation([config({ jwks: { keys: [key.jwk] }, algorithms: [alg] })]);
      expect((await local.appraise(jwt(await signWith(key, claims())), context)).agent).toBe(
        'ci/svc%2Freconciler',
      );
      const other = await makeKey('k', alg);
      expect(await refusalOf(local.appraise(jwt(await signWith(other, claims())), context))).toContain(
        'bad_signature',
      );
    },
  );

  it('and a key without kid serves only while it is alone', async () => {
    const one = await makeKey('one');
    const two = await makeKey('two');
    const { kid: _kid, ...anonymous } = one.jwk;
    const token = await new SignJWT(claims()).setProtectedHeader({ alg: 'ES256' }).sign(one.privateKey);
    const alone = attestation([config({ jwks: { keys: [anonymous] } })]);
    expect((await alone.appraise(jwt(token), context)).rule).toBe('services');
    const several = attestation([config({ jwks: { keys: [anonymous, two.jwk] } })]);
    expect(await refusalOf(several.appraise(jwt(token), context))).toContain('several keys');
  });
});

describe('configuration', () => {
  it('refuses symmetric, private, weak and unusable keys with a clear line', () => {
    const wrong = (keys: object[]) => () => attestation([config({ jwks: { keys } })]);
    expect(wrong([{ kty: 'oct', k: 'c2VjcmV0' }])).toThrow(/private or symmetric/);
    expect(wrong([{ ...ec.jwk, d: 'AAAA' }])).toThrow(/private or symmetric/);
    const weak = { kty: 'RSA', e: 'AQAB', n: Buffer.alloc(128, 0xff).toString('base64url') };
    expect(createPublicKey({ key: weak, format: 'jwk' }).asymmetricKeyDetails?.modulusLength).toBe(1024);
    expect(wrong([weak])).toThrow(/no usable key/);
    expect(wrong([{ ...ec.jwk, use: 'enc' }])).toThrow(/no usable key/);
  });

  it('refuses two attesters for one issuer, and two of one name', () => {
    expect(() => attestation([config(), config({ name: 'two' })])).toThrow(/both answer for/);
    expect(() => attestation([config(), config({ issuer: 'https://x.example' })])).toThrow(
      /two attesters are named/,
    );
  });

  it('has no word for symmetric algorithms or for none', () => {
    expect(() => attestation([config({ algorithms: ['HS256'] })])).toThrow();
    expect(() => attestation([config({ algorithms: ['none'] })])).toThrow();
    expect(() => attestation([config({ algoritms: ['ES256'] })])).toThrow(/[Uu]nrecognized/);
  });
});

describe('explain', () => {
  it('names attester, rule, agent, instance and tier, and which rules did not match, without the token', async () => {
    const several = attestation([
      config({
        rules: [
          { name: 'prod', match: { sub: 'svc/*', env: 'prod' }, agent: 'prod/{sub}', instance: '{run}' },
          { name: 'any', match: { sub: 'svc/*' }, agent: 'ci/{sub}', instance: '{run}' },
        ],
      }),
    ]);
    const token = await signWith(ec, claims({ env: 'SECRETVALUE' }));
    const told = await several.explain(jwt(token), { now: NOW });
    expect(told).toMatchObject({
      accepted: true,
      attester: { name: 'ci', kind: 'oidc' },
      result: { agent: 'ci/svc%2Freconciler', instance: 'run-1', tier: 'reusable', rule: 'any' },
      missed_rules: [{ rule: 'prod', misses: [{ claim: 'env', why: 'differs', wanted: 'prod' }] }],
    });
    const text = JSON.stringify(told);
    expect(text).not.toContain('SECRETVALUE');
    for (const part of token.split('.')) expect(text).not.toContain(part);
  });

  it('says why evidence is refused', async () => {
    expect(await registry.explain(jwt('garbage'), { now: NOW })).toMatchObject({
      accepted: false,
      attester: null,
      refusal: { code: 'evidence_malformed' },
    });
    const early = await signWith(ec, claims({ nbf: NOW + 600 }));
    expect(await registry.explain(jwt(early), { now: NOW })).toMatchObject({
      accepted: false,
      attester: { name: 'ci' },
      refusal: { code: 'not_yet_valid' },
    });
  });
});
