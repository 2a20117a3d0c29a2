/**
 * What this process observed of its missions, on its way to the broker (`POST /observations`): values by keyed digest,
 * with their origins. Off the call path and in batches; a call that depends on it waits until the broker has it.
 */
import { randomUUID } from 'node:crypto';
import { MemoryWriter, ORIGIN } from '../../behaviour/memory.ts';
import type { MissionState } from '../../behaviour/mission.ts';
import { type Observation, observationsSince } from '../../behaviour/observe.ts';
import { isJsonObject, type JsonObject, type JsonValue, parseJson } from '../../domain/json.ts';
import type { BrokerClient } from './broker-client.ts';

/** One mission as this process holds it. */
export interface ObservedMission {
  readonly mission_id: string;
  /** Of a token of this audience. */
  jti: string;
  state: MissionState;
  /** What the broker has of it; null: nothing. */
  told: MissionState | null;
}

const BATCH_MS = 10;
const BATCH_OBSERVATIONS = 500;
const BATCH_DIGESTS = 20_000;
/** Missions that wait; more are not told, and what is not told is unknown elsewhere. */
const WAITING = 10_000;
const TIMEOUT_MS = 2_000;
const MAX_ANSWER_BYTES = 4_194_304;
/** Rounds that one call waits for, where others are on their way. */
const ROUNDS = 3;

export class ObservationReports {
  readonly #client: BrokerClient;
  readonly #instance_id: string;
  /** Another process of the broker keeps them from now on: what was told is gone. */
  readonly #onReset: () => void;
  readonly #waiting = new Set<ObservedMission>();
  #observed_by: string | null = null;
  #timer: NodeJS.Timeout | null = null;
  #sending: Promise<void> | null = null;
  #seq = 0;

  constructor(client: BrokerClient, instance_id: string, onReset: () => void) {
    this.#client = client;
    this.#instance_id = instance_id;
    this.#onReset = onReset;
  }

  /** Whether the broker lacks something of this mission. */
  lacks(mission: ObservedMission): boolean {
    const { told, state } = mission;
    if (told !== null && told.memory === state.memory && told.vouched_kinds === state.vouched_kinds)
      return told.linked_sources !== state.linked_sources || told.pending !== state.pending;
    if (observationsSince(told, state).length > 0) return true;
    mission.told = state;
    return false;
  }

  /** Tells it soon. */
  soon(mission: ObservedMission): void {
    if (this.#waiting.size >= WAITING || !this.lacks(mission)) return;
    this.#waiting.add(mission);
    if (this.#timer !== null || this.#sending !== null) return;
    this.#timer = setTimeout(() => void this.#send(), BATCH_MS);
    this.#timer.unref();
  }

  /** Resolves once the broker has what is known of the mission now. @throws TypeError, or what the broker answered */
  async tell(mission: ObservedMission): Promise<void> {
    const wanted = mission.state;
    for (let round = 0; round < ROUNDS; round++) {
      if (observationsSince(mission.told, wanted).length === 0) return;
      this.#waiting.add(mission);
      await (this.#sending ?? this.#send());
    }
    if (observationsSince(mission.told, wanted).length > 0)
      throw new TypeError('observations were not taken');
  }

  /** Sends what waits, and nothing after. */
  async close(): Promise<void> {
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.#sending;
    if (this.#waiting.size > 0) await this.#send();
    this.#waiting.clear();
  }

  /** Never rejects: who waits sees by what was told. */
  #send(): Promise<void> {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#sending = this.#batch()
      .catch(() => {
        // What was lost is unknown elsewhere, and refused: nothing is cleaner for it.
      })
      .finally(() => {
        this.#sending = null;
        if (this.#waiting.size === 0 || this.#timer !== null) return;
        this.#timer = setTimeout(() => void this.#send(), BATCH_MS);
        this.#timer.unref();
      });
    return this.#sending;
  }

  async #batch(): Promise<void> {
    const taken: { readonly mission: ObservedMission; readonly state: MissionState }[] = [];
    const observations: JsonValue[] = [];
    let digests = 0;
    for (const mission of this.#waiting) {
      const { state } = mission;
      const fresh = observationsSince(mission.told, state);
      const size = fresh.reduce((sum, one) => sum + one.digests.length, 0);
      const full = observations.length + fresh.length > BATCH_OBSERVATIONS || digests + size > BATCH_DIGESTS;
      if (full && taken.length > 0) break;
      this.#waiting.delete(mission);
      taken.push({ mission, state });
      digests += size;
      for (const one of fresh) observations.push(this.#observationOf(mission, one));
    }
    if (observations.length === 0) {
      for (const { mission, state } of taken) mission.told = state;
      return;
    }
    const answer = parseJson(
      await this.#client.text('/observations', MAX_ANSWER_BYTES, {
        method: 'POST',
        timeout_ms: TIMEOUT_MS,
        json: { batch_id: randomUUID(), instance_id: this.#instance_id, observations },
      }),
    );
    this.#acknowledge(readAnswer(answer, observations.length), taken);
  }

  #observationOf(mission: ObservedMission, { origin, field, digests }: Observation): JsonObject {
    const { mission_id, jti } = mission;
    return { mission_id, jti, seq: ++this.#seq, origin, field, digests: [...digests] };
  }

  #acknowledge(
    answer: Acknowledgement,
    taken: readonly { readonly mission: ObservedMission; readonly state: MissionState }[],
  ): void {
    if (this.#observed_by !== null && this.#observed_by !== answer.observed_by) this.#onReset();
    this.#observed_by = answer.observed_by;
    for (const { mission, state } of taken) {
      const unsettled = answer.unsettled.get(mission.mission_id);
      const unchanged = mission.state === state;
      if (unsettled !== undefined) mission.state = echoed(mission.state, unsettled);
      mission.told = unchanged ? mission.state : state;
    }
  }
}

/** What the agent wrote elsewhere is an echo here, whoever vouches for it. */
function echoed(state: MissionState, { echoes, repeated }: Unsettled): MissionState {
  const writer = new MemoryWriter(state.memory);
  for (const digest of echoes) if (!writer.add(digest, ORIGIN.echo)) writer.lostEcho();
  for (const digest of repeated) if (!writer.add(digest, ORIGIN.repeated)) writer.lostEcho();
  return { ...state, memory: writer.done() };
}

interface Unsettled {
  readonly echoes: readonly string[];
  /** What a declared step told before the agent wrote it: its text still counts. */
  readonly repeated: readonly string[];
}

interface Acknowledgement {
  readonly unsettled: ReadonlyMap<string, Unsettled>;
  readonly observed_by: string;
}

/** @throws TypeError */
function readAnswer(value: JsonValue, sent: number): Acknowledgement {
  if (!isJsonObject(value) || value['accepted'] !== sent) throw new TypeError('observations were not taken');
  const { unsettled, observed_by } = value;
  if (!Array.isArray(unsettled) || typeof observed_by !== 'string')
    throw new TypeError('observations: a member is missing');
  const out = new Map<string, Unsettled>();
  for (const one of unsettled) {
    const { mission_id, digests, repeated } = isJsonObject(one) ? one : {};
    if (typeof mission_id !== 'string' || !Array.isArray(digests) || !Array.isArray(repeated))
      throw new TypeError('observations: unsettled');
    out.set(mission_id, { echoes: digests.filter(isDigest), repeated: repeated.filter(isDigest) });
  }
  return { unsettled: out, observed_by };
}

function isDigest(value: JsonValue): value is string {
  return typeof value === 'string' && /^[0-9a-f]{12}$/.test(value);
}
