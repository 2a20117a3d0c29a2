/**
 * The one schema. `npm run migrations` writes migrations/ from it; nothing else creates a table.
 *
 * Disk is spent per mission, so what a million missions share is stored once: `grounds` holds who acted under
 * which rule and template, `names` holds audiences and credential types, and digests are kept as 32 bytes.
 * Integers `n` are internal row numbers and never leave the store. Times are seconds since the epoch.
 */
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

/** Small values that do not merit a table: epoch, write probe, what other parts keep. */
export const meta = sqliteTable('meta', { key: text().primaryKey(), value: text().notNull() });

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
