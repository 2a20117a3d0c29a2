/** Reading and forging compact JWTs without a library that would refuse to. */
import { createHmac, type KeyObject, sign } from 'node:crypto';
import type { TokenClaims } from '../../src/ports.ts';

export type Json = Record<string, unknown>;

function part(value: unknown): string {
  return Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
}

/** Header and payload, unverified. */
export function read(token: string): { header: Json; claims: TokenClaims & Json } {
  const [header = '', claims = ''] = token.split('.');
  const parse = (text: string) => JSON.parse(Buffer.from(text, 'base64url').toString()) as Json;
  return { header: parse(header), claims: parse(claims) as TokenClaims & Json };
}

/** Any header over any payload, signed as told. */
export function forge(
  header: Json | string,
  claims: Json | string,
  signer: (input: string) => string,
): string {
  const input = `${part(header)}.${part(claims)}`;
  return `${input}.${signer(input)}`;
}

export const unsigned = () => '';

export function hmac(secret: string | Buffer): (input: string) => string {
  return (input) => createHmac('sha256', secret).update(input).digest('base64url');
}

export function es256(key: KeyObject): (input: string) => string {
  return (input) =>
    sign('sha256', Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url');
}
