/** Writes X.509 certificates byte by byte, so that tests can make the wrong ones too. */
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';

const tlv = (tag: number, ...parts: Buffer[]): Buffer => {
  const body = Buffer.concat(parts);
  const length =
    body.length < 0x80
      ? Buffer.from([body.length])
      : body.length < 0x100
        ? Buffer.from([0x81, body.length])
        : Buffer.from([0x82, body.length >> 8, body.length & 0xff]);
  return Buffer.concat([Buffer.from([tag]), length, body]);
};
const sequence = (...parts: Buffer[]) => tlv(0x30, ...parts);
const oid = (text: string) => {
  const [first = 0, second = 0, ...rest] = text.split('.').map(Number);
  const arcs = [first * 40 + second, ...rest].flatMap((arc) => {
    const bytes = [arc % 128];
    for (let high = Math.floor(arc / 128); high > 0; high = Math.floor(high / 128))
      bytes.unshift((high % 128) + 128);
    return bytes;
  });
  return tlv(0x06, Buffer.from(arcs));
};
const time = (seconds: number) => {
  const text = new Date(seconds * 1000).toISOString().replace(/[-:T]/g, '').slice(0, 14);
  return tlv(0x18, Buffer.from(`${text}Z`));
};
const name = (text: string) => sequence(tlv(0x31, sequence(oid('2.5.4.3'), tlv(0x0c, Buffer.from(text)))));

export interface Extension {
  readonly id: string;
  readonly critical?: boolean;
  readonly value: Buffer;
}
export const keyUsage = (bits: number): Extension => ({
  id: '2.5.29.15',
  critical: true,
  value: tlv(0x03, Buffer.from([0, bits])),
});
export const basicConstraints = (ca: boolean, path_length?: number): Extension => ({
  id: '2.5.29.19',
  critical: true,
  value: sequence(
    ...(ca ? [tlv(0x01, Buffer.from([0xff]))] : []),
    ...(path_length === undefined ? [] : [tlv(0x02, Buffer.from([path_length]))]),
  ),
});
export const uriNames = (...uris: string[]): Extension => ({
  id: '2.5.29.17',
  value: sequence(...uris.map((uri) => tlv(0x86, Buffer.from(uri)))),
});
export const ipNames = (...addresses: string[]): Extension => ({
  id: '2.5.29.17',
  value: sequence(...addresses.map((address) => tlv(0x87, Buffer.from(address.split('.').map(Number))))),
});
export const extendedKeyUsage = (...ids: string[]): Extension => ({
  id: '2.5.29.37',
  value: sequence(...ids.map(oid)),
});
export const nameConstraints = (permitted: string[], excluded: string[] = [], tag = 0x86): Extension => {
  const trees = (outer: number, hosts: string[]) =>
    hosts.length === 0 ? [] : [tlv(outer, ...hosts.map((host) => sequence(tlv(tag, Buffer.from(host)))))];
  return {
    id: '2.5.29.30',
    critical: true,
    value: sequence(...trees(0xa0, permitted), ...trees(0xa1, excluded)),
  };
};
export const unknownExtension = (critical: boolean): Extension => ({
  id: '1.3.6.1.4.1.99999.1',
  critical,
  value: sequence(),
});

export const DIGITAL_SIGNATURE = 0x80;
export const KEY_CERT_SIGN = 0x04;
export const CRL_SIGN = 0x02;
export const SERVER_AUTH = '1.3.6.1.5.5.7.3.1';
export const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2';

export interface Signer {
  readonly subject: string;
  readonly private_key: KeyObject;
}
export interface Made extends Signer {
  readonly der: Buffer;
}

export function newKey(): KeyObject {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
}

export function makeCertificate(options: {
  readonly subject: string;
  readonly issuer?: Signer;
  readonly key?: KeyObject;
  readonly not_before: number;
  readonly not_after: number;
  readonly extensions: readonly Extension[];
  /** SHA-1 instead of SHA-256. */
  readonly weak?: boolean;
}): Made {
  const private_key = options.key ?? newKey();
  const issuer = options.issuer ?? { subject: options.subject, private_key };
  const algorithm = sequence(oid(options.weak ? '1.2.840.10045.4.1' : '1.2.840.10045.4.3.2'));
  const spki = createPublicKey(private_key).export({ type: 'spki', format: 'der' });
  const tbs = sequence(
    tlv(0xa0, tlv(0x02, Buffer.from([2]))),
    tlv(0x02, Buffer.from([1 + Math.floor(Math.random() * 120), 1])),
    algorithm,
    name(issuer.subject),
    sequence(time(options.not_before), time(options.not_after)),
    name(options.subject),
    spki,
    tlv(
      0xa3,
      sequence(
        ...options.extensions.map((extension) =>
          sequence(
            oid(extension.id),
            ...(extension.critical ? [tlv(0x01, Buffer.from([0xff]))] : []),
            tlv(0x04, extension.value),
          ),
        ),
      ),
    ),
  );
  const signature = sign(
    options.weak ? 'sha1' : 'sha256',
    tbs,
    createPrivateKey(issuer.private_key.export({ type: 'pkcs8', format: 'pem' })),
  );
  return {
    der: sequence(tbs, algorithm, tlv(0x03, Buffer.from([0]), signature)),
    private_key,
    subject: options.subject,
  };
}
