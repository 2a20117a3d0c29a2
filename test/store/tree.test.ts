/** Limits over a mission and everything below it, where they are enforced: inside the group that makes a child. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Mission } from '../../src/domain/mission.ts';
import { type Store, type Write, WriteConflict } from '../../src/ports.ts';
import { openSqliteStore } from '../../src/store/sqlite.ts';
import { child, mission, NOW } from './records.ts';

let folder: string;
let store: Store;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sortie-tree-'));
  store = await openSqliteStore({ path: join(folder, 'sortie.db') });
});
afterEach(async () => {
  await store.close();
  rmSync(folder, { recursive: true });
});

const insert = (made: Mission): Write => ({ kind: 'insert_mission', mission: made });
const fanOut = (above: Mission, limits: object, at = NOW): Write => ({
  kind: 'require_fan_out',
  id: above.id,
  at,
  ...limits,
});
const derive = (made: Mission): Write => ({
  kind: 'derive',
  id: made.id,
  at: NOW,
  version: 1,
  attested: false,
});
const revoke = (id: string): Write => ({ kind: 'transition', id, event: 'revoke', at: NOW, reason: 'r' });
const outcome = (writes: readonly Write[]) =>
  store.atomically(writes).then(
    () => 'done',
    (cause: unknown) => {
      if (cause instanceof WriteConflict) return cause.conflict;
      throw cause;
    },
  );
const derivations = async (made: Mission) => (await store.mission(made.id))?.derivations;

test('max_children counts live missions directly below, exactly, under a race', async () => {
  const root = mission();
  await store.atomically([insert(root)]);
  const outcomes = await Promise.all(
    Array.from({ length: 20 }, () => outcome([fanOut(root, { max_children: 3 }), insert(child(root))])),
  );
  expect(outcomes.filter((one) => one === 'done')).toHaveLength(3);
  expect(new Set(outcomes)).toEqual(new Set(['done', 'fan_out_reached']));
  const [, first] = await store.missionTree(root.id);
  if (first === undefined) throw new Error('no child');
  // A grandchild takes no place of its grandparent's, and one that ended gives its place back.
  await store.atomically([insert(child(first))]);
  expect(await outcome([fanOut(root, { max_children: 4 })])).toBe('done');
  await store.atomically([revoke(first.id)]);
  expect(await outcome([fanOut(root, { max_children: 3 }), insert(child(root))])).toBe('done');
  expect(await outcome([fanOut(root, { max_children: 3 }), insert(child(root))])).toBe('fan_out_reached');
});

test('a child whose clock ran out takes no place, though nobody has reaped it', async () => {
  const root = mission();
  await store.atomically([insert(root), insert(child(root, { expires_at: NOW + 10 }))]);
  expect(await outcome([fanOut(root, { max_children: 1 })])).toBe('fan_out_reached');
  expect(await outcome([fanOut(root, { max_children: 1 }, NOW + 10)])).toBe('done');
});

test('max_descendants counts everything ever made below, at every depth', async () => {
  const root = mission();
  const middle = child(root);
  const leaf = child(middle);
  await store.atomically([insert(root), insert(middle), insert(leaf), revoke(leaf.id)]);
  expect(await outcome([fanOut(root, { max_descendants: 2 })])).toBe('fan_out_reached');
  expect(await outcome([fanOut(middle, { max_descendants: 1 })])).toBe('fan_out_reached');
  expect(await outcome([fanOut(root, { max_descendants: 3 }), insert(child(middle))])).toBe('done');
  expect(await outcome([fanOut(root, { max_descendants: 3 })])).toBe('fan_out_reached');
});

test('a fan-out of no mission is refused', async () => {
  expect(await outcome([fanOut(mission(), { max_children: 1 })])).toBe('mission_not_found');
});

test('tokens below count against every limit above, and one too many undoes its whole group', async () => {
  const root = mission({ max_derivations: 4, derivations: 1 });
  const middle = child(root, { derivations: 1 });
  const leaf = child(middle, { max_derivations: 2, derivations: 1 });
  await store.atomically([insert(root), insert(middle), insert(leaf)]);
  expect(await derivations(root)).toBe(3);
  // A mission without a limit counts its own alone.
  expect(await derivations(middle)).toBe(1);
  expect(await outcome([derive(leaf)])).toBe('done');
  expect(await derivations(root)).toBe(4);
  expect(await outcome([derive(leaf)])).toBe('derivations_exhausted');
  expect(await outcome([derive(middle)])).toBe('derivations_exhausted');
  expect(await outcome([derive(root)])).toBe('derivations_exhausted');
  expect(await outcome([insert(child(middle, { derivations: 1 }))])).toBe('derivations_exhausted');
  expect([await derivations(root), await derivations(middle), await derivations(leaf)]).toEqual([4, 1, 2]);
  expect(await store.missionTree(root.id)).toHaveLength(3);
});

test('tokens of a whole tree never pass the limit of its root, under a race', async () => {
  const root = mission({ max_derivations: 10 });
  const below = Array.from({ length: 6 }, () => child(root));
  await store.atomically([insert(root), ...below.map(insert)]);
  const outcomes = await Promise.all(below.flatMap((one) => [1, 2, 3, 4].map(() => outcome([derive(one)]))));
  expect(outcomes.filter((one) => one === 'done')).toHaveLength(10);
  expect(await derivations(root)).toBe(10);
});
