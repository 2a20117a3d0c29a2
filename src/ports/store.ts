/** The store port: writes as data, one transaction a group; reads that never block a write. */
import type { DestinationHistory } from '../behaviour/history.ts';
import type { Allowance } from '../domain/limits.ts';
import type { Mission, MissionState } from '../domain/mission.ts';
import type { FeedEntry } from '../domain/revocation.ts';
import type { OpenAllotment } from '../domain/settlement.ts';
import type {
  AdminTokenRecord,
  AuditSegment,
  BlockRecord,
  CredentialRecord,
  EnrolledKeyRecord,
  LeaseRecord,
  ReportPosition,
  ReportQuery,
  ReportRecord,
  ReportSource,
  SealedAuditRecord,
  Selector,
  SigningKeyRecord,
  TemplateRecord,
  VerifierInstance,
} from './records.ts';
import type { HistoryScope, HistorySummary, Write } from './writes.ts';

/** What a committed group did beyond its rows. */
export interface Committed {
  /** Ids of missions whose state changed, in order, cascaded ones included. */
  readonly changed_missions: readonly string[];
  /** Feed entries with their assigned `seq` and audiences. */
  readonly feed: readonly StoredFeedEntry[];
  readonly audit: readonly { readonly seq: number; readonly hash: string }[];
}

/** A feed entry as kept: `prev` is per verifier and computed when sent. */
export interface StoredFeedEntry extends Omit<FeedEntry, 'prev'> {
  /** Null means all. */
  readonly audiences: readonly string[] | null;
}

export interface Page<T> {
  readonly items: readonly T[];
  /** Opaque; null on the last page. */
  readonly next_cursor: string | null;
}

export interface MissionQuery {
  readonly state?: MissionState;
  readonly agent?: string;
  readonly template?: string;
  /** Substring of the id, agent or goal. */
  readonly q?: string;
  readonly cursor?: string;
  readonly limit: number;
}

/** Open allotments of one audience that end in (`from`, `through`] and were issued in (`since`, `until`]. */
export interface AllotmentQuery {
  readonly audience: string;
  readonly from: number;
  readonly through: number;
  readonly since: number;
  readonly until: number;
  readonly limit: number;
}

/** What is alive and would be ended: live missions, and unexpired credentials of theirs. */
export interface BlastRadius {
  /** Exact. */
  readonly missions: number;
  /** At most 10,000 of them. */
  readonly mission_ids: readonly string[];
  readonly credentials: readonly {
    readonly type: string;
    readonly target: string;
    readonly count: number;
    readonly last_expires_at: number;
  }[];
}

export interface Store {
  /** Durable (fsynced) when it resolves. @throws WriteConflict, or the storage's error. */
  atomically(writes: readonly Write[]): Promise<Committed>;
  /** Called once per commit, in commit order, after it is durable. */
  onCommit(listener: (committed: Committed) => void): void;

  mission(id: string): Promise<Mission | null>;
  missionByCreation(agent: string, jkt: string, creation_request_id: string): Promise<Mission | null>;
  /** Newest first. A page may be short and still not be the last: the cursor says so. */
  missions(query: MissionQuery): Promise<Page<Mission>>;
  /** The mission and everything below it, root first. */
  missionTree(id: string): Promise<readonly Mission[]>;
  /** Live missions whose clock has run out, or that were not re-attested in time; oldest first. */
  missionsDue(now: number, limit: number): Promise<{ expired: readonly string[]; silent: readonly string[] }>;
  blastRadius(selector: Selector, now: number): Promise<BlastRadius>;

