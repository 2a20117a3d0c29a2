import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { createProviders, type ProviderSources } from '../src/compose-providers.ts';
import { loadConfig } from '../src/config/load.ts';
import { providersSchema } from '../src/config/providers.ts';
import type { AudiencePolicy } from '../src/domain/policy.ts';

const audience = (resource: string, reserved: boolean): AudiencePolicy => ({
  ...loadConfig('config/broker.example.yaml').policy.audiences[0],
  resource,
  name: 'x',
  actions: [],
  token_alg: 'ES256',
  reserved,
  max_staleness_seconds: 30,
});

const app_key = generateKeyPairSync('rsa', { modulusLength: 2048 })
  .privateKey.export({ type: 'pkcs8', format: 'pem' })
  .toString();

const sources = (reserved: boolean, asked: string[] = []): ProviderSources => ({
  issuer: 'https://sortie.example.com',
  sign: async () => 'jwt',
  audience: (resource) => audience(resource, reserved),
  secret: (source) => {
    const from = 'from_file' in source ? source.from_file : source.from_env;
    asked.push(from);
    return from.endsWith('.pem') ? app_key : 'secret';
  },
  seal: { seal: () => '', open: () => Buffer.alloc(0) },
  file: (path) => `text of ${path}`,
});

describe('providers from the configuration', () => {
  it('are those of the example, and nothing without one', async () => {
    const { config } = loadConfig('config/broker.example.yaml');
    const providers = await createProviders(config.providers, sources(true));
    expect([...providers.keys()].sort()).toEqual([
      'aws_session',
      'github_installation_token',
      'kubernetes_token',
      'postgres_role',
      'vault_secret',
    ]);
    for (const provider of providers.values()) await provider.close();
    expect((await createProviders(providersSchema.parse({}), sources(true))).size).toBe(0);
  });

  it('never log in with the JWT of an audience that agents can ask for', async () => {
    const { config } = loadConfig('config/broker.example.yaml');
    await expect(createProviders(config.providers, sources(false))).rejects.toThrow(
      'providers.vault main: https://vault.example.com must be an audience with reserved: true',
    );
    const web = providersSchema.parse({
      aws: {
        region: 'eu-central-1',
        roles: [
          { arn: 'arn:aws:iam::123456789012:role/a', web_identity: { audience: 'https://aws.example.com' } },
        ],
      },
    });
    await expect(createProviders(web, sources(false))).rejects.toThrow('reserved: true');
  });

  it('read a rotated token of a cluster again at each use, and other secrets once', async () => {
    const asked: string[] = [];
    const { config } = loadConfig('config/broker.example.yaml');
    const providers = await createProviders(config.providers, sources(true, asked));
    expect(asked).toEqual(['/etc/sortie/postgres-password', '/etc/sortie/github-app.pem']);
    for (const provider of providers.values()) await provider.close();
  });
});
