/**
 * The platform's issuer: another vendor's OpenID Connect server, which knows nothing of Sortie. Its workloads get
 * signed JWTs for an audience of their choice; which audiences there are is all that its owner configures.
 */
import { generateKeyPairSync } from 'node:crypto';
import Provider from 'oidc-provider';

const { PORT = '', BROKER = '', CLIENT_SECRET = '' } = process.env;
const issuer = `http://127.0.0.1:${PORT}`;
const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });

const provider = new Provider(issuer, {
  clients: [
    {
      client_id: 'reconciler',
      client_secret: CLIENT_SECRET,
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
      id_token_signed_response_alg: 'ES256',
    },
  ],
  jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), kid: 'platform-1', alg: 'ES256', use: 'sig' }] },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (_context: unknown, resource: string) => {
        if (resource !== BROKER) throw new Error('unknown audience');
        return { scope: '', accessTokenFormat: 'jwt', accessTokenTTL: 300, jwt: { sign: { alg: 'ES256' } } };
      },
    },
  },
  // Which copy of the workload is asking: a pod, a job, a machine.
  extraTokenClaims: () => ({ run: 'run-7f3a' }),
});

provider.listen(Number(PORT), '127.0.0.1', () => process.stdout.write(`ready ${issuer}\n`));
