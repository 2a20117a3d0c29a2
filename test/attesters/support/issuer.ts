/** A local OpenID Connect issuer whose every answer a test can bend. Real HTTP, real keys, loopback only. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import {
  type CryptoKey,
  exportJWK,
  generateKeyPair,
  type JWK,
  type JWTHeaderParameters,
  SignJWT,
} from 'jose';

export interface TestKey {
  readonly kid: string;
  readonly alg: string;
  readonly privateKey: CryptoKey;
  readonly publicKey: CryptoKey;
  readonly jwk: JWK;
}

export async function makeKey(kid: string, alg = 'ES256'): Promise<TestKey> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
  return { kid, alg, privateKey, publicKey, jwk: { ...(await exportJWK(publicKey)), kid, alg, use: 'sig' } };
}

/** Signs claims as they are: no defaults. */
export function signWith(
  key: TestKey,
  claims: Record<string, unknown>,
  header: Partial<JWTHeaderParameters> = {},
): Promise<string> {
  return new SignJWT(claims)
    .setProtectedHeader({ alg: key.alg, kid: key.kid, typ: 'JWT', ...header })
    .sign(key.privateKey);
}

export interface LocalIssuer {
  /** `http://127.0.0.1:port`; the `iss` of its tokens. */
  readonly url: string;
  keys: TestKey[];
  /** Requests by path. */
  readonly requests: string[];
  /** Replaces the answers. */
  answer: ((request: IncomingMessage, response: ServerResponse) => void) | null;
  sign(claims: Record<string, unknown>, header?: Partial<JWTHeaderParameters>): Promise<string>;
  close(): Promise<void>;
}

export async function startIssuer(...keys: TestKey[]): Promise<LocalIssuer> {
  const server: Server = createServer((request, response) => {
    issuer.requests.push(request.url ?? '');
    if (issuer.answer) return issuer.answer(request, response);
    response.setHeader('content-type', 'application/json');
    if (request.url === '/.well-known/openid-configuration') {
      response.end(JSON.stringify({ issuer: issuer.url, jwks_uri: `${issuer.url}/jwks` }));
    } else {
      response.end(JSON.stringify({ keys: issuer.keys.map((key) => key.jwk) }));
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const issuer: LocalIssuer = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    keys,
    requests: [],
    answer: null,
    sign: (claims, header) => {
      const [key] = issuer.keys;
      if (!key) throw new Error('the issuer has no key');
      return signWith(key, claims, header);
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  return issuer;
}
