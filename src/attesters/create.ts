/** Builds the attestation registry from the configuration: the one file that knows every attester. */
import { compileTrustRules, parsePattern } from '../domain/trust.ts';
import type { Store } from '../ports.ts';
import { workloadSocket } from '../sdk/agent/evidence/workload-api.ts';
import type { Attester } from './attester.ts';
import { awsCallerIdentityAttester } from './aws-caller-identity.ts';
import type { AttesterConfig, OidcAttesterConfig, SpiffeAttesterConfig } from './config.ts';
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
import { reviewedKubernetes } from './kubernetes-review.ts';
import { oidcAttester } from './oidc.ts';
import {
  checkAws,
  checkAzure,
  checkGithub,
  checkGitlab,
  checkKubernetes,
  withAwsSource,
} from './presets/checks.ts';
import { AWS, AWS_CALLER, AZURE, GCP, GITHUB, GITLAB, KUBERNETES, SPIFFE } from './presets/platforms.ts';
import { type PlatformCheck, type Preset, presetRules } from './presets/preset.ts';
import { type AttestationRegistry, attestationRegistry } from './registry.ts';
import { bundleSource, loadBundleEndpoint, loadBundleFile, loadWorkloadBundle } from './spiffe/bundle.ts';
import { jwtSvidAttester, x509SvidAttester } from './spiffe/svid.ts';

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
  const names = new Set<string>();
  for (const { name } of configs) {
    if (names.has(name)) throw new Error(`two attesters are named "${name}"`);
    names.add(name);
  }
  return attestationRegistry(configs.flatMap((config) => createAttesters(config, options)));
}

/** One entry may answer for several types of evidence. */
function createAttesters(config: AttesterConfig, options: AttestationOptions): readonly Attester[] {
  return config.kind === 'spiffe' ? spiffeAttesters(config, options) : [createAttester(config, options)];
}

function createAttester(
  config: Exclude<AttesterConfig, SpiffeAttesterConfig>,
  options: AttestationOptions,
): Attester {
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
    case 'kubernetes':
    case 'github-actions':
    case 'gitlab':
    case 'gcp':
    case 'azure':
    case 'aws-web-identity':
      return presetAttester(config, options);
    case 'aws-caller-identity':
      return awsCallerIdentityAttester({
        ...config,
        audience: config.audience ?? options.issuer,
        fetch: options.fetch ?? fetchGuarded,
        rules: compileTrustRules(presetRules(config.kind, AWS_CALLER, config.rules)),
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

function spiffeAttesters(config: SpiffeAttesterConfig, options: AttestationOptions): readonly Attester[] {
  const { bundle, trust_domain, timeout_ms, allow_private_addresses } = config;
  const limits = limitsOf(config);
  const load =
    'file' in bundle
      ? loadBundleFile(bundle.file)
      : 'workload_api' in bundle
        ? loadWorkloadBundle(socketOf(config.name, bundle.workload_api), trust_domain, timeout_ms)
        : loadBundleEndpoint(options.fetch ?? fetchGuarded, bundle.https_web, {
            allow_private_addresses,
            timeout_ms,
            ...(bundle.ca_file === undefined ? {} : { ca_file: bundle.ca_file }),
          });
  const shared = {
    name: config.name,
    trust_domain,
    audience: config.audience ?? options.issuer,
    times: config,
    bundle: bundleSource(`bundle of ${config.name}`, load, limits),
    rules: compileTrustRules(presetRules(config.kind, SPIFFE, config.rules)),
  };
  return config.accept.map((kind) =>
    kind === 'jwt-svid' ? jwtSvidAttester(shared) : x509SvidAttester(shared),
  );
}

function socketOf(name: string, address: string): string {
  const socket = workloadSocket(address);
  if (socket === null)
    throw new Error(`attester "${name}": workload_api is an absolute path, unix:///run/...`);
  return socket;
}

type PresetConfig = Extract<
  AttesterConfig,
  { kind: 'kubernetes' | 'github-actions' | 'gitlab' | 'gcp' | 'azure' | 'aws-web-identity' }
>;

/** What a platform's kind adds to the generic attester. */
function platformOf(config: PresetConfig): {
  readonly preset: Preset;
  readonly issuer: string;
  readonly check?: PlatformCheck;
  readonly derive?: typeof withAwsSource;
  readonly jwks_uri?: string;
} {
  switch (config.kind) {
    case 'kubernetes':
      return { preset: KUBERNETES, issuer: config.issuer, check: checkKubernetes };
    case 'github-actions':
      return { preset: GITHUB, issuer: config.issuer, check: checkGithub(config.allow_pull_requests) };
    case 'gitlab':
      return {
        preset: GITLAB,
        issuer: config.issuer,
        check: checkGitlab(config.issuer, config.allow_merge_requests),
      };
    case 'gcp':
      return { preset: GCP, issuer: config.issuer };
    case 'azure': {
      const login = `https://login.microsoftonline.com/${config.tenant_id}`;
      const issuer =
        config.version === 'v1' ? `https://sts.windows.net/${config.tenant_id}/` : `${login}/v2.0`;
      return {
        preset: AZURE,
        issuer: config.issuer ?? issuer,
        check: checkAzure(config.tenant_id),
        // Version 1 tokens have an issuer whose discovery lies elsewhere; the tenant's keys are the same.
        ...(config.issuer === undefined ? { jwks_uri: `${login}/discovery/v2.0/keys` } : {}),
      };
    }
    case 'aws-web-identity':
      return { preset: AWS, issuer: config.issuer, check: checkAws, derive: withAwsSource };
  }
}

function presetAttester(config: PresetConfig, options: AttestationOptions): Attester {
  const fetch = options.fetch ?? fetchGuarded;
  const { preset, issuer, check, derive, jwks_uri } = platformOf(config);
  const given = config.jwks ?? config.jwks_file ?? config.jwks_uri;
  const keys = { ...config, issuer, ...(given === undefined && jwks_uri !== undefined ? { jwks_uri } : {}) };
  const audience = config.audience ?? options.issuer;
  const attester = oidcAttester({
    name: config.name,
    kind: config.kind,
    issuer,
    audience,
    algorithms: preset.algorithms,
    typ: [],
    times: {
      leeway_seconds: config.leeway_seconds,
      max_age_seconds: config.max_age_seconds ?? preset.max_age_seconds,
    },
    keys: oidcKeys(keys, fetch),
    rules: compileTrustRules(presetRules(config.kind, preset, config.rules)),
    ...(check === undefined ? {} : { check }),
    ...(derive === undefined ? {} : { derive }),
  });
  if (config.kind !== 'kubernetes' || config.live === undefined) return attester;
  const { allow_private_addresses, timeout_ms, live } = config;
  return reviewedKubernetes(attester, {
    ...live,
    ca_file: live.ca_file ?? null,
    audience,
    allow_private_addresses,
    timeout_ms,
    fetch,
  });
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
  const limits = limitsOf(config);
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

function limitsOf(
  config: Pick<OidcAttesterConfig, 'max_key_age_seconds' | 'max_stale_seconds' | 'cooldown_seconds'>,
): KeySourceLimits {
  return {
    max_age_seconds: config.max_key_age_seconds,
    max_stale_seconds: config.max_stale_seconds,
    cooldown_seconds: config.cooldown_seconds,
  };
}
