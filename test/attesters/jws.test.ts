import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { importKey } from '../../src/attesters/jwks.ts';
import { ALGORITHMS, keyFits, parseJws, verifyJws } from '../../src/attesters/jws.ts';
import { makeKey, signWith } from './support/issuer.ts';

interface Vectors {
  readonly groups: readonly {
    readonly x: string;
    readonly y: string;
    readonly tests: readonly (readonly [number, string, string, 'valid' | 'invalid'])[];
  }[];
}
const vectors = JSON.parse(
  readFileSync(new URL('../vectors/ecdsa-p256-p1363.json', import.meta.url), 'utf8'),
) as Vectors;

/** 32 bytes, whatever sign octet the vectors' integers carry. */
const coordinate = (hex: string) =>
  Buffer.from(hex.padStart(64, '0').slice(-64), 'hex').toString('base64url');

describe('an ES256 signature', () => {
  it('holds exactly where Project Wycheproof says so', () => {
    let judged = 0;
    for (const { x, y, tests } of vectors.groups) {
      const key = importKey({ kty: 'EC', crv: 'P-256', x: coordinate(x), y: coordinate(y) });
      if (key === null) throw new Error('a key of the vectors is refused');
      for (const [id, message, signature, result] of tests) {
        const jws = {
          header: {},
          alg: 'ES256' as const,
          kid: null,
          typ: null,
          claims: {},
          signing_input: Buffer.from(message, 'hex').toString('latin1'),
          signature: Buffer.from(signature, 'hex'),
          digest: '',
        };
        const holds = (() => {
          try {
            verifyJws(jws, ['ES256'], key);
            return 'valid';
          } catch {
            return 'invalid';
          }
        })();
        expect([id, holds]).toEqual([id, result]);
        judged++;
      }
    }
    expect(judged).toBe(262);
  });
});

describe('a key', () => {
  it('serves its own algorithms and no other', async () => {
    const families: Record<string, readonly string[]> = {
      RS256: ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
      ES256: ['ES256'],
      ES384: ['ES384'],
      ES512: ['ES512'],
      EdDSA: ['EdDSA', 'Ed25519'],
    };
    for (const [made, fitting] of Object.entries(families)) {
      const key = importKey((await makeKey('k', made)).jwk as never);
      if (key === null) throw new Error('refused');
      expect(ALGORITHMS.filter((alg) => keyFits(alg, key))).toEqual(fitting);
    }
  });
});

describe('the parser', () => {
  it('lets no single changed character pass', async () => {
    const key = await makeKey('k');
    const imported = importKey(key.jwk as never);
    if (imported === null) throw new Error('refused');
    const token = await signWith(key, { iss: 'i', sub: 's' });
    const accepts = (text: string) => {
      try {
        verifyJws(parseJws(text, { x5c: false }), ['ES256'], imported);
        return true;
      } catch {
        return false;
      }
    };
    expect(accepts(token)).toBe(true);
    for (let at = 0; at < token.length; at++) {
      for (const character of ['A', 'B', '.', '=', '-', '\u00e9']) {
        if (token[at] === character) continue;
        expect(accepts(token.slice(0, at) + character + token.slice(at + 1))).toBe(false);
      }
      expect(accepts(token.slice(0, at) + token.slice(at + 1))).toBe(false);
    }
  });
});
