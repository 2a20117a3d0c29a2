/**
 * X.509 certificates as SPIFFE constrains them (X509-SVID specification, sections 3 to 5; RFC 5280): extensions
 * read from DER, and a path from a leaf to a bundle.
 */
import { X509Certificate } from 'node:crypto';
import { Refusal } from '../attester.ts';
import { isSoundKey } from '../jwks.ts';
import {
  BIT_STRING,
  BOOLEAN,
  INTEGER,
  OCTET_STRING,
  OID,
  oidText,
  readAll,
  readOne,
  SEQUENCE,
} from './der.ts';

export interface Certificate {
  readonly x509: X509Certificate;
  readonly not_before: number;
  readonly not_after: number;
  readonly ca: boolean;
  /** Certificates that may follow below; null for no limit. */
  readonly path_length: number | null;
  readonly key_usage: number | null;
  readonly extended_key_usage: readonly string[] | null;
  /** URI names. */
  readonly uris: readonly string[];
  readonly permitted_uris: readonly string[] | null;
  readonly excluded_uris: readonly string[];
}

/** Bits of KeyUsage, most significant first (RFC 5280 section 4.2.1.3). */
const DIGITAL_SIGNATURE = 0x80;
const KEY_CERT_SIGN = 0x04;
const CRL_SIGN = 0x02;

const SERVER_AUTH = '1.3.6.1.5.5.7.3.1';
const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2';

/** Signature algorithms that are sound: no MD5, no SHA-1. */
const SIGNATURES = new Set([
  '1.2.840.113549.1.1.11',
  '1.2.840.113549.1.1.12',
  '1.2.840.113549.1.1.13',
  '1.2.840.113549.1.1.10',
  '1.2.840.10045.4.3.2',
  '1.2.840.10045.4.3.3',
  '1.2.840.10045.4.3.4',
  '1.3.101.112',
]);

const EXTENSIONS_TAG = 0xa3;
const URI_NAME = 0x86;
const MAX_CERTIFICATE_BYTES = 8_192;
/** Leaf and intermediates that evidence may bring. */
export const MAX_CHAIN = 5;

/** @throws Refusal for anything but one sound certificate */
export function parseCertificate(der: Buffer): Certificate {
  if (der.length > MAX_CERTIFICATE_BYTES) throw refuse('a certificate is too large');
  try {
    const [tbs, algorithm, signature, more] = readAll(readOne(der, SEQUENCE));
    if (!tbs || !algorithm || !signature || more) throw new Error('not a certificate');
    const [oid] = readAll(algorithm.body);
    if (oid?.tag !== OID || !SIGNATURES.has(oidText(oid.body))) {
      throw refuse('a certificate is signed with an algorithm that is not accepted');
    }
    const x509 = new X509Certificate(der);
    if (!isSoundKey(x509.publicKey))
      throw refuse('a certificate’s key is of a kind or size that is not accepted');
    const wrapped = readAll(tbs.body).find((node) => node.tag === EXTENSIONS_TAG);
    return {
      x509,
      not_before: Date.parse(x509.validFrom) / 1000,
      not_after: Date.parse(x509.validTo) / 1000,
      ...readExtensions(wrapped?.body ?? Buffer.from([SEQUENCE, 0])),
    };
  } catch (error) {
    if (error instanceof Refusal) throw error;
    throw refuse('not a certificate');
  }
}

type Extensions = Omit<Certificate, 'x509' | 'not_before' | 'not_after'>;

function readExtensions(bytes: Buffer): Extensions {
  const values = new Map<string, Buffer>();
  for (const extension of readAll(readOne(bytes, SEQUENCE))) {
    const parts = readAll(extension.body);
    const oid = oidText(parts[0]?.tag === OID ? parts[0].body : Buffer.alloc(0));
    const critical = parts.length === 3 && parts[1]?.tag === BOOLEAN && parts[1].body[0] !== 0;
    const value = parts.at(-1);
    if (value?.tag !== OCTET_STRING || values.has(oid)) throw new Error('malformed or repeated extension');
    if (critical && !UNDERSTOOD.has(oid)) throw refuse('a critical extension is not understood');
    values.set(oid, value.body);
  }
  const basic = values.get('2.5.29.19');
  const usage = values.get('2.5.29.15');
  const extended = values.get('2.5.29.37');
  const names = values.get('2.5.29.17');
  const constraints = values.get('2.5.29.30');
  return {
    ...readBasicConstraints(basic),
    key_usage: usage === undefined ? null : (readOne(usage, BIT_STRING)[1] ?? 0),
    extended_key_usage:
      extended === undefined ? null : readAll(readOne(extended, SEQUENCE)).map((node) => oidText(node.body)),
    uris: names === undefined ? [] : uriNames(readOne(names, SEQUENCE)),
    ...readNameConstraints(constraints),
  };
}

const UNDERSTOOD = new Set(['2.5.29.15', '2.5.29.17', '2.5.29.19', '2.5.29.30', '2.5.29.37']);

