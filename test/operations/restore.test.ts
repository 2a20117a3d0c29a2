import { copyFileSync, existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { creation, newKey, startBroker, type TestBroker } from '../support/broker.ts';

let sortie: TestBroker;
beforeEach(async () => {
  sortie = await startBroker();
});
afterEach(() => sortie.close());

const database = () => join(sortie.folder, 'sortie.db');

/** Puts back what the database was, as an operator would after losing the disk. */
async function restoreFrom(copy: string): Promise<void> {
  await sortie.broker.close();
  for (const end of ['', '-wal', '-shm']) rmSync(`${database()}${end}`, { force: true });
  copyFileSync(copy, database());
  await sortie.restart();
}

async function backup(): Promise<string> {
  const copy = join(sortie.folder, 'backup.db');
  await sortie.broker.close();
  copyFileSync(database(), copy);
  await sortie.restart();
  return copy;
}

test('a restored backup resurrects nothing: the epoch rises, its missions end, nothing is issued until confirmed', async () => {
  const key = await newKey();
  // There is an admin before the backup is made.
  await sortie.admin('GET', '/missions');
  const { body } = await sortie.token(key, creation(await sortie.evidence()));
  const epoch = (await sortie.broker.ports.store.feedHead()).epoch;
  const copy = await backup();
  await sortie.admin('POST', `/missions/${body.mission_id}/revoke`, { reason: 'stolen' });
  await restoreFrom(copy);

  expect((await sortie.broker.ports.store.feedHead()).epoch).toBe(epoch + 1);
  expect((await sortie.broker.ports.store.mission(body.mission_id))?.state).toBe('revoked');
  const refused = await sortie.token(await newKey(), creation(await sortie.evidence({ run: 'run-2' })));
  expect(refused.status).toBe(503);
  expect(refused.headers.get('retry-after')).toBe('60');

  // Still so after another restart: the state is the database's, not the process's.
  await sortie.restart();
  expect((await sortie.token(await newKey(), creation(await sortie.evidence()))).status).toBe(503);
  expect((await sortie.admin('POST', '/restore/confirm', { reason: 'looked at the blocks' })).status).toBe(
    204,
  );
  expect((await sortie.token(await newKey(), creation(await sortie.evidence()))).status).toBe(200);
});

test('a database that comes without its mark counts as restored', async () => {
  await sortie.token(await newKey(), creation(await sortie.evidence()));
  await sortie.broker.close();
  rmSync(`${database()}.mark`);
  await sortie.restart();
  expect((await sortie.token(await newKey(), creation(await sortie.evidence()))).status).toBe(503);
});

test('an ordinary restart is none', async () => {
  const key = await newKey();
  const { body } = await sortie.token(key, creation(await sortie.evidence()));
  await sortie.restart();
  expect(existsSync(`${database()}.mark`)).toBe(true);
  expect((await sortie.broker.ports.store.mission(body.mission_id))?.state).toBe('active');
  expect((await sortie.token(await newKey(), creation(await sortie.evidence()))).status).toBe(200);
});
