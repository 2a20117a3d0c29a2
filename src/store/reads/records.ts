/** Reads of what people made, of the feed and of the audit log. */
import type {
  AdminTokenRecord,
  AuditSegment,
  BlockRecord,
  EnrolledKeyRecord,
  SealedAuditRecord,
  SigningKeyRecord,
  Store,
  StoredFeedEntry,
  TemplateRecord,
  VerifierInstance,
} from '../../ports.ts';
import {
  type AdminTokenRow,
  type AuditRow,
  adminTokenFromRow,
  auditFromRow,
  type BlockRow,
  blockFromRow,
  type EnrolledKeyRow,
  enrolledKeyFromRow,
  type FeedRow,
  feedEntryFromRow,
  type SegmentRow,
  type SigningKeyRow,
  segmentFromRow,
  signingKeyFromRow,
  type TemplateRow,
  templateFromRow,
  type VerifierInstanceRow,
  verifierInstanceFromRow,
} from '../rows.ts';
import type { Connection } from '../writes/context.ts';
import { optional } from './missions.ts';

const PAGE_LIMIT = 2000;
/** Parsed template documents kept; a document never changes under its hash. */
const TEMPLATES_KEPT = 256;

type AuditQuery = Parameters<Store['auditRecords']>[0];

export interface RecordReads {
  template(id: string, hash?: string): TemplateRecord | null;
  approvedTemplate(id: string): TemplateRecord | null;
  templates(): readonly TemplateRecord[];
  blocks(at: number): readonly BlockRecord[];
  block(id: string): BlockRecord | null;
  adminToken(token_digest: string): AdminTokenRecord | null;
  adminTokens(): readonly AdminTokenRecord[];
  enrolledKey(jkt: string): EnrolledKeyRecord | null;
  enrolledKeys(): readonly EnrolledKeyRecord[];
  signingKeys(): readonly SigningKeyRecord[];
  verifierInstances(): readonly VerifierInstance[];
  feedAfter(audience: string, after: number, now: number, limit: number): readonly StoredFeedEntry[];
  feedHead(): { epoch: number; seq: number };
  auditRecords(query: AuditQuery): readonly SealedAuditRecord[];
  auditSegments(): readonly AuditSegment[];
  meta(key: string): string | null;
}

