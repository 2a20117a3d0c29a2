/** Reads of verifiers' reports. */
import type { ReportPosition, ReportQuery, ReportRecord, ReportSource } from '../../ports.ts';
import { reportDigestOf, unpackBody } from '../packing.ts';
import type { Connection } from '../writes/context.ts';
import { missionKeyOf } from '../writes/reports.ts';
import { optional } from './missions.ts';

/** Batches in one answer at most: each is unpacked. */
const BATCHES = 64;

interface ReportRow extends Omit<ReportRecord, 'id' | 'kind' | 'missions' | 'body'> {
  readonly n: number;
  readonly digest: Buffer;
  readonly kind: number;
  readonly body: Buffer;
}

export interface ReportReads {
  report(id: string): ReportRecord | null;
  reports(query: ReportQuery): readonly ReportPosition[];
  reportSources(): readonly ReportSource[];
}

function fromRow(row: ReportRow): ReportRecord {
  return {
    id: `dec_${row.digest.toString('base64url')}`,
    kind: row.kind === 0 ? 'decisions' : 'observations',
    verifier_id: row.verifier_id,
    instance_id: row.instance_id,
    audience: row.audience,
    received_at: row.received_at,
    bundle_version: row.bundle_version,
    count: row.count,
    denials: row.denials,
    // Known from the body; the row keeps only keys of them.
    missions: [],
    body: unpackBody(row.body),
  };
}

export function reportReads(db: Connection): ReportReads {
  const byDigest = db.prepare<[Buffer], ReportRow>('select * from report_batches where digest = ?');
  const sources = db.prepare<[], ReportSource>(
    'select * from report_sources order by verifier_id, instance_id',
  );
  const pages = new Map<string, ReturnType<typeof db.prepare<Record<string, unknown>, ReportRow>>>();

  /** Only the conditions that a query has, so that each finds its index. */
  function pageOf(query: ReportQuery) {
    // A plus keeps a condition off its index: without an audience the newest rows are the page, and denials are the
    // fewer rows.
    const denials = query.with_denials === true;
    const conditions = [query.audience === undefined && !denials ? '+b.kind = @kind' : 'b.kind = @kind'];
    if (query.audience !== undefined)
      conditions.push(denials ? '+b.audience = @audience' : 'b.audience = @audience');
    if (denials) conditions.push('b.denials > 0');
    const where = conditions.join(' and ');
    const text =
      query.mission_id === undefined
        ? `select * from report_batches b where ${where} and b.n < @before order by b.n desc limit @limit`
        : `select b.* from report_missions m join report_batches b on b.n = m.batch_n
           where m.mission_key = @mission_key and m.batch_n < @before and ${where}
           order by m.batch_n desc limit @limit`;
    const page = pages.get(text) ?? db.prepare<Record<string, unknown>, ReportRow>(text);
    pages.set(text, page);
    return page;
  }

  return {
    report(id) {
      const digest = reportDigestOf(id);
      return digest === null ? null : optional(byDigest.get(digest), fromRow);
    },
    reports(query) {
      const rows = pageOf(query).all({
        kind: query.kind === 'decisions' ? 0 : 1,
        before: query.before ?? Number.MAX_SAFE_INTEGER,
        audience: query.audience ?? null,
        limit: Math.min(Math.max(0, query.limit), BATCHES),
        mission_key: query.mission_id === undefined ? null : missionKeyOf(query.mission_id),
      });
      return rows.map((row) => ({ position: row.n, report: fromRow(row) }));
    },
    reportSources: () => sources.all(),
  };
}
