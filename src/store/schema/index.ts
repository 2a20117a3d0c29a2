/**
 * The one schema. `npm run migrations` writes migrations/ from it; nothing else creates a table.
 *
 * Disk is spent per mission, so what a million missions share is stored once: `grounds` holds who acted under
 * which rule and template, `names` holds audiences and credential types, and digests are kept as 32 bytes.
 * Integers `n` are internal row numbers and never leave the store. Times are seconds since the epoch.
 */
export * from './credentials.ts';
export * from './limits.ts';
export * from './log.ts';
export * from './missions.ts';
export * from './once.ts';
export * from './records.ts';
export * from './reports.ts';
