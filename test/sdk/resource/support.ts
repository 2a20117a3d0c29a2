/** A broker's tokens and an agent's proofs, made here by node:crypto alone, and a guard that was told about them. */
import { createHash, generateKeyPairSync, type KeyObject, randomUUID, sign } from 'node:crypto';
import { readBundle } from '../../../src/domain/bundle.ts';
import type { JsonObject, JsonValue } from '../../../src/domain/json.ts';
import type { FeedEntry } from '../../../src/domain/revocation.ts';
import type { GuardedCall } from '../../../src/sdk/resource/call.ts';
import {
  type AskBroker,
  type DecisionObserver,
  Guard,
  type Verdict,
} from '../../../src/sdk/resource/guard.ts';
import { metadataUrl, resourceMetadata } from '../../../src/sdk/resource/metadata.ts';
import { thumbprint } from '../../../src/sdk/resource/proof-keys.ts';
import { type GuardLimits, GuardState, type SequenceJudge } from '../../../src/sdk/resource/state.ts';
import { OpenStreams } from '../../../src/sdk/resource/streams.ts';

export const ISSUER = 'https://broker.example.com';
export const AUDIENCE = 'https://erp.example.com';
export const NOW = 1_800_000_000;

export interface SigningPair {
  readonly private_key: KeyObject;
  readonly public_key: KeyObject;
  readonly jwk: JsonObject;
  readonly alg: 'ES256' | 'RS256' | 'Ed25519';
}

export function pair(alg: SigningPair['alg'], kid: string): SigningPair {
  const { privateKey, publicKey } =
    alg === 'ES256'
      ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
      : alg === 'Ed25519'
        ? generateKeyPairSync('ed25519')
        : generateKeyPairSync('rsa', { modulusLength: 2048 });
  const jwk = { ...(publicKey.export({ format: 'jwk' }) as JsonObject), alg, kid, use: 'sig' };
  return { private_key: privateKey, public_key: publicKey, jwk, alg };
}

export function encode(value: unknown): string {
  return Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
}

/** A compact JWS with any header, signed as `by.alg` says. */
export function jws(header: unknown, payload: unknown, by: SigningPair): string {
  const signed = `${encode(header)}.${encode(payload)}`;
  const text = Buffer.from(signed);
  const signature =
    by.alg === 'ES256'
      ? sign('sha256', text, { key: by.private_key, dsaEncoding: 'ieee-p1363' })
      : sign(by.alg === 'Ed25519' ? null : 'sha256', text, by.private_key);
  return `${signed}.${signature.toString('base64url')}`;
}

export const issuerKey = pair('ES256', 'key-1');
export const agentKey = pair('ES256', 'agent');

export function jktOf(key: SigningPair): string {
  const jkt = thumbprint(key.jwk);
  if (jkt === null) throw new Error('no thumbprint');
  return jkt;
}

export const ENTRY = {
  type: 'mission_resource_access',
  resource: AUDIENCE,
  actions: ['invoices.read', 'journal.post'],
  constraints: { parameters: { amount: { range: { max: 100 } } } },
};
export const READ_ONLY = { type: 'mission_resource_access', resource: AUDIENCE, actions: ['invoices.read'] };

export function claims(change: Record<string, unknown> = {}): Record<string, unknown> {
  const mission = { id: 'msn_self', ...((change['mission'] as object | undefined) ?? {}) };
  return {
    iss: ISSUER,
    sub: 'k8s/payments/reconciler',
    client_id: 'k8s/payments/reconciler',
    aud: AUDIENCE,
    iat: NOW - 10,
    exp: NOW + 290,
    jti: `cred_${randomUUID()}`,
    cnf: { jkt: jktOf(agentKey) },
    authorization_details: [READ_ONLY, ENTRY],
    status: { status_list: { idx: 7, uri: `${ISSUER}/status-lists/1` } },
    ...change,
    mission: {
      version: 1,
      path: [mission.id],
      issuer: ISSUER,
      authority_hash: 'sha-256:x',
      expires_at: NOW + 3600,
      template: { id: 'reconcile', version: '7' },
      attester: 'cluster-a',
      rule: 'payments',
      ...mission,
    },
  };
}

export function mint(
  change: Record<string, unknown> = {},
  header: Record<string, unknown> = {},
  by = issuerKey,
): string {
  return jws({ typ: 'at+jwt', alg: by.alg, kid: by.jwk['kid'], ...header }, claims(change), by);
}

