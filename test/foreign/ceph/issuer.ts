/**
 * The broker's discovery document and keys as the gateway needs them: it takes the key from a certificate in
 * `x5c`, whose SHA-1 thumbprint is registered with the provider.
 */
import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { exportJWK, importPKCS8, SignJWT } from 'jose';
import type { JsonObject } from '../../../src/domain/json.ts';

export interface TestIssuer {
  readonly url: string;
  /** SHA-1 of the certificate, upper-case hex. */
  readonly thumbprint: string;
  sign(claims: JsonObject): Promise<string>;
  close(): Promise<void>;
}

export async function startIssuer(): Promise<TestIssuer> {
  const folder = mkdtempSync(join(tmpdir(), 'sortie-issuer-'));
  const [key_file, cert_file] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
  execFileSync(
    'openssl',
    [
      'req',
      '-x509',
      '-newkey',
      'rsa:2048',
      '-nodes',
      '-days',
      '2',
      '-subj',
      '/CN=sortie',
      '-keyout',
      key_file,
      '-out',
      cert_file,
    ],
    { stdio: 'ignore' },
  );
  const certificate = new X509Certificate(readFileSync(cert_file));
  const key = await importPKCS8(readFileSync(key_file, 'utf8'), 'RS256', { extractable: true });
  rmSync(folder, { recursive: true });
  const { n, e } = await exportJWK(key);
  const jwk = {
    kty: 'RSA',
    n,
    e,
    kid: 'k1',
    alg: 'RS256',
    use: 'sig',
    x5c: [certificate.raw.toString('base64')],
  };
  let url = '';
  const server = createServer((request, response) => {
    response.setHeader('content-type', 'application/json');
    const body = request.url?.endsWith('/jwks') ? { keys: [jwk] } : { issuer: url, jwks_uri: `${url}/jwks` };
    response.end(JSON.stringify(body));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  url = `http://127.0.0.1:${address.port}`;
  return {
    url,
    thumbprint: certificate.fingerprint.replaceAll(':', ''),
    sign: (claims) =>
      new SignJWT(claims).setProtectedHeader({ alg: 'RS256', kid: 'k1', typ: 'JWT' }).sign(key),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