function readBasicConstraints(value: Buffer | undefined): Pick<Certificate, 'ca' | 'path_length'> {
  const parts = value === undefined ? [] : readAll(readOne(value, SEQUENCE));
  const ca = parts[0]?.tag === BOOLEAN && parts[0].body[0] !== 0;
  const limit = parts.find((part) => part.tag === INTEGER)?.body;
  return { ca, path_length: limit === undefined ? null : limit.readUIntBE(0, Math.min(limit.length, 4)) };
}

function uriNames(body: Buffer): string[] {
  return readAll(body)
    .filter((name) => name.tag === URI_NAME)
    .map((name) => name.body.toString('latin1'));
}

/** URI subtrees only; a constraint on other kinds of names cannot be checked here and refuses the chain. */
function readNameConstraints(
  value: Buffer | undefined,
): Pick<Certificate, 'permitted_uris' | 'excluded_uris'> {
  const result: { permitted_uris: string[] | null; excluded_uris: string[] } = {
    permitted_uris: null,
    excluded_uris: [],
  };
  if (value === undefined) return result;
  for (const trees of readAll(readOne(value, SEQUENCE))) {
    for (const tree of readAll(trees.body)) {
      const [base, more] = readAll(tree.body);
      if (base?.tag !== URI_NAME || more)
        throw refuse('a name constraint is of a kind that is not supported');
      const host = base.body.toString('latin1');
      if (trees.tag === 0xa0) result.permitted_uris = [...(result.permitted_uris ?? []), host];
      else result.excluded_uris.push(host);
    }
  }
  return result;
}

/**
 * Verifies a path from the first certificate to one of the roots, in the order given (RFC 5280 section 6).
 * @returns the seconds between which every certificate of the path is valid
 * @throws Refusal
 */
export function verifyChain(
  chain: readonly Certificate[],
  roots: readonly Certificate[],
  trust_domain: string,
  at: { readonly now: number; readonly leeway_seconds: number },
): { readonly from: number; readonly until: number } {
  const [leaf, ...intermediates] = chain;
  if (leaf === undefined) throw refuse('no certificate');
  checkLeaf(leaf);
  checkTime(leaf, at);
  let current = leaf;
  let { not_before: from, not_after: until } = leaf;
  for (let below = 0; ; below++) {
    const root = roots.find((candidate) => issued(candidate, current));
    const issuer = root ?? intermediates[below];
    if (issuer === undefined) throw refuse('the chain does not end at the trust domain’s bundle');
    checkAuthority(issuer, below, trust_domain);
    checkTime(issuer, at);
    from = Math.max(from, issuer.not_before);
    until = Math.min(until, issuer.not_after);
    if (root !== undefined) return { from, until };
    if (!issued(issuer, current)) throw refuse('a certificate of the chain did not sign the one before it');
    current = issuer;
  }
}

/** Name, key identifier and signature. */
function issued(issuer: Certificate, subject: Certificate): boolean {
  return subject.x509.checkIssued(issuer.x509) && subject.x509.verify(issuer.x509.publicKey);
}

/** X509-SVID sections 4 and 5.2. */
function checkLeaf(leaf: Certificate): void {
  if (leaf.ca) throw refuse('the leaf is an authority');
  const usage = leaf.key_usage;
  if (usage === null || (usage & DIGITAL_SIGNATURE) === 0)
    throw refuse('the leaf’s key usage lacks digitalSignature');
  if ((usage & (KEY_CERT_SIGN | CRL_SIGN)) !== 0) throw refuse('the leaf may sign certificates');
  const extended = leaf.extended_key_usage;
  if (extended !== null && !(extended.includes(SERVER_AUTH) && extended.includes(CLIENT_AUTH))) {
    throw refuse('the leaf’s extended key usage lacks serverAuth or clientAuth');
  }
  if (leaf.uris.length !== 1) throw refuse('a leaf has exactly one URI name');
}

function checkAuthority(authority: Certificate, below: number, trust_domain: string): void {
  if (!authority.ca) throw refuse('a certificate of the chain is no authority');
  if (authority.key_usage !== null && (authority.key_usage & KEY_CERT_SIGN) === 0) {
    throw refuse('an authority’s key usage lacks keyCertSign');
  }
  if (authority.path_length !== null && below > authority.path_length) {
    throw refuse('the chain is longer than an authority permits');
  }
  const covers = (host: string) =>
    host.startsWith('.') ? trust_domain.endsWith(host) && trust_domain !== host : trust_domain === host;
  if (authority.permitted_uris !== null && !authority.permitted_uris.some(covers)) {
    throw refuse('an authority is not permitted this trust domain');
  }
  if (authority.excluded_uris.some(covers)) throw refuse('an authority is excluded from this trust domain');
}

function checkTime(certificate: Certificate, at: { now: number; leeway_seconds: number }): void {
  const { not_before, not_after } = certificate;
  if (!(at.now < not_after + at.leeway_seconds)) throw refuse('a certificate has expired');
  if (!(at.now >= not_before - at.leeway_seconds)) throw refuse('a certificate is not valid yet');
}

function refuse(detail: string): Refusal {
  return new Refusal('certificate_refused', detail);
}
