/** What survives when the process, the disk or the file does not. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, rmSync, statSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import Database from 'better-sqlite3';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Denied } from '../../src/domain/denial.ts';
import { type Store, type Write, WriteConflict } from '../../src/ports.ts';
import { verifyAudit } from '../../src/store/audit-verify.ts';
import { openSqliteStore, StorageError } from '../../src/store/sqlite.ts';
import { audit, credential, deny, mission, NOW } from './records.ts';

const WRITES = fileURLToPath(new URL('./children/writes.ts', import.meta.url));

interface Answered {
  readonly mission: string;
  readonly credential: string;
}

/** Reads `ok` lines until the child ends; `enough` is called with their number. */
async function answeredBy(
  process: ChildProcess,
  enough: (count: number) => void,
): Promise<[Answered[], string]> {
  const answered: Answered[] = [];
  let last = '';
  if (process.stdout === null) throw new Error('no output to read');
  for await (const line of createInterface({ input: process.stdout })) {
    last = line;
    const [word, made, token] = line.split(' ');
    if (word !== 'ok' || made === undefined || token === undefined) continue;
    answered.push({ mission: made, credential: token });
    enough(answered.length);
  }
  return [answered, last];
}

/** Every answered group is there; whatever is there is there as a whole; the chain holds. */
async function expectWhole(path: string, answered: readonly Answered[]): Promise<void> {
  const store = await openSqliteStore({ path });
  try {
    for (const one of answered) {
      expect(await store.mission(one.mission)).not.toBeNull();
      expect(await store.credential(one.credential)).toMatchObject({ mission_id: one.mission });
    }
    const { taken } = await store.statusListInUse();
    expect(taken.length).toBeGreaterThanOrEqual(answered.length);
    const recorded = new Map<string, unknown>();
    for (let after_seq = 0; ; ) {
      const page = await store.auditRecords({ after_seq, limit: 1000 });
      for (const record of page) recorded.set(record.mission_id ?? '', record.details['jti']);
      const last = page.at(-1);
      if (last === undefined) break;
      after_seq = last.seq;
    }
    expect(recorded.size).toBe(taken.length);
    for (const [id, jti] of recorded) {
      expect(await store.credentials(id)).toMatchObject([{ id: jti, mission_id: id }]);
      const again: Write = { kind: 'use_once', space: 'crash', id, expires_at: NOW + 60 };
      await expect(store.atomically([again])).rejects.toMatchObject({ conflict: 'replayed' });
    }
    expect(await verifyAudit(store, async () => false)).toMatchObject({ ok: true, records: taken.length });
    // And it goes on from here.
    const made = mission({ id: 'msn_after', status_list: 8 });
    await store.atomically([{ kind: 'insert_mission', mission: made }, audit('after', made.id)]);
    expect(await verifyAudit(store, async () => false)).toMatchObject({
      ok: true,
      records: taken.length + 1,
    });
  } finally {
    await store.close();
  }
}

