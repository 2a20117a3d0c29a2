/** The composition root: the only file that knows adapters. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { Server } from 'node:http';
import { dirname } from 'node:path';
import pino from 'pino';
import { createAttestation } from './attesters/create.ts';
import { issueEnrolmentCode, redeemEnrolmentCode } from './attesters/enrolment.ts';
import type { AttestationRegistry } from './attesters/registry.ts';
import { createProviders } from './compose-providers.ts';
import { openGateways } from './config/gateways.ts';
import { type LoadedConfig, loadConfig, readSecret, relativeTo } from './config/load.ts';
import { templateOf, templateSchema } from './config/template-schema.ts';
import { ConfigFault } from './config/yaml.ts';
import { Denied, malformed } from './domain/denial.ts';
import { RevocationFeed } from './feed/feed.ts';
import { createApp } from './http/app.ts';
import { createMetrics } from './http/metrics.ts';
import { type Route, readShape } from './http/route.ts';
import { createClientAssertions } from './keys/client-assertions.ts';
import { createProofs } from './keys/proofs.ts';
import { createSeal } from './keys/seal.ts';
import { openSigningKeys } from './keys/signing-keys.ts';
import { issueBootstrapToken } from './operations/admin-tokens.ts';
import { closeOldSegment, sealAudit } from './operations/audit.ts';
import { bundleContent, createBundles } from './operations/bundle.ts';
import { createHistoryLearner } from './operations/history.ts';
import { createJudgement } from './operations/judgement.ts';
import { createLeaseKeeper } from './operations/lease-keeper.ts';
import { prune, reap } from './operations/reap.ts';
import {
  confirmRestore,
  followMark,
  markOf,
  recognizeRestore,
  restoreUnconfirmed,
} from './operations/restore.ts';
import { rotateKeys } from './operations/rotate-keys.ts';
import { createStatusLists } from './operations/status-lists.ts';
import { openStatusSlots } from './operations/status-slots.ts';
import { approveTemplate, importTemplate } from './operations/templates.ts';
import { createVerifierAuthentication } from './operations/verifiers.ts';
import type { Chance, Clock, Ports, Store } from './ports.ts';
import { markFile } from './store/mark-file.ts';
import { openSqliteStore } from './store/sqlite.ts';
import { withTemplateCache } from './store/template-cache.ts';
import { systemChance, systemClock } from './system.ts';

const REAP_MS = 1000;
const TEND_MS = 60_000;
/** A token is at most this long on its way before it is used. */
const KEEP_KEY_MARGIN_SECONDS = 300;

export interface BrokerOptions {
  /** Path of the configuration file. */
  readonly config: string;
  readonly env: NodeJS.ProcessEnv;
  readonly clock?: Clock;
  readonly chance?: Chance;
  /** Opens the store on another engine, or with a bound on its size. */
  readonly openStore?: (options: { readonly path: string }) => Promise<Store>;
  /** Replaces the log destination, in tests. */
  readonly log?: { write(line: string): void };
}

export interface Broker {
  readonly server: Server;
  readonly ports: Ports;
  readonly routes: readonly Route[];
  readonly feed: RevocationFeed;
  readonly loaded: () => LoadedConfig;
  readonly log: pino.Logger;
  /** Path of the file with the bootstrap token, if there is no admin yet. */
  readonly bootstrap_token_file: string | null;
  /** Reads the configuration again; with a fault in it the old one keeps running. @throws ConfigFault */
  reload(): Promise<void>;
  /** @returns the port */
  listen(): Promise<number>;
  close(): Promise<void>;
}

