/** Removes what policy no longer keeps, a bounded number of rows a call. */
import { DEFAULT_HISTORY_POLICY } from '../behaviour/history.ts';
import type { RetentionPolicy } from '../ports.ts';
import type { Connection } from './writes/context.ts';

/** Rows of one kind a call; a call stays within tens of milliseconds, so that revocations are not held up. */
const ROWS = 2000;
const MISSIONS = 500;
/** Credentials that go with those missions. */
const CREDENTIALS = 5000;
/** Idempotency of mission creation holds until the mission's end and a day (wire profile 2). */
const IDEMPOTENCY_SECONDS = 86_400;
const REPORTS_SECONDS = 30 * 86_400;
/** Batches of reports a call: each takes its index rows with it. */
const REPORTS = 64;
/** Past this a verifier process that never came back is not one that still has to enforce anything. */
const SILENT_INSTANCE_SECONDS = 86_400;
/** After its end a token's allotment is open for settlement for so long. */
const UNSETTLED_SECONDS = 86_400;

type Parameters = Readonly<Record<string, number>>;

/** Must run inside a transaction. Returns the number of rows removed. */
export function pruning(db: Connection): (now: number, keep: RetentionPolicy) => number {
  function bounded(table: string, condition: string): (parameters: Parameters) => number {
    const statement = db.prepare(
      `delete from ${table} where rowid in (select rowid from ${table} where ${condition} limit ${ROWS})`,
    );
    return (parameters) => statement.run(parameters).changes;
  }

  const spent = [
    bounded('once_ids', 'expires_at <= @now'),
    bounded('evidence_pins', 'expires_at <= @now'),
    bounded('rates', 'tat <= @now'),
    bounded('verifier_instances', 'last_seen <= @silent_before'),
    bounded('event_ids', 'at <= @missions_before'),
    bounded('credentials', 'expires_at <= @credentials_before'),
    bounded('report_sources', 'last_at <= @reports_before'),
    bounded('history_destinations', 'last_seen <= @history_before'),
    // Later than this nobody tells any more what a token did not use; a run is remembered longer than its tokens.
    bounded('allotments', 'expires_at <= @unsettled_before'),
    bounded('counting_runs', 'last_at <= @runs_before'),
  ];

  const overEntries = db.prepare<Parameters, { seq: number }>(
    `select seq from feed_entries where not_after <= @now limit ${ROWS}`,
  );
  const dropAddresses = db.prepare<[number]>('delete from feed_audiences where seq = ?');
  const dropEntry = db.prepare<[number]>('delete from feed_entries where seq = ?');

  // Ended long enough ago, and no credential of it can still be alive.
  const overMissions = db.prepare<Parameters, { n: number; ground_n: number }>(
    `select n, ground_n from missions m where state > 1 and state_since <= @missions_before
       and not exists (select 1 from credentials c where c.mission_n = m.n and c.expires_at > @now)
     order by state_since limit ${MISSIONS}`,
  );
  const dropCredentials = db.prepare<[number, number]>(
    `delete from credentials where rowid in (select rowid from credentials where mission_n = ? limit ?)`,
  );
  const dropOfMission = [
    'delete from mission_audiences where mission_n = ?',
    'delete from allotments where mission_n = ?',
    'delete from allowance_claims where mission_n = ?',
    'delete from allowances where mission_n = ?',
    'delete from budgets where mission_n = ?',
    'delete from mission_ancestors where mission_n = ?',
    'delete from mission_ancestors where ancestor_n = ?',
    'delete from missions where n = ?',
  ].map((text) => db.prepare<[number]>(text));
  const groundUsed = db.prepare<[number]>('select 1 from missions where ground_n = ? limit 1');
  const dropOfGround = [
    'delete from ground_agents where ground_n = ?',
    'delete from ground_audiences where ground_n = ?',
    'delete from grounds where n = ?',
  ].map((text) => db.prepare<[number]>(text));

  // Whole sealed segments only, oldest first and never with an older one left: one a call.
  const overSegment = db.prepare<Parameters, { segment: number; first_seq: number; last_seq: number }>(
    `select segment, first_seq, last_seq from audit_segments s
     where pruned_at is null and sealed_at is not null and closed_at <= @audit_before
       and not exists (select 1 from audit_segments o where o.segment < s.segment and o.pruned_at is null)
     order by segment limit 1`,
  );
  const dropRecords = db.prepare<[number, number]>('delete from audit_records where seq between ? and ?');
  const markPruned = db.prepare<[number, number]>(
    'update audit_segments set pruned_at = ? where segment = ?',
  );

  const overReports = db.prepare<Parameters, { n: number; missions: Buffer }>(
    `select n, missions from report_batches where received_at <= @reports_before
     order by received_at limit ${REPORTS}`,
  );
  const dropReportMission = db.prepare<[bigint, number]>(
    'delete from report_missions where mission_key = ? and batch_n = ?',
  );
  const dropReport = db.prepare<[number]>('delete from report_batches where n = ?');

  function pruneReports(parameters: Parameters): number {
    const batches = overReports.all(parameters);
    for (const { n, missions } of batches) {
      for (let at = 0; at + 8 <= missions.length; at += 8)
        dropReportMission.run(missions.readBigInt64LE(at), n);
      dropReport.run(n);
    }
    return batches.length;
  }

  function pruneFeed(parameters: Parameters): number {
    const entries = overEntries.all(parameters);
    for (const { seq } of entries) {
      dropAddresses.run(seq);
      dropEntry.run(seq);
    }
    return entries.length;
  }

  function pruneMissions(parameters: Parameters): number {
    const missions = overMissions.all(parameters);
    const touched = new Set<number>();
    let removed = 0;
    let left = CREDENTIALS;
    for (const { n, ground_n } of missions) {
      const dropped = dropCredentials.run(n, left).changes;
      removed += dropped;
      left -= dropped;
      // A mission with more credentials than one call takes goes when the last of them has gone.
      if (left === 0) break;
      for (const statement of dropOfMission) removed += statement.run(n).changes;
      touched.add(ground_n);
    }
    for (const ground_n of touched) {
      if (groundUsed.get(ground_n) !== undefined) continue;
      for (const statement of dropOfGround) statement.run(ground_n);
    }
    return removed;
  }

  function pruneAudit(parameters: Parameters, now: number): number {
    const segment = overSegment.get(parameters);
    if (segment === undefined) return 0;
    markPruned.run(now, segment.segment);
    return dropRecords.run(segment.first_seq, segment.last_seq).changes;
  }

  return (now, keep) => {
    const parameters: Parameters = {
      now,
      silent_before: now - SILENT_INSTANCE_SECONDS,
      unsettled_before: now - UNSETTLED_SECONDS,
      runs_before: now - 7 * UNSETTLED_SECONDS,
      missions_before: now - Math.max(keep.missions_seconds, IDEMPOTENCY_SECONDS),
      credentials_before: now - keep.credentials_seconds,
      audit_before: now - keep.audit_seconds,
      history_before: now - DEFAULT_HISTORY_POLICY.forget_after_seconds,
      reports_before: now - (keep.reports_seconds ?? REPORTS_SECONDS),
    };
    let removed = 0;
    for (const prune of spent) removed += prune(parameters);
    removed += pruneFeed(parameters);
    removed += pruneReports(parameters);
    removed += pruneMissions(parameters);
    removed += pruneAudit(parameters, now);
    return removed;
  };
}
