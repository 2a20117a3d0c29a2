/** What the broker tells a guard of a mission (`GET /verifier/missions/{id}`), read strictly. */
import { type MissionBehaviour, receiveBehaviour } from '../../behaviour/delivery.ts';
import { type DeliveredHistory, HISTORY_DIGEST_CHARS } from '../../behaviour/history.ts';
import type { DeclaredSource } from '../../behaviour/mission.ts';
import { isJsonObject, type JsonValue, parseJson } from '../../domain/json.ts';
import type { BrokerClient } from './broker-client.ts';

export interface MissionFacts {
  readonly mission_id: string;
  /** Seconds since the epoch. */
  readonly created_at: number;
  /** Prose of the intent: read once for the values in it, never for authority. */
  readonly texts: readonly string[];
  /** Actions of this audience that the intent declares, in its order; empty where it declares none. */
  readonly declared: readonly string[];
  /** It, or a mission of its tree, has taken in untrusted content, here or elsewhere, as the broker knows by now. */
  readonly tainted: boolean;
  /** It has itself: then the broker needs no mark of it any more. */
  readonly marked: boolean;
  /** Declared by somebody who had already taken in untrusted content. */
  readonly born_tainted: boolean;
  /** What its template says of the rules; null from a broker that does not tell. */
  readonly behaviour: MissionBehaviour | null;
  /** What earlier missions of the same template and agent used here; null where the template keeps it off. */
  readonly history: DeliveredHistory | null;
  /** 32 bytes, the same for every audience and mission of the tree. */
  readonly digest_key: Uint8Array;
  /** Steps of this audience that the mission names as origins of what it does elsewhere. */
  readonly sources_for_others: readonly DeclaredSource[];
}

export type MissionFactsSource = (mission_id: string) => Promise<MissionFacts>;

const TIMEOUT_MS = 2_000;
const MAX_BYTES = 1_048_576;
const KEY_BYTES = 32;

export function missionFactsOf(client: BrokerClient): MissionFactsSource {
  return async (mission_id) => {
    const path = `/verifier/missions/${encodeURIComponent(mission_id)}`;
    const facts = readMissionFacts(parseJson(await client.text(path, MAX_BYTES, { timeout_ms: TIMEOUT_MS })));
    if (facts.mission_id !== mission_id) throw new TypeError('facts of another mission');
    return facts;
  };
}

/** Tells the broker that a mission took in untrusted content; resolves once that is durable. */
export type TaintMark = (mission_id: string, jti: string) => Promise<void>;

/** `POST /observations` (wire profile 3, mark then release). */
export function taintMarkOf(client: BrokerClient): TaintMark {
  let seq = 0;
  return async (mission_id, jti) => {
    const answer = parseJson(
      await client.text('/observations', MAX_BYTES, {
        method: 'POST',
        timeout_ms: TIMEOUT_MS,
        json: { mission_id, jti, seq: ++seq, origin: 'text', field: '*', digests: [] },
      }),
    );
    if (!isJsonObject(answer) || answer['accepted'] !== 1) throw new TypeError('the mark was not taken');
  };
}

function textsOf(value: JsonValue | undefined): string[] {
  if (!Array.isArray(value) || !value.every((item) => typeof item === 'string'))
    throw new TypeError('mission facts: expected a list of texts');
  return value as string[];
}

/** @throws TypeError */
export function readMissionFacts(value: JsonValue): MissionFacts {
  if (!isJsonObject(value)) throw new TypeError('mission facts: expected an object');
  const { mission_id, created_at, goal, constraints, success_criteria, needs } = value;
  const { tainted, marked, born_tainted, digest_key, behaviour, sources_for_others } = value;
  if (typeof mission_id !== 'string' || typeof created_at !== 'number' || typeof goal !== 'string')
    throw new TypeError('mission facts: a member is missing');
  if (
    typeof tainted !== 'boolean' ||
    typeof born_tainted !== 'boolean' ||
    typeof digest_key !== 'string' ||
    !Array.isArray(needs)
  )
    throw new TypeError('mission facts: a member is missing');
  const key = Buffer.from(digest_key, 'base64url');
  if (key.length !== KEY_BYTES) throw new TypeError('mission facts: digest key');
  const declared: string[] = [];
  const whys: string[] = [];
  for (const need of needs) {
    if (!isJsonObject(need) || typeof need['why'] !== 'string')
      throw new TypeError('mission facts: expected a need');
    whys.push(need['why']);
    declared.push(...textsOf(need['actions']));
  }
  return {
    mission_id,
    created_at,
    texts: [goal, ...textsOf(constraints), ...textsOf(success_criteria), ...whys],
    declared,
    tainted,
    // A broker that does not tell them apart speaks of the mission alone.
    marked: typeof marked === 'boolean' ? marked : tainted,
    born_tainted,
    behaviour: behaviour === undefined ? null : receiveBehaviour(behaviour),
    history: historyOf(value['history']),
    digest_key: key,
    sources_for_others: sourcesOf(sources_for_others),
  };
}

function historyOf(value: JsonValue | undefined): DeliveredHistory | null {
  if (value === undefined) return null;
  if (!isJsonObject(value)) throw new TypeError('mission facts: history');
  const { version, key, digests } = value;
  const bytes = typeof key === 'string' ? Buffer.from(key, 'base64url') : null;
  if (!Number.isSafeInteger(version) || bytes?.length !== KEY_BYTES)
    throw new TypeError('mission facts: history');
  const known = textsOf(digests);
  if (known.some(({ length }) => length !== HISTORY_DIGEST_CHARS))
    throw new TypeError('mission facts: history');
  return { version: version as number, key: bytes, digests: new Set(known) };
}

function sourcesOf(value: JsonValue | undefined): DeclaredSource[] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) throw new TypeError('mission facts: expected a list of steps');
  return value.map((one) => {
    const { action, field } = isJsonObject(one) ? one : {};
    if (typeof action !== 'string' || (field !== undefined && typeof field !== 'string'))
      throw new TypeError('mission facts: expected a step');
    return { action, ...(field !== undefined && { field }) };
  });
}
