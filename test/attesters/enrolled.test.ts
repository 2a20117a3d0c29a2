import { calculateJwkThumbprint } from 'jose';
import { beforeAll, describe, expect, it } from 'vitest';
import type { AttestationRegistry } from '../../src/attesters/registry.ts';
import { ENROLLED_ISSUER, ENROLLED_TYP } from '../../src/domain/evidence.ts';
import type { EnrolledKeyRecord } from '../../src/ports.ts';
import { attestation, BROKER, JKT, jwt, NOW, OTHER_JKT, refusalOf } from './support/evidence.ts';
import { makeKey, signWith, type TestKey } from './support/issuer.ts';

let key: TestKey;
let record: EnrolledKeyRecord;
let registry: AttestationRegistry;
const context = { jkt: JKT, now: NOW };

beforeAll(async () => {
  const made = await makeKey('');
  key = { ...made, kid: await calculateJwkThumbprint(made.jwk) };
  record = {
    id: 'enr_1',
    agent: 'laptop/alice',
    jkt: key.kid,
    jwk: { kty: 'EC', crv: 'P-256', x: made.jwk.x ?? '', y: made.jwk.y ?? '' },
    created_by: 'admin:root',
    created_at: NOW - 100,
    expires_at: NOW + 86_400,
    revoked_at: null,
  };
  registry = attestation([{ kind: 'enrolled', name: 'laptops' }], { keys: [record] });
});

const claims = (over: Record<string, unknown> = {}) => ({
  iss: ENROLLED_ISSUER,
  aud: BROKER,
  iat: NOW,
  exp: NOW + 60,
  jti: 'one',
  cnf: { jkt: JKT },
  ...over,
});
const sign = (over: Record<string, unknown> = {}, header: object = {}) =>
  signWith(key, claims(over), { typ: ENROLLED_TYP, ...header });

describe('evidence by an enrolled key', () => {
  it('stands for the agent it was enrolled for, bound to the key it names, once', async () => {
    expect(await registry.appraise(jwt(await sign()), context)).toMatchObject({
      agent: 'laptop/alice',
      instance: `key/${key.kid}`,
      tier: 'enrolled',
      attester: 'laptops',
      rule: 'laptops',
      bound_jkt: JKT,
      once: `laptops.${key.kid}.one`,
      expires_at: NOW + 70,
    });
  });

  it('may use the enrolled key as the mission key', async () => {
    const token = await sign({ cnf: { jkt: key.kid } });
    expect((await registry.appraise(jwt(token), { jkt: key.kid, now: NOW })).bound_jkt).toBe(key.kid);
  });

  it('is useless with another key', async () => {
    expect(await refusalOf(registry.appraise(jwt(await sign()), { jkt: OTHER_JKT, now: NOW }))).toContain(
      'wrong_key',
    );
  });

  const cases: [string, Record<string, unknown>, object, string][] = [
    ['a life beyond a minute', { exp: NOW + 61 }, {}, 'too_old'],
    ['an old proof', { iat: NOW - 100, exp: NOW - 40 }, {}, 'expired'],
    ['no jti', { jti: undefined }, {}, 'claim_missing'],
    ['an endless jti', { jti: 'x'.repeat(300) }, {}, 'claim_missing'],
    ['no cnf', { cnf: undefined }, {}, 'claim_missing'],
    ['a cnf that is no thumbprint', { cnf: { jkt: '../x' } }, {}, 'claim_missing'],
    ['another audience', { aud: 'https://erp.example.com' }, {}, 'wrong_audience'],
    ['a DPoP proof by the same key', {}, { typ: 'dpop+jwt' }, 'header_refused'],
    ['an unknown key', {}, { kid: OTHER_JKT }, 'key_unknown'],
    ['an embedded key', {}, { jwk: { kty: 'EC' } }, 'header_refused'],
  ];
  it.each(cases)('refuses %s', async (_name, over, header, code) => {
    expect(await refusalOf(registry.appraise(jwt(await sign(over, header)), context))).toContain(code);
  });

  it('ends when the key is revoked, when the enrolment expires, and outside its attester’s agents', async () => {
    const token = jwt(await sign());
    const withKey = (over: Partial<EnrolledKeyRecord>, agents?: string[]) =>
      attestation([{ kind: 'enrolled', name: 'laptops', ...(agents ? { agents } : {}) }], {
        keys: [{ ...record, ...over }],
      });
    expect(await refusalOf(withKey({ revoked_at: NOW - 1 }).appraise(token, context))).toContain(
      'key_revoked',
    );
    expect(await refusalOf(withKey({ expires_at: NOW }).appraise(token, context))).toContain('key_revoked');
    expect(await refusalOf(withKey({}, ['ci/*']).appraise(token, context))).toContain('no_rule_matched');
    expect((await withKey({}, ['laptop/*']).appraise(token, context)).agent).toBe('laptop/alice');
  });

  it('is refused when another key signed it', async () => {
    const other = await makeKey(key.kid);
    const forged = await signWith(other, claims(), { typ: ENROLLED_TYP });
    expect(await refusalOf(registry.appraise(jwt(forged), context))).toContain('bad_signature');
  });

  it('fails closed when the store fails, without telling its message', async () => {
    const broken = attestation([{ kind: 'enrolled', name: 'laptops' }], {
      store: { enrolledKey: () => Promise.reject(new Error('disk at /secret/path')) },
    });
    expect(await refusalOf(broken.appraise(jwt(await sign()), context))).toBe(
      'laptops: attester_failed: Error',
    );
  });
});
