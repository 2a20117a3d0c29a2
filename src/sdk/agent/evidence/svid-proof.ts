/** Proof of possession of an X509-SVID: a JWT of at most a minute, signed by its key, with its chain in `x5c`. */
import { createPrivateKey, type KeyObject, randomUUID } from 'node:crypto';
import { SignJWT } from 'jose';
import { SELF_SIGNED_MAX_SECONDS, X509_SVID_TYP } from '../../../domain/evidence.ts';
import type { X509Svid } from './workload-api.ts';

/** @param target.now seconds since the epoch */
export function signSvidProof(
  svid: X509Svid,
  target: { readonly audience: string; readonly jkt: string; readonly now: number },
): Promise<string> {
  const key = createPrivateKey({ key: svid.private_key, format: 'der', type: 'pkcs8' });
  const iat = Math.floor(target.now);
  return new SignJWT({ cnf: { jkt: target.jkt } })
    .setProtectedHeader({
      alg: algorithmOf(key),
      typ: X509_SVID_TYP,
      x5c: splitChain(svid.chain).map((der) => der.toString('base64')),
    })
    .setSubject(svid.spiffe_id)
    .setAudience(target.audience)
    .setIssuedAt(iat)
    .setExpirationTime(iat + SELF_SIGNED_MAX_SECONDS)
    .setJti(randomUUID())
    .sign(key);
}

function algorithmOf(key: KeyObject): string {
  if (key.asymmetricKeyType === 'rsa') return 'RS256';
  switch (key.asymmetricKeyDetails?.namedCurve) {
    case 'prime256v1':
      return 'ES256';
    case 'secp384r1':
      return 'ES384';
    case 'secp521r1':
      return 'ES512';
    default:
      throw new Error('the SVID’s key is of a kind that cannot sign a proof');
  }
}

/** DER sequences one after the other; a certificate's length never fits one octet. */
function splitChain(chain: Buffer): Buffer[] {
  const certificates: Buffer[] = [];
  for (let at = 0; at < chain.length; ) {
    const octets = (chain[at + 1] ?? 0) - 0x80;
    if (chain[at] !== 0x30 || octets < 1 || octets > 3 || at + 2 + octets > chain.length)
      throw new Error('not a chain');
    const end = at + 2 + octets + chain.readUIntBE(at + 2, octets);
    if (end > chain.length) throw new Error('not a chain');
    certificates.push(chain.subarray(at, end));
    at = end;
  }
  return certificates;
}
