/**
 * The {@link Store} on SQLite: reads on this thread through a read-only connection and prepared statements,
 * writes through the writer thread. An fsync never stalls the event loop, and nothing held here grows with the
 * number of missions.
 */
import Database from 'better-sqlite3';
import type { Committed, Store } from '../ports.ts';
import { packReports } from './packing.ts';
import { openWriteQueue } from './queue.ts';
import { allowanceReads } from './reads/allowances.ts';
import { historyReads } from './reads/history.ts';
import { leaseReads } from './reads/leases.ts';
import { missionReads } from './reads/missions.ts';
import { recordReads } from './reads/records.ts';
import { reportReads } from './reads/reports.ts';

export { StorageError } from './queue.ts';

export interface SqliteStoreOptions {
  /** Database file; its folder must exist. */
  readonly path: string;
  /** Audit records in a segment before it is closed. Default 4096. */
  readonly segment_records?: number;
  /** Largest size of the database file in pages of 4096 bytes. Default: what the disk holds. */
  readonly max_pages?: number;
}

const SEGMENT_RECORDS = 4096;
/** Memory for pages of the reading connection, in KiB. */
const CACHE_KIB = 32_768;
/** A readiness probe that has no answer by then is a no. */
const HEALTH_MILLISECONDS = 3000;
const PROBE_BYTES = 65_536;

/** Opens (and where needed creates and migrates) the database. @throws Error where it cannot be written. */
export async function openSqliteStore(options: SqliteStoreOptions): Promise<Store> {
  const listeners: ((committed: Committed) => void)[] = [];
  const queue = await openWriteQueue(
    {
      path: options.path,
      segment_records: options.segment_records ?? SEGMENT_RECORDS,
      max_pages: options.max_pages ?? 0,
    },
    (committed) => {
      for (const listener of listeners) {
        try {
          listener(committed);
        } catch (error) {
          // What is committed stays answered; but a broker whose feed cannot speak must not live on in silence.
          setImmediate(() => {
            throw error;
          });
        }
      }
    },
  );
  const db = new Database(options.path, { readonly: true, fileMustExist: true });
  db.pragma(`cache_size = -${CACHE_KIB}`);
  const missions = missionReads(db);
  const records = recordReads(db);
  const reports = reportReads(db);
  const histories = historyReads(db);
  const leases = leaseReads(db);
  const allowances = allowanceReads(db);

  async function healthy(): Promise<boolean> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<false>((resolve) => {
      timer = setTimeout(() => resolve(false), HEALTH_MILLISECONDS);
    });
    // A real commit: only that meets a file that became read-only. It needs as many new pages as a mission does for a
    // moment, because a row that fits where it was says nothing about a full disk.
    const probe = (value: string) => ({ kind: 'set_meta', key: 'probe', value }) as const;
    const written = queue.add([probe('x'.repeat(PROBE_BYTES)), probe('1')]).then(
      () => true,
      () => false,
    );
    try {
      return await Promise.race([written, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  return {
    atomically: (writes) => queue.add(packReports(writes)),
    onCommit: (listener) => {
      listeners.push(listener);
    },
    mission: async (id) => missions.mission(id),
    missionByCreation: async (agent, jkt, id) => missions.missionByCreation(agent, jkt, id),
    missions: async (query) => missions.missions(query),
    missionTree: async (id) => missions.missionTree(id),
    missionsDue: async (now, limit) => missions.missionsDue(now, limit),
    blastRadius: (selector, now) => missions.blastRadius(selector, now),
    allowances: async (mission_id) => allowances.allowances(mission_id),
    openAllotments: async (query) => allowances.openAllotments(query),
    budget: async (mission_id) => allowances.budget(mission_id),
    credential: async (id) => missions.credential(id),
    credentials: async (mission_id) => missions.credentials(mission_id),
    leases: async (mission_id) => leases.leases(mission_id),
    openLeases: async (type, target, limit) => leases.openLeases(type, target, limit),
    leasesDue: async (type, now, limit) => leases.leasesDue(type, now, limit),
    template: async (id, hash) => records.template(id, hash),
    approvedTemplate: async (id) => records.approvedTemplate(id),
    templates: async () => records.templates(),
    blocks: async (at) => records.blocks(at),
    block: async (id) => records.block(id),
    adminToken: async (token_digest) => records.adminToken(token_digest),
    adminTokens: async () => records.adminTokens(),
    enrolledKey: async (jkt) => records.enrolledKey(jkt),
    enrolledKeys: async () => records.enrolledKeys(),
    signingKeys: async () => records.signingKeys(),
    verifierInstances: async () => records.verifierInstances(),
    feedAfter: async (audience, after, now, limit) => records.feedAfter(audience, after, now, limit),
    feedHead: async () => records.feedHead(),
    statuses: (list, now) => missions.statuses(list, now),
    statusListInUse: async () => missions.statusListInUse(),
    auditRecords: async (query) => records.auditRecords(query),
    auditSegments: async () => records.auditSegments(),
    report: async (id) => reports.report(id),
    reports: async (query) => reports.reports(query),
    reportSources: async () => reports.reportSources(),
    history: async (scope) => histories.history(scope),
    histories: async (query) => histories.histories(query),
    meta: async (key) => records.meta(key),
    prune: (now, keep) => queue.prune(now, keep),
    healthy,
    close: async () => {
      // The reader first: the last connection to close folds the log into the file.
      db.close();
      await queue.close();
    },
  };
}
