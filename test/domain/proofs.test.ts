/** A DPoP proof before its signature: what is let through here is verified and believed. */
import { describe, expect, it } from 'vitest';
import type { Denied } from '../../src/domain/denial.ts';
import {
  accessTokenHash,
  checkProofClaims,
  checkProofHeader,
  normalizeTarget,
  PROOF_ALGS,
  PROOF_MAX_LENGTH,
  readProof,
  sameTarget,
} from '../../src/domain/dpop.ts';
import type { JsonObject, JsonValue } from '../../src/domain/json.ts';

const part = (value: unknown) =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
function refusal(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    const { denial } = error as Denied;
    if (denial.tag === 'invalid_dpop_proof') return denial.detail;
    throw error;
  }
  return 'accepted';
}
const HERE = 'https://erp.example.com/invoices/1';

describe('the text of a proof', () => {
  const header = part({ typ: 'dpop+jwt', é: 1 });
  const claims = part({ jti: 'é' });

  it('is one compact JWS, and what is signed is its first two parts as they stand', () => {
    expect(readProof(`${header}.${claims}.c2ln`)).toStrictEqual({
      header: { typ: 'dpop+jwt', é: 1 },
      claims: { jti: 'é' },
      signed: `${header}.${claims}`,
      signature: 'c2ln',
    });
    expect(readProof('e30.e30.s')).toStrictEqual({
      header: {},
      claims: {},
      signed: 'e30.e30',
      signature: 's',
    });
  });

  it('with more or fewer parts is refused: two readers would sign-check two texts', () => {
    for (const text of [
      '',
      '.',
      '..',
      'e30',
      'e30.e30',
      'e30.e30.',
      '.e30.s',
      'e30..s',
      'e30.e30.s.',
      'e30.e30.s.s',
      'e30.e30.s.s.s',
      '.e30.e30.s',
    ])
      expect(
        refusal(() => readProof(text)),
        text,
      ).toBe('the proof is not one compact JWS');
  });

  it('is bounded before anything of it is read', () => {
    const fill = (length: number) => `e30.e30.${'s'.repeat(length - 8)}`;
    expect(readProof(fill(PROOF_MAX_LENGTH)).signature).toHaveLength(PROOF_MAX_LENGTH - 8);
    expect(refusal(() => readProof(fill(PROOF_MAX_LENGTH + 1)))).toBe(
      'the proof is longer than 4096 characters',
    );
  });

  it('holds two objects of bounded depth and size', () => {
    const nest = (depth: number): JsonValue => (depth === 0 ? 1 : { a: nest(depth - 1) });
    const wide = (count: number) =>
      Object.fromEntries(Array.from({ length: count }, (_, at) => [`m${at}`, 1]));
    for (const [value, wrong] of [
      ['', "the proof's header is not JSON"],
      ['{', "the proof's header is not JSON"],
      ['{"a":1,"a":2}', "the proof's header is not JSON"],
      [nest(5), "the proof's header is not JSON"],
      [wide(33), "the proof's header is not JSON"],
      [[], "the proof's header is not an object"],
      [null, "the proof's header is not an object"],
      ['"x"', "the proof's header is not an object"],
      [nest(3), 'accepted'],
      [wide(32), 'accepted'],
    ] as const) {
      if (value === '') continue;
      expect(
        refusal(() => readProof(`${part(value)}.e30.s`)),
        JSON.stringify(value).slice(0, 40),
      ).toBe(wrong);
      expect(refusal(() => readProof(`e30.${part(value)}.s`))).toBe(wrong.replace('header', 'claims'));
    }
  });
});

