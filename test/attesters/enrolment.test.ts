import { randomBytes } from 'node:crypto';
import { calculateJwkThumbprint } from 'jose';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  type EnrolmentGrant,
  issueEnrolmentCode,
  redeemEnrolmentCode,
  thumbprint,
  withdrawEnrolmentCode,
} from '../../src/attesters/enrolment.ts';
import type { JsonObject } from '../../src/domain/json.ts';
import { NOW, OTHER_JKT, refusalOf } from './support/evidence.ts';
import { makeKey, type TestKey } from './support/issuer.ts';

const secret = randomBytes(32);
const grant: EnrolmentGrant = {
  id: 'enr_1',
  agent: 'laptop/alice',
  created_by: 'admin:root',
  expires_at: NOW + 600,
  key_ttl_seconds: 86_400,
};
let key: TestKey;
let jkt: string;
beforeAll(async () => {
  key = await makeKey('');
  jkt = await calculateJwkThumbprint(key.jwk);
});
const code = issueEnrolmentCode(secret, grant);
const redeem = async (
  over: { code?: string; jwk?: JsonObject; jkt?: string; now?: number; by?: Buffer } = {},
) =>
  redeemEnrolmentCode(
    over.by ?? secret,
    { code: over.code ?? code, jwk: over.jwk ?? (key.jwk as JsonObject) },
    { jkt: over.jkt ?? jkt, now: over.now ?? NOW },
  );

describe('an enrolment code', () => {
  it('turns a proved key into an enrolled one, with its terms, once', async () => {
    const { key: record, writes } = await redeem();
    expect(record).toMatchObject({
      id: 'enr_1',
      agent: 'laptop/alice',
      jkt,
      created_by: 'admin:root',
      created_at: NOW,
      expires_at: NOW + 86_400,
      revoked_at: null,
    });
    expect(writes.map((write) => write.kind)).toEqual(['use_once', 'insert_enrolled_key', 'append_audit']);
    expect(writes[0]).toEqual(withdrawEnrolmentCode(grant));
    expect(JSON.stringify(writes)).not.toContain(code);
  });

  it('stores no private member, even if one was sent', async () => {
    const { key: record } = await redeem({ jwk: { ...(key.jwk as JsonObject), d: 'PRIVATE', extra: 'x' } });
    expect(Object.keys(record.jwk).toSorted()).toEqual(['crv', 'kty', 'x', 'y']);
  });

  it('is worth nothing expired, changed, of another broker, or with another key', async () => {
    const [terms = '', mac = ''] = code.split('.');
    const other = issueEnrolmentCode(secret, { ...grant, agent: 'k8s/payments/admin' }).split('.')[0];
    const attempts: [Parameters<typeof redeem>[0], string][] = [
      [{ now: NOW + 600 }, 'expired'],
      [{ code: `${other}.${mac}` }, 'not a code'],
      [{ code: `${terms}.` }, 'not a code'],
      [{ code: terms }, 'not a code'],
      [{ code: `${code}.x` }, 'not a code'],
      [{ code: '' }, 'not a code'],
      [{ code: 'x'.repeat(5_000) }, 'longer'],
      [{ by: randomBytes(32) }, 'not a code'],
      [{ jkt: OTHER_JKT }, 'another key'],
      [{ jwk: { kty: 'oct', k: 'AAAA' } }, 'kind or size'],
      [{ jwk: {} }, 'kind or size'],
    ];
    for (const [over, reason] of attempts) expect(await refusalOf(redeem(over))).toContain(reason);
  });
});

describe('a thumbprint', () => {
  it.each(['ES256', 'RS256', 'EdDSA'])('is that of RFC 7638 (%s)', async (alg) => {
    const { jwk } = await makeKey('k', alg);
    expect(thumbprint(jwk as JsonObject)).toBe(await calculateJwkThumbprint(jwk));
  });
  it('is of complete public keys only', () => {
    expect(thumbprint({ kty: 'EC', crv: 'P-256', x: 'a' })).toBeNull();
    expect(thumbprint({ kty: 'oct', k: 'a' })).toBeNull();
  });
});
