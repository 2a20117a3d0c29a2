/**
 * `POST /events` and `POST /observations` (wire profile 3): what verifiers report, kept as one row a batch. A
 * verifier reports on tokens minted for its own audience; all else is dropped, counted and shown.
 */
import { createHash } from 'node:crypto';
import { Denied, malformed } from '../domain/denial.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../domain/json.ts';
import {
  type KeptDecision,
  needsProof,
  type ObservationReport,
  readDecisionEvent,
  readObservation,
} from '../domain/reports.ts';
import { type Ports, type ReportRecord, type VerifierPolicy, type Write, WriteConflict } from '../ports.ts';
import { createCallProofs } from './call-proofs.ts';
import type { Provenance, Unsettled } from './provenance.ts';

export const BATCH_ITEMS = 1000;
const ID_MAX = 128;
/** Batches at work at once: what comes on top is told to come again, and the verifier counts what it then loses. */
const AT_WORK = 32;
/** Of one verifier: a busy one leaves room for the others. */
const AT_WORK_EACH = 12;
/** Tokens whose mission and audience are remembered. */
const REMEMBERED = 20_000;
const RETRY_AFTER_SECONDS = 1;
const ID_BYTES = 16;
/** Origin of an observation that marks its mission (wire profile 3, mark then release). */
const UNTRUSTED = 'text';
/** Items of a batch that gives others a turn. */
const LARGE = 100;

/** Answer to a batch. */
export interface Accepted {
  readonly accepted: number;
  readonly dropped: { readonly foreign: number; readonly malformed: number };
  /** Denials and effects of the batch with a valid proof of the call behind them. */
  readonly proven: number;
  /** The same batch was kept before; nothing is counted twice. */
  readonly repeated: boolean;
}

export interface AcceptedObservations extends Accepted {
  /** Values of the batch that were vouched for, and prove nothing: the agent had written them before. */
  readonly unsettled: readonly Unsettled[];
  /** Which process keeps them: what another one was told is gone. */
  readonly observed_by: string;
}

/** A batch as it became durable: what the behaviour engine and live streams are told. */
export interface ReportedBatch {
  readonly id: string;
  readonly verifier: VerifierPolicy;
  readonly received_at: number;
  readonly bundle_version: string | null;
  readonly decisions: readonly KeptDecision[];
  readonly observations: readonly ObservationReport[];
}

export interface Reports {
  /** Before a body is even read as JSON. @throws Denied `overloaded` */
  requireRoom(verifier: VerifierPolicy): void;
  /** @throws Denied `invalid_request` for an envelope that is none, `overloaded` */
  events(verifier: VerifierPolicy, body: JsonValue): Promise<Accepted>;
  /** @throws Denied `invalid_request`, `overloaded` */
  observations(verifier: VerifierPolicy, body: JsonValue): Promise<AcceptedObservations>;
  /** Called once for each batch after it is durable, in no promised order. @returns what ends it */
  onBatch(listener: (batch: ReportedBatch) => void): () => void;
}

interface Envelope {
  readonly id: string;
  readonly instance_id: string;
  readonly lost: number;
  readonly bundle_version: string | null;
  readonly items: readonly JsonValue[];
}

interface MintedToken {
  readonly mission_id: string;
  readonly audience: string;
  readonly jkt: string;
}

/** What is kept of a batch, and what of it counts. */
interface Sorted<T> {
  readonly kept: readonly T[];
  readonly dropped: { foreign: number; malformed: number };
  readonly proven: number;
}

