/** What the broker tells a guard of a mission (`GET /verifier/missions/{id}`), read strictly. */
import { type MissionBehaviour, receiveBehaviour } from '../../behaviour/delivery.ts';
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
  /** It has taken in untrusted content, here or at another audience, as the broker knows by now. */
  readonly tainted: boolean;
  /** Declared by somebody who had already taken in untrusted content. */
  readonly born_tainted: boolean;
  /** What its template says of the rules; null from a broker that does not tell. */
  readonly behaviour: MissionBehaviour | null;
  /** 32 bytes. */
  readonly digest_key: Uint8Array;
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
  const { tainted, born_tainted, digest_key, behaviour } = value;
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
    born_tainted,
    behaviour: behaviour === undefined ? null : receiveBehaviour(behaviour),
    digest_key: key,
  };
}
