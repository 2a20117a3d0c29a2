/** The broker's answers, read once and strictly: what does not have the promised shape is a fault, never a default. */
import { decodeJwt } from 'jose';
import type { AuthorityEntry, AuthoritySet } from '../../domain/authority/index.ts';
import { isJsonObject, type JsonObject, type JsonValue, parseJson } from '../../domain/json.ts';
import { instant } from '../../domain/reader.ts';
import { readCredentialValue } from './credential-values.ts';
import type { BrokerRefusal } from './errors.ts';
import { UnexpectedAnswer } from './unexpected-answer.ts';

export { UnexpectedAnswer };

/** An answer fits, a flood does not. */
const ANSWER_LIMITS = { max_bytes: 1_048_576, max_depth: 24, max_members: 50_000 };

/** One cut that the broker made between what was asked for and what was granted. */
export interface Narrowed {
  readonly wanted: JsonValue;
  /** Null: nothing of it was granted. */
  readonly granted: JsonValue;
  readonly reason: string;
  /** The rule that cut, such as `template invoices@1: ceiling[0].actions`. */
  readonly rule: string;
}

/** One thing that the mission holds, without its value. */
export interface HeldCredential {
  readonly id: string;
  /** `jwt` for an access token, else the kind of provider credential. */
  readonly type: string;
  /** What it is for: an audience, or a role or path at a provider. */
  readonly audience: string;
  /** RFC 3339. */
  readonly expires_at: string;
  /** Seconds that it can still work at worst after it was revoked. */
  readonly residual_after_revoke_seconds: number;
  /** What that rests on, for a provider credential. */
  readonly residual_reason?: string;
}

export interface ManifestAnswer {
  readonly id: string;
  readonly state: string;
  readonly version: number;
  /** Seconds since the epoch, by the broker's clock. */
  readonly expires_at: number;
  readonly attest_before: number;
  readonly template: { readonly id: string; readonly version: string };
  readonly authority: AuthoritySet;
  /** What no token was given yet, by limit. */
  readonly limits: {
    readonly [Limit in 'derivations' | 'max_calls' | 'max_egress_volume']?: {
      readonly max: number;
      readonly left: number;
    };
  };
  readonly credentials: readonly HeldCredential[];
  readonly narrowed: readonly Narrowed[];
  /** Access tokens by audience; only in the answer that minted them. */
  readonly tokens: ReadonlyMap<string, { readonly value: string; readonly token_type: 'DPoP' | 'Bearer' }>;
  /** Values of provider credentials by id, veiled; only in the answer that issued them. */
  readonly values: ReadonlyMap<string, JsonObject>;
  /** In the answer to a renewal: the id that was asked for, and the id of what took its place. */
  readonly replaced: ReadonlyMap<string, string>;
}

export interface TokenAnswer {
  readonly value: string;
  readonly token_type: 'DPoP' | 'Bearer';
  readonly expires_in: number;
}

/** A child mission that waits for its agent. */
export interface ReservationAnswer {
  readonly grant: string;
  readonly mission_id: string;
  readonly expires_in: number;
}

/** What a token says about itself. Read without verifying: it came from the broker's own answer. */
export interface TokenFacts {
  readonly id: string;
  readonly iat: number;
  readonly exp: number;
  /** Of the mission when it was minted. */
  readonly version: number;
}

/** @throws UnexpectedAnswer */
export function readManifest(text: string): ManifestAnswer {
  const body = objectOf(parsed(text), 'the body');
  const mission = objectOf(body['mission'], 'mission');
  const template = objectOf(mission['template'], 'mission.template');
  const credentials = listOf(body['credentials'], 'credentials').map((item) =>
    objectOf(item, 'credentials[]'),
  );
  const tokens = new Map<string, { value: string; token_type: 'DPoP' | 'Bearer' }>();
  const values = new Map<string, JsonObject>();
  const replaced = new Map<string, string>();
  for (const { id, type, audience, value, token_type, replaces } of credentials) {
    if (typeof replaces === 'string') replaced.set(replaces, textOf(id, 'credentials[].id'));
    if (value === undefined) continue;
    if (type === 'jwt')
      tokens.set(textOf(audience, 'credentials[].audience'), {
        value: textOf(value, 'credentials[].value'),
        token_type: tokenTypeOf(token_type),
      });
    else
      values.set(
        textOf(id, 'credentials[].id'),
        readCredentialValue(textOf(type, 'credentials[].type'), value),
      );
  }
  return {
    id: textOf(mission['id'], 'mission.id'),
    state: textOf(mission['state'], 'mission.state'),
    version: numberOf(mission['version'], 'mission.version'),
    expires_at: timeOf(mission['expires_at'], 'mission.expires_at'),
    attest_before: timeOf(mission['attest_before'], 'mission.attest_before'),
    template: {
      id: textOf(template['id'], 'mission.template.id'),
      version: textOf(template['version'], 'mission.template.version'),
    },
    authority: listOf(body['authorization_details'], 'authorization_details').map((entry) => {
      const object = objectOf(entry, 'authorization_details[]');
      textOf(object['type'], 'authorization_details[].type');
      return object as unknown as AuthorityEntry;
    }),
    limits: objectOf(body['limits'] ?? {}, 'limits') as ManifestAnswer['limits'],
    credentials: credentials.map((credential) => ({
      id: textOf(credential['id'], 'credentials[].id'),
      type: textOf(credential['type'], 'credentials[].type'),
      audience: textOf(
        credential['audience'] ?? credential['role'] ?? credential['path'],
        'credentials[].audience',
      ),
      expires_at: textOf(credential['expires_at'], 'credentials[].expires_at'),
      residual_after_revoke_seconds: numberOf(
        credential['residual_after_revoke_seconds'],
        'credentials[].residual_after_revoke_seconds',
      ),
      ...(typeof credential['residual_reason'] === 'string' && {
        residual_reason: credential['residual_reason'],
      }),
    })),
    narrowed: narrowedOf(body),
    tokens,
    values,
    replaced,
  };
}

