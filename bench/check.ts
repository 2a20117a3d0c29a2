/**
 * What a check costs a resource server: operations per CPU-second of this process with all its threads, with fresh
 * strings as they come off a socket, 1,000 tokens in rotation and 100,000 revocations held.
 * Prints one JSON line a figure.
 */
import { createHash, generateKeyPairSync, type KeyObject, randomUUID, sign, verify } from 'node:crypto';
import { readBundle } from '../src/domain/bundle.ts';
import type { JsonObject } from '../src/domain/json.ts';
import type { FeedEntry } from '../src/domain/revocation.ts';
import { RevocationSet } from '../src/domain/revocation-set.ts';
import { type GuardedCall, NO_CONTEXT } from '../src/sdk/resource/call.ts';
import { Guard } from '../src/sdk/resource/guard.ts';
import { metadataUrl, resourceMetadata } from '../src/sdk/resource/metadata.ts';
import { thumbprint } from '../src/sdk/resource/proof-keys.ts';
import { GuardState } from '../src/sdk/resource/state.ts';
import { OpenStreams } from '../src/sdk/resource/streams.ts';
import { print } from './support.ts';

const ISSUER = 'https://broker.example.com';
const AUDIENCE = 'https://erp.example.com';
const NOW = 1_800_000_000;
const TOKENS = 1_000;
const REVOCATIONS = 100_000;
/** At half a million checks a second: fifty revocations a second. */
const CHECKS_PER_REVOCATION = 10_000;

/** Runs `work` for each index and answers operations per CPU-second. */
function perCpuSecond(count: number, work: (index: number) => void): number {
  const before = process.cpuUsage();
  for (let index = 0; index < count; index++) work(index);
  const used = process.cpuUsage(before);
  return count / ((used.user + used.system) / 1e6);
}

function keyPair(): { readonly priv: KeyObject; readonly pub: KeyObject; readonly jwk: JsonObject } {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { priv: privateKey, pub: publicKey, jwk: publicKey.export({ format: 'jwk' }) as JsonObject };
}

function jws(header: JsonObject, payload: JsonObject, key: KeyObject): string {
  const part = (value: JsonObject): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const signed = `${part(header)}.${part(payload)}`;
  return `${signed}.${sign('sha256', Buffer.from(signed), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`;
}

/** A string with its own memory, as an HTTP parser makes one. */
function fresh(bytes: Buffer): string {
  return bytes.toString('latin1');
}

const issuer = keyPair();
const agents = Array.from({ length: TOKENS }, keyPair);

/** Tokens of twenty templates: missions of one template mostly carry the same authority. */
function authority(variant: number): JsonObject[] {
  return Array.from({ length: 10 }, (_, entry) => ({
    type: 'mission_resource_access',
    resource: AUDIENCE,
    actions: [`ledger${entry}.read`, `ledger${entry}.post`],
    constraints: { parameters: { amount: { range: { max: 100 + entry + variant } } } },
  }));
}

function mint(index: number, jkt: string | undefined, variants = 20): string {
  const id = `msn_${String(index).padStart(22, 'A')}`;
  return jws(
    { typ: 'at+jwt', alg: 'ES256', kid: 'key-1' },
    {
      iss: ISSUER,
      sub: `k8s/payments/agent-${index}`,
      client_id: `k8s/payments/agent-${index}`,
      aud: AUDIENCE,
      iat: NOW - 10,
      exp: NOW + 800,
      jti: `cred_${randomUUID()}`,
      ...(jkt === undefined ? {} : { cnf: { jkt } }),
      authorization_details: authority(index % variants),
      mission: {
        id,
        version: 1,
        path: [id],
        issuer: ISSUER,
        authority_hash: 'sha-256:x',
        expires_at: NOW + 3600,
        template: { id: 'reconcile', version: '7' },
        attester: 'cluster-a',
        rule: 'payments',
      },
      status: { status_list: { idx: index, uri: `${ISSUER}/status-lists/1` } },
    },
    issuer.priv,
  );
}

function ready(): { readonly guard: Guard; readonly state: GuardState } {
  const state = new GuardState({
    issuer: ISSUER,
    audience: AUDIENCE,
    started_at: NOW - 100,
    processes: 1,
    sequence: null,
    limits: {},
    onUnknownKey: () => {},
  });
  state.install(
    readBundle({
      iss: ISSUER,
      aud: AUDIENCE,
      iat: NOW,
      version: 'v1',
      keys: [{ ...issuer.jwk, kid: 'key-1', alg: 'ES256' }],
      actions: Array.from({ length: 10 }, (_, entry) => ({
        name: `ledger${entry}.post`,
        labels: ['effect'],
      })),
      sinks: [],
      field_trust: [],
      sequence_rules: [],
      max_staleness_seconds: 30,
      max_token_seconds: 900,
    }),
  );
  state.revocations.load(
    { epoch: 1, seq: REVOCATIONS, ts: NOW, max_token_seconds: 900, entries: entries(REVOCATIONS) },
    NOW,
  );
  const guard = new Guard({
    state,
    streams: new OpenStreams(state),
    metadata: resourceMetadata({ resource: AUDIENCE, issuer: ISSUER, bearer_allowed: true }),
    metadata_url: metadataUrl(AUDIENCE),
    now: () => NOW,
    observer: null,
    ask: null,
  });
  return { guard, state };
}

function entries(count: number) {
  return Array.from({ length: count }, (_, index) => ({
    seq: index + 1,
    ts: NOW,
    kind: 'mission' as const,
    key: `msn_revoked${String(index).padStart(15, '0')}`,
    effect: 'deny' as const,
    not_after: NOW + 900,
    reason_code: 'admin_revoked' as const,
  }));
}

