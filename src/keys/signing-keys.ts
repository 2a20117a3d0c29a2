/**
 * The broker's signing keys: generated at first start, stored sealed, rotated on schedule with overlap and by
 * command. A key is published before it signs and after it signed, so that no verifier ever meets a token whose
 * key it could not have fetched.
 */
import { createPrivateKey, hash, type JsonWebKey, type KeyObject } from 'node:crypto';
import {
  type CryptoKey,
  calculateJwkThumbprint,
  exportJWK,
  generateKeyPair,
  importJWK,
  type JWK,
  jwtVerify,
} from 'jose';
import type { JsonObject } from '../domain/json.ts';
import type { Clock, SigningAlg, SigningKeyRecord, Store, TokenClaims, Tokens, Write } from '../ports.ts';
import type { Seal } from './seal.ts';
import { signCompact } from './signature.ts';

export interface RotationPolicy {
  /** How long a key signs. */
  readonly rotate_every_seconds: number;
  /** How long a key is published before it signs: longer than any verifier caches the key set. */
  readonly publish_ahead_seconds: number;
  /** How long a key is published after it signed: longer than any token lives. */
  readonly keep_after_seconds: number;
}

/** Tokens whose signature is remembered: an agent shows the same one with every call. */
const VERIFIED_TOKENS = 4096;

interface LoadedKey {
  readonly record: SigningKeyRecord;
  readonly sign: KeyObject;
  /** The JOSE header for one `typ`, base64url: it never changes for a key. */
  readonly headers: Map<string, string>;
  readonly verify: CryptoKey;
}

export interface SigningKeys extends Tokens {
  /** Makes sure that every algorithm has a key that signs now and one that takes over in time. Call every minute. */
  tend(now: number): Promise<void>;
  /**
   * Replaces the signing keys. `emergency` stops the old ones at once, takes them out of the key set and appends
   * the feed's denial of each; `seq` is the position of the last.
   */
  rotate(
    now: number,
    emergency: boolean,
    denialOf: (kid: string) => Write,
  ): Promise<{
    readonly created: readonly string[];
    readonly revoked: readonly string[];
    readonly seq: number | null;
  }>;
  records(): readonly SigningKeyRecord[];
}