export function createReports(ports: Ports, provenance: Provenance): Reports {
  const proofs = createCallProofs(ports);
  const tokens = createTokenMemory(ports);
  const listeners = new Set<(batch: ReportedBatch) => void>();
  const by_verifier = new Map<string, number>();
  let at_work = 0;

  function requireRoom(verifier: VerifierPolicy): void {
    if (at_work >= AT_WORK || (by_verifier.get(verifier.id) ?? 0) >= AT_WORK_EACH)
      throw new Denied({ tag: 'overloaded', retry_after_seconds: RETRY_AFTER_SECONDS }, 'reports at work');
  }

  async function bounded<T>(verifier: VerifierPolicy, work: () => Promise<T>): Promise<T> {
    requireRoom(verifier);
    const { id } = verifier;
    at_work++;
    by_verifier.set(id, (by_verifier.get(id) ?? 0) + 1);
    try {
      return await work();
    } finally {
      at_work--;
      const left = (by_verifier.get(id) ?? 1) - 1;
      if (left === 0) by_verifier.delete(id);
      else by_verifier.set(id, left);
    }
  }

  async function sortDecisions(
    verifier: VerifierPolicy,
    items: readonly JsonValue[],
    now: number,
  ): Promise<Sorted<KeptDecision>> {
    const dropped = { foreign: 0, malformed: 0 };
    const kept: KeptDecision[] = [];
    let proven = 0;
    for (const item of items) {
      const event = readDecisionEvent(item);
      if (event === null) {
        dropped.malformed++;
        continue;
      }
      const token = tokens.known(event.jti) ?? (await tokens.find(event.jti));
      if (token === null || token.audience !== verifier.audience || token.mission_id !== event.mission_id) {
        dropped.foreign++;
        continue;
      }
      const { proof: _proof, access_token: _token, ...told } = event;
      const { proof, proven_at } = needsProof(event)
        ? await proofs.judge(event, verifier.id, token.jkt, now)
        : ({ proof: 'absent', proven_at: null } as const);
      if (proof === 'valid') proven++;
      kept.push({ ...told, proof, ...(proven_at !== null && { proven_at }) });
    }
    return { kept, dropped, proven };
  }

  async function sortObservations(
    verifier: VerifierPolicy,
    items: readonly JsonValue[],
  ): Promise<Sorted<ObservationReport>> {
    const dropped = { foreign: 0, malformed: 0 };
    const kept: ObservationReport[] = [];
    for (const item of items) {
      const observation = readObservation(item);
      if (observation === null) {
        dropped.malformed++;
        continue;
      }
      const token = tokens.known(observation.jti) ?? (await tokens.find(observation.jti));
      const own = token?.audience === verifier.audience && token.mission_id === observation.mission_id;
      if (own) kept.push(observation);
      else dropped.foreign++;
    }
    return { kept, dropped, proven: 0 };
  }

  /** Durable before the answer: what a verifier was told is kept stays kept. */
  async function keep<T extends KeptDecision | ObservationReport>(
    kind: ReportRecord['kind'],
    verifier: VerifierPolicy,
    envelope: Envelope,
    sorted: Sorted<T>,
    now: number,
  ): Promise<Accepted> {
    const { kept, dropped, proven } = sorted;
    const missions = new Set<string>();
    let denials = 0;
    for (const item of kept) {
      missions.add(item.mission_id);
      if ('decision' in item && item.decision === 'deny') denials++;
    }
    // Reading took milliseconds, and packing takes some more: the revocation feed goes between.
    if (kept.length > LARGE) await new Promise((turn) => setImmediate(turn));
    const report: ReportRecord = {
      id: envelope.id,
      kind,
      verifier_id: verifier.id,
      instance_id: envelope.instance_id,
      audience: verifier.audience,
      received_at: now,
      bundle_version: envelope.bundle_version,
      count: kept.length,
      denials,
      missions: [...missions],
      body: JSON.stringify(kept),
    };
    try {
      await ports.store.atomically([
        { kind: 'insert_report', report, dropped, lost: envelope.lost },
        ...marksOf(kept),
      ]);
    } catch (cause) {
      if (!(cause instanceof WriteConflict) || cause.conflict !== 'repeated') throw cause;
      return { accepted: kept.length, dropped, proven, repeated: true };
    }
    return { accepted: kept.length, dropped, proven, repeated: false };
  }

  function announce(batch: ReportedBatch): void {
    for (const listener of listeners) {
      try {
        listener(batch);
      } catch (cause) {
        // The batch is kept whatever a listener makes of it; a broken one must not pass for a broken report.
        setImmediate(() => {
          throw cause;
        });
      }
    }
  }

  return {
    requireRoom,
    events: (verifier, body) =>
      bounded(verifier, async () => {
        const envelope = readEnvelope('decisions', 'events', verifier, body);
        const now = ports.clock.now();
        const sorted = await sortDecisions(verifier, envelope.items, now);
        const accepted = await keep('decisions', verifier, envelope, sorted, now);
        if (!accepted.repeated && sorted.kept.length > 0)
          announce({ ...batchOf(envelope, verifier, now), decisions: sorted.kept });
        return accepted;
      }),
    observations: (verifier, body) =>
      bounded(verifier, async () => {
        const envelope = readEnvelope('observations', 'observations', verifier, body);
        const now = ports.clock.now();
        const sorted = await sortObservations(verifier, envelope.items);
        const trees = await provenance.trees(sorted.kept.map(({ mission_id }) => mission_id));
        const accepted = await keep('observations', verifier, envelope, sorted, now);
        // A batch that is repeated is answered as at first: what it says adds nothing.
        const unsettled = provenance.take(trees, verifier, sorted.kept);
        if (!accepted.repeated && sorted.kept.length > 0)
          announce({ ...batchOf(envelope, verifier, now), observations: sorted.kept });
        return { ...accepted, unsettled, observed_by: provenance.epoch };
      }),
    onBatch(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
}

function batchOf(envelope: Envelope, verifier: VerifierPolicy, received_at: number): ReportedBatch {
  const { id, bundle_version } = envelope;
  return { id, verifier, received_at, bundle_version, decisions: [], observations: [] };
}

/** Missions that took in what strangers wrote: tainted before the verifier is answered, and so before it releases it. */
function marksOf(kept: readonly (KeptDecision | ObservationReport)[]): Write[] {
  const missions = new Set<string>();
  for (const item of kept) if ('origin' in item && item.origin === UNTRUSTED) missions.add(item.mission_id);
  return [...missions].map((id) => ({ kind: 'taint', id }));
}

/** @throws Denied `invalid_request` */
function readEnvelope(
  kind: ReportRecord['kind'],
  member: 'events' | 'observations',
  verifier: VerifierPolicy,
  body: JsonValue,
): Envelope {
  if (!isJsonObject(body)) throw malformed('the body must be an object');
  // A single observation is a batch of one: its own content is its id.
  const single = member === 'observations' && body['observations'] === undefined;
  const { batch_id, instance_id, lost, bundle_version }: JsonObject = single ? {} : body;
  const items = single ? [body] : body[member];
  if (!Array.isArray(items) || items.length > BATCH_ITEMS)
    throw malformed(`${member} must be a list of at most ${BATCH_ITEMS}`);
  const reported = lost ?? 0;
  if (!Number.isSafeInteger(reported) || (reported as number) < 0) throw malformed('lost must be a count');
  const own_id = single ? JSON.stringify(body) : text(batch_id, 'batch_id');
  return {
    id: `dec_${createHash('sha256')
      .update(JSON.stringify([kind, verifier.id, own_id]))
      .digest()
      .subarray(0, ID_BYTES)
      .toString('base64url')}`,
    instance_id: instance_id === undefined ? 'default' : text(instance_id, 'instance_id'),
    lost: reported as number,
    bundle_version: bundle_version === undefined ? null : text(bundle_version, 'bundle_version'),
    items,
  };
}

function text(value: JsonValue | undefined, at: string): string {
  if (typeof value !== 'string' || value === '' || value.length > ID_MAX)
    throw malformed(`${at} must be text of 1 to ${ID_MAX} characters`);
  return value;
}

/** What a `jti` was minted for never changes, so it may be remembered; one that was never minted is looked up again. */
function createTokenMemory(ports: Ports) {
  let young = new Map<string, MintedToken>();
  let old = new Map<string, MintedToken>();
  const remember = (jti: string, token: MintedToken): MintedToken => {
    if (young.size >= REMEMBERED / 2) {
      old = young;
      young = new Map();
    }
    young.set(jti, token);
    return token;
  };
  return {
    known(jti: string): MintedToken | null {
      const token = young.get(jti);
      if (token !== undefined) return token;
      const older = old.get(jti);
      return older === undefined ? null : remember(jti, older);
    },
    async find(jti: string): Promise<MintedToken | null> {
      const credential = await ports.store.credential(jti);
      if (credential === null) return null;
      const { mission_id, target, jkt } = credential;
      return remember(jti, { mission_id, audience: target, jkt });
    },
  };
}