export function recordReads(db: Connection): RecordReads {
  const templateByHash = db.prepare<[string, string], TemplateRow>(
    'select * from templates where id = ? and hash = ?',
  );
  const newestTemplate = db.prepare<[string], TemplateRow>(
    'select * from templates where id = ? order by imported_at desc, n desc limit 1',
  );
  const approvedTemplate = db.prepare<[string], TemplateRow>(
    `select * from templates where id = ? and approved_at is not null
     order by approved_at desc, n desc limit 1`,
  );
  const templates = db.prepare<[], TemplateRow>('select * from templates order by id, n');
  const blocks = db.prepare<[number], BlockRow>(
    'select * from blocks where lifted_at is null and (until is null or until > ?) order by n',
  );
  const block = db.prepare<[string], BlockRow>('select * from blocks where id = ?');
  const adminToken = db.prepare<[string], AdminTokenRow>('select * from admin_tokens where token_digest = ?');
  const adminTokens = db.prepare<[], AdminTokenRow>('select * from admin_tokens order by created_at, id');
  const enrolledKey = db.prepare<[string], EnrolledKeyRow>('select * from enrolled_keys where jkt = ?');
  const enrolledKeys = db.prepare<[], EnrolledKeyRow>('select * from enrolled_keys order by created_at, id');
  const signingKeys = db.prepare<[], SigningKeyRow>('select * from signing_keys order by active_from, kid');
  const instances = db.prepare<[], VerifierInstanceRow>(
    'select * from verifier_instances order by verifier_id, instance_id',
  );
  const feed = db.prepare<Record<string, unknown>, FeedRow>(
    `select f.* from feed_audiences a join feed_entries f on f.seq = a.seq
     where a.audience_n = @audience and a.seq > @after and f.not_after > @now order by a.seq limit @limit`,
  );
  const nameOf = db.prepare<[string], { n: number }>('select n from names where name = ?');
  const audiencesOf = db.prepare<[number], { audience_n: number; name: string | null }>(
    `select a.audience_n, n.name from feed_audiences a left join names n on n.n = a.audience_n
     where a.seq = ? order by n.name`,
  );
  // AUTOINCREMENT remembers the head even where retention took the entries.
  const feedSeq = db.prepare<[], { seq: number }>(
    "select seq from sqlite_sequence where name = 'feed_entries'",
  );
  const meta = db.prepare<[string], { value: string }>('select value from meta where key = ?');
  const segments = db.prepare<[], SegmentRow>('select * from audit_segments order by segment');
  const auditPages = new Map<string, ReturnType<typeof db.prepare<Record<string, unknown>, AuditRow>>>();
  const documents = new Map<string, TemplateRecord['document']>();

  function readTemplate(row: TemplateRow): TemplateRecord {
    const key = `${row.id} ${row.hash}`;
    const document = documents.get(key);
    if (document !== undefined) return { ...templateFromRow({ ...row, document: 'null' }), document };
    const template = templateFromRow(row);
    if (documents.size >= TEMPLATES_KEPT) documents.clear();
    documents.set(key, template.document);
    return template;
  }

  function feedAfter(audience: string, after: number, now: number, limit: number): StoredFeedEntry[] {
    const page = { after, now, limit: Math.min(limit, PAGE_LIMIT) };
    // An audience without a name never had a token: what is for everybody is all that it gets.
    const n = nameOf.get(audience)?.n;
    const own = n === undefined ? [] : feed.all({ ...page, audience: n });
    const rows = [...feed.all({ ...page, audience: 0 }), ...own]
      .sort((a, b) => a.seq - b.seq)
      .slice(0, page.limit);
    return rows.map((row) => {
      const audiences = audiencesOf.all(row.seq);
      const everybody = audiences.some(({ audience_n }) => audience_n === 0);
      return feedEntryFromRow(row, everybody ? null : audiences.map(({ name }) => name ?? ''));
    });
  }

  function auditRecords(query: AuditQuery): SealedAuditRecord[] {
    const newest = query.newest_first === true;
    // With newest first, `after_seq` continues downwards.
    const conditions = [newest ? 'seq < @after' : 'seq > @after'];
    if (query.mission_id !== undefined) {
      conditions.push(
        `mission_id = @mission_id and segment in (select segment from audit_segments where pruned_at is null
          and ${newest ? 'first_seq < @after' : 'last_seq > @after'})`,
      );
    }
    // The plus keeps this condition off its index where the mission's records are the fewer.
    if (query.event !== undefined) {
      conditions.push(query.mission_id === undefined ? 'event = @event' : '+event = @event');
    }
    const text = `select * from audit_records where ${conditions.join(' and ')}
      order by seq ${newest ? 'desc' : 'asc'} limit @limit`;
    const page = auditPages.get(text) ?? db.prepare<Record<string, unknown>, AuditRow>(text);
    auditPages.set(text, page);
    return page
      .all({
        after: query.after_seq ?? (newest ? Number.MAX_SAFE_INTEGER : 0),
        mission_id: query.mission_id ?? null,
        event: query.event ?? null,
        limit: Math.min(Math.max(0, query.limit), PAGE_LIMIT),
      })
      .map(auditFromRow);
  }

  return {
    template: (id, hash) =>
      optional(hash === undefined ? newestTemplate.get(id) : templateByHash.get(id, hash), readTemplate),
    approvedTemplate: (id) => optional(approvedTemplate.get(id), readTemplate),
    templates: () => templates.all().map(readTemplate),
    blocks: (at) => blocks.all(at).map(blockFromRow),
    block: (id) => optional(block.get(id), blockFromRow),
    adminToken: (token_digest) => optional(adminToken.get(token_digest), adminTokenFromRow),
    adminTokens: () => adminTokens.all().map(adminTokenFromRow),
    enrolledKey: (jkt) => optional(enrolledKey.get(jkt), enrolledKeyFromRow),
    enrolledKeys: () => enrolledKeys.all().map(enrolledKeyFromRow),
    signingKeys: () => signingKeys.all().map(signingKeyFromRow),
    verifierInstances: () => instances.all().map(verifierInstanceFromRow),
    feedAfter,
    feedHead: () => ({ epoch: Number(meta.get('epoch')?.value ?? 1), seq: feedSeq.get()?.seq ?? 0 }),
    auditRecords,
    auditSegments: () => segments.all().map(segmentFromRow),
    meta: (key) => meta.get(key)?.value ?? null,
  };
}
