/** The providers' part of the composition root. A provider's library is loaded only where it is configured. */

import type { ProvidersConfig } from './config/providers.ts';
import type { JsonObject } from './domain/json.ts';
import type { AudiencePolicy } from './domain/policy.ts';
import type { SigningAlg, Tokens } from './ports.ts';
import type { Provider, Providers } from './providers/provider.ts';

type Secret = ProvidersConfig['postgres'][number]['password'];

export interface ProviderSources {
  readonly issuer: string;
  readonly sign: Tokens['sign'];
  audience(resource: string): AudiencePolicy | null;
  /** @throws Error that names the source and never the value */
  secret(source: Secret): string;
  /** Under the key-encryption key, for what can only be revoked by itself. */
  readonly seal: {
    seal(plaintext: Buffer, purpose: string): string;
    open(sealed: string, purpose: string): Buffer;
  };
  /** Text of a file of the configuration. */
  file(path: string): string;
}

/** @throws Error naming the key that is wrong */
export async function createProviders(config: ProvidersConfig, sources: ProviderSources): Promise<Providers> {
  const created: unknown[] = [];
  if (config.postgres.length > 0) {
    const { createPostgresRoles } = await import('./providers/postgres/role.ts');
    created.push(
      createPostgresRoles({
        servers: config.postgres.map(({ tls, timeout, password, ...server }) => ({
          ...server,
          password: sources.secret(password),
          tls: tls === 'off' ? null : caOf(tls.ca_file, sources),
          timeout_ms: timeout * 1000,
        })),
      }),
    );
  }
  if (config.vault.length > 0) {
    const { createVaultSecrets } = await import('./providers/vault/secret.ts');
    created.push(
      createVaultSecrets({
        servers: config.vault.map(({ name, url, namespace, ca_file, login, timeout }) => ({
          name,
          url,
          ...(namespace === undefined ? {} : { namespace }),
          ...caOf(ca_file, sources),
          timeout_ms: timeout * 1000,
          login:
            'token' in login
              ? { kind: 'token' as const, token: sources.secret(login.token) }
              : {
                  kind: 'jwt' as const,
                  ...login.jwt,
                  issuer: sources.issuer,
                  sign: signerFor(login.jwt.audience, `providers.vault ${name}`, sources),
                },
        })),
      }),
    );
  }
  if (config.kubernetes.length > 0) {
    const { createKubernetesTokens } = await import('./providers/kubernetes/token.ts');
    created.push(
      createKubernetesTokens({
        clusters: config.kubernetes.map(({ name, url, ca_file, token, timeout }) => ({
          name,
          url,
          ...caOf(ca_file, sources),
          token: () => sources.secret(token),
          timeout_ms: timeout * 1000,
        })),
      }),
    );
  }
  if (config.github.length > 0) {
    const { createGithubTokens } = await import('./providers/github/token.ts');
    created.push(
      createGithubTokens({
        apps: config.github.map(({ name, api_url, app_id, ca_file, private_key, timeout }) => ({
          name,
          api_url,
          app_id,
          ...caOf(ca_file, sources),
          private_key: sources.secret(private_key),
          timeout_ms: timeout * 1000,
        })),
        seal: sources.seal,
      }),
    );
  }
  if (config.aws !== undefined) created.push(await aws(config.aws, sources));
  return new Map((created as readonly Provider[]).map((provider) => [provider.type, provider]));
}

async function aws(config: NonNullable<ProvidersConfig['aws']>, sources: ProviderSources) {
  const { createAwsSessions } = await import('./providers/aws/session.ts');
  const { credentials, roles, propagation, timeout, sts_endpoint, iam_endpoint, ...rest } = config;
  return createAwsSessions({
    ...rest,
    ...(sts_endpoint === undefined ? {} : { sts_endpoint }),
    ...(iam_endpoint === undefined ? {} : { iam_endpoint }),
    credentials:
      credentials === undefined
        ? null
        : {
            access_key_id: sources.secret(credentials.access_key_id),
            secret_access_key: sources.secret(credentials.secret_access_key),
          },
    roles: roles.map(({ arn, external_id, web_identity, max_session, min_session }) => ({
      arn,
      login:
        web_identity === undefined
          ? { kind: 'assume_role' as const, ...(external_id === undefined ? {} : { external_id }) }
          : {
              kind: 'web_identity' as const,
              audience: web_identity.audience,
              issuer: sources.issuer,
              sign: signerFor(web_identity.audience, `providers.aws ${arn}`, sources),
            },
      max_session_seconds: max_session,
      min_session_seconds: min_session,
    })),
    propagation_seconds: propagation,
    timeout_ms: timeout * 1000,
  });
}

/** Signs logins for an audience that is registered and reserved: nobody can ask the broker for such a JWT. */
function signerFor(resource: string, key: string, sources: ProviderSources) {
  const algOf = (): SigningAlg => {
    const audience = sources.audience(resource);
    if (audience === null || !audience.reserved)
      throw new Error(`${key}: ${resource} must be an audience with reserved: true`);
    return audience.token_alg;
  };
  algOf();
  return (claims: JsonObject) => sources.sign('JWT', algOf(), claims);
}

function caOf(path: string | undefined, sources: ProviderSources): { readonly ca?: string } {
  return path === undefined ? {} : { ca: sources.file(path) };
}