describe('the store', () => {
  let folder: string;
  let path: string;
  let open: Store | null;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'sortie-failures-'));
    path = join(folder, 'sortie.db');
    open = null;
  });
  afterEach(async () => {
    await open?.close();
    rmSync(folder, { recursive: true });
  });

  it('keeps every answered group, and none in part, when it is killed in the middle', async () => {
    const child = spawn(process.execPath, [WRITES, path, '40'], { stdio: ['ignore', 'pipe', 'inherit'] });
    const [answered] = await answeredBy(child, (count) => {
      if (count === 300) child.kill('SIGKILL');
    });
    expect(answered.length).toBeGreaterThanOrEqual(300);
    await expectWhole(path, answered);
  }, 60_000);

  it('keeps what it answered, and nothing in part, when the disk takes no more', async () => {
    // A file size limit: the write itself fails, as on a full disk, and for any user.
    const child = spawn(
      'sh',
      ['-c', `ulimit -f 2000 && exec "$0" "$@"`, process.execPath, WRITES, path, '20'],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    );
    const ended = once(child, 'exit');
    const [answered, last] = await answeredBy(child, (count) => {
      if (count === 20_000) child.kill('SIGKILL');
    });
    expect(await ended).toEqual([0, null]);
    expect(last).toMatch(/^failed SQLITE_(FULL|IOERR_WRITE|IOERR) healthy=false$/);
    expect(answered.length).toBeGreaterThan(50);
    await expectWhole(path, answered);
  }, 60_000);

  it('refuses whole groups while it is full, and works again once there is room', async () => {
    open = await openSqliteStore({ path, max_pages: 160 });
    const use = (id: string): Write[] => [
      { kind: 'use_once', space: 'a', id, expires_at: NOW + 60 },
      { kind: 'take_rate', key: `${id}-${'x'.repeat(400)}`, at: NOW, interval_seconds: 1, burst: 1 },
    ];
    const [kept, refused]: [string[], string[]] = [[], []];
    for (let round = 0; round < 100 && refused.length === 0; round += 1) {
      const ids = Array.from({ length: 20 }, (_, at) => `${round}-${at}`);
      const results = await Promise.allSettled(ids.map((id) => open?.atomically(use(id))));
      for (const [at, result] of results.entries()) {
        const id = ids[at] ?? '';
        if (result.status === 'fulfilled') {
          kept.push(id);
          continue;
        }
        expect(result.reason).toBeInstanceOf(StorageError);
        expect(result.reason).toMatchObject({ code: 'SQLITE_FULL' });
        refused.push(id);
      }
    }
    // The batch shared one transaction: it failed as one.
    expect(refused).toHaveLength(20);
    expect(kept.length).toBeGreaterThan(0);
    await open.prune(NOW + 30, { missions_seconds: 0, credentials_seconds: 0, audit_seconds: 0 });
    for (const id of refused) await open.atomically(use(id));
    for (const id of kept.slice(0, 20)) {
      await expect(open.atomically(use(id))).rejects.toMatchObject({ conflict: 'replayed' });
    }
    expect(await open.healthy()).toBe(true);
  });

  it('does not open what it cannot write, read or understand', async () => {
    const store = await openSqliteStore({ path });
    await store.close();
    // Write version 3 in the header: SQLite itself then treats the file as read-only, for any user.
    const file = openSync(path, 'r+');
    writeSync(file, Buffer.of(3), 0, 1, 18);
    closeSync(file);
    await expect(openSqliteStore({ path })).rejects.toThrow(/readonly/);
    writeFileSync(path, 'not a database at all, '.repeat(100));
    await expect(openSqliteStore({ path })).rejects.toThrow(/not a database/);
    await expect(openSqliteStore({ path: join(folder, 'missing', 'a.db') })).rejects.toThrow(/directory/);
  });

  it('makes files that only their owner reads', async () => {
    open = await openSqliteStore({ path });
    await open.atomically([audit('a')]);
    for (const suffix of ['', '-wal', '-shm']) expect(statSync(path + suffix).mode & 0o777).toBe(0o600);
  });

  it('lets one bad group fail alone among those of its batch', async () => {
    open = await openSqliteStore({ path });
    const bad = { ...credential('x'), id: null } as unknown as ReturnType<typeof credential>;
    const made = mission();
    const results = await Promise.allSettled([
      open.atomically([{ kind: 'insert_mission', mission: made }, audit('one')]),
      open.atomically([
        audit('lost'),
        { kind: 'insert_credential', credential: { ...bad, mission_id: made.id } },
      ]),
      open.atomically([audit('lost'), { kind: 'require_active', id: 'no', at: NOW }]),
      open.atomically([audit('lost'), { kind: 'set_meta', key: 'x', value: {} as unknown as string }]),
      open.atomically([audit('two')]),
    ]);
    expect(results.map(({ status }) => status)).toEqual([
      'fulfilled',
      'rejected',
      'rejected',
      'rejected',
      'fulfilled',
    ]);
    expect(
      results.map((result) => (result.status === 'rejected' ? result.reason.constructor : null)),
    ).toEqual([null, StorageError, WriteConflict, StorageError, null]);
    const records = await open.auditRecords({ limit: 10 });
    expect(records.map(({ event }) => event)).toEqual(['one', 'two']);
    expect(await verifyAudit(open, async () => false)).toMatchObject({ ok: true, records: 2 });
  });

  it('forgets names and grounds that were made in a group that failed', async () => {
    open = await openSqliteStore({ path });
    const fails: Write = { kind: 'require_active', id: 'no', at: NOW };
    const made = mission();
    const token = credential(made.id, { target: 'https://new.example.com' });
    const group: Write[] = [
      { kind: 'insert_mission', mission: made },
      { kind: 'insert_credential', credential: token },
    ];
    const [first, second] = await Promise.allSettled([
      open.atomically([...group, fails]),
      open.atomically([...group, deny({ kind: 'agent', key: made.agent })]),
    ]);
    expect([first.status, second.status]).toEqual(['rejected', 'fulfilled']);
    expect(await open.mission(made.id)).toEqual(made);
    expect(await open.credential(token.id)).toEqual(token);
    expect((await open.feedAfter(token.target, 0, NOW, 10)).map(({ key }) => key)).toEqual([made.agent]);
  });

  it('sheds new authority when its queue is full, never the end of one', async () => {
    open = await openSqliteStore({ path });
    const made = mission();
    await open.atomically([{ kind: 'insert_mission', mission: made }]);
    const store = open;
    const filling = Array.from({ length: 10_000 }, () => store.atomically([]));
    const shed = await store.atomically([audit('late')]).catch((error: unknown) => error);
    expect(shed).toBeInstanceOf(Denied);
    expect((shed as Denied).denial).toMatchObject({ tag: 'overloaded' });
    await store.atomically([
      { kind: 'transition', id: made.id, event: 'revoke', at: NOW, reason: 'r' },
      deny({ kind: 'mission', key: made.id }, 'all'),
      audit('mission.revoked', made.id),
    ]);
    expect(await store.mission(made.id)).toMatchObject({ state: 'revoked' });
    await Promise.all(filling);
  });

  it('keeps one chain where a second process writes beside it', async () => {
    open = await openSqliteStore({ path, segment_records: 3 });
    const beside = await openSqliteStore({ path, segment_records: 3 });
    const token = (id: string): Write => ({ kind: 'insert_credential', credential: credential(id) });
    for (let round = 0; round < 4; round += 1) {
      for (const store of [open, beside]) {
        const made = mission();
        await store.atomically([
          { kind: 'insert_mission', mission: made },
          token(made.id),
          audit('made', made.id),
        ]);
      }
    }
    await beside.close();
    await open.atomically([audit('last')]);
    expect(await verifyAudit(open, async () => false)).toMatchObject({ ok: true, records: 9, segments: 3 });
  });

  it('notices what was changed, removed or rewritten in the file', async () => {
    const forgeries: readonly [string, number][] = [
      ["update audit_records set actor = 'someone else' where seq = 5", 5],
      ['update audit_records set details = \'{"a":1}\' where seq = 2', 2],
      ['delete from audit_records where seq = 4', 4],
      ['delete from audit_records where seq = 7', 7],
      ['update audit_segments set last_seq = 6 where segment = 3', 7],
      ['delete from audit_segments where segment = 2', 4],
      ['update audit_segments set pruned_at = 1 where segment = 1', 1],
    ];
    for (const [at, [forgery, first_bad]] of forgeries.entries()) {
      const file = join(folder, `${at}.db`);
      const store = await openSqliteStore({ path: file, segment_records: 3 });
      for (let seq = 1; seq <= 7; seq += 1) await store.atomically([audit(`e${seq}`)]);
      expect(await verifyAudit(store, async () => true)).toMatchObject({ ok: true, records: 7 });
      await store.close();
      const db = new Database(file);
      expect(db.prepare(forgery).run().changes).toBe(1);
      db.close();
      const after = await openSqliteStore({ path: file, segment_records: 3 });
      expect(await verifyAudit(after, async () => true), forgery).toMatchObject({ ok: false, first_bad });
      await after.close();
    }
  }, 60_000);

  it('finishes what was asked before it closes', async () => {
    const store = await openSqliteStore({ path });
    const asked = Array.from({ length: 50 }, (_, at) => store.atomically([audit(`e${at}`)]));
    await store.close();
    expect(await Promise.all(asked)).toHaveLength(50);
    open = await openSqliteStore({ path });
    expect(await verifyAudit(open, async () => false)).toMatchObject({ ok: true, records: 50 });
  });
});
