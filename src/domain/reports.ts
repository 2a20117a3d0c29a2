/**
 * What verifiers report (wire profile 3, decision events and observations): read from the wire, member by member.
 * Nothing here is believed because it is well formed; it only becomes safe to keep and to show.
 */
import { HISTORY_DIGEST_CHARS } from '../behaviour/history.ts';
import { isJsonObject, type JsonValue } from './json.ts';
import { type ReportedVerdict, readVerdictReport } from './verdict-report.ts';

/**
 * Whether the call's own proof stands behind an event. Only `valid` counts for automation; everything else is for
 * display. `unchecked`: more proofs than are verified in one second; `repeated`: the proof stood behind another event.
 */
export type ProofState = 'valid' | 'absent' | 'invalid' | 'repeated' | 'unchecked';

/** One permit or deny of one call, as a verifier tells it. */
export interface DecisionEvent {
  /** Seconds, by the verifier's clock. */
  readonly ts: number;
  readonly jti: string;
  readonly mission_id: string;
  /** Counts the verifier process's events. */
  readonly seq: number;
  readonly action: string;
  readonly resource: string;
  readonly labels: readonly string[];
  readonly decision: 'permit' | 'deny';
  /** Code of the denial; `permitted`. */
  readonly reason: string;
  readonly outcome: string;
  readonly latency_us: number;
  /** `hmac-sha-256:`; an unkeyed digest could be guessed and is not kept. */
  readonly parameters_digest?: string;
  readonly region?: string;
  readonly bytes?: number;
  /** The call's DPoP proof. */
  readonly proof?: string;
  /** The token of the call, where its verdict asks for more than the denial: `ath` of the proof is checked with it. */
  readonly access_token?: string;
  /** What the behaviour rules found. */
  readonly verdict?: ReportedVerdict;
  /** Of a permitted effect: digests of its proven destinations under the history's key of its template. */
  readonly destinations?: readonly string[];
}

/** {@link DecisionEvent} as kept: proof and token are judged once and not stored. */
export interface KeptDecision extends Omit<DecisionEvent, 'proof' | 'access_token'> {
  readonly proof: ProofState;
  /** When the agent made the proof, seconds by its clock; only of a valid one that names the event's own token. */
  readonly proven_at?: number;
}

/** Where values that a mission has seen came from: digests only. */
export interface ObservationReport {
  readonly mission_id: string;
  readonly jti: string;
  readonly seq: number;
  readonly origin: string;
  readonly field: string;
  readonly digests: readonly string[];
}

const ID_MAX = 128;
const NAME_MAX = 256;
const RESOURCE_MAX = 2048;
const CODE_MAX = 64;
const LABELS_MAX = 16;
const PROOF_MAX = 4096;
const TOKEN_MAX = 16_384;
const DIGESTS_MAX = 1024;
const DIGEST_MAX = 80;
const DESTINATIONS_MAX = 64;
const KEYED = 'hmac-sha-256:';
const KEYED_LENGTH = KEYED.length + 43;

/** Null for anything that is not a decision event. Unknown members are left out. */
export function readDecisionEvent(value: JsonValue): DecisionEvent | null {
  if (!isJsonObject(value)) return null;
  const { ts, jti, mission_id, seq, action, resource, decision, reason, latency_us } = value;
  const { labels = [], outcome = '', parameters_digest, region, bytes, proof, access_token } = value;
  if (!isAmount(ts) || !isText(jti, ID_MAX) || !isText(mission_id, ID_MAX) || !isCount(seq)) return null;
  if (!isText(action, NAME_MAX) || !isText(resource, RESOURCE_MAX) || !isCode(reason)) return null;
  if (decision !== 'permit' && decision !== 'deny') return null;
  if (outcome !== '' && !isCode(outcome)) return null;
  if (!isAmount(latency_us) || !isTextList(labels, LABELS_MAX, CODE_MAX)) return null;
  if (parameters_digest !== undefined && !isKeyedDigest(parameters_digest)) return null;
  if (region !== undefined && !isText(region, CODE_MAX)) return null;
  if (bytes !== undefined && !isCount(bytes)) return null;
  if (proof !== undefined && !isText(proof, PROOF_MAX)) return null;
  if (access_token !== undefined && !isText(access_token, TOKEN_MAX)) return null;
  const verdict =
    value['verdict'] === undefined ? undefined : readVerdictReport(value['verdict'], { mission_id, action });
  if (verdict === null) return null;
  const { destinations } = value;
  if (destinations !== undefined && !isHistoryDigests(destinations)) return null;
  return {
    ts,
    jti,
    mission_id,
    seq,
    action,
    resource,
    labels,
    decision,
    reason,
    outcome,
    latency_us,
    ...(parameters_digest !== undefined && { parameters_digest }),
    ...(region !== undefined && { region }),
    ...(bytes !== undefined && { bytes }),
    ...(proof !== undefined && { proof }),
    ...(access_token !== undefined && { access_token }),
    ...(verdict !== undefined && { verdict }),
    ...(destinations !== undefined && { destinations }),
  };
}

/** Null for anything that is not an observation. */
export function readObservation(value: JsonValue): ObservationReport | null {
  if (!isJsonObject(value)) return null;
  const { mission_id, jti, seq, origin, field, digests } = value;
  if (!isText(mission_id, ID_MAX) || !isText(jti, ID_MAX) || !isCount(seq)) return null;
  if (!isCode(origin) || !isText(field, NAME_MAX)) return null;
  if (!isTextList(digests, DIGESTS_MAX, DIGEST_MAX) || !digests.every(isDigest)) return null;
  return { mission_id, jti, seq, origin, field, digests };
}

/** An event that counts against an agent or for an effect needs the call's proof. */
export function needsProof(event: DecisionEvent): boolean {
  if (event.decision === 'deny') return true;
  // What only reads changes nothing; every other label is an effect of some kind.
  return event.labels.some((label) => label !== 'read');
}

function isText(value: JsonValue | undefined, max: number): value is string {
  return typeof value === 'string' && value.length > 0 && value.length <= max;
}

function isAmount(value: JsonValue | undefined): value is number {
  return typeof value === 'number' && value >= 0 && Number.isFinite(value);
}

function isCount(value: JsonValue | undefined): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isTextList(value: JsonValue | undefined, most: number, max: number): value is string[] {
  return Array.isArray(value) && value.length <= most && value.every((item) => isText(item, max));
}

/** `snake_case` as codes are: prose of a verifier would be prose that a person reads as the broker's. */
function isCode(value: JsonValue | undefined): value is string {
  return isText(value, CODE_MAX) && isWord(value);
}

function isHistoryDigests(value: JsonValue): value is string[] {
  return isTextList(value, DESTINATIONS_MAX, HISTORY_DIGEST_CHARS);
}

function isKeyedDigest(value: JsonValue | undefined): value is string {
  return typeof value === 'string' && value.startsWith(KEYED) && value.length === KEYED_LENGTH;
}

/** A keyed digest, or the shortened form in which a mission's memory keeps it (12 hexadecimal digits). */
function isDigest(value: string): boolean {
  return (value.length === 12 && isWord(value)) || isKeyedDigest(value);
}

function isWord(text: string): boolean {
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    if (!((unit >= 0x61 && unit <= 0x7a) || (unit >= 0x30 && unit <= 0x39) || unit === 0x5f)) return false;
  }
  return true;
}