export async function openSigningKeys(options: {
  readonly store: Store;
  readonly seal: Seal;
  readonly issuer: string;
  /** Read anew at each use: a reload may bring one more. */
  readonly algs: () => ReadonlySet<SigningAlg>;
  readonly policy: RotationPolicy;
  readonly clock: Clock;
}): Promise<SigningKeys> {
  const { store, seal, issuer, policy } = options;
  const loaded = new Map<string, LoadedKey>();
  const verified = new Map<string, { readonly kid: string; readonly claims: TokenClaims }>();

  function remember(digest: string, kid: string, claims: TokenClaims): void {
    if (verified.size >= VERIFIED_TOKENS) {
      const [oldest] = verified.keys();
      if (oldest !== undefined) verified.delete(oldest);
    }
    verified.set(digest, { kid, claims });
  }

  for (const record of await store.signingKeys()) loaded.set(record.kid, await load(record, seal));

  async function create(alg: SigningAlg, now: number, active_from: number): Promise<SigningKeyRecord> {
    const pair = await generateKeyPair(alg, {
      extractable: true,
      ...(alg === 'RS256' && { modulusLength: 2048 }),
    });
    const jwk = await exportJWK(pair.publicKey);
    const kid = await calculateJwkThumbprint(jwk);
    const active_until = active_from + policy.rotate_every_seconds;
    const record: SigningKeyRecord = {
      kid,
      alg,
      jwk: { ...jwk, kid, alg, use: 'sig' } as unknown as JsonObject,
      sealed: seal.seal(Buffer.from(JSON.stringify(await exportJWK(pair.privateKey))), `signing-key:${kid}`),
      created_at: now,
      active_from,
      active_until,
      retired_at: active_until + policy.keep_after_seconds,
      revoked_at: null,
    };
    // Durable before secret: nothing is signed by a key that a restart would not know.
    await store.atomically([
      { kind: 'insert_signing_key', key: record },
      audit(now, 'key.created', kid, alg),
    ]);
    loaded.set(kid, await load(record, seal));
    return record;
  }

  const ofAlg = (alg: SigningAlg) =>
    [...loaded.values()].filter((key) => key.record.alg === alg && key.record.revoked_at === null);

  /** The newest key that may sign now. */
  function active(alg: SigningAlg, now: number): LoadedKey | null {
    let best: LoadedKey | null = null;
    for (const key of loaded.values()) {
      const { record } = key;
      if (
        record.alg !== alg ||
        record.revoked_at !== null ||
        record.active_from > now ||
        record.active_until <= now
      )
        continue;
      if (best === null || record.active_from > best.record.active_from) best = key;
    }
    return best;
  }

  async function tend(now: number): Promise<void> {
    for (const alg of options.algs()) {
      if (active(alg, now) === null) await create(alg, now, now);
      const last = Math.max(...ofAlg(alg).map((key) => key.record.active_until));
      if (last - now <= policy.publish_ahead_seconds) await create(alg, now, last);
    }
    for (const [kid, key] of loaded) if (key.record.retired_at <= now) loaded.delete(kid);
  }

  async function end(
    record: SigningKeyRecord,
    now: number,
    active_until: number,
    denial: Write | null,
  ): Promise<number | null> {
    const revoked = denial !== null;
    const ended: SigningKeyRecord = {
      ...record,
      active_until: Math.min(record.active_until, active_until),
      retired_at: revoked ? now : active_until + policy.keep_after_seconds,
      revoked_at: revoked ? now : null,
    };
    const write: Write = {
      kind: 'update_signing_key',
      kid: record.kid,
      active_until: ended.active_until,
      retired_at: ended.retired_at,
      revoked_at: ended.revoked_at,
    };
    // Verifiers hear of it in the same transaction: a key that died unheard would go on being believed.
    const committed = await store.atomically([
      write,
      ...(denial === null ? [] : [denial]),
      audit(now, revoked ? 'key.revoked' : 'key.retiring', record.kid, record.alg),
    ]);
    loaded.set(record.kid, await load(ended, seal));
    return committed.feed.at(-1)?.seq ?? null;
  }

  async function rotate(now: number, emergency: boolean, denialOf: (kid: string) => Write) {
    let seq: number | null = null;
    const created: string[] = [];
    const revoked: string[] = [];
    const active_from = emergency ? now : now + policy.publish_ahead_seconds;
    for (const alg of options.algs()) {
      const old = ofAlg(alg).map((key) => key.record);
      created.push((await create(alg, now, active_from)).kid);
      for (const record of old) {
        if (record.active_until <= active_from && !emergency) continue;
        seq = (await end(record, now, active_from, emergency ? denialOf(record.kid) : null)) ?? seq;
        if (emergency) revoked.push(record.kid);
      }
    }
    return { created, revoked, seq };
  }

  await tend(options.clock.now());

  return {
    tend,
    rotate,
    records: () => [...loaded.values()].map((key) => key.record),
    jwks: () => ({
      keys: [...loaded.values()].filter((key) => key.record.revoked_at === null).map((key) => key.record.jwk),
    }),
    async sign(typ, alg, claims) {
      const key = active(alg, options.clock.now());
      if (key === null) throw new Error(`no active ${alg} signing key`);
      return signCompact(alg, key.sign, headerOf(key, typ), JSON.stringify(claims));
    },
    async verify(token, typ, now) {
      const digest = hash('sha256', `${typ} ${token}`, 'base64');
      const known = verified.get(digest);
      // The signature still holds; the key may have been revoked since, and time has passed.
      if (known !== undefined && loaded.get(known.kid)?.record.revoked_at === null)
        return known.claims.exp > Math.floor(now) ? known.claims : null;
      try {
        const { payload, protectedHeader } = await jwtVerify(
          token,
          (header) => {
            const key = header.kid === undefined ? undefined : loaded.get(header.kid);
            if (!key || key.record.revoked_at !== null || key.record.alg !== header.alg)
              throw new Error('unknown key');
            return key.verify;
          },
          {
            issuer,
            typ,
            currentDate: new Date(now * 1000),
            requiredClaims: ['sub', 'aud', 'exp', 'iat', 'jti'],
          },
        );
        const claims = payload as unknown as TokenClaims;
        remember(digest, protectedHeader.kid ?? '', claims);
        return claims;
      } catch {
        return null;
      }
    },
  };
}

function headerOf(key: LoadedKey, typ: string): string {
  const known = key.headers.get(typ);
  if (known !== undefined) return known;
  const { alg, kid } = key.record;
  const header = Buffer.from(JSON.stringify({ alg, typ, kid })).toString('base64url');
  key.headers.set(typ, header);
  return header;
}

/** @throws Error that says what to look for: the person on call meets it at a start that fails */
function opened(record: SigningKeyRecord, seal: Seal): string {
  try {
    return seal.open(record.sealed, `signing-key:${record.kid}`).toString();
  } catch {
    throw new Error(
      `signing key ${record.kid} was sealed under another key-encryption key: start with the one that this database was made with`,
    );
  }
}

async function load(record: SigningKeyRecord, seal: Seal): Promise<LoadedKey> {
  const jwk = JSON.parse(opened(record, seal)) as JWK;
  return {
    record,
    sign: createPrivateKey({ key: jwk as JsonWebKey, format: 'jwk' }),
    headers: new Map(),
    verify: (await importJWK(record.jwk as unknown as JWK, record.alg)) as CryptoKey,
  };
}

function audit(now: number, event: string, kid: string, alg: SigningAlg): Write {
  return {
    kind: 'append_audit',
    record: { ts: now, event, actor: 'broker', mission_id: null, details: { kid, alg } },
  };
}
