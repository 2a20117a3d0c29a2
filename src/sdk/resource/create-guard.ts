/** One call that protects a resource server: guard, feed, bundle, events. */
import { randomUUID } from 'node:crypto';
import type { BehaviourRules } from '../../behaviour/rules.ts';
import type { VerdictRecord } from '../../behaviour/verdict.ts';
import type { JsonObject } from '../../domain/json.ts';
import type { Alarm } from './alarm.ts';
import { askBroker } from './ask-broker.ts';
import { BehaviourJudge, type BehaviourMode } from './behaviour.ts';
import { BrokerClient, type VerifierIdentity } from './broker-client.ts';
import { BundleSource } from './bundle-source.ts';
import { ClockWatch } from './clock-watch.ts';
import { DecisionEvents, observers } from './decision-events.ts';
import { FeedClient } from './feed-client.ts';
import { type DecisionObserver, Guard } from './guard.ts';
import { metadataUrl, resourceMetadata } from './metadata.ts';
import { missionFactsOf, taintMarkOf } from './mission-facts.ts';
import { ObservationReports } from './observation-reports.ts';
import { Settlement } from './settlement.ts';
import { type GuardLimits, GuardState, type SequenceJudge } from './state.ts';
import { OpenStreams } from './streams.ts';
import type { VerifiedToken } from './token.ts';

export interface CreateGuardOptions {
  /** Issuer identifier of the broker, as tokens carry it. */
  readonly issuer: string;
  /** This resource server's registered `resource` URI, as tokens carry it in `aud`. */
  readonly audience: string;
  /** The registered verifier and its private key. */
  readonly verifier: VerifierIdentity;
  /** Where the broker is reached, if not at its issuer identifier. */
  readonly broker_url?: string;
  /** Shown to people in the RFC 9728 metadata. */
  readonly resource_name?: string;
  /** Whether the metadata tells that bearer tokens are taken. What is taken is decided by each token's binding. */
  readonly bearer_allowed?: boolean;
  /** Processes of this verifier that share each token's allotment. Default 1. */
  readonly processes?: number;
  /** Names this process to the broker. Default: random. */
  readonly instance_id?: string;
  /** Decisions that are reported to the broker. Default `all`. */
  readonly events?: 'all' | 'denials' | 'none';
  /**
   * A keyed digest of a call's parameters for its event, so that the broker can tell equal calls from different ones
   * without seeing either. Called in the call's turn. Default: none is sent, because an unkeyed digest of an amount or
   * an address can be guessed.
   */
  readonly parameters_digest?: (mission_id: string, parameters: JsonObject) => string;
  /** Told of every decision as well, in this process. */
  readonly observer?: DecisionObserver;
  /** Rules over sequences and provenance. Without it a bundle that has such rules makes every call denied. */
  readonly sequence?: SequenceJudge;
  /**
   * Judges effects by where their destinations come from, and takes in answers (docs/containment.md). Default
   * `enforce`; without a catalogue in the audience's bundle nothing is judged. Not with {@link sequence}.
   */
  readonly behaviour?: BehaviourMode | 'off';
  /** Rules in force; default: all of them. */
  readonly behaviour_rules?: BehaviourRules;
  /** Missions whose behaviour is held at once. Default 8,192; about 2 kB each. */
  readonly behaviour_missions?: number;
  /** Told of every verdict of the behaviour rules: for the operator's own log, never for the caller. */
  readonly onVerdict?: (record: VerdictRecord, token: VerifiedToken) => void;
  readonly limits?: GuardLimits;
  /** Told of gaps, rollbacks and forgeries. */
  readonly onAlarm?: Alarm;
  /** Seconds since the epoch. Default: the system's clock. */
  readonly now?: () => number;
  readonly fetch?: typeof globalThis.fetch;
}

/** How fresh and how full a guard is; fit for a health endpoint and for metrics. */
export interface GuardHealth {
  readonly ready: boolean;
  readonly bundle_version: string | null;
  readonly epoch: number;
  readonly seq: number;
  /** Infinite before the first snapshot. */
  readonly revocation_age_seconds: number;
  readonly revocations: number;
  readonly revocation_bytes: number;
  readonly cached_tokens: number;
  readonly open_streams: number;
  readonly events_waiting: number;
  readonly events_lost: number;
}

