CREATE TABLE `admin_tokens` (
	`id` text PRIMARY KEY NOT NULL,
	`name` text NOT NULL,
	`token_digest` text NOT NULL,
	`role` text NOT NULL,
	`bootstrap` integer NOT NULL,
	`created_at` real NOT NULL,
	`expires_at` real,
	`revoked_at` real
);
--> statement-breakpoint
CREATE UNIQUE INDEX `admin_tokens_token_digest_unique` ON `admin_tokens` (`token_digest`);--> statement-breakpoint
CREATE TABLE `audit_records` (
	`seq` integer PRIMARY KEY NOT NULL,
	`segment` integer NOT NULL,
	`ts` real NOT NULL,
	`event` text NOT NULL,
	`actor` text NOT NULL,
	`mission_id` text,
	`details` text NOT NULL,
	`hash` blob NOT NULL
);
--> statement-breakpoint
CREATE INDEX `audit_records_mission` ON `audit_records` (`segment`,`mission_id`) WHERE mission_id is not null;--> statement-breakpoint
CREATE INDEX `audit_records_event` ON `audit_records` (`event`);--> statement-breakpoint
CREATE TABLE `audit_segments` (
	`segment` integer PRIMARY KEY NOT NULL,
	`first_seq` integer NOT NULL,
	`last_seq` integer NOT NULL,
	`previous_hash` text NOT NULL,
	`head_hash` text NOT NULL,
	`closed_at` real,
	`sealed_at` real,
	`seal` text,
	`pruned_at` real
);
--> statement-breakpoint
CREATE TABLE `blocks` (
	`n` integer PRIMARY KEY NOT NULL,
	`id` text NOT NULL,
	`selector_kind` text NOT NULL,
	`selector_key` text NOT NULL,
	`until` real,
	`reason` text NOT NULL,
	`created_by` text NOT NULL,
	`created_at` real NOT NULL,
	`lifted_at` real
);
--> statement-breakpoint
CREATE UNIQUE INDEX `blocks_id_unique` ON `blocks` (`id`);--> statement-breakpoint
CREATE INDEX `blocks_live` ON `blocks` (`selector_kind`,`selector_key`) WHERE lifted_at is null;--> statement-breakpoint
CREATE TABLE `credentials` (
	`n` integer PRIMARY KEY NOT NULL,
	`id` text NOT NULL,
	`mission_n` integer NOT NULL,
	`type_n` integer NOT NULL,
	`target_n` integer NOT NULL,
	`jkt` blob,
	`issued_at` real NOT NULL,
	`expires_at` real NOT NULL,
	`revoked_at` real,
	FOREIGN KEY (`mission_n`) REFERENCES `missions`(`n`) ON UPDATE no action ON DELETE no action
);
--> statement-breakpoint
CREATE UNIQUE INDEX `credentials_id` ON `credentials` (`id`);--> statement-breakpoint
CREATE INDEX `credentials_mission` ON `credentials` (`mission_n`,`expires_at`);--> statement-breakpoint
CREATE INDEX `credentials_expiry` ON `credentials` (`expires_at`);--> statement-breakpoint
CREATE TABLE `enrolled_keys` (
	`id` text PRIMARY KEY NOT NULL,
	`agent` text NOT NULL,
	`jkt` text NOT NULL,
	`jwk` text NOT NULL,
	`created_by` text NOT NULL,
	`created_at` real NOT NULL,
	`expires_at` real NOT NULL,
	`revoked_at` real
);
--> statement-breakpoint
CREATE UNIQUE INDEX `enrolled_keys_jkt_unique` ON `enrolled_keys` (`jkt`);--> statement-breakpoint
CREATE TABLE `event_ids` (
	`event_id` text PRIMARY KEY NOT NULL,
	`at` real NOT NULL
);
--> statement-breakpoint
CREATE INDEX `event_ids_at` ON `event_ids` (`at`);--> statement-breakpoint
CREATE TABLE `evidence_pins` (
	`digest` blob NOT NULL,
	`jkt` blob NOT NULL,
	`expires_at` real NOT NULL,
	PRIMARY KEY(`digest`, `jkt`)
);
--> statement-breakpoint
CREATE INDEX `evidence_pins_expiry` ON `evidence_pins` (`expires_at`);--> statement-breakpoint
CREATE TABLE `feed_audiences` (
	`audience_n` integer NOT NULL,
	`seq` integer NOT NULL,
	PRIMARY KEY(`audience_n`, `seq`),
	FOREIGN KEY (`seq`) REFERENCES `feed_entries`(`seq`) ON UPDATE no action ON DELETE no action
);
--> statement-breakpoint
CREATE INDEX `feed_audiences_seq` ON `feed_audiences` (`seq`);--> statement-breakpoint
CREATE TABLE `feed_entries` (
	`seq` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`ts` real NOT NULL,
	`kind` text NOT NULL,
	`key` text NOT NULL,
	`effect` text NOT NULL,
	`issued_before` real,
	`min_version` integer,
	`not_after` real NOT NULL,
	`reason_code` text NOT NULL
);
--> statement-breakpoint
CREATE INDEX `feed_entries_not_after` ON `feed_entries` (`not_after`);--> statement-breakpoint
CREATE TABLE `ground_agents` (
	`agent` text NOT NULL,
	`ground_n` integer NOT NULL,
	PRIMARY KEY(`agent`, `ground_n`),
	FOREIGN KEY (`ground_n`) REFERENCES `grounds`(`n`) ON UPDATE no action ON DELETE no action
);
--> statement-breakpoint
CREATE INDEX `ground_agents_ground` ON `ground_agents` (`ground_n`);--> statement-breakpoint
CREATE TABLE `ground_audiences` (
	`ground_n` integer NOT NULL,
	`audience_n` integer NOT NULL,
	`last_exp` real NOT NULL,
	PRIMARY KEY(`ground_n`, `audience_n`),
	FOREIGN KEY (`ground_n`) REFERENCES `grounds`(`n`) ON UPDATE no action ON DELETE no action
);
--> statement-breakpoint
CREATE TABLE `grounds` (
	`n` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`digest` blob NOT NULL,
	`sub` text NOT NULL,
	`agent` text NOT NULL,
	`act` text,
	`attester` text NOT NULL,
	`rule` text NOT NULL,
	`tier` integer NOT NULL,
	`template_id` text NOT NULL,
	`template_version` text NOT NULL,
	`template_hash` text NOT NULL,
	`policy_version` text NOT NULL,
	`declared_by` text NOT NULL,
	`attest_every_seconds` real NOT NULL,
	`token_ttl_seconds` real NOT NULL
);
--> statement-breakpoint
CREATE UNIQUE INDEX `grounds_digest_unique` ON `grounds` (`digest`);--> statement-breakpoint
CREATE INDEX `grounds_template` ON `grounds` (`template_id`,`template_version`);--> statement-breakpoint
CREATE INDEX `grounds_attester` ON `grounds` (`attester`);--> statement-breakpoint
CREATE INDEX `grounds_rule` ON `grounds` (`rule`);--> statement-breakpoint
CREATE TABLE `meta` (
	`key` text PRIMARY KEY NOT NULL,
	`value` text NOT NULL
);
--> statement-breakpoint
CREATE TABLE `mission_ancestors` (
	`ancestor_n` integer NOT NULL,
	`mission_n` integer NOT NULL,
	PRIMARY KEY(`ancestor_n`, `mission_n`),
	FOREIGN KEY (`mission_n`) REFERENCES `missions`(`n`) ON UPDATE no action ON DELETE no action
);
--> statement-breakpoint
CREATE INDEX `mission_ancestors_mission` ON `mission_ancestors` (`mission_n`);--> statement-breakpoint
CREATE TABLE `mission_audiences` (
	`mission_n` integer NOT NULL,
	`audience_n` integer NOT NULL,
	`last_exp` real NOT NULL,
	PRIMARY KEY(`mission_n`, `audience_n`),
	FOREIGN KEY (`mission_n`) REFERENCES `missions`(`n`) ON UPDATE no action ON DELETE no action
);
--> statement-breakpoint
CREATE TABLE `missions` (
	`n` integer PRIMARY KEY NOT NULL,
	`id` text NOT NULL,
	`ground_n` integer NOT NULL,
	`state` integer NOT NULL,
	`version` integer NOT NULL,
	`created_at` real NOT NULL,
	`expires_at` real NOT NULL,
	`state_since` real NOT NULL,
	`state_reason` text,
	`instance` text NOT NULL,
	`jkt` blob NOT NULL,
	`path` text,
	`digests` blob NOT NULL,
	`goal` text NOT NULL,
	`intent` text NOT NULL,
	`proposal` text,
	`authority` text NOT NULL,
	`containments` text,
	`status_list` integer NOT NULL,
	`status_index` integer NOT NULL,
	`derivations` integer NOT NULL,
	`max_derivations` integer,
	`tainted` integer NOT NULL,
	`last_attested_at` real NOT NULL,
	`attest_due_at` real NOT NULL,
	`creation_request_id` text,
	`creation_key` blob,
	FOREIGN KEY (`ground_n`) REFERENCES `grounds`(`n`) ON UPDATE no action ON DELETE no action
);
--> statement-breakpoint
CREATE UNIQUE INDEX `missions_id` ON `missions` (`id`);--> statement-breakpoint
CREATE UNIQUE INDEX `missions_slot` ON `missions` (`status_list`,`status_index`);--> statement-breakpoint
CREATE UNIQUE INDEX `missions_creation` ON `missions` (`creation_key`) WHERE creation_key is not null;--> statement-breakpoint
CREATE INDEX `missions_ground` ON `missions` (`ground_n`,`state`);--> statement-breakpoint
CREATE INDEX `missions_instance` ON `missions` (`status_list`,`instance`);--> statement-breakpoint
CREATE INDEX `missions_jkt` ON `missions` (`status_list`,`jkt`);--> statement-breakpoint
CREATE INDEX `missions_expiry` ON `missions` (`expires_at`) WHERE state < 2;--> statement-breakpoint
CREATE INDEX `missions_silence` ON `missions` (`attest_due_at`) WHERE state = 0;--> statement-breakpoint
CREATE INDEX `missions_ended` ON `missions` (`state_since`) WHERE state > 1;--> statement-breakpoint
CREATE INDEX `missions_status` ON `missions` (`status_list`,`status_index`,`state`) WHERE state > 0;--> statement-breakpoint
CREATE TABLE `names` (
	`n` integer PRIMARY KEY NOT NULL,
	`name` text NOT NULL
);
--> statement-breakpoint
CREATE UNIQUE INDEX `names_name_unique` ON `names` (`name`);--> statement-breakpoint
CREATE TABLE `once_ids` (
	`digest` integer PRIMARY KEY NOT NULL,
	`expires_at` real NOT NULL
);
--> statement-breakpoint
CREATE INDEX `once_ids_expiry` ON `once_ids` (`expires_at`);--> statement-breakpoint
CREATE TABLE `rates` (
	`key` text PRIMARY KEY NOT NULL,
	`tat` real NOT NULL
);
--> statement-breakpoint
CREATE INDEX `rates_tat` ON `rates` (`tat`);--> statement-breakpoint
CREATE TABLE `signing_keys` (
	`kid` text PRIMARY KEY NOT NULL,
	`alg` text NOT NULL,
	`jwk` text NOT NULL,
	`sealed` text NOT NULL,
	`created_at` real NOT NULL,
	`active_from` real NOT NULL,
	`active_until` real NOT NULL,
	`retired_at` real NOT NULL,
	`revoked_at` real
);
--> statement-breakpoint
CREATE TABLE `template_counts` (
	`template_id` text PRIMARY KEY NOT NULL,
	`live` integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE `templates` (
	`n` integer PRIMARY KEY NOT NULL,
	`id` text NOT NULL,
	`version` text NOT NULL,
	`hash` text NOT NULL,
	`document` text NOT NULL,
	`imported_by` text NOT NULL,
	`imported_at` real NOT NULL,
	`approved_by` text,
	`approved_at` real,
	`review_due_at` real
);
--> statement-breakpoint
CREATE UNIQUE INDEX `templates_hash` ON `templates` (`id`,`hash`);--> statement-breakpoint
CREATE TABLE `verifier_instances` (
	`verifier_id` text NOT NULL,
	`instance_id` text NOT NULL,
	`epoch` integer NOT NULL,
	`seq` integer NOT NULL,
	`last_seen` real NOT NULL,
	PRIMARY KEY(`verifier_id`, `instance_id`)
);
--> statement-breakpoint
CREATE INDEX `verifier_instances_seen` ON `verifier_instances` (`last_seen`);