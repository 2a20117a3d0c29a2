/** What people and machines are known by, and what they decided. */
import { sql } from 'drizzle-orm';
import { index, integer, primaryKey, real, sqliteTable, text, uniqueIndex } from 'drizzle-orm/sqlite-core';

export const templates = sqliteTable(
  'templates',
  {
    n: integer().primaryKey(),
    id: text().notNull(),
    version: text().notNull(),
    hash: text().notNull(),
    document: text().notNull(),
    imported_by: text().notNull(),
    imported_at: real().notNull(),
    approved_by: text(),
    approved_at: real(),
    review_due_at: real(),
  },
  (t) => [uniqueIndex('templates_hash').on(t.id, t.hash)],
);

export const blocks = sqliteTable(
  'blocks',
  {
    n: integer().primaryKey(),
    id: text().notNull().unique(),
    selector_kind: text().notNull(),
    selector_key: text().notNull(),
    until: real(),
    reason: text().notNull(),
    created_by: text().notNull(),
    created_at: real().notNull(),
    lifted_at: real(),
  },
  (t) => [index('blocks_live').on(t.selector_kind, t.selector_key).where(sql`lifted_at is null`)],
);

export const adminTokens = sqliteTable('admin_tokens', {
  id: text().primaryKey(),
  name: text().notNull(),
  token_digest: text().notNull().unique(),
  role: text().notNull(),
  bootstrap: integer().notNull(),
  created_at: real().notNull(),
  expires_at: real(),
  revoked_at: real(),
});

export const enrolledKeys = sqliteTable('enrolled_keys', {
  id: text().primaryKey(),
  agent: text().notNull(),
  jkt: text().notNull().unique(),
  jwk: text().notNull(),
  created_by: text().notNull(),
  created_at: real().notNull(),
  expires_at: real().notNull(),
  revoked_at: real(),
});

export const signingKeys = sqliteTable('signing_keys', {
  kid: text().primaryKey(),
  alg: text().notNull(),
  jwk: text().notNull(),
  sealed: text().notNull(),
  created_at: real().notNull(),
  active_from: real().notNull(),
  active_until: real().notNull(),
  retired_at: real().notNull(),
  revoked_at: real(),
});

export const verifierInstances = sqliteTable(
  'verifier_instances',
  {
    verifier_id: text().notNull(),
    instance_id: text().notNull(),
    epoch: integer().notNull(),
    seq: integer().notNull(),
    last_seen: real().notNull(),
  },
  (t) => [
    primaryKey({ columns: [t.verifier_id, t.instance_id] }),
    index('verifier_instances_seen').on(t.last_seen),
  ],
);