export interface RunningGuard {
  readonly guard: Guard;
  /** Resolves when calls can be permitted. Until then every call is denied with 503. */
  readonly ready: Promise<void>;
  health(): GuardHealth;
  /** Ends feed and events. Calls are denied once the last heartbeat is too old. */
  close(): Promise<void>;
}

/** Streams are looked at this often for what the clock ends. */
const SWEEP_MS = 1_000;

/** @throws TypeError for a verifier key that cannot sign */
export function createGuard(options: CreateGuardOptions): RunningGuard {
  const now = options.now ?? (() => Date.now() / 1000);
  const alarm: Alarm = options.onAlarm ?? (() => {});
  const instance_id = options.instance_id ?? randomUUID();
  const client = new BrokerClient({
    issuer: options.issuer,
    verifier: options.verifier,
    now,
    ...(options.broker_url === undefined ? {} : { broker_url: options.broker_url }),
    ...(options.fetch === undefined ? {} : { fetch: options.fetch }),
  });
  const mode = options.sequence === undefined ? (options.behaviour ?? 'enforce') : 'off';
  const ask = askBroker(client, mode);
  const behaviour = behaviourOf();
  const state: GuardState = new GuardState({
    issuer: options.issuer,
    audience: options.audience,
    started_at: now(),
    processes: options.processes ?? 1,
    sequence: options.sequence ?? behaviour,
    limits: options.limits ?? {},
    onUnknownKey: () => feed.keyWanted(),
  });
  function behaviourOf(): BehaviourJudge | null {
    if (mode === 'off') return null;
    return new BehaviourJudge({
      mode,
      bundle: () => state.bundle,
      facts: missionFactsOf(client),
      mark: taintMarkOf(client),
      reports: (onReset) => new ObservationReports(client, instance_id, onReset),
      ask,
      ...(options.behaviour_rules === undefined ? {} : { rules: options.behaviour_rules }),
      ...(options.behaviour_missions === undefined ? {} : { missions: options.behaviour_missions }),
      ...(options.onVerdict === undefined ? {} : { onVerdict: options.onVerdict }),
    });
  }
  const streams = new OpenStreams(state);
  const feed: FeedClient = new FeedClient({
    client,
    bundles: new BundleSource(client, state, alarm),
    state,
    instance_id,
    now,
    alarm,
    onChange: () => streams.sweep(now()),
  });
  const events =
    options.events === 'none'
      ? null
      : new DecisionEvents({
          client,
          instance_id,
          what: options.events ?? 'all',
          bundle_version: () => state.bundle?.version ?? null,
          ...(options.parameters_digest === undefined ? {} : { digest: options.parameters_digest }),
        });
  const guard = new Guard({
    state,
    streams,
    now,
    metadata: resourceMetadata({
      resource: options.audience,
      issuer: options.issuer,
      bearer_allowed: options.bearer_allowed ?? false,
      ...(options.resource_name === undefined ? {} : { resource_name: options.resource_name }),
    }),
    metadata_url: metadataUrl(options.audience),
    observer: observers(events, options.observer ?? null),
    ask,
  });
  const clock = options.now === undefined ? new ClockWatch(now) : null;
  const settlement = new Settlement({ client, state, now });
  const sweep = setInterval(() => {
    if (clock?.wasSetBack() === true) {
      // Nothing is certain until the broker is heard again: the next heartbeat brings a snapshot.
      state.revocations.doubt();
      alarm('gap', 'the clock of this machine was set back');
    }
    streams.sweep(now());
  }, SWEEP_MS);
  sweep.unref();
  feed.start();
  return {
    guard,
    ready: feed.ready,
    health: () => ({
      ready: state.bundle !== null && !state.revocations.stale(now(), state.bundle.max_staleness_seconds),
      bundle_version: state.bundle?.version ?? null,
      epoch: state.revocations.epoch,
      seq: state.revocations.seq,
      revocation_age_seconds: state.revocations.age(now()),
      revocations: state.revocations.footprint.entries,
      revocation_bytes: state.revocations.footprint.bytes,
      cached_tokens: state.tokens.size,
      open_streams: streams.size,
      events_waiting: events?.waiting ?? 0,
      events_lost: events?.lost ?? 0,
    }),
    async close() {
      clearInterval(sweep);
      await feed.close();
      await events?.close();
      await behaviour?.close();
      await settlement.close();
    },
  };
}
