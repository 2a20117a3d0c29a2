import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { AttesterConfigInput } from '../../src/attesters/config.ts';
import { DEFAULT_KEY_LIMITS, importKey, parseJwks, refreshed } from '../../src/attesters/jwks.ts';
import { attestation, BROKER, JKT, jwt, NOW, refusalOf } from './support/evidence.ts';
import { type LocalIssuer, makeKey, signWith, startIssuer, type TestKey } from './support/issuer.ts';

let issuer: LocalIssuer;
let key: TestKey;
beforeEach(async () => {
  key = await makeKey('k1');
  issuer = await startIssuer(key);
});
afterEach(() => issuer.close());

const config = (over: Record<string, unknown> = {}): AttesterConfigInput =>
  ({
    kind: 'oidc',
    name: 'ci',
    issuer: issuer.url,
    jwks_uri: `${issuer.url}/jwks`,
    allow_private_addresses: true,
    timeout_ms: 300,
    max_age_seconds: 604_800,
    rules: [{ name: 'all', match: { iss: issuer.url }, agent: 'ci/{sub}', instance: '{sub}' }],
    ...over,
  }) as AttesterConfigInput;
const token = (by: TestKey = key) =>
  signWith(by, { iss: issuer.url, sub: 'x', aud: BROKER, iat: NOW, exp: NOW + 600_000 });
const at = (now: number) => ({ jkt: JKT, now });
const settle = () => new Promise((resolve) => setTimeout(resolve, 50));

describe('keys of an issuer', () => {
  it('are fetched once for many exchanges at once, and kept', async () => {
    const registry = attestation([config()]);
    const evidence = jwt(await token());
    await Promise.all(Array.from({ length: 50 }, () => registry.appraise(evidence, at(NOW))));
    await registry.appraise(evidence, at(NOW + 60));
    expect(issuer.requests).toEqual(['/jwks']);
  });

  it('come through discovery, whose issuer must be the configured one', async () => {
    const found = attestation([config({ jwks_uri: undefined })]);
    await found.appraise(jwt(await token()), at(NOW));
    expect(issuer.requests).toEqual(['/.well-known/openid-configuration', '/jwks']);
    issuer.answer = (_request, response) =>
      response.end(JSON.stringify({ issuer: `${issuer.url}/`, jwks_uri: 'x' }));
    const lied = attestation([config({ jwks_uri: undefined })]);
    expect(await refusalOf(lied.appraise(jwt(await token()), at(NOW)))).toContain('not of this issuer');
  });

  it('rotate without a failed exchange, published ahead or not', async () => {
    const registry = attestation([config()]);
    for (let round = 0; round < 12; round++) {
      const next = await makeKey(`k${round + 2}`);
      // Every third time the new key is published before it signs.
      if (round % 3 === 0) issuer.keys = [key, next];
      else issuer.keys = [next];
      const now = NOW + round * 7;
      await registry.appraise(jwt(await token(next)), at(now));
      key = next;
    }
    // The removed ones are gone.
    const first = await makeKey('k1');
    expect(await refusalOf(registry.appraise(jwt(await token(first)), at(NOW + 100)))).toContain(
      'key_unknown',
    );
  });

  it('are not fetched for every unknown kid: a few at once, then one each cooldown', async () => {
    const registry = attestation([config()]);
    await registry.warm(NOW);
    const stranger = await makeKey('unknown');
    for (let tries = 0; tries < 40; tries++) {
      expect(await refusalOf(registry.appraise(jwt(await token(stranger)), at(NOW + 1)))).toContain(
        'key_unknown',
      );
    }
    expect(issuer.requests.length).toBeLessThanOrEqual(5);
    const before = issuer.requests.length;
    await refusalOf(registry.appraise(jwt(await token(stranger)), at(NOW + 10)));
    expect(issuer.requests.length).toBe(before + 1);
    // The good key was never in question.
    await registry.appraise(jwt(await token()), at(NOW + 11));
  });

  it('are refreshed in the background from half their age: nobody waits', async () => {
    const registry = attestation([config()]);
    await registry.warm(NOW);
    issuer.answer = () => {};
    await registry.appraise(jwt(await token()), at(NOW + 400));
    await settle();
    expect(issuer.requests).toHaveLength(2);
  });

  it('that were withdrawn stop at the next refresh', async () => {
    const registry = attestation([config()]);
    const evidence = jwt(await token());
    await registry.appraise(evidence, at(NOW));
    issuer.keys = [await makeKey('k2')];
    expect(await refusalOf(registry.appraise(evidence, at(NOW + 601)))).toContain('key_unknown');
  });

  it('are served stale while the endpoint fails, within a bound, then refused', async () => {
    const registry = attestation([config()]);
    const evidence = jwt(await token());
    await registry.appraise(evidence, at(NOW));
    issuer.answer = (_request, response) => response.writeHead(500).end();
    await registry.appraise(evidence, at(NOW + 700));
    await registry.appraise(evidence, at(NOW + 3_500));
    expect(await refusalOf(registry.appraise(evidence, at(NOW + 3_601)))).toContain('keys_unavailable');
    issuer.answer = null;
    await registry.appraise(evidence, at(NOW + 3_700));
  });

  it('may lie in a file that is replaced', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'jwks-'));
    const jwks_file = join(folder, 'keys.json');
    await writeFile(jwks_file, JSON.stringify({ keys: [key.jwk] }));
    const registry = attestation([config({ jwks_uri: undefined, jwks_file })]);
    await registry.appraise(jwt(await token()), at(NOW));
    const next = await makeKey('k2');
    await writeFile(jwks_file, JSON.stringify({ keys: [next.jwk] }));
    await registry.appraise(jwt(await token(next)), at(NOW + 1));
    expect(await refusalOf(registry.appraise(jwt(await token()), at(NOW + 2)))).toContain('key_unknown');
    await rm(folder, { recursive: true });
  });
});

