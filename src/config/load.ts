/** Reads the configuration folder as a whole: a fault anywhere and nothing of it takes effect. */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import type { JWK } from 'jose';
import { type Catalogue, catalogueOf } from '../domain/authority/index.ts';
import { Denied } from '../domain/denial.ts';
import { canonicalize } from '../domain/json.ts';
import type { AudiencePolicy, TemplateDocument } from '../domain/policy.ts';
import type { RegisteredVerifier } from '../keys/client-assertions.ts';
import type { Policy } from '../ports.ts';
import { readCatalogue } from './catalogue.ts';
import { gatewayVerifier } from './gateways.ts';
import { type BrokerConfig, brokerSchema, type SecretSource } from './schema.ts';
import { templateOf, templateSchema } from './template-schema.ts';
import { ConfigFault, readText, readYaml } from './yaml.ts';

/** What is swapped as one on reload. */
export interface LoadedConfig {
  readonly path: string;
  readonly config: BrokerConfig;
  readonly policy: Policy;
  readonly verifiers: readonly RegisteredVerifier[];
  readonly templates: readonly TemplateDocument[];
}

/** @throws ConfigFault, each line with file, line, key and suggestion */
export function loadConfig(path: string): LoadedConfig {
  const absolute = resolve(path);
  const config = readYaml(absolute, brokerSchema);
  requireSafe(config, absolute);
  const audiences = config.audiences.map(
    (audience): AudiencePolicy => ({
      resource: audience.resource,
      name: audience.name,
      ...withCatalogue(audience, absolute),
      token_alg: audience.token_alg,
      reserved: audience.reserved,
      max_staleness_seconds: audience.max_staleness,
    }),
  );
  const byResource = new Map(audiences.map((audience) => [audience.resource, audience]));
  const verifiers = config.verifiers.map((verifier): RegisteredVerifier => {
    if (!byResource.has(verifier.audience))
      throw new ConfigFault([
        `${absolute}: verifier ${verifier.id} names an audience that is not registered`,
      ]);
    const policy = {
      id: verifier.id,
      audience: verifier.audience,
      ...(verifier.processes !== undefined && { processes: verifier.processes }),
      ...(verifier.counts_bytes && { counts_bytes: true }),
      ...(verifier.asks && { asks: true }),
    };
    const { auth } = verifier;
    if ('evidence' in auth) return { policy, auth: { kind: 'evidence', ...auth.evidence } };
    const keys =
      'private_key_jwt' in auth
        ? (auth.private_key_jwt as JWK[])
        : readKeySet(join(dirname(absolute), auth.private_key_jwt_file));
    return { policy, auth: { kind: 'private_key_jwt', keys } };
  });
  const policy: Policy = {
    issuer: config.issuer,
    version: `sha-256:${createHash('sha256').update(canonicalize(config.dispatch)).digest('base64url')}`,
    dispatch: config.dispatch.map((rule) => ({
      agent: rule.agent,
      template: rule.template,
      ...(rule.tier !== undefined && { tier: rule.tier }),
      ...(rule.purpose !== undefined && { purpose: rule.purpose }),
    })),
    audience: (resource) => byResource.get(resource) ?? null,
    audiences,
    catalogue: faulty(absolute, () =>
      catalogueOf(
        audiences.map(({ resource, actions }) => ({
          resource,
          actions: Object.fromEntries(actions.map(({ name, labels }) => [name, { labels }])),
        })),
      ),
    ),
    verifiers: verifiers.map((verifier) => verifier.policy),
    gateways: config.gateways.map((gateway) => gatewayVerifier(gateway)),
    max_token_seconds: config.tokens.max_ttl,
    auto_approve: config.development,
  };
  const templates = readTemplates(config, absolute, policy.catalogue);
  return { path: absolute, config, policy, verifiers, templates };
}

