/**
 * Public keys of an issuer (RFC 7517): from an address, a discovery document, a file, or the configuration.
 *
 * A remote set is fetched by one request at a time, kept, refreshed behind the caller's back, and served stale
 * within a bound when its endpoint fails. A `kid` that is not known causes a fetch, but no more than one per
 * cooldown: a stranger cannot make the broker hammer an issuer. What comes back is checked key by key; a set
 * without one usable key changes nothing.
 */
import { createPublicKey, type JsonWebKey, type KeyObject } from 'node:crypto';
import { Denied } from '../domain/denial.ts';
import { isJsonObject, type JsonObject, type JsonValue, parseJson } from '../domain/json.ts';
import { Refusal } from './attester.ts';
import { type Egress, readCapped } from './egress.ts';
import { ALGORITHMS, type Algorithm, keyFits } from './jws.ts';

export interface PublicKey {
  readonly kid: string | null;
  readonly alg: Algorithm | null;
  /** JWK `use`: `sig`, `jwt-svid`, `x509-svid`, or null. */
  readonly use: string | null;
  readonly key: KeyObject;
}

export interface KeySource {
  /** @throws Refusal `key_unknown` or `keys_unavailable` */
  find(kid: string | null, alg: Algorithm, now: number): Promise<KeyObject>;
  /** Fetches ahead of need. Never throws. */
  warm(now: number): Promise<void>;
}

/** How a remote or file source is read. Seconds unless said. */
export interface KeySourceLimits {
  /** Older keys are refreshed before they are used. */
  readonly max_age_seconds: number;
  /** While the endpoint fails, keys are used up to this age. */
  readonly max_stale_seconds: number;
  /** Least time between two fetches that strangers or failures cause. */
  readonly cooldown_seconds: number;
}

export const DEFAULT_KEY_LIMITS: KeySourceLimits = {
  max_age_seconds: 600,
  max_stale_seconds: 3_600,
  cooldown_seconds: 5,
};

export const MAX_JWKS_BYTES = 262_144;
const MAX_KEYS = 100;
/** Fetches that unknown keys may cause at once, before the cooldown counts. */
const MISS_BURST = 4;
const RSA_MIN_BITS = 2_048;
/** Verifying costs with the square of this; the exponent is bounded too. */
const RSA_MAX_BITS = 8_192;
const RSA_MAX_EXPONENT = 0xffff_ffffn;

/* ---------------------------------------------------------------- content */

/**
 * Keys of a JWK set that can verify signatures. Others (encryption keys, symmetric ones, unknown types, weak RSA)
 * are left out; a private key in a public set is refused with the whole set, since its owner must hear of it.
 * @throws Error if the text is not a JWK set, or none of its keys is usable
 */
export function parseJwks(text: string, uses: readonly string[] = ['sig']): readonly PublicKey[] {
  return readJwks(readJson(text), uses);
}

/** Strict JSON from an endpoint; the message quotes nothing of it. */
export function readJson(text: string): JsonValue {
  try {
    return parseJson(text, { max_bytes: MAX_JWKS_BYTES, max_depth: 8 });
  } catch (error) {
    throw new Error(error instanceof Denied ? error.private_reason : 'not JSON');
  }
}

/** As {@link parseJwks}, from a value. */
export function readJwks(document: unknown, uses: readonly string[] = ['sig']): readonly PublicKey[] {
  const entries = isJsonObject(document) ? document['keys'] : undefined;
  if (!Array.isArray(entries)) throw new Error('not a JWK set: it has no list "keys"');
  const keys = readEntries(entries, uses);
  if (keys.length === 0) throw new Error('no usable key in the JWK set');
  return keys;
}

/** The usable ones of a set's entries; there may be none. @throws Error for too many, or a private key */
export function readEntries(entries: readonly unknown[], uses: readonly string[]): readonly PublicKey[] {
  if (entries.length > MAX_KEYS) throw new Error(`a JWK set has at most ${MAX_KEYS} keys`);
  return entries.map((entry) => readKey(entry, uses)).filter((key) => key !== null);
}

function readKey(jwk: unknown, uses: readonly string[]): PublicKey | null {
  if (!isJsonObject(jwk)) return null;
  if (['d', 'p', 'q', 'k'].some((member) => Object.hasOwn(jwk, member))) {
    throw new Error('the JWK set holds a private or symmetric key');
  }
  const use = textOrNull(jwk['use']);
  if (jwk['use'] !== undefined && (use === null || !uses.includes(use))) return null;
  if (Array.isArray(jwk['key_ops']) && !jwk['key_ops'].includes('verify')) return null;
  const key = importKey(jwk);
  if (key === null) return null;
  const alg = jwk['alg'] === undefined ? null : (ALGORITHMS.find((name) => name === jwk['alg']) ?? undefined);
  if (alg === undefined || (alg !== null && !keyFits(alg, key))) return null;
  return { kid: textOrNull(jwk['kid']), alg, use, key };
}

