import { createHmac, generateKeyPairSync } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import {
  AUDIENCE,
  Bench,
  bundleOf,
  call,
  claims,
  encode,
  ISSUER,
  issuerKey,
  jws,
  mint,
  NOW,
  outcome,
  pair,
  prove,
  READ_ONLY,
} from './support.ts';

/** A fresh guard's word on a token with a right proof. */
const verdict = (token: string) => outcome(new Bench().ready().check({ token }));
const header = { typ: 'at+jwt', alg: 'ES256', kid: 'key-1' };

describe('attacks on the signature', () => {
  it('alg none, with and without a signature part', () => {
    const signed = `${encode({ ...header, alg: 'none' })}.${encode(claims())}`;
    for (const token of [`${signed}.`, signed, `${signed}.AAAA`])
      expect(verdict(token)).toBe('token_invalid');
  });

  it('HMAC with the public key as secret', () => {
    const pem = issuerKey.public_key.export({ type: 'spki', format: 'pem' });
    const signed = `${encode({ ...header, alg: 'HS256' })}.${encode(claims())}`;
    expect(verdict(`${signed}.${createHmac('sha256', pem).update(signed).digest('base64url')}`)).toBe(
      'token_invalid',
    );
  });

  it('a key, or an address of one, inside the token', () => {
    const thief = pair('ES256', 'key-1');
    for (const more of [
      { jwk: thief.jwk },
      { jku: 'http://127.0.0.1/jwks' },
      { x5u: 'http://127.0.0.1/cert' },
      { x5c: ['AAAA'] },
    ])
      for (const by of [thief, issuerKey])
        expect(verdict(jws({ ...header, ...more }, claims(), by))).toBe('token_invalid');
    expect(verdict(mint({}, {}, thief))).toBe('token_invalid');
  });

  it('critical extensions, compression, detached payloads and other header members', () => {
    for (const more of [
      { crit: ['b64'], b64: false },
      { crit: [] },
      { zip: 'DEF' },
      { cty: 'JWT' },
      { enc: 'A128GCM' },
    ])
      expect(verdict(jws({ ...header, ...more }, claims(), issuerKey))).toBe('token_invalid');
  });

  it('kid injection: paths, prototypes, other types', () => {
    for (const kid of ['../../key-1', '__proto__', 'constructor', "key-1' OR 1=1", ''])
      expect(verdict(jws({ ...header, kid }, claims(), issuerKey))).toBe('key_unknown');
    for (const kid of [1, null, ['key-1'], { 0: 'key-1' }])
      expect(verdict(jws({ ...header, kid }, claims(), issuerKey))).toBe('token_invalid');
  });

  it('an unknown kid denies and asks for the keys off the call path', () => {
    const bench = new Bench().ready();
    const denial = bench.check({ token: mint({}, {}, pair('ES256', 'key-9')) });
    expect(outcome(denial)).toBe('key_unknown');
    expect(denial.permitted || denial.retry).toBe('after');
    expect(bench.unknown_keys).toBe(1);
  });

  it('an algorithm that is not the one of the named key', () => {
    const bench = new Bench().ready();
    const rsa = pair('RS256', 'rsa');
    bench.state.install(bundleOf({ keys: [issuerKey.jwk, rsa.jwk] }));
    expect(outcome(bench.check({ token: jws({ ...header, kid: 'rsa' }, claims(), issuerKey) }))).toBe(
      'token_invalid',
    );
    expect(outcome(bench.check({ token: jws({ ...header, alg: 'RS256' }, claims(), rsa) }))).toBe(
      'token_invalid',
    );
    expect(outcome(bench.check({ token: jws({ ...header, alg: 'ES384' }, claims(), issuerKey) }))).toBe(
      'token_invalid',
    );
  });

  it('a JWE, a JWS in JSON form, a nested token', () => {
    expect(verdict(`${encode({ alg: 'dir', enc: 'A128GCM' })}..AAAA.AAAA.AAAA`)).toBe('token_invalid');
    expect(
      verdict(JSON.stringify({ payload: encode(claims()), protected: encode(header), signature: 'AAAA' })),
    ).toBe('token_invalid');
    expect(verdict(jws(header, mint(), issuerKey))).toBe('token_invalid');
  });

  it('types of other tokens by the same key', () => {
    for (const typ of [
      'JWT',
      'jwt',
      'AT+JWT',
      'application/at+jwt',
      'sortie-bundle+jwt',
      'dpop+jwt',
      'statuslist+jwt',
      undefined,
    ])
      expect(verdict(jws({ ...header, typ }, claims(), issuerKey))).toBe('token_invalid');
  });

  it('one token has one spelling', () => {
    const token = mint();
    const [head, payload, signature] = token.split('.') as [string, string, string];
    const spare =
      signature.slice(0, -1) + String.fromCharCode(signature.charCodeAt(signature.length - 1) + 1);
    for (const other of [
      `${token}=`,
      `${token}==`,
      `${token}\n`,
      `${head}.${payload}.${spare}`,
      `${token}.`,
      ` ${token}`,
      `${head}=.${payload}.${signature}`,
    ])
      expect(verdict(other)).toBe('token_invalid');
  });

  it('a signature in DER, too short, empty', () => {
    const [head, payload, signature] = mint().split('.') as [string, string, string];
    for (const bad of [
      signature.slice(0, 40),
      'AA',
      Buffer.concat([Buffer.from([0x30, 0x44]), Buffer.alloc(68)]).toString('base64url'),
    ])
      expect(verdict(`${head}.${payload}.${bad}`)).toBe('token_invalid');
  });

  it('keys too weak or of unknown kinds never enter', () => {
    const weak = generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey.export({ format: 'jwk' });
    const bench = new Bench().ready();
    bench.state.install(
      bundleOf({
        keys: [
          { ...weak, kid: 'weak', alg: 'RS256' } as never,
          { kty: 'oct', k: 'AAAA', kid: 'secret', alg: 'HS256' },
          { ...issuerKey.jwk, kid: 'other-use', use: 'enc' },
          { ...issuerKey.jwk, kid: 'other-alg', alg: 'ES384' },
          { kty: 'EC', crv: 'P-256', x: 'AAAA', y: 'AAAA', kid: 'not-on-curve' },
        ],
      }),
    );
    expect(bench.state.keys.size).toBe(0);
  });

  it('a huge token is refused before it is read', () => {
    expect(verdict(`${'A'.repeat(20_000)}.A.A`)).toBe('credentials_too_large');
  });
});

