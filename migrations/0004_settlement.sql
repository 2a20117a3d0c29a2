CREATE TABLE `allotments` (
	`jti` text NOT NULL,
	`control` integer NOT NULL,
	`mission_n` integer NOT NULL,
	`audience_n` integer NOT NULL,
	`amount` integer NOT NULL,
	`processes` integer NOT NULL,
	`issued_at` real NOT NULL,
	`expires_at` real NOT NULL,
	`settled` integer NOT NULL,
	`returned` integer NOT NULL,
	PRIMARY KEY(`jti`, `control`),
	FOREIGN KEY (`mission_n`) REFERENCES `missions`(`n`) ON UPDATE no action ON DELETE no action
);
--> statement-breakpoint
CREATE INDEX `allotments_due` ON `allotments` (`audience_n`,`expires_at`) WHERE settled < processes;--> statement-breakpoint
CREATE INDEX `allotments_mission` ON `allotments` (`mission_n`);--> statement-breakpoint
CREATE INDEX `allotments_expiry` ON `allotments` (`expires_at`);--> statement-breakpoint
CREATE TABLE `allowance_claims` (
	`mission_n` integer NOT NULL,
	`control` integer NOT NULL,
	`audience_n` integer NOT NULL,
	`held` integer NOT NULL,
	`claimed` integer NOT NULL,
	PRIMARY KEY(`mission_n`, `control`, `audience_n`),
	FOREIGN KEY (`mission_n`) REFERENCES `missions`(`n`) ON UPDATE no action ON DELETE no action
);
--> statement-breakpoint
CREATE TABLE `budgets` (
	`mission_n` integer PRIMARY KEY NOT NULL,
	`currency` text NOT NULL,
	`max` text NOT NULL,
	`spent` text NOT NULL,
	FOREIGN KEY (`mission_n`) REFERENCES `missions`(`n`) ON UPDATE no action ON DELETE no action
);
--> statement-breakpoint
CREATE TABLE `counting_runs` (
	`verifier_id` text NOT NULL,
	`run_id` text NOT NULL,
	`through` real NOT NULL,
	`last_at` real NOT NULL,
	PRIMARY KEY(`verifier_id`, `run_id`)
);
--> statement-breakpoint
CREATE INDEX `counting_runs_last` ON `counting_runs` (`last_at`);