/** The actions of an audience with those of its catalogue, if it names one. */
function withCatalogue(
  audience: BrokerConfig['audiences'][number],
  config_path: string,
): Pick<AudiencePolicy, 'actions' | 'catalogue'> {
  const file = audience.catalogue === undefined ? null : relativeTo(config_path, audience.catalogue);
  const catalogue = file === null ? null : readCatalogue(file, audience.resource, audience.actions);
  const names = new Set([...Object.keys(audience.actions), ...(catalogue?.actions.keys() ?? [])]);
  const actions = [...names].map((name) => {
    const { labels = [], description } = audience.actions[name] ?? {};
    return {
      name,
      labels: [...new Set([...labels, ...(catalogue?.actions.get(name)?.labels ?? [])])],
      ...(description !== undefined && { description }),
    };
  });
  return { actions, ...(catalogue !== null && { catalogue }) };
}

/** Paths in the file are relative to it. */
export function relativeTo(config_path: string, path: string): string {
  return resolve(dirname(config_path), path);
}

/** @throws ConfigFault that names the source and never the value */
export function readSecret(source: SecretSource, config_path: string, env: NodeJS.ProcessEnv): string {
  if ('from_env' in source) {
    const value = env[source.from_env];
    if (value === undefined || value === '')
      throw new ConfigFault([`environment variable ${source.from_env} is not set`]);
    return value;
  }
  const path = relativeTo(config_path, source.from_file);
  try {
    return readFileSync(path, 'utf8').trim();
  } catch (cause) {
    throw new ConfigFault([
      `${path}: cannot be read (${(cause as NodeJS.ErrnoException).code ?? 'unknown'})`,
    ]);
  }
}

function readTemplates(config: BrokerConfig, path: string, catalogue: Catalogue): TemplateDocument[] {
  if (!config.templates) return [];
  const folder = relativeTo(path, config.templates.folder);
  let names: string[];
  try {
    names = readdirSync(folder)
      .filter((name) => name.endsWith('.yaml'))
      .sort();
  } catch {
    throw new ConfigFault([`${folder}: cannot be listed`]);
  }
  const templates = names.map((name) => {
    const file = join(folder, name);
    return faulty(file, () => templateOf(readYaml(file, templateSchema), catalogue));
  });
  const ids = new Set(templates.map((template) => template.id));
  for (const rule of config.dispatch)
    if (!ids.has(rule.template) && config.development)
      throw new ConfigFault([
        `${path}: dispatch names template ${rule.template}, which no file of ${folder} defines`,
      ]);
  return templates;
}

function readKeySet(path: string): readonly JWK[] {
  const text = readText(path);
  try {
    const { keys } = JSON.parse(text) as { keys: JWK[] };
    if (!Array.isArray(keys) || keys.length === 0 || keys.some((key) => key.kty === 'oct' || 'd' in key))
      throw null;
    return keys;
  } catch {
    throw new ConfigFault([`${path}: must be a JSON Web Key Set of public keys`]);
  }
}

/** What a file must not say, however well it is spelled. */
function requireSafe(config: BrokerConfig, path: string): void {
  const issuer = new URL(config.issuer);
  const loopback = ['127.0.0.1', 'localhost', '[::1]'].includes(issuer.hostname);
  if (issuer.protocol !== 'https:' && !loopback && !config.development)
    throw new ConfigFault([`${path}: issuer: must be https; plain http is for loopback and development`]);
  const names = new Set<string>();
  for (const [kind, ids] of [
    ['audience', config.audiences.map((audience) => audience.resource)],
    ['verifier', config.verifiers.map((verifier) => verifier.id)],
    ['attester', config.attesters.map((attester) => attester.name)],
  ] as const)
    for (const id of ids) {
      if (names.has(`${kind} ${id}`)) throw new ConfigFault([`${path}: ${kind} ${id} is there twice`]);
      names.add(`${kind} ${id}`);
    }
}

/** Names the file in a fault that the domain found. */
export function faulty<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    if (cause instanceof ConfigFault) throw cause;
    const why = cause instanceof Denied ? cause.private_reason : (cause as Error).message;
    throw new ConfigFault([`${path}: ${why}`]);
  }
}