describe('an endpoint that', () => {
  const healthy = async () => {
    const other = await startIssuer(await makeKey('h'));
    const evidence = jwt(
      await other.sign({ iss: other.url, sub: 'x', aud: BROKER, iat: NOW, exp: NOW + 300 }),
    );
    const rules = [{ name: 'all', match: { iss: other.url }, agent: 'ok/{sub}', instance: '{sub}' }];
    return {
      other,
      evidence,
      entry: config({ name: 'ok', issuer: other.url, jwks_uri: `${other.url}/jwks`, rules }),
    };
  };

  it('is slow blocks no other attester, and lets nothing in', async () => {
    const { other, evidence, entry } = await healthy();
    issuer.answer = () => {};
    const registry = attestation([config({ timeout_ms: 2_000 }), entry]);
    const order: string[] = [];
    const slow = refusalOf(registry.appraise(jwt(await token()), at(NOW))).then((reason) => {
      order.push('slow');
      return reason;
    });
    await registry.appraise(evidence, at(NOW)).then(() => order.push('healthy'));
    expect(await slow).toContain('timed out');
    expect(order).toEqual(['healthy', 'slow']);
    await other.close();
  });

  it('is dead is asked once each cooldown, however many knock', async () => {
    issuer.answer = (request) => request.socket.destroy();
    const registry = attestation([config()]);
    const evidence = jwt(await token());
    for (let tries = 0; tries < 20; tries++) {
      expect(await refusalOf(registry.appraise(evidence, at(NOW)))).toContain('keys_unavailable');
    }
    expect(issuer.requests).toHaveLength(1);
  });

  it.each([
    ['is huge', (text: string) => text.padEnd(400_000, ' ')],
    ['answers HTML', () => '<html>login</html>'],
    ['answers nothing', () => ''],
    ['answers no list of keys', () => '{"keys":{}}'],
    ['answers an empty list', () => '{"keys":[]}'],
    ['answers a repeated member', (text: string) => `{"keys":[],${text.slice(1)}`],
    ['answers thousands of keys', () => JSON.stringify({ keys: Array.from({ length: 5_000 }, () => ({})) })],
    ['publishes a private key', (text: string) => text.replace('"kty"', '"d":"AAAA","kty"')],
    [
      'publishes a symmetric key',
      (text: string) => text.replace(']', ',{"kty":"oct","k":"c2VjcmV0","kid":"k1"}]'),
    ],
  ])('%s keeps the good keys it gave before, and adds none', async (_name, bend) => {
    const registry = attestation([config()]);
    const evidence = jwt(await token());
    await registry.appraise(evidence, at(NOW));
    issuer.answer = (_request, response) => {
      response.end(bend(JSON.stringify({ keys: [key.jwk] })));
    };
    await registry.appraise(evidence, at(NOW + 650));
    expect(await refusalOf(registry.appraise(evidence, at(NOW + 3_700)))).toContain('keys_unavailable');
    const fresh = attestation([config()]);
    expect(await refusalOf(fresh.appraise(evidence, at(NOW)))).toContain('keys_unavailable');
  });

  it('redirects is not followed', async () => {
    const target = await startIssuer(key);
    issuer.answer = (_request, response) => response.writeHead(307, { location: `${target.url}/jwks` }).end();
    expect(await refusalOf(attestation([config()]).appraise(jwt(await token()), at(NOW)))).toContain(
      'answered 307',
    );
    expect(target.requests).toEqual([]);
    await target.close();
  });

  it('has a private address is refused unless the attester allows it', async () => {
    const url = issuer.url.replace('http:', 'https:');
    const registry = attestation([config({ jwks_uri: `${url}/jwks`, allow_private_addresses: false })]);
    expect(await refusalOf(registry.appraise(jwt(await token()), at(NOW)))).toContain('not allowed');
    expect(issuer.requests).toEqual([]);
  });
});

