CREATE TABLE `leases` (
	`id` text PRIMARY KEY NOT NULL,
	`mission_id` text NOT NULL,
	`credential_id` text NOT NULL,
	`type` text NOT NULL,
	`target` text NOT NULL,
	`state` integer NOT NULL,
	`entry` text NOT NULL,
	`revocation` text NOT NULL,
	`created_at` real NOT NULL,
	`expires_at` real NOT NULL,
	`next_at` real NOT NULL,
	`attempts` integer NOT NULL,
	`last_error` text,
	`ended_at` real
);
--> statement-breakpoint
CREATE INDEX `leases_mission` ON `leases` (`mission_id`);--> statement-breakpoint
CREATE INDEX `leases_due` ON `leases` (`next_at`) WHERE state < 3;--> statement-breakpoint
CREATE TRIGGER `leases_follow_mission` AFTER UPDATE OF `state`, `containments`, `expires_at` ON `missions`
WHEN new.state <> old.state OR new.containments IS NOT old.containments OR new.expires_at <> old.expires_at
BEGIN
	UPDATE `leases` SET `next_at` = 0 WHERE `mission_id` = new.id AND `state` < 3;
END;--> statement-breakpoint
CREATE TRIGGER `leases_leave_with_mission` AFTER DELETE ON `missions`
BEGIN
	DELETE FROM `leases` WHERE `mission_id` = old.id;
END;
