/** A full or locked database: no token without its record, a clear answer, and on with it once there is room. */
import Database from 'better-sqlite3';
import { afterEach, expect, test } from 'vitest';
import { verifyAudit } from '../../src/store/audit-verify.ts';
import { openSqliteStore } from '../../src/store/sqlite.ts';
import { creation, newKey, startBroker, type TestBroker } from '../support/broker.ts';

let sortie: TestBroker | null = null;
afterEach(async () => {
  await sortie?.close();
  sortie = null;
});

test('a full disk refuses with 503 and stores nothing; with room again it goes on by itself', async () => {
  let path = '';
  const broker = await startBroker({
    openStore: async (options) => {
      path = options.path;
      const store = await openSqliteStore(options);
      await store.close();
      // Something that can be thrown away later, as an operator would.
      const db = new Database(path);
      db.exec('create table ballast (x blob); insert into ballast values (zeroblob(1500000))');
      const pages = db.pragma('page_count', { simple: true }) as number;
      db.close();
      return openSqliteStore({ ...options, max_pages: pages + 30 });
    },
  });
  sortie = broker;
  await broker.admin('GET', '/missions');
  const key = await newKey();
  const evidence = await broker.evidence({ run: 'full' });
  const answered: string[] = [];
  let last = await broker.token(key, creation(evidence));
  for (let i = 0; i < 400 && last.status === 200; i++) {
    answered.push(last.body.mission_id);
    last = await broker.token(key, creation(evidence));
  }
  expect(last.status).toBe(503);
  expect(last.body.access_token).toBeUndefined();
  expect(last.headers.get('retry-after')).toBe('1');
  expect(JSON.stringify(last.body)).not.toMatch(/sqlite|full|disk/i);
  expect(broker.log.join('')).toMatch(/full/i);
  expect((await fetch(`${broker.url}/readyz`)).status).toBe(503);
  expect((await fetch(`${broker.url}/healthz`)).status).toBe(200);
  const { store } = broker.broker.ports;
  for (const id of answered) expect((await store.mission(id))?.state).toBe('active');
  const { items } = await store.missions({ limit: 500 });
  expect(items).toHaveLength(answered.length);
  // The bare minimum of an incident: what is there can still be read.
  expect((await broker.admin('GET', `/missions/${answered[0]}`)).status).toBe(200);

  const operator = new Database(path);
  operator.exec('drop table ballast');
  operator.close();
  const after = await broker.token(key, creation(evidence));
  expect(after.status).toBe(200);
  expect(await verifyAudit(store, async () => true)).toMatchObject({ ok: true });
});

test('a database that another process holds refuses with 503, and goes on when it is let go', async () => {
  const broker = await startBroker();
  sortie = broker;
  const key = await newKey();
  await broker.token(key, creation('x'));
  const other = new Database(`${broker.folder}/sortie.db`);
  other.exec('begin immediate');
  const evidence = await broker.evidence({ run: 'locked' });
  const answer = await broker.token(key, creation(evidence));
  expect([answer.status, answer.body.access_token]).toEqual([503, undefined]);
  other.exec('rollback');
  other.close();
  expect((await broker.token(key, creation(evidence))).status).toBe(200);
  expect((await broker.broker.ports.store.missions({ limit: 10 })).items).toHaveLength(1);
});
