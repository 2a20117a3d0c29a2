/**
 * Writes groups as fast as it can until it is killed or the storage fails, and prints each id once its group was
 * answered: `ok <mission> <credential>`. Ends with `failed <code> healthy=<bool>` where writes began to fail.
 */
import { openSqliteStore, StorageError } from '../../../src/store/sqlite.ts';
import { audit, credential, mission, NOW } from '../records.ts';

const [path = '', in_flight = '40'] = process.argv.slice(2);
const store = await openSqliteStore({ path, segment_records: 50 });
const failures: unknown[] = [];

async function write(): Promise<void> {
  const made = mission({ status_list: 7 });
  const token = credential(made.id);
  await store.atomically([
    { kind: 'use_once', space: 'crash', id: made.id, expires_at: NOW + 60 },
    { kind: 'insert_mission', mission: made },
    { kind: 'insert_credential', credential: token },
    audit('mission.created', made.id, { details: { jti: token.id } }),
  ]);
  process.stdout.write(`ok ${made.id} ${token.id}\n`);
}

async function worker(): Promise<void> {
  while (failures.length === 0) await write().catch((error: unknown) => failures.push(error));
}

await Promise.all(Array.from({ length: Number(in_flight) }, worker));
const [first] = failures;
const code = first instanceof StorageError ? first.code : String(first);
// A batch did not fit, a single row still may: take what is left, so that the end is the same everywhere.
for (let refused = 0, at = 0; refused < 3 && at < 5000; at += 1) {
  const fill = { kind: 'use_once', space: 'fill', id: String(at), expires_at: NOW } as const;
  await store.atomically([fill]).then(
    () => {
      refused = 0;
    },
    () => {
      refused += 1;
    },
  );
}
process.stdout.write(`failed ${code} healthy=${await store.healthy()}\n`);
await store.close().catch(() => null);