/** @throws UnexpectedAnswer */
export function readToken(text: string): TokenAnswer {
  const body = objectOf(parsed(text), 'the body');
  return {
    value: textOf(body['access_token'], 'access_token'),
    token_type: tokenTypeOf(body['token_type']),
    expires_in: numberOf(body['expires_in'], 'expires_in'),
  };
}

/** @throws UnexpectedAnswer */
export function readReservation(text: string): ReservationAnswer {
  const body = objectOf(parsed(text), 'the body');
  return {
    grant: textOf(body['access_token'], 'access_token'),
    mission_id: textOf(body['mission_id'], 'mission_id'),
    expires_in: numberOf(body['expires_in'], 'expires_in'),
  };
}

/** @throws UnexpectedAnswer */
export function readTokenFacts(value: string): TokenFacts {
  let claims: JsonObject;
  try {
    claims = decodeJwt(value) as unknown as JsonObject;
  } catch {
    throw new UnexpectedAnswer('the access token is not a JWT');
  }
  const mission = objectOf(claims['mission'], "the token's mission");
  return {
    id: textOf(claims['jti'], "the token's jti"),
    iat: numberOf(claims['iat'], "the token's iat"),
    exp: numberOf(claims['exp'], "the token's exp"),
    version: numberOf(mission['version'], "the token's mission.version"),
  };
}

/** An error body of either style (RFC 6749 section 5.2, RFC 9457); null if it is neither. */
export function readRefusal(status: number, text: string): BrokerRefusal | null {
  let body: JsonValue;
  try {
    body = parsed(text);
  } catch {
    return null;
  }
  if (!isJsonObject(body)) return null;
  const type = body['type'];
  const problem = typeof type === 'string' ? (type.split(':').at(-1) ?? null) : null;
  const error = optionalText(body['error']) ?? problem;
  if (error === null) return null;
  return {
    status,
    error,
    description: optionalText(body['error_description']) ?? optionalText(body['detail']),
    reason: optionalText(body['mission_denial_reason']),
    mission_error: optionalText(body['mission_error']),
  };
}

function narrowedOf(body: JsonObject): readonly Narrowed[] {
  return listOf(body['narrowed'] ?? [], 'narrowed').map((item) => {
    const cut = objectOf(item, 'narrowed[]');
    return {
      wanted: cut['wanted'] ?? null,
      granted: cut['granted'] ?? null,
      reason: textOf(cut['reason'], 'narrowed[].reason'),
      rule: textOf(cut['rule'], 'narrowed[].rule'),
    };
  });
}

function parsed(text: string): JsonValue {
  try {
    return parseJson(text, ANSWER_LIMITS);
  } catch {
    throw new UnexpectedAnswer('the body is not JSON');
  }
}

function objectOf(value: JsonValue | undefined, member: string): JsonObject {
  if (!isJsonObject(value)) throw new UnexpectedAnswer(member);
  return value;
}

function listOf(value: JsonValue | undefined, member: string): readonly JsonValue[] {
  if (!Array.isArray(value)) throw new UnexpectedAnswer(member);
  return value;
}

function textOf(value: JsonValue | undefined, member: string): string {
  if (typeof value !== 'string' || value === '') throw new UnexpectedAnswer(member);
  return value;
}

function numberOf(value: JsonValue | undefined, member: string): number {
  if (typeof value !== 'number') throw new UnexpectedAnswer(member);
  return value;
}

function timeOf(value: JsonValue | undefined, member: string): number {
  const seconds = typeof value === 'string' ? instant(value) : null;
  if (seconds === null) throw new UnexpectedAnswer(member);
  return seconds;
}

function tokenTypeOf(value: JsonValue | undefined): 'DPoP' | 'Bearer' {
  if (value !== 'DPoP' && value !== 'Bearer') throw new UnexpectedAnswer('token_type');
  return value;
}

function optionalText(value: JsonValue | undefined): string | null {
  return typeof value === 'string' ? value : null;
}
