/** Builds the attestation registry from the configuration: the one file that knows every attester. */
import { compileTrustRules, parsePattern } from '../domain/trust.ts';
import type { Store } from '../ports.ts';
import type { Attester } from './attester.ts';
import type { AttesterConfig, OidcAttesterConfig } from './config.ts';
import { type Egress, fetchGuarded } from './egress.ts';
import { enrolledAttester } from './enrolled.ts';
import {
  fetchedKeys,
  fixedKeys,
  type KeySource,
  type KeySourceLimits,
  loadDiscovered,
  loadJwks,
  loadJwksFile,
  type RemoteKeysOptions,
  readJwks,
} from './jwks.ts';
import { oidcAttester } from './oidc.ts';
import { type AttestationRegistry, attestationRegistry } from './registry.ts';

export interface AttestationOptions {
  /** The broker's issuer: the audience of evidence. */
  readonly issuer: string;
  readonly store: Pick<Store, 'enrolledKey'>;
  /** Replaces the guarded client, in tests. */
  readonly fetch?: Egress;
}

/**
 * The {@link Attestation} port over the configured attesters.
 * @throws Error that teaches, for a configuration that cannot work (a rule's mistake, two attesters for one issuer).
 */
export function createAttestation(
  configs: readonly AttesterConfig[],
  options: AttestationOptions,
): AttestationRegistry {
  return attestationRegistry(configs.map((config) => createAttester(config, options)));
}

function createAttester(config: AttesterConfig, options: AttestationOptions): Attester {
  switch (config.kind) {
    case 'oidc':
      return oidcAttester({
        name: config.name,
        kind: config.kind,
        issuer: config.issuer,
        audience: config.audience ?? options.issuer,
        algorithms: config.algorithms,
        typ: config.typ.map((typ) => typ.toLowerCase()),
        times: config,
        keys: oidcKeys(config, options.fetch ?? fetchGuarded),
        rules: compileTrustRules(config.rules),
      });
    case 'enrolled':
      return enrolledAttester({
        name: config.name,
        audience: options.issuer,
        leeway_seconds: config.leeway_seconds,
        agents: config.agents?.map(parsePattern) ?? null,
        store: options.store,
      });
  }
}

type KeyConfig = Pick<
  OidcAttesterConfig,
  | 'name'
  | 'issuer'
  | 'jwks'
  | 'jwks_file'
  | 'jwks_uri'
  | 'ca_file'
  | 'bearer_token_file'
  | 'allow_private_addresses'
  | 'timeout_ms'
  | 'max_key_age_seconds'
  | 'max_stale_seconds'
  | 'cooldown_seconds'
>;

function oidcKeys(config: KeyConfig, fetch: Egress): KeySource {
  const given = [config.jwks, config.jwks_file, config.jwks_uri].filter((source) => source !== undefined);
  if (given.length > 1) {
    throw new Error(
      `attester "${config.name}": give one of jwks, jwks_file and jwks_uri, or none for discovery`,
    );
  }
  if (config.jwks) return fixedKeys(readJwks(config.jwks));
  const limits: KeySourceLimits = {
    max_age_seconds: config.max_key_age_seconds,
    max_stale_seconds: config.max_stale_seconds,
    cooldown_seconds: config.cooldown_seconds,
  };
  const remote: RemoteKeysOptions = {
    allow_private_addresses: config.allow_private_addresses,
    timeout_ms: config.timeout_ms,
    ...(config.ca_file === undefined ? {} : { ca_file: config.ca_file }),
    ...(config.bearer_token_file === undefined ? {} : { bearer_token_file: config.bearer_token_file }),
  };
  if (config.jwks_file !== undefined)
    return fetchedKeys(config.jwks_file, loadJwksFile(config.jwks_file), limits);
  const source =
    config.jwks_uri === undefined
      ? loadDiscovered(fetch, config.issuer, remote)
      : loadJwks(fetch, config.jwks_uri, remote);
  return fetchedKeys(`keys of ${config.name}`, source, limits);
}