export interface ProofChange {
  readonly header?: Record<string, unknown>;
  readonly claims?: Record<string, unknown>;
  readonly by?: SigningPair;
}

export const URL_OF_CALL = `${AUDIENCE}/invoices/1`;

export function prove(token: string, change: ProofChange = {}): string {
  const by = change.by ?? agentKey;
  const { kty, crv, x, y, n, e } = by.jwk;
  const jwk = JSON.parse(JSON.stringify({ kty, crv, x, y, n, e })) as JsonValue;
  return jws(
    { typ: 'dpop+jwt', alg: by.alg, jwk, ...change.header },
    {
      jti: randomUUID(),
      htm: 'GET',
      htu: URL_OF_CALL,
      iat: NOW,
      ath: createHash('sha256').update(token).digest('base64url'),
      ...change.claims,
    },
    by,
  );
}

export function call(token: string | undefined, change: Partial<GuardedCall> = {}): GuardedCall {
  return {
    authorization: token === undefined ? undefined : `DPoP ${token}`,
    proof: token === undefined ? undefined : prove(token),
    method: 'GET',
    url: URL_OF_CALL,
    action: 'invoices.read',
    resource: AUDIENCE,
    parameters: {},
    context: {},
    ...change,
  };
}

export function bundleOf(change: Record<string, JsonValue> = {}) {
  return readBundle({
    iss: ISSUER,
    aud: AUDIENCE,
    iat: NOW,
    version: 'v1',
    keys: [issuerKey.jwk],
    actions: [
      { name: 'invoices.read', labels: [] },
      { name: 'journal.post', labels: [] },
      { name: 'payments.send', labels: ['consequential'] },
    ],
    sinks: [],
    field_trust: [],
    sequence_rules: [],
    max_staleness_seconds: 30,
    max_token_seconds: 900,
    ...change,
  });
}

export class Bench {
  now = NOW;
  unknown_keys = 0;
  readonly state: GuardState;
  readonly streams: OpenStreams;
  readonly guard: Guard;

  constructor(
    options: {
      limits?: GuardLimits;
      sequence?: SequenceJudge;
      ask?: AskBroker;
      observer?: DecisionObserver;
      processes?: number;
      started_at?: number;
    } = {},
  ) {
    this.state = new GuardState({
      issuer: ISSUER,
      audience: AUDIENCE,
      started_at: options.started_at ?? NOW - 100,
      processes: options.processes ?? 1,
      sequence: options.sequence ?? null,
      limits: options.limits ?? {},
      onUnknownKey: () => {
        this.unknown_keys++;
      },
    });
    this.streams = new OpenStreams(this.state);
    this.guard = new Guard({
      state: this.state,
      streams: this.streams,
      metadata: resourceMetadata({ resource: AUDIENCE, issuer: ISSUER, bearer_allowed: false }),
      metadata_url: metadataUrl(AUDIENCE),
      now: () => this.now,
      observer: options.observer ?? null,
      ask: options.ask ?? null,
    });
  }

  /** With a bundle and an empty, fresh feed. */
  ready(): this {
    this.state.install(bundleOf());
    this.state.revocations.load(
      { epoch: 1, seq: 0, ts: this.now, max_token_seconds: 900, entries: [] },
      this.now,
    );
    return this;
  }

  revoke(change: Partial<FeedEntry> & Pick<FeedEntry, 'kind' | 'key'>): void {
    const { seq } = this.state.revocations;
    const entry = {
      seq: seq + 1,
      prev: seq,
      ts: this.now,
      effect: 'deny',
      not_after: this.now + 960,
      reason_code: 'admin_revoked',
      ...change,
    } as FeedEntry;
    this.state.revocations.apply(1, entry, this.now);
  }

  beat(): void {
    this.state.revocations.heartbeat({ epoch: 1, seq: this.state.revocations.seq, ts: this.now }, this.now);
  }

  check(change: Partial<GuardedCall> & { token?: string } = {}): Verdict {
    const { token = mint(), ...rest } = change;
    return this.guard.check(call(token, rest));
  }
}

/** The code of a denial, or `permitted`. */
export function outcome(verdict: Verdict): string {
  return verdict.permitted ? 'permitted' : verdict.code;
}