describe('the header of a proof', () => {
  const jwk = { kty: 'EC', crv: 'P-256', x: 'x', y: 'y' };
  const header: JsonObject = { typ: 'dpop+jwt', alg: 'ES256', jwk };

  it('names an asymmetric algorithm and a public key, and nothing else', () => {
    for (const alg of PROOF_ALGS) expect(checkProofHeader({ ...header, alg })).toStrictEqual({ alg, jwk });
    expect(PROOF_ALGS).toStrictEqual(['ES256', 'Ed25519', 'EdDSA', 'RS256', 'PS256', 'ES384']);
  });

  it('is refused for a token of another type: an access token is no proof of its own key', () => {
    for (const typ of [undefined, '', 'JWT', 'at+jwt', 'DPoP+jwt', 1])
      expect(refusal(() => checkProofHeader({ ...header, typ } as JsonObject))).toBe(
        'the proof needs typ dpop+jwt',
      );
  });

  it('is refused for an algorithm that proves nothing', () => {
    for (const alg of [undefined, 'none', 'HS256', 'es256', ['ES256'], 1])
      expect(refusal(() => checkProofHeader({ ...header, alg } as JsonObject))).toBe(
        'the proof needs one of the algorithms ES256, Ed25519, EdDSA, RS256, PS256, ES384',
      );
  });

  it.each(['crit', 'b64', 'x5u', 'jku', 'kid', 'cty', '__proto__'])(
    'is refused with %s, which could change what the signature means',
    (member) => {
      expect(
        refusal(() => checkProofHeader(JSON.parse(JSON.stringify(header).replace('{', `{"${member}":1,`)))),
      ).toBe('the proof has a header member other than typ, alg and jwk');
    },
  );

  it('is refused without a key, or with one that is no longer secret', () => {
    for (const value of [undefined, null, 'x', []])
      expect(refusal(() => checkProofHeader({ ...header, jwk: value } as JsonObject))).toBe(
        'the proof needs its public key in jwk',
      );
    for (const member of ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k'])
      for (const value of ['x', '', null])
        expect(refusal(() => checkProofHeader({ ...header, jwk: { ...jwk, [member]: value } }))).toBe(
          'the proof shows a private key: that key must not be used again',
        );
  });
});

describe('the claims of a proof', () => {
  const now = 1_800_000_000;
  const claims: JsonObject = { htm: 'POST', htu: HERE, iat: now, jti: 'proof-id' };
  const wanted = { method: 'POST', url: HERE, now, window_seconds: 60 };
  const check = (change: JsonObject, more: object = {}) =>
    refusal(() => checkProofClaims({ ...claims, ...change }, { ...wanted, ...more }));

  it('are of this method and URI: a proof for reading does not serve to write', () => {
    for (const htm of ['GET', 'post', '', null, 1])
      expect(check({ htm })).toBe('htm is not the method of this request');
    for (const htu of [`${HERE}/2`, '', null, 1, [HERE]])
      expect(check({ htu })).toBe('htu is not the URI of this request');
  });

  it('are of this time', () => {
    for (const iat of [now - 61, now + 61, '1800000000', null, Number.NaN, [now]])
      expect(check({ iat })).toBe('iat is too old or ahead: check the clock');
  });

  it('have an id that can be remembered: too short ones meet, too long ones fill the memory', () => {
    for (const jti of ['1234567', 'j'.repeat(257), 12345678, null, Array.from('12345678')])
      expect(check({ jti })).toBe('jti must have 8 to 256 characters');
    expect(check({ jti: 'j'.repeat(256) })).toBe('accepted');
  });

  it('carry the nonce that was asked for, as a text', () => {
    expect(checkProofClaims({ ...claims, nonce: 'n' }, wanted)).toStrictEqual({
      jti: 'proof-id',
      iat: now,
      nonce: 'n',
    });
    expect(checkProofClaims(claims, wanted)).toStrictEqual({ jti: 'proof-id', iat: now });
    for (const nonce of [1, null, ['n']]) expect(check({ nonce })).toBe('nonce is not a string');
  });

  it('name the token that they are for', () => {
    const ath = accessTokenHash('token');
    expect(check({ ath }, { access_token: 'token' })).toBe('accepted');
    expect(check({ ath }, { ath, access_token: 'other' })).toBe('accepted');
    for (const more of [{ access_token: 'other' }, { ath: 'other' }])
      expect(check({ ath }, more)).toBe('ath is not the digest of the access token');
    expect(accessTokenHash('é')).not.toBe(accessTokenHash('Ã©'));
  });
});

describe('the URI of a proof', () => {
  it('is unescaped only where RFC 3986 says that nothing changes', () => {
    const unreserved = 'ABCXYZabcxyz0123456789-._~';
    for (let code = 0x21; code < 0x7f; code++) {
      const character = String.fromCharCode(code);
      const escaped = `%${code.toString(16).padStart(2, '0')}`;
      const found = normalizeTarget(`https://h.example/a${escaped.toUpperCase()}b`);
      expect(normalizeTarget(`https://h.example/a${escaped}b`)).toBe(found);
      if (character === '/' || character === '\\') expect(found).toBeNull();
      else if (/[A-Za-z0-9]/.test(character) || unreserved.includes(character))
        expect(found).toBe(`https://h.example/a${character}b`);
      else expect(found).toBe(`https://h.example/a${escaped.toUpperCase()}b`);
    }
    expect(normalizeTarget('https://h.example/%00')).toBe('https://h.example/%00');
    expect(normalizeTarget('https://h.example/%80%fF')).toBe('https://h.example/%80%FF');
    expect(normalizeTarget('https://h.example/é')).toBeNull();
  });

  it('is refused with an escape that is none', () => {
    for (const bad of [
      '%',
      '%4',
      '%g0',
      '%0g',
      '%/0',
      '%0/',
      '%:0',
      '%0:',
      '%@1',
      '%1@',
      '%`1',
      '%1`',
      '%G1',
      '%1G',
    ])
      expect(normalizeTarget(`https://h.example/a${bad}`), bad).toBeNull();
  });

  it('may be http on a loopback, never anything else, and names nobody', () => {
    expect(normalizeTarget('http://127.0.0.1:8480/a')).toBe('http://127.0.0.1:8480/a');
    expect(normalizeTarget('http://h.example:80/a')).toBe('http://h.example/a');
    for (const bad of [
      'ws://h.example/a',
      'https://:secret@h.example/a',
      'https://user@h.example/a',
      'https:h.example/a',
      'https://h.example/a\u007f',
    ])
      expect(normalizeTarget(bad), bad).toBeNull();
  });

  it('ends where its query or fragment begins, wherever that is', () => {
    expect(normalizeTarget('https://h.example#a/b')).toBe('https://h.example/');
    expect(normalizeTarget('https://h.example?a/b')).toBe('https://h.example/');
    expect(normalizeTarget('https://h.example/?')).toBe('https://h.example/');
    expect(normalizeTarget('https://h.example/a?b#c')).toBe('https://h.example/a');
    expect(normalizeTarget('https://h.example/a#b?c')).toBe('https://h.example/a');
  });

  it('equals itself only where nothing in it can be read in two ways', () => {
    for (const odd of [
      'https://h.example/../a',
      'https://h.example/a/..',
      'https://h.example/./a',
      'https://h.example/a\\b',
      'https://u@h.example/',
      'https://h.example/%2e%2e/a',
      'https://h.example/a%2fb',
      'https://h.example/\u007f',
      'https://h.example/ ',
      'https://h.example/é',
      'urn:a:b',
      'file:///a',
    ])
      expect(sameTarget(odd, odd), odd).toBe(false);
    for (const plain of [
      HERE,
      'http://127.0.0.1:1/a',
      'https://h.example',
      'https://h.example/a.b/.c',
      'https://h.example/a?q#f',
    ])
      expect(sameTarget(plain, plain), plain).toBe(true);
  });
});