describe('a credential for the key endpoint', () => {
  it('goes to the issuer’s own host only, read anew each time', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'bearer-'));
    const bearer_token_file = join(folder, 'token');
    await writeFile(bearer_token_file, 'first\n');
    const seen: (string | undefined)[] = [];
    const elsewhere = await startIssuer(key);
    elsewhere.answer = (request, response) => {
      seen.push(request.headers.authorization);
      response.end(JSON.stringify({ keys: [key.jwk] }));
    };
    issuer.answer = (request, response) => {
      seen.push(request.headers.authorization);
      response.end(JSON.stringify({ issuer: issuer.url, jwks_uri: `${elsewhere.url}/jwks` }));
    };
    await attestation([config({ jwks_uri: undefined, bearer_token_file })]).appraise(
      jwt(await token()),
      at(NOW),
    );
    expect(seen).toEqual(['Bearer first', undefined]);
    await elsewhere.close();
    await rm(folder, { recursive: true });
  });
});

describe('a key', () => {
  it('must be of a known type and curve, with its own members only', () => {
    expect(importKey({ kty: 'EC', crv: 'P-256', x: 'AA', y: 'AA' })).toBeNull();
    expect(importKey({ kty: 'EC', crv: 'P-256' })).toBeNull();
    expect(importKey({ kty: 'oct', k: 'AAAA' })).toBeNull();
    expect(importKey({ kty: 'RSA', n: 'AQAB', e: 'AQAB' })).toBeNull();
    expect(importKey({})).toBeNull();
    expect(importKey({ ...key.jwk } as never)?.type).toBe('public');
  });

  it('with a huge modulus or exponent is left out: verifying would be the attack', () => {
    const huge = { kty: 'RSA', n: Buffer.alloc(2_048, 0xff).toString('base64url'), e: 'AQAB' };
    const slow = {
      kty: 'RSA',
      n: Buffer.alloc(256, 0xff).toString('base64url'),
      e: Buffer.alloc(200, 0xff).toString('base64url'),
    };
    expect(importKey(huge)).toBeNull();
    expect(importKey(slow)).toBeNull();
  });

  it('that is not for signatures is left out', () => {
    const sets = [
      { ...key.jwk, use: 'enc' },
      { ...key.jwk, key_ops: ['sign'] },
      { ...key.jwk, alg: 'HS256' },
      { ...key.jwk, alg: 'RS256' },
    ];
    for (const jwk of sets) {
      expect(() => parseJwks(JSON.stringify({ keys: [jwk] }))).toThrow(/no usable key/);
    }
  });
});

describe('a refreshed value', () => {
  it('is kept no longer than its publisher says', async () => {
    let count = 0;
    const value = refreshed('v', async () => ({ value: ++count, max_age_seconds: 10 }), DEFAULT_KEY_LIMITS);
    expect(await value.current(NOW)).toBe(1);
    expect(await value.current(NOW + 4)).toBe(1);
    expect(await value.current(NOW + 11)).toBe(2);
  });
});