describe('attacks on the claims', () => {
  it('another issuer, another audience, several audiences', () => {
    for (const change of [
      { iss: 'https://other.example.com' },
      { iss: `${ISSUER}/` },
      { aud: 'https://mail.example.com' },
      { aud: [AUDIENCE] },
      { aud: [AUDIENCE, 'https://mail.example.com'] },
    ])
      expect(verdict(mint(change))).toBe('token_invalid');
  });

  it('times that are not whole numbers, and missing ones', () => {
    for (const change of [
      { iat: NOW - 0.5 },
      { exp: `${NOW + 100}` },
      { exp: undefined },
      { iat: undefined },
      { exp: 2 ** 53 },
    ])
      expect(verdict(mint(change))).toBe('token_invalid');
    expect(verdict(mint({ exp: NOW }))).toBe('token_expired');
  });

  it('a mission that is missing, broken, or hides its path', () => {
    for (const mission of [
      { path: ['msn_other'] },
      { path: [] },
      { path: ['msn_self', 'msn_root'] },
      { path: [...Array.from({ length: 8 }, (_, i) => `msn_${i}`), 'msn_self'] },
      { version: '1' },
      { version: -1 },
      { template: 'reconcile' },
      { attester: undefined },
      { rule: '' },
      { expires_at: undefined },
    ])
      expect(verdict(mint({ mission }))).toBe('token_invalid');
  });

  it('authority that is missing, or that this build does not understand', () => {
    for (const authorization_details of [
      undefined,
      {},
      [{ ...READ_ONLY, constraints: { moon_phase: 'full' } }],
      [{ ...READ_ONLY, actions: '*' }],
      [{ type: 'god_mode' }],
    ])
      expect(verdict(mint({ authorization_details }))).toBe('token_invalid');
  });

  it('a binding that is not understood is not no binding', () => {
    for (const cnf of [{}, { 'x5t#S256': 'x' }, { jkt: '' }, { jkt: 'x', kid: 'y' }, null, 'x'])
      expect(verdict(mint({ cnf }))).toBe('token_invalid');
  });

  it('actors nested too deep, or without a name', () => {
    let act: Record<string, unknown> = { sub: 'x' };
    for (let depth = 0; depth < 9; depth++) act = { sub: 'x', act };
    for (const bad of [act, { act: { sub: 'x' } }, 'x'])
      expect(verdict(mint({ act: bad }))).toBe('token_invalid');
  });

  it('a repeated member is refused, not decided', () => {
    const text = JSON.stringify(claims());
    const twice = text.replace('"aud":', '"aud":"https://mail.example.com","aud":');
    expect(verdict(jws(header, twice, issuerKey))).toBe('token_invalid');
  });
});

describe('attacks on the scheme', () => {
  it('a bound token is never a bearer token, and the other way round', () => {
    const bench = new Bench().ready();
    const bound = mint();
    expect(outcome(bench.check({ token: bound }))).toBe('permitted');
    // Also when it is held already.
    expect(outcome(bench.check({ token: bound, authorization: `Bearer ${bound}` }))).toBe('scheme_mismatch');
    const free = mint({ cnf: undefined });
    expect(outcome(bench.check({ token: free, authorization: `DPoP ${free}` }))).toBe('scheme_mismatch');
  });

  it('other schemes, two credentials, no token', () => {
    const bench = new Bench().ready();
    const token = mint({ cnf: undefined });
    for (const authorization of ['', 'Bearer', 'Bearer ', `Basic ${token}`, token, `Bearer${token}`])
      expect(outcome(bench.check({ token, authorization }))).toBe('credentials_malformed');
    for (const authorization of [`Bearer  ${token}`, `Bearer ${token}, Bearer ${token}`, `Bearer ${token} `])
      expect(outcome(bench.check({ token, authorization }))).toBe('token_invalid');
  });

  it('the denial of a bound bearer names the scheme that it needs', () => {
    const bench = new Bench().ready();
    const token = mint();
    const authorization = `Bearer ${token}`;
    const denial = bench.guard.check(call(token, { authorization, proof: prove(token) }));
    if (denial.permitted) throw new Error('permitted');
    expect(bench.guard.answer(denial, authorization).headers['www-authenticate']).toMatch(
      /^DPoP error="invalid_token"/,
    );
  });
});
