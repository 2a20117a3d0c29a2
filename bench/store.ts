/**
 * Figures of the store alone, as JSON lines: group commit, single inserts on an empty store and on a million
 * missions, bytes per live mission on disk and in memory, and the hot reads. Everything is bounded.
 * `SORTIE_BENCH_STORE_MISSIONS` sets how many missions fill the store (default 200,000; bench/scale.ts has the million).
 */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Mission } from '../src/domain/mission.ts';
import type { CredentialRecord, Store, Write } from '../src/ports.ts';
import { openSqliteStore } from '../src/store/sqlite.ts';

const NOW = 1_790_000_000;
const LIVE_MISSIONS = Number(process.env['SORTIE_BENCH_STORE_MISSIONS'] ?? 200_000);
const SINGLES = 300;
const EXCHANGES = 10_000;
const READS = 20_000;
const IN_FLIGHT = 1000;
const AGENTS = 200;

interface Figure {
  readonly figure: string;
  readonly value: number;
  readonly unit: string;
  readonly ratio: number | null;
  readonly against: string | null;
}

function print(
  figure: string,
  value: number,
  unit: string,
  ratio: number | null,
  against: string | null,
): void {
  const line: Figure = {
    figure,
    value: Number(value.toPrecision(4)),
    unit,
    ratio: ratio === null ? null : Number(ratio.toPrecision(3)),
    against,
  };
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

function random(prefix: string, bytes = 16): string {
  return prefix + randomBytes(bytes).toString('base64url');
}

let drawn = 0;

/** A mission as an exchange makes it: fresh ids, keys and digests, a usual intent and authority. */
function freshMission(): Mission {
  drawn += 1;
  const id = random('msn_');
  const agent = `k8s/team-${drawn % AGENTS}/worker`;
  const authority = [
    {
      type: 'mission_resource_access',
      resource: 'https://erp.example.com',
      resource_match: 'exact',
      actions: ['invoices.read', 'invoices.list', 'journal.append'],
      constraints: { max_amount: { amount: '500.00', currency: 'EUR' }, recipient_domain: 'example.com' },
    },
  ] as unknown as Mission['authority'];
  return {
    id,
    state: 'active',
    version: 1,
    created_at: NOW + drawn / 1000,
    expires_at: NOW + 3600 + drawn / 1000,
    state_since: NOW + drawn / 1000,
    state_reason: null,
    sub: agent,
    agent,
    instance: random('', 16),
    jkt: random('', 32),
    parent_id: null,
    path: [id],
    act: null,
    attester: 'cluster-a',
    rule: 'workers',
    tier: 'bound',
    evidence_digest: random('sha-256:', 32),
    template: { id: 'reconcile', version: '3', hash: 'sha-256:kV1m2yq9hVZt1r3uK8uW3o2b2cK3l5m8k7Jx0QzXn4E' },
    policy_version: 'sha-256:0V1m2yq9hVZt1r3uK8uW3o2b2cK3l5m8k7Jx0QzXn4E',
    intent: {
      goal: `Reconcile the open invoices of supplier ${drawn} against the journal and report differences`,
      resources: ['https://erp.example.com'],
      expires_at: '2026-09-22T01:00:00Z',
      purpose: 'finance.reconcile',
    },
    proposal: authority,
    authority,
    containments: [],
    intent_hash: random('sha-256:', 32),
    proposal_hash: random('sha-256:', 32),
    authority_hash: random('sha-256:', 32),
    status_list: Math.floor(drawn / 100_000),
    status_index: drawn % 100_000,
    derivations: 1,
    max_derivations: null,
    declared_by: 'agent',
    tainted: false,
    attest_every_seconds: 600,
    last_attested_at: NOW + drawn / 1000,
    token_ttl_seconds: 300,
    creation_request_id: null,
    creation_fingerprint: null,
  };
}

function tokenOf(mission: Mission): CredentialRecord {
  return {
    id: random('cred_'),
    mission_id: mission.id,
    type: 'jwt',
    target: 'https://erp.example.com',
    jkt: mission.jkt,
    issued_at: mission.created_at,
    expires_at: mission.created_at + 300,
    revoked_at: null,
  };
}

/** What one exchange writes: proof, limits, mission, token and its audit record. */
function exchange(): Write[] {
  const mission = freshMission();
  const token = tokenOf(mission);
  return [
    { kind: 'use_once', space: 'dpop', id: random(''), expires_at: NOW + 120 },
    { kind: 'require_unblocked', at: NOW, selectors: [{ kind: 'agent', key: mission.agent }] },
    { kind: 'require_active_below', template_id: 'reconcile', max: 10_000_000, at: NOW },
    { kind: 'insert_mission', mission },
    { kind: 'insert_credential', credential: token },
    {
      kind: 'append_audit',
      record: {
        ts: mission.created_at,
        event: 'mission.created',
        actor: mission.agent,
        mission_id: mission.id,
        details: { rule: 'workers', jti: token.id, narrowed: 0, template: 'reconcile@3' },
      },
    },
  ];
}

/** Applies `count` groups with `IN_FLIGHT` at once. */
async function inBatches(store: Store, count: number, group: () => Write[]): Promise<void> {
  for (let done = 0; done < count; done += IN_FLIGHT) {
    const size = Math.min(IN_FLIGHT, count - done);
    await Promise.all(Array.from({ length: size }, () => store.atomically(group())));
  }
}

interface Timing {
  readonly wall_seconds: number;
  readonly cpu_seconds: number;
}

async function timed(work: () => Promise<void>): Promise<Timing> {
  const cpu = process.cpuUsage();
  const start = performance.now();
  await work();
  const used = process.cpuUsage(cpu);
  return {
    wall_seconds: (performance.now() - start) / 1000,
    cpu_seconds: (used.user + used.system) / 1e6,
  };
}

interface Rates {
  readonly single_per_second: number;
  readonly exchange_per_core: number;
}

async function writeRates(store: Store, suffix: string, against: Rates | null): Promise<Rates> {
  const single = await timed(async () => {
    for (let at = 0; at < SINGLES; at += 1) {
      await store.atomically([{ kind: 'insert_mission', mission: freshMission() }]);
    }
  });
  const grouped = await timed(() => inBatches(store, EXCHANGES, exchange));
  const rates = {
    single_per_second: SINGLES / single.wall_seconds,
    exchange_per_core: EXCHANGES / grouped.cpu_seconds,
  };
  const base = against === null ? null : 'the same on an empty store';
  const ratio = (key: keyof Rates): number | null => (against === null ? null : rates[key] / against[key]);
  print(`store_single_insert${suffix}`, rates.single_per_second, '1/s', ratio('single_per_second'), base);
  print(
    `store_exchange_group${suffix}`,
    rates.exchange_per_core,
    '1/s/core',
    ratio('exchange_per_core'),
    base,
  );
  print(`store_exchange_group_wall${suffix}`, EXCHANGES / grouped.wall_seconds, '1/s', null, null);
  return rates;
}

async function readRates(store: Store, ids: readonly string[], suffix: string): Promise<void> {
  const reads = await timed(async () => {
    for (let at = 0; at < READS; at += 1) await store.mission(ids[at % ids.length] ?? '');
  });
  print(`store_mission_read${suffix}`, (reads.cpu_seconds / READS) * 1e6, 'us', null, null);
  const due = await timed(async () => {
    for (let at = 0; at < 1000; at += 1) await store.missionsDue(NOW, 100);
  });
  print(`store_missions_due${suffix}`, due.cpu_seconds * 1000, 'us', null, null);
}

function bytesOnDisk(path: string): number {
  return statSync(path).size + (statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0);
}

const folder = mkdtempSync(join(tmpdir(), 'sortie-bench-'));
const path = join(folder, 'sortie.db');
try {
  const empty = await openSqliteStore({ path: join(folder, 'empty.db') });
  await inBatches(empty, 2000, exchange);
  const base = await writeRates(empty, '', null);
  await empty.close();

  const store = await openSqliteStore({ path });
  globalThis.gc?.();
  const rss = process.memoryUsage.rss();
  const ids: string[] = [];
  const filled = await timed(() =>
    inBatches(store, LIVE_MISSIONS, () => {
      const mission = freshMission();
      if (drawn % 97 === 0) ids.push(mission.id);
      return [
        { kind: 'insert_mission', mission },
        { kind: 'insert_credential', credential: tokenOf(mission) },
      ];
    }),
  );
  globalThis.gc?.();
  print('store_group_commit_rows', (2 * LIVE_MISSIONS) / filled.wall_seconds, 'rows/s', null, null);
  print('store_bytes_per_live_mission', bytesOnDisk(path) / LIVE_MISSIONS, 'bytes', null, null);
  const grown = process.memoryUsage.rss() - rss;
  print('store_memory_per_live_mission', grown / LIVE_MISSIONS, 'bytes', null, null);
  await writeRates(store, '_with_many', base);
  await readRates(store, ids, '_with_many');
  await store.close();
} finally {
  rmSync(folder, { recursive: true });
}
