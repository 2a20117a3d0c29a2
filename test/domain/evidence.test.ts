import { describe, expect, it } from 'vitest';
import * as evidence from '../../src/domain/evidence.ts';

describe('evidence of a key', () => {
  it('names the key in the audience, so that evidence for one key never serves another', () => {
    const jkt = 'Az0_-'.repeat(9).slice(0, 43);
    expect(evidence.boundAudience('https://broker.example', jkt)).toBe(`https://broker.example#jkt=${jkt}`);
  });

  it('is bound to a thumbprint in its one form', () => {
    for (const sign of ['A', 'Z', 'a', 'z', '0', '9', '_', '-'])
      expect(evidence.isThumbprint(sign.repeat(43))).toBe(true);
    for (const text of [
      '',
      'a'.repeat(42),
      'a'.repeat(44),
      `${'a'.repeat(43)}\n`,
      `\n${'a'.repeat(43)}`,
      ...['+', '/', '=', '.', '#', 'é', '@', '[', '`', '{', ':'].map((sign) => sign + 'a'.repeat(42)),
    ])
      expect(evidence.isThumbprint(text)).toBe(false);
  });

  it('has the constants that its formats were published with', () => {
    expect({ ...evidence }).toMatchObject({
      ENROLLED_ISSUER: 'urn:sortie:enrolled',
      ENROLLED_TYP: 'sortie-evidence+jwt',
      SELF_SIGNED_MAX_SECONDS: 60,
      X509_SVID_TYP: 'sortie-x509-svid+jwt',
      AWS_ISSUER_HEADER: 'x-sortie-issuer',
      AWS_JKT_HEADER: 'x-sortie-jkt',
      AWS_CALLER_IDENTITY_BODY: 'Action=GetCallerIdentity&Version=2011-06-15',
      JKT_FRAGMENT: '#jkt=',
    });
  });
});
