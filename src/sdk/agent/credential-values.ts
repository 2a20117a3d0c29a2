/**
 * What provider credentials hold, as types and as objects that keep out of logs: a value that is printed, inspected or
 * serialized by accident shows nothing. Reading a member shows it; {@link reveal} makes a plain copy on purpose.
 */
import { isJsonObject, type JsonObject, type JsonValue } from '../../domain/json.ts';
import { UnexpectedAnswer } from './unexpected-answer.ts';

/** A session of an AWS role, cut down to the mission. */
export interface AwsSessionValue {
  readonly access_key_id: string;
  readonly secret_access_key: string;
  readonly session_token: string;
  /** RFC 3339. */
  readonly expiration: string;
  /** ARN. */
  readonly role: string;
  /** Where the session works, if not everywhere. */
  readonly regions?: readonly string[];
}

/** Dynamic secrets of one Vault token; with wrapping, a token for each that unwraps it once. */
export interface VaultSecretValue {
  readonly secrets: readonly {
    readonly path: string;
    readonly data?: JsonObject;
    readonly wrapping_token?: string;
    readonly wrap_ttl_seconds?: number;
  }[];
  /** RFC 3339. */
  readonly expires_at: string;
}

/** A PostgreSQL login that exists for the mission alone. */
export interface PostgresRoleValue {
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly user: string;
  readonly password: string;
  readonly sslmode: string;
  /** RFC 3339. */
  readonly expires_at: string;
}

/** A token for an API server. */
export interface KubernetesTokenValue {
  /** Address of the API server. */
  readonly server: string;
  readonly namespace: string;
  readonly audiences: readonly string[];
  readonly token: string;
  /** RFC 3339. */
  readonly expires_at: string;
}

/** An installation token of a GitHub App. */
export interface GithubInstallationTokenValue {
  readonly token: string;
  /** RFC 3339. */
  readonly expires_at: string;
}

/** By type of credential, as in `authorization_details`. */
export interface CredentialValues {
  readonly aws_session: AwsSessionValue;
  readonly vault_secret: VaultSecretValue;
  readonly postgres_role: PostgresRoleValue;
  readonly kubernetes_token: KubernetesTokenValue;
  readonly github_installation_token: GithubInstallationTokenValue;
}

/** A type that this SDK does not know yet is a JSON object. */
export type CredentialValue<Type extends string> = Type extends keyof CredentialValues
  ? CredentialValues[Type]
  : JsonObject;

/** Members that programs rely on; more may come. */
const MEMBERS: { readonly [Type in keyof CredentialValues]: Readonly<Record<string, Shape>> } = {
  aws_session: {
    access_key_id: 'string',
    secret_access_key: 'string',
    session_token: 'string',
    expiration: 'string',
    role: 'string',
  },
  vault_secret: { secrets: 'objects', expires_at: 'string' },
  postgres_role: {
    host: 'string',
    port: 'number',
    database: 'string',
    user: 'string',
    password: 'string',
    sslmode: 'string',
    expires_at: 'string',
  },
  kubernetes_token: { server: 'string', namespace: 'string', token: 'string', expires_at: 'string' },
  github_installation_token: { token: 'string', expires_at: 'string' },
};
type Shape = 'string' | 'number' | 'objects';

const FITS: Readonly<Record<Shape, (value: JsonValue | undefined) => boolean>> = {
  string: (value) => typeof value === 'string' && value !== '',
  number: (value) => typeof value === 'number',
  objects: (value) => Array.isArray(value) && value.every((item: JsonValue) => isJsonObject(item)),
};

/** @throws UnexpectedAnswer naming the member, never its value */
export function readCredentialValue(type: string, value: JsonValue | undefined): JsonObject {
  if (!isJsonObject(value)) throw new UnexpectedAnswer(`the value of a ${type}`);
  if (Object.hasOwn(MEMBERS, type))
    for (const [member, shape] of Object.entries(MEMBERS[type as keyof CredentialValues]))
      if (!FITS[shape](value[member])) throw new UnexpectedAnswer(`the ${member} of a ${type}`);
  return veiled(value) as JsonObject;
}

/** A plain copy, for a program that means to write it somewhere. */
export function reveal(value: CredentialValues[keyof CredentialValues] | JsonObject): JsonObject {
  return bare(value as JsonObject) as JsonObject;
}

const REDACTED = '[redacted]';
const VEIL = Object.freeze({
  toJSON: () => REDACTED,
  toString: () => REDACTED,
  [Symbol.for('nodejs.util.inspect.custom')]: () => REDACTED,
});

function veiled(value: JsonValue): JsonValue {
  if (Array.isArray(value)) {
    const list = value.map((item: JsonValue) => veiled(item));
    for (const name of Reflect.ownKeys(VEIL))
      Object.defineProperty(list, name, { value: Reflect.get(VEIL, name), enumerable: false });
    return Object.freeze(list);
  }
  if (!isJsonObject(value)) return value;
  const object = Object.create(VEIL) as Record<string, JsonValue>;
  for (const [name, member] of Object.entries(value))
    Object.defineProperty(object, name, { value: veiled(member), enumerable: true });
  return Object.freeze(object);
}

function bare(value: JsonValue): JsonValue {
  if (Array.isArray(value)) return value.map((item: JsonValue) => bare(item));
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, bare(member)]));
}
