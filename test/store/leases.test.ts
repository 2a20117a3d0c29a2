/** Leases in the store: moved only from the states that are named, and made only by whoever saw all that are open. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { LeaseRecord, Store } from '../../src/ports.ts';
import { openSqliteStore } from '../../src/store/sqlite.ts';
import { mission, NOW, nextId } from './records.ts';

let folder: string;
let store: Store;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sortie-leases-'));
  store = await openSqliteStore({ path: join(folder, 'a.db') });
});
afterEach(async () => {
  await store.close();
  rmSync(folder, { recursive: true });
});

function lease(mission_id: string, over: Partial<LeaseRecord> = {}): LeaseRecord {
  return {
    id: nextId('lse'),
    mission_id,
    credential_id: nextId('cred'),
    type: 'postgres_role',
    target: 'warehouse/sales',
    state: 'pending',
    entry: { type: 'postgres_role' } as LeaseRecord['entry'],
    revocation: {},
    created_at: NOW,
    expires_at: NOW + 3600,
    next_at: NOW + 45,
    attempts: 0,
    last_error: null,
    ended_at: null,
    ...over,
  };
}

test('whoever did not see every open lease of the mission makes none', async () => {
  const [own, other] = [mission(), mission()];
  const [pending, live] = [lease(own.id), lease(own.id, { state: 'live' })];
  await store.atomically([
    { kind: 'insert_mission', mission: own },
    { kind: 'insert_mission', mission: other },
    ...[
      pending,
      live,
      lease(own.id, { state: 'revoking' }),
      lease(own.id, { state: 'revoked' }),
      lease(own.id, { state: 'expired' }),
      lease(other.id, { state: 'live' }),
    ].map((one) => ({ kind: 'insert_lease', lease: one }) as const),
  ]);
  const making = (ids: readonly string[]) =>
    store.atomically([
      { kind: 'require_open_leases', mission_id: own.id, ids },
      { kind: 'insert_lease', lease: lease(own.id) },
    ]);
  for (const ids of [
    [],
    [pending.id],
    [live.id],
    [pending.id, live.id, nextId('lse')],
    [pending.id, pending.id],
  ])
    await expect(making(ids)).rejects.toMatchObject({ conflict: 'wrong_version', index: 0 });
  expect(await store.leases(own.id)).toHaveLength(5);
  // In any order; and the one that was made is open from then on.
  await making([live.id, pending.id]);
  await expect(making([live.id, pending.id])).rejects.toMatchObject({ conflict: 'wrong_version' });
});

test('a lease that another request took over does not become live', async () => {
  const own = mission();
  const one = lease(own.id);
  await store.atomically([
    { kind: 'insert_mission', mission: own },
    { kind: 'insert_lease', lease: one },
  ]);
  await store.atomically([
    { kind: 'update_lease', id: one.id, from: ['pending'], set: { state: 'revoking' } },
  ]);
  await expect(
    store.atomically([{ kind: 'update_lease', id: one.id, from: ['pending'], set: { state: 'live' } }]),
  ).rejects.toMatchObject({ conflict: 'wrong_state' });
  expect((await store.leases(own.id)).map(({ state }) => state)).toEqual(['revoking']);
});
