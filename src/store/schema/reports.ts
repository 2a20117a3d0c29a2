/** What verifiers reported, and what clean missions taught. */
import { sql } from 'drizzle-orm';
import {
  blob,
  index,
  integer,
  primaryKey,
  real,
  sqliteTable,
  text,
  uniqueIndex,
} from 'drizzle-orm/sqlite-core';

/** Reports of verifiers: a batch a row, packed, with the keys of its missions so that it can be taken out again. */
export const reportBatches = sqliteTable(
  'report_batches',
  {
    /** AUTOINCREMENT: pages are remembered by it. */
    n: integer().primaryKey({ autoIncrement: true }),
    /** Of verifier and batch id, 16 bytes. */
    digest: blob({ mode: 'buffer' }).notNull(),
    /** 0 decisions, 1 observations. */
    kind: integer().notNull(),
    verifier_id: text().notNull(),
    instance_id: text().notNull(),
    audience: text().notNull(),
    received_at: real().notNull(),
    bundle_version: text(),
    count: integer().notNull(),
    denials: integer().notNull(),
    /** Eight bytes a mission, as in `report_missions`. */
    missions: blob({ mode: 'buffer' }).notNull(),
    /** zstd of JSON. */
    body: blob({ mode: 'buffer' }).notNull(),
  },
  (t) => [
    uniqueIndex('report_batches_digest').on(t.digest),
    index('report_batches_received').on(t.received_at),
    index('report_batches_audience').on(t.kind, t.audience),
    index('report_batches_denials').on(t.kind).where(sql`denials > 0`),
  ],
);

/**
 * Which batches speak of a mission; `mission_key` is 63 bits of SHA-256 of its id. The migration makes it WITHOUT
 * ROWID: half the pages a batch.
 */
export const reportMissions = sqliteTable(
  'report_missions',
  { mission_key: integer().notNull(), batch_n: integer().notNull() },
  (t) => [primaryKey({ columns: [t.mission_key, t.batch_n] })],
);

/** Counts of each verifier process. */
export const reportSources = sqliteTable(
  'report_sources',
  {
    verifier_id: text().notNull(),
    instance_id: text().notNull(),
    batches: integer().notNull(),
    events: integer().notNull(),
    dropped_foreign: integer().notNull(),
    dropped_malformed: integer().notNull(),
    lost: integer().notNull(),
    last_at: real().notNull(),
  },
  (t) => [
    primaryKey({ columns: [t.verifier_id, t.instance_id] }),
    index('report_sources_last').on(t.last_at),
  ],
);

/**
 * Destinations that clean missions of one template and agent used at one audience: digests under a key of exactly
 * these three, so that nothing can be guessed from them or carried elsewhere.
 */
export const histories = sqliteTable(
  'histories',
  {
    n: integer().primaryKey(),
    template_id: text().notNull(),
    agent: text().notNull(),
    audience: text().notNull(),
    version: integer().notNull(),
  },
  (t) => [uniqueIndex('histories_scope').on(t.template_id, t.agent, t.audience)],
);

export const historyDestinations = sqliteTable(
  'history_destinations',
  {
    history_n: integer()
      .notNull()
      .references(() => histories.n),
    digest: text().notNull(),
    first_seen: real().notNull(),
    last_seen: real().notNull(),
    missions: integer().notNull(),
    days: integer().notNull(),
  },
  (t) => [
    primaryKey({ columns: [t.history_n, t.digest] }),
    index('history_destinations_last').on(t.last_seen),
  ],
);
