/** What missions were handed out, here and in systems of others. */
import { sql } from 'drizzle-orm';
import { blob, index, integer, real, sqliteTable, text, uniqueIndex } from 'drizzle-orm/sqlite-core';
import { missions } from './missions.ts';

export const credentials = sqliteTable(
  'credentials',
  {
    n: integer().primaryKey(),
    id: text().notNull(),
    mission_n: integer()
      .notNull()
      .references(() => missions.n),
    type_n: integer().notNull(),
    target_n: integer().notNull(),
    /** Null where it is the mission's key. */
    jkt: blob({ mode: 'buffer' }),
    issued_at: real().notNull(),
    expires_at: real().notNull(),
    revoked_at: real(),
  },
  (t) => [
    uniqueIndex('credentials_id').on(t.id),
    index('credentials_mission').on(t.mission_n, t.expires_at),
    index('credentials_expiry').on(t.expires_at),
  ],
);

/**
 * What was handed out in somebody else's system, from before it exists until it is gone. Triggers of the migration
 * that made this table set `next_at` to 0 whenever the mission's state, end or overlay changes.
 */
export const leases = sqliteTable(
  'leases',
  {
    id: text().primaryKey(),
    mission_id: text().notNull(),
    credential_id: text().notNull(),
    type: text().notNull(),
    target: text().notNull(),
    /** Index in LEASE_STATES. */
    state: integer().notNull(),
    /** The entry as granted, JSON. */
    entry: text().notNull(),
    /** What its provider needs to revoke it, JSON; no secret. */
    revocation: text().notNull(),
    created_at: real().notNull(),
    expires_at: real().notNull(),
    next_at: real().notNull(),
    attempts: integer().notNull(),
    last_error: text(),
    ended_at: real(),
  },
  (t) => [index('leases_mission').on(t.mission_id), index('leases_due').on(t.next_at).where(sql`state < 3`)],
);
