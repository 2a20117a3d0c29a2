/** Constants of the evidence formats that Sortie itself defines; shared by the broker's attesters and the agent SDK. */

/** `iss` of a JWT signed by an enrolled key. */
export const ENROLLED_ISSUER = 'urn:sortie:enrolled';
/** `typ` of that JWT: it can never be mistaken for a DPoP proof or an access token by the same key. */
export const ENROLLED_TYP = 'sortie-evidence+jwt';
/** Longest `exp - iat` of proofs that a workload signs itself: enrolled keys and X509-SVIDs. Seconds. */
export const SELF_SIGNED_MAX_SECONDS = 60;

/** `typ` of a JWT signed by an X509-SVID's key, with the chain in `x5c`. */
export const X509_SVID_TYP = 'sortie-x509-svid+jwt';

/** Headers that an AWS GetCallerIdentity signature must cover, as signed (lower case). */
export const AWS_ISSUER_HEADER = 'x-sortie-issuer';
export const AWS_JKT_HEADER = 'x-sortie-jkt';
/** The only body that is forwarded to STS. */
export const AWS_CALLER_IDENTITY_BODY = 'Action=GetCallerIdentity&Version=2011-06-15';

/** Between the audience and the thumbprint of the key to which evidence is bound. */
export const JKT_FRAGMENT = '#jkt=';

/** The audience a workload asks for to bind its evidence to its key (RFC 7638 thumbprint, base64url). */
export function boundAudience(audience: string, jkt: string): string {
  return audience + JKT_FRAGMENT + jkt;
}

/** Whether a text has the form of an RFC 7638 SHA-256 thumbprint: 43 base64url characters. */
export function isThumbprint(text: string): boolean {
  return /^[A-Za-z0-9_-]{43}$/.test(text);
}
