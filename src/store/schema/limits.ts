/** What missions may count, and what of it is given out, spent and told. */
import { sql } from 'drizzle-orm';
import { index, integer, primaryKey, real, sqliteTable, text } from 'drizzle-orm/sqlite-core';
import { missions } from './missions.ts';

/** What a mission's tokens may count, and how much of it audiences have claimed. Only missions with such a limit have rows. */
export const allowances = sqliteTable(
  'allowances',
  {
    mission_n: integer()
      .notNull()
      .references(() => missions.n),
    /** Index in COUNTED_CONTROLS. */
    control: integer().notNull(),
    max: integer().notNull(),
    /** The sum of `claimed` over audiences. */
    reserved: integer().notNull(),
  },
  (t) => [primaryKey({ columns: [t.mission_n, t.control] })],
);

/** One audience's part of an allowance: what came back from it is given out again there and nowhere else. */
export const allowanceClaims = sqliteTable(
  'allowance_claims',
  {
    mission_n: integer()
      .notNull()
      .references(() => missions.n),
    control: integer().notNull(),
    audience_n: integer().notNull(),
    /** In allotments, less what was told to be unused. */
    held: integer().notNull(),
    /** The most that was ever held at once. */
    claimed: integer().notNull(),
  },
  (t) => [primaryKey({ columns: [t.mission_n, t.control, t.audience_n] })],
);

/** What one token carries of one limit, until every process of its audience has told what it spent of it. */
export const allotments = sqliteTable(
  'allotments',
  {
    jti: text().notNull(),
    control: integer().notNull(),
    mission_n: integer()
      .notNull()
      .references(() => missions.n),
    audience_n: integer().notNull(),
    amount: integer().notNull(),
    /** That share it in equal parts. */
    processes: integer().notNull(),
    issued_at: real().notNull(),
    expires_at: real().notNull(),
    /** Processes that have told what they spent. */
    settled: integer().notNull(),
    returned: integer().notNull(),
  },
  (t) => [
    primaryKey({ columns: [t.jti, t.control] }),
    index('allotments_due').on(t.audience_n, t.expires_at).where(sql`settled < processes`),
    index('allotments_mission').on(t.mission_n),
    index('allotments_expiry').on(t.expires_at),
  ],
);

/** Money that the broker permitted to be spent (`max_budget`), exact decimals as text. */
export const budgets = sqliteTable('budgets', {
  mission_n: integer()
    .primaryKey()
    .references(() => missions.n),
  currency: text().notNull(),
  max: text().notNull(),
  spent: text().notNull(),
});

/** Up to which expiry one run of a verifier process has told what it spent: nothing is told twice. */
export const countingRuns = sqliteTable(
  'counting_runs',
  {
    verifier_id: text().notNull(),
    run_id: text().notNull(),
    through: real().notNull(),
    last_at: real().notNull(),
  },
  (t) => [primaryKey({ columns: [t.verifier_id, t.run_id] }), index('counting_runs_last').on(t.last_at)],
);
