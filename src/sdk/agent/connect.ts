/** An agent's side of the broker: its key, its evidence, and the missions that it declares. */
import type { webcrypto } from 'node:crypto';
import { type Backoff, DEFAULT_BACKOFF } from './backoff.ts';
import { BrokerClient } from './broker-client.ts';
import { type Declaration, intentOf } from './declaration.ts';
import { DelegationGrant, resourcesOf } from './delegation.ts';
import { collectEvidence } from './evidence/index.ts';
import type { EvidenceSource } from './evidence-source.ts';
import { Mission } from './mission.ts';
import { generateProofKey, type ProofKey, proofKeyOf } from './proof-key.ts';
import { DEFAULT_RUNTIME, type Runtime } from './runtime.ts';
import type { ManifestAnswer } from './wire.ts';

export type { Declaration } from './declaration.ts';

export interface ConnectOptions {
  /** The broker's issuer identifier: https, or http on loopback. */
  readonly issuer: string;
  /** Called for each presentation. Default: {@link collectEvidence}, which finds what this machine can give. */
  readonly evidence?: EvidenceSource;
  /**
   * The agent's ES256 key. Default: a new one that cannot be exported and dies with the process. Give one to go on
   * with a declared mission after a restart (same key, same `creation_request_id`).
   */
  readonly key?: webcrypto.CryptoKeyPair | ProofKey;
  /** Of one attempt at the broker. Default 10. */
  readonly timeout_seconds?: number;
  readonly backoff?: Partial<Backoff>;
  readonly fetch?: Runtime['fetch'];
  readonly crypto?: webcrypto.Crypto;
  /** Seconds since the epoch. */
  readonly now?: () => number;
  /** Uniform in [0, 1): spreads renewals. */
  readonly random?: () => number;
}

export interface Agent {
  readonly issuer: string;
  /** RFC 7638 thumbprint of the key that every mission of this agent is bound to. */
  readonly jkt: string;
  /**
   * Declares a task and gets everything that it may do, or nothing.
   * @throws MissionDenied, AttestationFailed, BrokerUnavailable; TypeError for a declaration without an end
   */
  declare(declaration: Declaration): Promise<Mission>;
  /**
   * Takes up a child mission that another agent's mission reserved for this one: with this agent's own evidence and its
   * own key. A grant works once, within a minute, for the agent that it names.
   * @param grant from `mission.delegate(...)`, or its `value` as it came over
   * @throws MissionDenied, AttestationFailed, BrokerUnavailable; TypeError for what is no grant
   */
  activate(grant: DelegationGrant | string): Promise<Mission>;
  /** Closes every mission that is still held. See `mission.close()`. */
  close(): void;
}

const LOOPBACK = new Set(['127.0.0.1', '[::1]', 'localhost']);

/**
 * Prepares an agent; nothing is sent yet.
 *
 *     const agent = await connect({ issuer: 'https://broker.example.com' });
 *     const mission = await agent.declare({
 *       goal: 'Reconcile Q3 invoices', resources: ['https://erp.example.com'], lifetime_seconds: 3600,
 *     });
 *     const answer = await mission.fetch('https://erp.example.com/invoices/17');
 *
 * @throws TypeError for an issuer that is not https or loopback, or a key that is not ES256
 */
export async function connect(options: ConnectOptions): Promise<Agent> {
  const issuer = checkedIssuer(options.issuer);
  const runtime: Runtime = {
    ...DEFAULT_RUNTIME,
    ...(options.fetch !== undefined && { fetch: options.fetch }),
    ...(options.crypto !== undefined && { crypto: options.crypto }),
    ...(options.now !== undefined && { now: options.now }),
    ...(options.random !== undefined && { random: options.random }),
  };
  const key = await keyOf(options.key, runtime.crypto);
  const broker = new BrokerClient({
    issuer,
    key,
    evidence:
      options.evidence ??
      ((request) => collectEvidence({ audience: request.issuer, jkt: request.jkt, now: runtime.now() })),
    runtime,
    backoff: { ...DEFAULT_BACKOFF, ...options.backoff },
    timeout_ms: (options.timeout_seconds ?? 10) * 1000,
  });
  const missions = new Set<Mission>();
  const held = (resources: readonly string[], manifest: ManifestAnswer, asked_at: number): Mission => {
    const closed = (mission: Mission) => void missions.delete(mission);
    const mission = new Mission({ broker, key, runtime, resources, manifest, asked_at, closed });
    missions.add(mission);
    return mission;
  };
  return {
    issuer,
    jkt: key.jkt,
    async declare(declaration) {
      const { authorization_details, template_id, creation_request_id, ...task } = declaration;
      if (creation_request_id !== undefined && task.expires_at === undefined)
        throw new TypeError(
          'with your own creation_request_id, give expires_at: a repetition must ask for the same',
        );
      const intent = intentOf(task, runtime.now());
      const asked_at = runtime.now();
      const manifest = await broker.declare({
        intent,
        ...(authorization_details !== undefined && { authorization_details }),
        ...(template_id !== undefined && { template_id }),
        creation_request_id: creation_request_id ?? runtime.crypto.randomUUID(),
      });
      return held([...declaration.resources], manifest, asked_at);
    },
    async activate(grant) {
      const value = grant instanceof DelegationGrant ? grant.value : grant;
      const resources = resourcesOf(value);
      const asked_at = runtime.now();
      return held(resources, await broker.activate(value), asked_at);
    },
    close() {
      for (const mission of missions) mission.close();
    },
  };
}

function checkedIssuer(issuer: string): string {
  const url = URL.parse(issuer);
  if (url === null || url.username !== '' || url.search !== '' || url.hash !== '' || issuer.endsWith('/'))
    throw new TypeError('issuer must be a URL without user information, query, fragment and trailing slash');
  // Evidence in clear text is anybody's evidence.
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && LOOPBACK.has(url.hostname)))
    throw new TypeError('issuer must be https; plain http is for loopback');
  return issuer;
}

async function keyOf(given: ConnectOptions['key'], crypto: webcrypto.Crypto): Promise<ProofKey> {
  if (given === undefined) return generateProofKey(crypto);
  return 'privateKey' in given ? proofKeyOf(given, crypto) : given;
}
