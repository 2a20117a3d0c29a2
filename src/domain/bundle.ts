/**
 * The verifier bundle: everything but revocations that a guard needs to judge calls (wire profile 3). The broker
 * signs it as `sortie-bundle+jwt`; decisions name its version.
 */
import { malformed } from './denial.ts';
import { isJsonObject, type JsonObject, type JsonValue } from './json.ts';

export const BUNDLE_TYP = 'sortie-bundle+jwt';
/** Label of actions that the broker judges synchronously. */
export const CONSEQUENTIAL = 'consequential';

const MAX_KEYS = 64;
const MAX_ACTIONS = 10_000;

export interface Bundle {
  readonly iss: string;
  /** The audience that it is for. */
  readonly aud: string;
  /** Seconds. A guard never goes back to an older one. */
  readonly iat: number;
  /** Opaque; equals the ETag. */
  readonly version: string;
  /** Public keys of the issuer (RFC 7517), next ones included. */
  readonly keys: readonly JsonObject[];
  readonly actions: readonly { readonly name: string; readonly labels: readonly string[] }[];
  /** Read by the provenance and behaviour rules; opaque here. */
  readonly sinks: readonly JsonValue[];
  readonly field_trust: readonly JsonValue[];
  /** Version of the audience's catalogue, which `sinks` and `field_trust` deliver. Absent: it has none. */
  readonly catalogue_version?: string;
  readonly sequence_rules: readonly JsonValue[];
  readonly max_staleness_seconds: number;
  readonly max_token_seconds: number;
  /** How many processes of all verifiers share each token's allotments, at most. Absent: one. */
  readonly processes?: number;
  /** Each of them counts, and tells what it spent of tokens that are over. */
  readonly counting?: boolean;
}

function text(from: JsonObject, member: string): string {
  const value = from[member];
  if (typeof value !== 'string' || value === '') throw malformed(`bundle ${member} must be a string`);
  return value;
}

function positive(from: JsonObject, member: string): number {
  const value = from[member];
  if (typeof value !== 'number' || !(value > 0) || !Number.isFinite(value))
    throw malformed(`bundle ${member} must be a positive number`);
  return value;
}

function count(from: JsonObject, member: string): number {
  const value = from[member];
  if (!Number.isSafeInteger(value) || (value as number) < 1)
    throw malformed(`bundle ${member} must be a whole number from 1`);
  return value as number;
}

function list(from: JsonObject, member: string, max: number): readonly JsonValue[] {
  const value = from[member];
  if (!Array.isArray(value) || value.length > max)
    throw malformed(`bundle ${member} must be a list of at most ${max}`);
  return value;
}

/** Reads the payload of a bundle whose signature holds. @throws Denied `invalid_request` naming the member */
export function readBundle(payload: JsonObject): Bundle {
  const actions = list(payload, 'actions', MAX_ACTIONS).map((action) => {
    if (!isJsonObject(action)) throw malformed('bundle actions must be objects');
    const labels = list(action, 'labels', 100);
    if (!labels.every((label) => typeof label === 'string')) throw malformed('bundle labels must be strings');
    return { name: text(action, 'name'), labels: labels as readonly string[] };
  });
  const keys = list(payload, 'keys', MAX_KEYS);
  if (!keys.every(isJsonObject)) throw malformed('bundle keys must be objects');
  return {
    iss: text(payload, 'iss'),
    aud: text(payload, 'aud'),
    iat: positive(payload, 'iat'),
    version: text(payload, 'version'),
    keys: keys as readonly JsonObject[],
    actions,
    sinks: list(payload, 'sinks', MAX_ACTIONS),
    field_trust: list(payload, 'field_trust', MAX_ACTIONS),
    sequence_rules: list(payload, 'sequence_rules', MAX_ACTIONS),
    max_staleness_seconds: positive(payload, 'max_staleness_seconds'),
    max_token_seconds: positive(payload, 'max_token_seconds'),
    ...(payload['catalogue_version'] !== undefined && {
      catalogue_version: text(payload, 'catalogue_version'),
    }),
    ...(payload['processes'] !== undefined && { processes: count(payload, 'processes') }),
    ...(payload['counting'] === true && { counting: true }),
  };
}
