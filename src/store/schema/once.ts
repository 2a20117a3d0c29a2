/** What may happen once, or so often. */
import { blob, index, integer, primaryKey, real, sqliteTable, text } from 'drizzle-orm/sqlite-core';

/** Small values that do not merit a table: epoch, write probe, what other parts keep. */
export const meta = sqliteTable('meta', { key: text().primaryKey(), value: text().notNull() });

/** Ids that may be used once. `digest` is 63 bits of SHA-256: a collision refuses, it never admits. */
export const onceIds = sqliteTable(
  'once_ids',
  { digest: integer().primaryKey(), expires_at: real().notNull() },
  (t) => [index('once_ids_expiry').on(t.expires_at)],
);

/** The keys that presented one piece of reusable evidence. */
export const evidencePins = sqliteTable(
  'evidence_pins',
  {
    digest: blob({ mode: 'buffer' }).notNull(),
    jkt: blob({ mode: 'buffer' }).notNull(),
    expires_at: real().notNull(),
  },
  (t) => [primaryKey({ columns: [t.digest, t.jkt] }), index('evidence_pins_expiry').on(t.expires_at)],
);

/** GCRA: the theoretical arrival time of each rate. */
export const rates = sqliteTable('rates', { key: text().primaryKey(), tat: real().notNull() }, (t) => [
  index('rates_tat').on(t.tat),
]);

export const eventIds = sqliteTable(
  'event_ids',
  { event_id: text().primaryKey(), at: real().notNull() },
  (t) => [index('event_ids_at').on(t.at)],
);
