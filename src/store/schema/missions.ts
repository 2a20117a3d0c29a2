/** Missions and what they have in common. */
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

/** Interned strings: audiences, roles, paths and credential types. */
export const names = sqliteTable('names', {
  n: integer().primaryKey(),
  name: text().notNull().unique(),
});

/**
 * What missions of one agent under one rule, template and policy have in common. Selecting by agent, template,
 * attester or rule goes through this short table, so that a mission needs one index entry for all four.
 */
export const grounds = sqliteTable(
  'grounds',
  {
    /** Never given again, so that a reader may remember a ground by it. */
    n: integer().primaryKey({ autoIncrement: true }),
    /** Digest of all other columns. */
    digest: blob({ mode: 'buffer' }).notNull().unique(),
    sub: text().notNull(),
    agent: text().notNull(),
    /** Nested `act` as JSON; null for root missions. */
    act: text(),
    attester: text().notNull(),
    rule: text().notNull(),
    tier: integer().notNull(),
    template_id: text().notNull(),
    template_version: text().notNull(),
    template_hash: text().notNull(),
    policy_version: text().notNull(),
    declared_by: text().notNull(),
    attest_every_seconds: real().notNull(),
    token_ttl_seconds: real().notNull(),
  },
  (t) => [
    index('grounds_template').on(t.template_id, t.template_version),
    index('grounds_attester').on(t.attester),
    index('grounds_rule').on(t.rule),
  ],
);

/** Every agent that a ground names: `sub`, `agent` and each `act.sub`. */
export const groundAgents = sqliteTable(
  'ground_agents',
  {
    agent: text().notNull(),
    ground_n: integer()
      .notNull()
      .references(() => grounds.n),
  },
  (t) => [primaryKey({ columns: [t.agent, t.ground_n] }), index('ground_agents_ground').on(t.ground_n)],
);

/** Last end of any token minted under a ground for an audience: who must hear of an agent's revocation. */
export const groundAudiences = sqliteTable(
  'ground_audiences',
  {
    ground_n: integer()
      .notNull()
      .references(() => grounds.n),
    audience_n: integer().notNull(),
    last_exp: real().notNull(),
  },
  (t) => [primaryKey({ columns: [t.ground_n, t.audience_n] })],
);

export const missions = sqliteTable(
  'missions',
  {
    n: integer().primaryKey(),
    id: text().notNull(),
    ground_n: integer()
      .notNull()
      .references(() => grounds.n),
    /** Index in MISSION_STATES. */
    state: integer().notNull(),
    version: integer().notNull(),
    created_at: real().notNull(),
    expires_at: real().notNull(),
    state_since: real().notNull(),
    state_reason: text(),
    instance: text().notNull(),
    jkt: blob({ mode: 'buffer' }).notNull(),
    /** Ids from the root to this mission as JSON; null for a root mission. */
    path: text(),
    /** Digests of evidence, intent, proposal, authority and creation request, see packDigests. */
    digests: blob({ mode: 'buffer' }).notNull(),
    goal: text().notNull(),
    /** The intent without its goal, JSON. */
    intent: text().notNull(),
    /** JSON; empty where it equals the authority. */
    proposal: text(),
    authority: text().notNull(),
    /** JSON; null for none. */
    containments: text(),
    status_list: integer().notNull(),
    status_index: integer().notNull(),
    derivations: integer().notNull(),
    max_derivations: integer(),
    tainted: integer().notNull(),
    last_attested_at: real().notNull(),
    /** When silence is too long: `last_attested_at + attest_every_seconds`. */
    attest_due_at: real().notNull(),
    creation_request_id: text(),
    /** Digest of (agent, jkt, creation_request_id); null without one. */
    creation_key: blob({ mode: 'buffer' }),
  },
  (t) => [
    uniqueIndex('missions_id').on(t.id),
    uniqueIndex('missions_slot').on(t.status_list, t.status_index),
    uniqueIndex('missions_creation').on(t.creation_key).where(sql`creation_key is not null`),
    index('missions_ground').on(t.ground_n, t.state),
    // By status list first: lists fill one after another, so that a new mission touches the pages of its list
    // and not a random one of the whole index. A lookup asks once a list.
    index('missions_instance').on(t.status_list, t.instance),
    index('missions_jkt').on(t.status_list, t.jkt),
    index('missions_expiry').on(t.expires_at).where(sql`state < 2`),
    index('missions_silence').on(t.attest_due_at).where(sql`state = 0`),
    index('missions_ended').on(t.state_since).where(sql`state > 1`),
    index('missions_status').on(t.status_list, t.status_index, t.state).where(sql`state > 0`),
  ],
);

/** One row for each mission above another; root missions have none, so that most missions cost nothing here. */
export const missionAncestors = sqliteTable(
  'mission_ancestors',
  {
    ancestor_n: integer().notNull(),
    mission_n: integer()
      .notNull()
      .references(() => missions.n),
  },
  (t) => [
    primaryKey({ columns: [t.ancestor_n, t.mission_n] }),
    index('mission_ancestors_mission').on(t.mission_n),
  ],
);

/** Last end of any credential of a mission for an audience: who must hear of the mission's end. */
export const missionAudiences = sqliteTable(
  'mission_audiences',
  {
    mission_n: integer()
      .notNull()
      .references(() => missions.n),
    audience_n: integer().notNull(),
    last_exp: real().notNull(),
  },
  (t) => [primaryKey({ columns: [t.mission_n, t.audience_n] })],
);

/** Live missions of a template, kept in step by every write that changes a state. */
export const templateCounts = sqliteTable('template_counts', {
  template_id: text().primaryKey(),
  live: integer().notNull(),
});