/** The entry that permits is the last but two, so that several are looked at. */
const asked = {
  action: 'ledger7.post',
  resource: AUDIENCE,
  parameters: { amount: 99 },
  context: NO_CONTEXT,
  method: 'POST',
  url: `${AUDIENCE}/ledger/7`,
};

function permitted(guard: Guard, call: GuardedCall): void {
  const verdict = guard.check(call);
  if (!verdict.permitted) throw new Error(verdict.code);
}

function warm(): void {
  const { guard, state } = ready();
  const headers = Array.from({ length: TOKENS }, (_, index) =>
    Buffer.from(`Bearer ${mint(index, undefined)}`),
  );
  const nothing = Buffer.alloc(0);
  let seq = REVOCATIONS;
  const work = (index: number): void => {
    // The feed goes on meanwhile: after each entry every token is looked up anew.
    if (index % CHECKS_PER_REVOCATION === 0) {
      const entry = { ...entries(1)[0], key: `msn_late${index}`, seq: seq + 1, prev: seq } as FeedEntry;
      if (state.revocations.apply(1, entry, NOW) !== 'applied') throw new Error('feed');
      seq++;
    }
    permitted(guard, {
      authorization: fresh(headers[index % TOKENS] ?? nothing),
      proof: undefined,
      method: asked.method,
      url: asked.url,
      action: asked.action,
      resource: asked.resource,
      parameters: asked.parameters,
      context: asked.context,
    });
  };
  const make = (index: number): void => {
    if (fresh(headers[index % TOKENS] ?? nothing).length < 10) throw new Error('short');
  };
  for (let index = 0; index < 100_000; index++) work(index);
  for (let index = 0; index < 100_000; index++) make(index);
  // Making the strings is the socket's work, not the check's: measured apart, in between, and taken off.
  let spent = 0;
  const count = 100_000;
  const slices = 10;
  for (let slice = 0; slice < slices; slice++)
    spent += count / perCpuSecond(count, work) - count / perCpuSecond(count, make);
  const size = headers[0]?.length ?? 0;
  print('check_warm_per_core', (count * slices) / spent, '1/s');
  print('check_warm_token_bytes', size, 'bytes');
}

/** Proofs by 1,000 keys, each checked once; the first ones only warm the code up. */
function dpop(): void {
  const { guard } = ready();
  const count = 8_000;
  const warming = 6_000;
  const tokens = agents.map((agent, index) => mint(index, thumbprint(agent.jwk) ?? ''));
  const headers = tokens.map((token) => Buffer.from(`DPoP ${token}`));
  const proofs = Array.from({ length: count + warming }, (_, index) => {
    const agent = agents[index % TOKENS] ?? issuer;
    const ath = createHash('sha256')
      .update(tokens[index % TOKENS] ?? '')
      .digest('base64url');
    const { kty, crv, x, y } = agent.jwk as Record<string, string>;
    return Buffer.from(
      jws(
        { typ: 'dpop+jwt', alg: 'ES256', jwk: { kty: kty ?? '', crv: crv ?? '', x: x ?? '', y: y ?? '' } },
        { jti: randomUUID(), htm: 'POST', htu: asked.url, iat: NOW, ath },
        agent.priv,
      ),
    );
  });
  const nothing = Buffer.alloc(0);
  const work = (index: number): void =>
    permitted(guard, {
      ...asked,
      authorization: fresh(headers[index % TOKENS] ?? nothing),
      proof: fresh(proofs[index] ?? nothing),
    });
  const raw = (index: number): void => {
    const proof = fresh(proofs[index] ?? nothing);
    const dot = proof.lastIndexOf('.');
    const key = (agents[index % TOKENS] ?? issuer).pub;
    const signature = Buffer.from(proof.slice(dot + 1), 'base64url');
    if (!verify('sha256', Buffer.from(proof.slice(0, dot)), { key, dsaEncoding: 'ieee-p1363' }, signature))
      throw new Error('raw verify');
  };
  for (let index = 0; index < warming; index++) work(index);
  for (let index = 0; index < warming; index++) raw(index);
  // Interleaved in slices, so that other work on the machine hits both alike.
  let checks = 0;
  let verifies = 0;
  const slices = 8;
  for (let slice = 0; slice < slices; slice++) {
    const from = warming + (slice * count) / slices;
    checks += slices ** -1 / perCpuSecond(count / slices, (index) => work(from + index));
    verifies += slices ** -1 / perCpuSecond(count / slices, (index) => raw(from + index));
  }
  print('check_dpop_per_core', 1 / checks, '1/s', verifies / checks, 'one raw ES256 verification');
}

function bytesOfTokens(variants: number): number {
  const { guard, state } = ready();
  const held = 10_000;
  const headers = Array.from({ length: held }, (_, index) => `Bearer ${mint(index, undefined, variants)}`);
  global.gc?.();
  const before = process.memoryUsage();
  for (const authorization of headers) permitted(guard, { ...asked, authorization, proof: undefined });
  global.gc?.();
  const after = process.memoryUsage();
  if (state.tokens.size !== held) throw new Error('not all held');
  const bytes = after.heapUsed - before.heapUsed + after.external - before.external;
  return bytes / held + (headers[0]?.length ?? 0);
}

function memory(): void {
  print('bytes_per_cached_token', bytesOfTokens(20), 'bytes');
  print('bytes_per_cached_token_all_different', bytesOfTokens(10_000), 'bytes');
  const million = new RevocationSet([1, 2]);
  million.load({ epoch: 1, seq: 1e6, ts: NOW, max_token_seconds: 900, entries: entries(1e6) }, NOW);
  print('bytes_per_revocation_1m', million.footprint.bytes / million.footprint.entries, 'bytes');
}

warm();
dpop();
memory();