  /** The counted limits of a mission of which something was given out. */
  allowances(mission_id: string): Promise<readonly Allowance[]>;
  /** Allotments that one run's statement is about, the first to end first; at most `limit`, and those that end with the last. */
  openAllotments(query: AllotmentQuery): Promise<readonly OpenAllotment[]>;
  /** Null where nothing was spent of one. */
  budget(
    mission_id: string,
  ): Promise<{ readonly currency: string; readonly max: string; readonly spent: string } | null>;
  credential(id: string): Promise<CredentialRecord | null>;
  credentials(mission_id: string): Promise<readonly CredentialRecord[]>;
  /** Every lease of the mission, oldest first. */
  leases(mission_id: string): Promise<readonly LeaseRecord[]>;
  /** Leases on one target that are not gone, oldest first: for a person who asks what an act there would end. */
  openLeases(type: string, target: string, limit: number): Promise<readonly LeaseRecord[]>;
  /** Leases of one type that are not gone and whose `next_at` has come, longest waiting first. */
  leasesDue(type: string, now: number, limit: number): Promise<readonly LeaseRecord[]>;

  template(id: string, hash?: string): Promise<TemplateRecord | null>;
  /** The newest approved version. */
  approvedTemplate(id: string): Promise<TemplateRecord | null>;
  templates(): Promise<readonly TemplateRecord[]>;

  blocks(at: number): Promise<readonly BlockRecord[]>;
  block(id: string): Promise<BlockRecord | null>;

  adminToken(token_digest: string): Promise<AdminTokenRecord | null>;
  adminTokens(): Promise<readonly AdminTokenRecord[]>;
  enrolledKey(jkt: string): Promise<EnrolledKeyRecord | null>;
  enrolledKeys(): Promise<readonly EnrolledKeyRecord[]>;
  signingKeys(): Promise<readonly SigningKeyRecord[]>;
  verifierInstances(): Promise<readonly VerifierInstance[]>;

  /** Entries for one audience with `seq > after`, in order, not expired at `now`. */
  feedAfter(audience: string, after: number, now: number, limit: number): Promise<readonly StoredFeedEntry[]>;
  /** Head `seq` over all audiences and the current epoch. */
  feedHead(): Promise<{ readonly epoch: number; readonly seq: number }>;
  /** Statuses of one list that are not 0: 1 invalid, 2 suspended. */
  statuses(list: number, now: number): Promise<readonly { readonly index: number; readonly status: 1 | 2 }[]>;
  /** The list being filled and its taken slots. */
  statusListInUse(): Promise<{ readonly list: number; readonly taken: readonly number[] }>;

  auditRecords(query: {
    readonly mission_id?: string;
    readonly event?: string;
    readonly after_seq?: number;
    readonly limit: number;
    readonly newest_first?: boolean;
  }): Promise<readonly SealedAuditRecord[]>;
  auditSegments(): Promise<readonly AuditSegment[]>;

  report(id: string): Promise<ReportRecord | null>;
  /** Newest first; at most 64 batches. */
  reports(query: ReportQuery): Promise<readonly ReportPosition[]>;
  reportSources(): Promise<readonly ReportSource[]>;

  /** Version 0 and nothing learned where there is none. */
  history(scope: HistoryScope): Promise<DestinationHistory>;
  /** At most 1,000. */
  histories(query: {
    readonly template_id?: string;
    readonly agent?: string;
  }): Promise<readonly HistorySummary[]>;

  meta(key: string): Promise<string | null>;
  /**
   * Removes what policy no longer keeps: spent ids, expired entries, ended missions (never within a day of their
   * end: idempotency), and audit records by whole sealed segments, oldest first. Bounded per call: repeat while
   * it removes something.
   */
  prune(now: number, keep: RetentionPolicy): Promise<{ readonly removed: number }>;
  /** Whether a write would succeed now; for readiness. */
  healthy(): Promise<boolean>;
  close(): Promise<void>;
}

/** How far the database had come. */
export interface Mark {
  readonly epoch: number;
  readonly feed_seq: number;
  readonly audit_seq: number;
}

/** Keeps the mark; a file beside the database, left out of backups. */
export interface MarkKeeper {
  /** Null if there is none. @throws Error if there is one that cannot be read */
  read(): Mark | null;
  write(mark: Mark): void;
}

/** Seconds that records are kept after they stopped mattering. */
export interface RetentionPolicy {
  readonly missions_seconds: number;
  readonly credentials_seconds: number;
  readonly audit_seconds: number;
  /** Reports of verifiers. Default 30 days. */
  readonly reports_seconds?: number;
}