/** @throws ConfigFault, or an error of the store that names what to do */
export async function createBroker(options: BrokerOptions): Promise<Broker> {
  const clock = options.clock ?? systemClock;
  const chance = options.chance ?? systemChance;
  let loaded = loadConfig(options.config);
  const { config } = loaded;
  const log = pino({ level: config.log.level, base: null }, options.log ?? pino.destination(2));

  const seal = createSeal(readSecret(config.keys.key_encryption_key, loaded.path, options.env));
  const database = relativeTo(loaded.path, config.store.sqlite.path);
  mkdirSync(dirname(database), { recursive: true, mode: 0o700 });
  const store = withTemplateCache(await (options.openStore ?? openSqliteStore)({ path: database }));

  const ground = { store, clock, policy: () => loaded.policy };
  const keeper = markFile(`${database}.mark`);
  if (await recognizeRestore(ground, keeper))
    log.error(
      'the database was restored from a backup: every mission in it has ended, and nothing is issued',
    );
  const marking = followMark(ground, keeper, await markOf(ground));
  let issuing = !(await restoreUnconfirmed(ground));
  if (!issuing) log.warn('look at the block list, then: sortie restore confirm');

  let attestation: AttestationRegistry = attest(loaded);
  function attest(from: LoadedConfig): AttestationRegistry {
    return createAttestation(from.config.attesters, { issuer: from.config.issuer, store });
  }

  let gateways = gatewaysOf(loaded);
  function gatewaysOf(from: LoadedConfig): ReturnType<typeof openGateways> {
    try {
      return openGateways(from.config.gateways, from.policy.audiences, (source) =>
        readSecret(source, from.path, options.env),
      );
    } catch (cause) {
      if (cause instanceof ConfigFault) throw cause;
      throw new ConfigFault([`${from.path}: ${faultOf(cause)}`]);
    }
  }

  const keys = await openSigningKeys({
    store,
    seal,
    issuer: config.issuer,
    algs: () => new Set(['ES256', ...loaded.policy.audiences.map((audience) => audience.token_alg)]),
    policy: {
      rotate_every_seconds: config.keys.rotate_every,
      publish_ahead_seconds: config.keys.publish_ahead,
      keep_after_seconds: config.tokens.max_ttl + KEEP_KEY_MARGIN_SECONDS,
    },
    clock,
  });

  const ports: Ports = {
    clock,
    chance,
    store,
    attestation: { appraise: (evidence, context) => attestation.appraise(evidence, context) },
    proofs: createProofs({ seal, require_nonce: config.dpop.require_nonce }),
    tokens: keys,
    slots: await openStatusSlots(store, chance),
    providers: await createProviders(config.providers, {
      issuer: config.issuer,
      sign: keys.sign,
      audience: (resource) => loaded.policy.audience(resource),
      secret: (source) => readSecret(source, loaded.path, options.env),
      file: (path) => readFileSync(relativeTo(loaded.path, path), 'utf8'),
      seal,
    }),
    historyKey: ({ template_id, agent, audience }) =>
      seal.derive(`history/${JSON.stringify([template_id, agent, audience])}`),
    policy: () => loaded.policy,
  };

  const feed = await RevocationFeed.open({
    store,
    clock,
    max_token_seconds: () => loaded.policy.max_token_seconds,
    audience_of: (id) => loaded.policy.verifiers.find((verifier) => verifier.id === id)?.audience ?? null,
  });
  const enrolmentSecret = seal.derive('enrolment');
  const missionDigestKey = (mission_id: string) => seal.derive(`mission/${mission_id}/provenance`);
  const metrics = createMetrics();
  const announced = new Map<string, string>();

  await importFolder();
  const bootstrap_token_file = await bootstrap();

  const { server, routes } = createApp({
    ports,
    feed,
    bundle: createBundles(ports),
    statusList: createStatusLists(ports),
    verifiers: createVerifierAuthentication(
      ports,
      createClientAssertions({
        issuer: config.issuer,
        registered: () => loaded.verifiers,
        attestation: () => attestation,
      }),
    ),
    parseTemplate: (value) =>
      templateOf(
        readShape(value, templateSchema, 'template') as Parameters<typeof templateOf>[0],
        loaded.policy.catalogue,
      ),
    enrolment: {
      issue: (grant) => issueEnrolmentCode(enrolmentSecret, grant),
      redeem: (request, proved) => redeemEnrolmentCode(enrolmentSecret, request, proved),
    },
    explainEvidence: (evidence) => attestation.explain(evidence, { now: clock.now() }),
    rotateKeys: (emergency, actor) => rotateKeys(ports, keys, emergency, actor).finally(announceBundles),
    issuing: () => issuing,
    async confirmRestore(actor, reason) {
      await confirmRestore(ports, actor, reason);
      issuing = true;
    },
    metrics,
    missionDigestKey,
    judgement: createJudgement(ports, missionDigestKey, {
      alert: (alert) => log.warn(alert, 'behaviour: a verdict asks for more than its denial'),
      failed: (cause) => log.error({ error: faultOf(cause) }, 'behaviour: a verdict was not answered'),
    }),
    overload: config.overload,
    gateways: () => gateways,
    observe(event) {
      metrics.observe(event);
      if (event.cause !== undefined)
        log.error({ route: event.route, error: faultOf(event.cause) }, 'request failed');
      else if (event.refused)
        // Asking for a nonce is how every proof begins: no news.
        log[event.refused.tag === 'use_dpop_nonce' ? 'debug' : 'info'](
          { route: event.route, status: event.status, ...event.refused },
          'request refused',
        );
    },
  });

  /** Keys ahead of need, so that the first agent does not wait; what fails shows at the first appraisal. */
  async function warm(): Promise<void> {
    await attestation.warm(clock.now()).catch((cause: unknown) => {
      log.warn({ error: faultOf(cause) }, 'attester keys could not be fetched ahead of need');
    });
  }
  void warm();

  const leases = createLeaseKeeper(ports);
  const histories = createHistoryLearner(ports);
  // Not waited for: a counterpart that does not answer must not keep the others from their next round.
  const tendLeases = async () => {
    leases.tend().catch((cause: unknown) => log.error({ error: faultOf(cause) }, 'background work failed'));
  };
  // A mission that ends takes its credentials along at once; the timer is for retries and for what a crash left.
  store.onCommit(({ changed_missions }) => {
    if (ports.providers.size > 0 && changed_missions.length > 0) void tendLeases();
  });
  const timers = [
    every(REAP_MS, () => reap(ports).finally(marking.flush)),
    every(REAP_MS, tendLeases),
    every(TEND_MS, tend),
    every(TEND_MS, () => histories.tend()),
  ];

  function every(ms: number, work: () => Promise<unknown>): NodeJS.Timeout {
    let running = false;
    const timer = setInterval(() => {
      if (running) return;
      running = true;
      work()
        .catch((cause: unknown) => log.error({ error: faultOf(cause) }, 'background work failed'))
        .finally(() => {
          running = false;
        });
    }, ms);
    timer.unref();
    return timer;
  }

  async function tend(): Promise<void> {
    await keys.tend(clock.now());
    await closeOldSegment(ports);
    await sealAudit(ports);
    const { retention } = loaded.config;
    await prune(ports, {
      missions_seconds: retention.missions,
      credentials_seconds: retention.credentials,
      audit_seconds: retention.audit,
      reports_seconds: retention.reports,
    });
    announceBundles();
  }

  function announceBundles(): void {
    for (const audience of feed.audiencesRead()) {
      if (loaded.policy.audience(audience) === null) continue;
      const { version } = bundleContent(ports, audience);
      if (announced.get(audience) !== version) feed.announceBundle(audience, version);
      announced.set(audience, version);
    }
  }

  /** Templates of the folder: imported, and in development approved, loudly. */
  async function importFolder(): Promise<void> {
    for (const document of loaded.templates) {
      const record = await importTemplate(ports, document, 'config').catch(asFault);
      if (record.approved_at !== null) continue;
      if (!loaded.policy.auto_approve) {
        log.warn(
          { template: record.id, version: record.version, hash: record.hash },
          'template awaits approval',
        );
        continue;
      }
      await approveTemplate(ports, record.id, record.hash, 'development');
      log.warn(
        { template: record.id, version: record.version },
        'development: template approved without a person',
      );
    }
  }

  async function bootstrap(): Promise<string | null> {
    const file = relativeTo(loaded.path, config.admin.bootstrap_token_file);
    const issued = await issueBootstrapToken(ports);
    if (issued === null) {
      rmSync(file, { force: true });
      return null;
    }
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    rmSync(file, { force: true });
    writeFileSync(file, `${issued.token}\n`, { mode: 0o600, flag: 'wx' });
    return file;
  }

  return {
    server,
    ports,
    routes,
    feed,
    log,
    bootstrap_token_file,
    loaded: () => loaded,
    async reload() {
      const next = loadConfig(options.config);
      requireUnchanged(loaded, next);
      const opened = gatewaysOf(next);
      const attesting = attest(next);
      const before = { loaded, attestation };
      loaded = next;
      attestation = attesting;
      try {
        await importFolder();
        // An audience may want an algorithm that has no key yet.
        await keys.tend(clock.now());
      } catch (cause) {
        ({ loaded, attestation } = before);
        attesting.close();
        throw cause;
      }
      gateways = opened;
      before.attestation.close();
      void warm();
      announceBundles();
      log.info({ policy_version: next.policy.version }, 'configuration reloaded');
    },
    listen: () =>
      new Promise((resolve, reject) => {
        server.once('error', reject);
        server.listen(config.listen.port, config.listen.host, () => {
          server.off('error', reject);
          const address = server.address();
          resolve(typeof address === 'object' && address ? address.port : config.listen.port);
        });
      }),
    async close() {
      for (const timer of timers) clearInterval(timer);
      const closed = new Promise((resolve) => server.close(resolve));
      await feed.close();
      server.closeIdleConnections();
      setTimeout(() => server.closeAllConnections(), 2000).unref();
      await closed;
      attestation.close();
      await leases.stop().catch(() => undefined);
      for (const provider of ports.providers.values()) await provider.close();
      await store.close();
      marking.flush();
    },
  };
}

/** What a running broker cannot change: a reload that tries is refused whole. */
function requireUnchanged(before: LoadedConfig, after: LoadedConfig): void {
  for (const key of [
    'issuer',
    'store',
    'listen',
    'keys',
    'admin',
    'dpop',
    'overload',
    'tokens',
    'providers',
  ] as const)
    if (JSON.stringify(before.config[key]) !== JSON.stringify(after.config[key]))
      throw malformed(`${key} cannot change while the broker runs: restart it`);
}

/** What the domain refuses about a file is a fault of the file, in words for whoever wrote it. */
function asFault(cause: unknown): never {
  if (cause instanceof Denied) throw new ConfigFault([`templates: ${cause.private_reason}`]);
  throw cause;
}

/** Name and message; a stack would carry paths, and messages of ours carry no secret. */
function faultOf(cause: unknown): string {
  if (cause instanceof Denied) return `${cause.denial.tag}: ${cause.private_reason}`;
  return cause instanceof Error ? `${cause.name}: ${cause.message}` : 'unknown';
}