/** A public key from the members that matter, or null if it is not one, or too weak, or too costly. */
export function importKey(jwk: JsonObject): KeyObject | null {
  const { kty, crv, x, y, n, e } = jwk;
  const members =
    kty === 'RSA'
      ? { kty, n, e }
      : kty === 'EC'
        ? { kty, crv, x, y }
        : kty === 'OKP'
          ? { kty, crv, x }
          : null;
  if (members === null || !Object.values(members).every((value) => typeof value === 'string')) return null;
  try {
    const key = createPublicKey({ key: members as JsonWebKey, format: 'jwk' });
    return isSoundKey(key) ? key : null;
  } catch {
    return null;
  }
}

/** Of an accepted type and curve; for RSA neither weak nor so large that verifying would be the attack. */
export function isSoundKey(key: KeyObject): boolean {
  const { modulusLength = 0, publicExponent = 0n, namedCurve = '' } = key.asymmetricKeyDetails ?? {};
  switch (key.asymmetricKeyType) {
    case 'rsa':
      return (
        modulusLength >= RSA_MIN_BITS &&
        modulusLength <= RSA_MAX_BITS &&
        publicExponent >= 3n &&
        publicExponent <= RSA_MAX_EXPONENT &&
        publicExponent % 2n === 1n
      );
    case 'ec':
      return ['prime256v1', 'secp384r1', 'secp521r1'].includes(namedCurve);
    default:
      return key.asymmetricKeyType === 'ed25519';
  }
}

/**
 * The one key that fits. Without a `kid` in the token there must be only one candidate: trying keys in turn would
 * let a token choose. @throws Refusal `key_unknown`
 */
export function pickKey(keys: readonly PublicKey[], kid: string | null, alg: Algorithm): KeyObject {
  const fitting = keys.filter(
    (candidate) =>
      (kid === null || candidate.kid === kid) &&
      (candidate.alg === null || candidate.alg === alg || sameCurve(candidate.alg, alg)) &&
      keyFits(alg, candidate.key),
  );
  const [key] = fitting;
  if (key === undefined) throw new Refusal('key_unknown', 'no key of the issuer fits kid and alg');
  if (fitting.length > 1)
    throw new Refusal('key_unknown', 'several keys of the issuer fit; kid must name one');
  return key.key;
}

/** RFC 9864 renamed EdDSA over Ed25519; issuers publish either. */
function sameCurve(one: Algorithm, other: Algorithm): boolean {
  return (one === 'EdDSA' || one === 'Ed25519') && (other === 'EdDSA' || other === 'Ed25519');
}

function textOrNull(value: JsonValue | undefined): string | null {
  return typeof value === 'string' ? value : null;
}

/* ---------------------------------------------------------------- sources */

/** Keys written in the configuration. */
export function fixedKeys(keys: readonly PublicKey[]): KeySource {
  return {
    find: async (kid, alg) => pickKey(keys, kid, alg),
    warm: async () => {},
  };
}

/** What one fetch of a {@link refreshed} value gave. */
export interface Fetched<T> {
  readonly value: T;
  /** The publisher's own word on how long to keep it; capped by the limits. */
  readonly max_age_seconds?: number;
}

export interface Refreshed<T> {
  /** The value, fresh enough. @throws Refusal `keys_unavailable` */
  current(now: number): Promise<T>;
  /** After a miss: the value fetched again, unless that was done within the cooldown. */
  again(now: number): Promise<T>;
  warm(now: number): Promise<void>;
}

/**
 * A value that is fetched by one caller at a time, kept, refreshed in the background, and served stale within
 * bounds. Shared by key sets and SPIFFE bundles.
 */
