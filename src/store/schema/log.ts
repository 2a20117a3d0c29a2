/** What is appended: the revocation feed and the audit chain. */
import { sql } from 'drizzle-orm';
import { blob, index, integer, primaryKey, real, sqliteTable, text } from 'drizzle-orm/sqlite-core';

/** AUTOINCREMENT, so that a pruned head's number is never given again. */
export const feedEntries = sqliteTable(
  'feed_entries',
  {
    seq: integer().primaryKey({ autoIncrement: true }),
    ts: real().notNull(),
    kind: text().notNull(),
    key: text().notNull(),
    effect: text().notNull(),
    issued_before: real(),
    min_version: integer(),
    not_after: real().notNull(),
    reason_code: text().notNull(),
  },
  (t) => [index('feed_entries_not_after').on(t.not_after)],
);

/** `audience_n` 0 stands for every audience. */
export const feedAudiences = sqliteTable(
  'feed_audiences',
  {
    audience_n: integer().notNull(),
    seq: integer()
      .notNull()
      .references(() => feedEntries.seq),
  },
  (t) => [primaryKey({ columns: [t.audience_n, t.seq] }), index('feed_audiences_seq').on(t.seq)],
);

export const auditSegments = sqliteTable('audit_segments', {
  segment: integer().primaryKey(),
  first_seq: integer().notNull(),
  last_seq: integer().notNull(),
  previous_hash: text().notNull(),
  head_hash: text().notNull(),
  closed_at: real(),
  sealed_at: real(),
  seal: text(),
  pruned_at: real(),
});

export const auditRecords = sqliteTable(
  'audit_records',
  {
    seq: integer().primaryKey(),
    segment: integer().notNull(),
    ts: real().notNull(),
    event: text().notNull(),
    actor: text().notNull(),
    mission_id: text(),
    /** JCS. */
    details: text().notNull(),
    hash: blob({ mode: 'buffer' }).notNull(),
  },
  (t) => [
    // By segment first, for the same reason as missions by status list.
    index('audit_records_mission').on(t.segment, t.mission_id).where(sql`mission_id is not null`),
    index('audit_records_event').on(t.event),
  ],
);
