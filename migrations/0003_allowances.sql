CREATE TABLE `allowances` (
	`mission_n` integer NOT NULL,
	`control` integer NOT NULL,
	`max` integer NOT NULL,
	`reserved` integer NOT NULL,
	PRIMARY KEY(`mission_n`, `control`),
	FOREIGN KEY (`mission_n`) REFERENCES `missions`(`n`) ON UPDATE no action ON DELETE no action
);
