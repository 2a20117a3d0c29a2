import { describe, expect, it } from 'vitest';
import { accessTokenHash, checkProofClaims, normalizeTarget, sameTarget } from '../../src/domain/dpop.ts';

const URL_HERE = 'https://erp.example.com/invoices/1';

describe('target of a proof', () => {
  it('is equal after normalization, whatever the query and fragment', () => {
    for (const htu of [
      URL_HERE,
      `${URL_HERE}?a=b`,
      `${URL_HERE}#x`,
      'HTTPS://erp.EXAMPLE.com/invoices/1',
      'https://erp.example.com:443/invoices/1',
      'https://erp.example.com/%69nvoices/%31',
    ])
      expect(sameTarget(htu, URL_HERE)).toBe(true);
    expect(sameTarget('https://erp.example.com', 'https://erp.example.com/')).toBe(true);
    expect(sameTarget('https://erp.example.com/a%c3%a9', 'https://erp.example.com/a%C3%A9')).toBe(true);
    expect(sameTarget('https://erp.example.com?x=/y', 'https://erp.example.com/')).toBe(true);
    expect(sameTarget('https://erp.example.com/.well-known/x', 'https://erp.example.com/.well-known/x')).toBe(
      true,
    );
  });

  it('differs by scheme, host, port, path, case of the path and trailing slash', () => {
    for (const htu of [
      'http://erp.example.com/invoices/1',
      'https://erp.example.com.evil.example/invoices/1',
      'https://erp.example.com:444/invoices/1',
      'https://erp.example.com/invoices/2',
      'https://erp.example.com/Invoices/1',
      `${URL_HERE}/`,
      'https://erp.example.com//invoices/1',
      '/invoices/1',
    ])
      expect(sameTarget(htu, URL_HERE)).toBe(false);
  });

  it('forms that two readers may resolve differently never match, not even themselves', () => {
    for (const odd of [
      'https://erp.example.com/a/../b',
      'https://erp.example.com/a/%2e%2E/b',
      'https://erp.example.com/a/.%2e/b',
      'https://erp.example.com/./b',
      'https://erp.example.com/a%2Fb',
      'https://erp.example.com/a%5cb',
      'https://erp.example.com/a\\b',
      'https://erp.example.com/a%zz',
      'https://erp.example.com/a%2',
      'https://user@erp.example.com/b',
      'https://erp.example.com/a b',
      'https://erp.example.com/é',
      'https:/erp.example.com/b',
      'ftp://erp.example.com/b',
      'not a uri',
      '',
    ]) {
      expect(normalizeTarget(odd)).toBeNull();
      expect(sameTarget(odd, odd)).toBe(false);
    }
  });
});

describe('claims of a proof', () => {
  const now = 1_800_000_000;
  const token = 'header.payload.signature';
  const claims = { htm: 'GET', htu: URL_HERE, iat: now, jti: 'proof-number-1', ath: accessTokenHash(token) };
  const expected = { method: 'GET', url: URL_HERE, now, window_seconds: 60 };

  it('hold with the token or with its kept hash', () => {
    const read = { jti: 'proof-number-1', iat: now };
    expect(checkProofClaims(claims, expected)).toStrictEqual(read);
    expect(checkProofClaims(claims, { ...expected, access_token: token })).toStrictEqual(read);
    expect(checkProofClaims(claims, { ...expected, ath: accessTokenHash(token) })).toStrictEqual(read);
  });

  it('the example of RFC 9449 section 7.1 hashes to its ath', () => {
    expect(accessTokenHash('Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU')).toBe(
      'fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo',
    );
  });

  it('are refused for another token, or without its hash', () => {
    expect(() => checkProofClaims(claims, { ...expected, access_token: 'other' })).toThrow();
    const { ath, ...bare } = claims;
    expect(ath).toHaveLength(43);
    expect(() => checkProofClaims(bare, { ...expected, access_token: token })).toThrow();
  });

  it('the window is both ways and includes its ends', () => {
    for (const iat of [now - 60, now + 60])
      expect(checkProofClaims({ ...claims, iat }, expected).iat).toBe(iat);
    for (const iat of [now - 60.1, now + 60.1, Number.NaN])
      expect(() => checkProofClaims({ ...claims, iat }, expected)).toThrow();
  });
});
