CREATE TABLE `histories` (
	`n` integer PRIMARY KEY NOT NULL,
	`template_id` text NOT NULL,
	`agent` text NOT NULL,
	`audience` text NOT NULL,
	`version` integer NOT NULL
);
--> statement-breakpoint
CREATE UNIQUE INDEX `histories_scope` ON `histories` (`template_id`,`agent`,`audience`);--> statement-breakpoint
CREATE TABLE `history_destinations` (
	`history_n` integer NOT NULL,
	`digest` text NOT NULL,
	`first_seen` real NOT NULL,
	`last_seen` real NOT NULL,
	`missions` integer NOT NULL,
	`days` integer NOT NULL,
	PRIMARY KEY(`history_n`, `digest`),
	FOREIGN KEY (`history_n`) REFERENCES `histories`(`n`) ON UPDATE no action ON DELETE no action
);
--> statement-breakpoint
CREATE INDEX `history_destinations_last` ON `history_destinations` (`last_seen`);