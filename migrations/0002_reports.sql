CREATE TABLE `report_batches` (
	`n` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`digest` blob NOT NULL,
	`kind` integer NOT NULL,
	`verifier_id` text NOT NULL,
	`instance_id` text NOT NULL,
	`audience` text NOT NULL,
	`received_at` real NOT NULL,
	`bundle_version` text,
	`count` integer NOT NULL,
	`denials` integer NOT NULL,
	`missions` blob NOT NULL,
	`body` blob NOT NULL
);
--> statement-breakpoint
CREATE UNIQUE INDEX `report_batches_digest` ON `report_batches` (`digest`);--> statement-breakpoint
CREATE INDEX `report_batches_received` ON `report_batches` (`received_at`);--> statement-breakpoint
CREATE INDEX `report_batches_audience` ON `report_batches` (`kind`,`audience`);--> statement-breakpoint
CREATE INDEX `report_batches_denials` ON `report_batches` (`kind`) WHERE denials > 0;--> statement-breakpoint
CREATE TABLE `report_missions` (
	`mission_key` integer NOT NULL,
	`batch_n` integer NOT NULL,
	PRIMARY KEY(`mission_key`, `batch_n`)
) WITHOUT ROWID;
--> statement-breakpoint
CREATE TABLE `report_sources` (
	`verifier_id` text NOT NULL,
	`instance_id` text NOT NULL,
	`batches` integer NOT NULL,
	`events` integer NOT NULL,
	`dropped_foreign` integer NOT NULL,
	`dropped_malformed` integer NOT NULL,
	`lost` integer NOT NULL,
	`last_at` real NOT NULL,
	PRIMARY KEY(`verifier_id`, `instance_id`)
);
--> statement-breakpoint
CREATE INDEX `report_sources_last` ON `report_sources` (`last_at`);