export function refreshed<T>(
  name: string,
  load: () => Promise<Fetched<T>>,
  limits: KeySourceLimits,
): Refreshed<T> {
  let held: { value: T; at: number; max_age: number } | null = null;
  let attempted_at = Number.NEGATIVE_INFINITY;
  /** Of the last flight that ended; a flight under way changes nothing yet. */
  let failure: string | null = null;
  let running: Promise<void> | null = null;
  let misses = { left: MISS_BURST, at: Number.NEGATIVE_INFINITY };

  /** Never rejects: the outcome is in `held` and `failure`. All callers share one flight. */
  const fetchOnce = (now: number): Promise<void> => {
    if (running !== null) return running;
    attempted_at = now;
    running = load()
      .then(
        ({ value, max_age_seconds }) => {
          const max_age = Math.min(max_age_seconds ?? limits.max_age_seconds, limits.max_age_seconds);
          held = { value, at: now, max_age };
          failure = null;
        },
        (error: unknown) => {
          failure = error instanceof Error ? error.message : 'failed';
        },
      )
      .finally(() => {
        running = null;
      });
    return running;
  };
  const cooling = (now: number) => now - attempted_at < limits.cooldown_seconds;
  /** A few misses at once are a rotation; more are a stranger's, and wait. */
  const takeMiss = (now: number): boolean => {
    if (failure !== null && cooling(now)) return false;
    const refilled = Math.floor((now - misses.at) / Math.max(limits.cooldown_seconds, 1));
    if (refilled > 0) misses = { left: Math.min(MISS_BURST, misses.left + refilled), at: now };
    if (misses.left === 0) return false;
    misses.left--;
    return true;
  };
  const usable = (now: number): T => {
    if (held !== null && now - held.at < Math.max(limits.max_stale_seconds, held.max_age)) return held.value;
    throw new Refusal('keys_unavailable', `${name}: ${failure ?? 'nothing was fetched yet'}`);
  };

  return {
    async current(now) {
      const age = held === null ? Number.POSITIVE_INFINITY : now - held.at;
      const fresh = held !== null && age < held.max_age;
      if (held !== null && age < held.max_age / 2) return held.value;
      if (held !== null && (fresh || (failure !== null && age < limits.max_stale_seconds))) {
        // Good, or as good as it gets: the caller does not wait for the next one.
        if (!cooling(now)) void fetchOnce(now);
        return held.value;
      }
      // A flight of others is joined even while cooling; a dead endpoint is not asked again before its time.
      if (running !== null || !cooling(now)) await fetchOnce(now);
      return usable(now);
    },
    async again(now) {
      if (running !== null || takeMiss(now)) await fetchOnce(now);
      return usable(now);
    },
    async warm(now) {
      await fetchOnce(now);
    },
  };
}

/** Keys that are fetched; a `kid` that is unknown causes one more fetch. */
export function fetchedKeys(
  name: string,
  load: () => Promise<Fetched<readonly PublicKey[]>>,
  limits: KeySourceLimits,
): KeySource {
  const keys = refreshed(name, load, limits);
  return {
    async find(kid, alg, now) {
      try {
        return pickKey(await keys.current(now), kid, alg);
      } catch (error) {
        if (!(error instanceof Refusal) || error.code !== 'key_unknown') throw error;
        return pickKey(await keys.again(now), kid, alg);
      }
    },
    warm: (now) => keys.warm(now),
  };
}

export interface RemoteKeysOptions {
  readonly allow_private_addresses: boolean;
  readonly timeout_ms: number;
  readonly ca_file?: string;
  /** Sent as a bearer token, read anew for each fetch: platforms rotate it. */
  readonly bearer_token_file?: string;
}

/** Loads a JWK set from an address. */
export function loadJwks(fetch: Egress, jwks_uri: string, options: RemoteKeysOptions) {
  return async (): Promise<Fetched<readonly PublicKey[]>> => ({
    value: parseJwks(await getDocument(fetch, jwks_uri, options)),
  });
}

/** Loads a JWK set through OpenID Connect discovery; the document's issuer must be the configured one, exactly. */
export function loadDiscovered(fetch: Egress, issuer: string, options: RemoteKeysOptions) {
  return async (): Promise<Fetched<readonly PublicKey[]>> => {
    const address = issuer.replace(/\/$/, '') + '/.well-known/openid-configuration';
    const metadata = readJson(await getDocument(fetch, address, options));
    if (!isJsonObject(metadata) || metadata['issuer'] !== issuer) {
      throw new Error('the discovery document is not of this issuer');
    }
    const jwks_uri = metadata['jwks_uri'];
    if (typeof jwks_uri !== 'string' || !URL.canParse(jwks_uri))
      throw new Error('discovery names no jwks_uri');
    // A credential meant for the issuer's host goes to no other.
    const { bearer_token_file, ...rest } = options;
    const same = new URL(jwks_uri).origin === new URL(issuer).origin;
    const trusted = same && bearer_token_file !== undefined ? { ...rest, bearer_token_file } : rest;
    return { value: parseJwks(await getDocument(fetch, jwks_uri, trusted)) };
  };
}

/** Loads a JWK set from a file, which may be replaced at any time. */
export function loadJwksFile(path: string) {
  return async (): Promise<Fetched<readonly PublicKey[]>> => ({
    value: parseJwks(await readCapped(path, MAX_JWKS_BYTES)),
  });
}

/** One document from an address of the configuration. @throws Error unless it answers 200 */
export async function getDocument(fetch: Egress, url: string, options: RemoteKeysOptions): Promise<string> {
  const secret = options.bearer_token_file;
  const answer = await fetch({
    url,
    max_bytes: MAX_JWKS_BYTES,
    timeout_ms: options.timeout_ms,
    allow_private_addresses: options.allow_private_addresses,
    ...(options.ca_file === undefined ? {} : { ca: await readCapped(options.ca_file, MAX_JWKS_BYTES) }),
    ...(secret === undefined
      ? {}
      : { headers: { authorization: `Bearer ${(await readCapped(secret, 65_536)).trim()}` } }),
  });
  if (answer.status !== 200) throw new Error(`${new URL(url).host}: answered ${answer.status}`);
  return answer.body;
}
