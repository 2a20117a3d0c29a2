import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readHeartbeat, readSnapshot, readStreamEntry } from '../../src/domain/feed-wire.ts';
import type { FeedSnapshot } from '../../src/domain/revocation.ts';
import { RevocationSet } from '../../src/domain/revocation-set.ts';
import { type FeedSink, RevocationFeed } from '../../src/feed/feed.ts';
import type { Store, Write } from '../../src/ports.ts';
import { openSqliteStore } from '../../src/store/sqlite.ts';

const ERP = 'https://erp.example.com';
const MAIL = 'https://mail.example.com';
const erp = { id: 'erp', audience: ERP };
const mail = { id: 'mail', audience: MAIL };

let folder: string;
let store: Store;
let feed: RevocationFeed;
let registered: Map<string, string>;
const clock = { now: () => Date.now() / 1000 };

async function openFeed(): Promise<RevocationFeed> {
  return RevocationFeed.open({
    store,
    clock,
    max_token_seconds: () => 900,
    audience_of: (verifier_id) => registered.get(verifier_id) ?? null,
  });
}

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sortie-feed-'));
  store = await openSqliteStore({ path: join(folder, 'sortie.db') });
  registered = new Map([
    ['erp', ERP],
    ['mail', MAIL],
  ]);
  feed = await openFeed();
});

afterEach(async () => {
  await feed.close();
  await store.close();
  rmSync(folder, { recursive: true });
});

function entry(key: string, change: Partial<Extract<Write, { kind: 'append_feed' }>['entry']> = {}): Write {
  const now = clock.now();
  return {
    kind: 'append_feed',
    to: 'all',
    entry: {
      ts: now,
      kind: 'mission',
      key,
      effect: 'deny',
      not_after: now + 900,
      reason_code: 'admin_revoked',
      ...change,
    },
  };
}

const revoke = (...keys: string[]) => store.atomically(keys.map((key) => entry(key)));

interface Frame {
  readonly id: string | null;
  readonly event: string;
  readonly data: unknown;
}

/** A reader that takes everything, or nothing when it stalls. */
class ListSink implements FeedSink {
  readonly frames: Frame[] = [];
  writes = 0;
  stalled = false;
  closed: 'no' | 'ended' | 'cut' = 'no';
  buffered_bytes = 0;
  readonly #listeners: (() => void)[] = [];

  write(chunk: string): boolean {
    this.writes++;
    if (this.stalled) this.buffered_bytes += chunk.length;
    for (const block of chunk.split('\n\n').filter((text) => text !== '')) {
      const fields = new Map(
        block
          .split('\n')
          .map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 2)]),
      );
      this.frames.push({
        id: fields.get('id') ?? null,
        event: fields.get('event') ?? '',
        data: JSON.parse(fields.get('data') ?? 'null'),
      });
    }
    return !this.stalled;
  }

  end(): void {
    this.closed = 'ended';
    for (const listener of this.#listeners) listener();
  }

  cut(): void {
    this.closed = 'cut';
    for (const listener of this.#listeners) listener();
  }

  onClose(listener: () => void): void {
    this.#listeners.push(listener);
  }

  drained(): Promise<void> {
    return new Promise((resolve) => setImmediate(resolve));
  }

  keys(): string[] {
    return this.frames.filter(({ event }) => event === 'entry').map(({ data }) => readStreamEntry(data).key);
  }

  beats(): { epoch: number; seq: number }[] {
    return this.frames.filter(({ event }) => event === 'heartbeat').map(({ data }) => readHeartbeat(data));
  }
}

async function snapshot(audience = ERP): Promise<FeedSnapshot> {
  const plain = Buffer.concat(await feed.snapshot(audience)).toString();
  const compressed = gunzipSync(Buffer.concat(await feed.snapshot(audience, true))).toString();
  const { ts: _one, ...told } = JSON.parse(plain);
  const { ts: _other, ...again } = JSON.parse(compressed);
  expect(again).toStrictEqual(told);
  return readSnapshot(JSON.parse(plain));
}

async function until(condition: () => boolean, what: string): Promise<void> {
  for (let turn = 0; turn < 1000; turn++) {
    if (condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  throw new Error(`never: ${what}`);
}

/** Plays a stream into a set, as a guard would. */
function replay(set: RevocationSet, sink: ListSink): string[] {
  return sink.frames.map(({ event, data, id }) => {
    if (event === 'entry') return set.apply(Number(id?.split('.')[0]), readStreamEntry(data), 1);
    return event === 'heartbeat' ? set.heartbeat(readHeartbeat(data), 1) : event;
  });
}

describe('snapshot', () => {
  it('has every entry in force, plain and compressed, and grows without being built anew', async () => {
    expect((await snapshot()).entries).toStrictEqual([]);
    await revoke('msn_a', 'msn_b');
    const two = await snapshot();
    expect(two.entries.map(({ key }) => key)).toStrictEqual(['msn_a', 'msn_b']);
    await revoke('msn_c');
    const three = await snapshot();
    expect(three.entries.map(({ key }) => key)).toStrictEqual(['msn_a', 'msn_b', 'msn_c']);
    expect(three.seq).toBe(3);
    expect(three.max_token_seconds).toBe(900);
  });

  it('is shared: a thousand readers get the same bytes', async () => {
    await revoke('msn_a');
    const all = await Promise.all(Array.from({ length: 1000 }, () => feed.snapshot(ERP)));
    expect(new Set(all.map(([, bulk]) => bulk)).size).toBe(1);
  });

  it('stays right beyond what the log keeps', async () => {
    await snapshot();
    for (let batch = 0; batch < 12; batch++)
      await revoke(...Array.from({ length: 1000 }, (_, index) => `msn_${batch}_${index}`));
    const after = await snapshot();
    expect(after.entries).toHaveLength(12_000);
    expect(after.seq).toBe(12_000);
  });

  it('leaves out what no token can match any more', async () => {
    await store.atomically([entry('msn_old', { not_after: clock.now() - 1 }), entry('msn_new')]);
    expect((await snapshot()).entries.map(({ key }) => key)).toStrictEqual(['msn_new']);
  });
});

describe('stream', () => {
  it('sends what is committed to whom it concerns, chained by prev', async () => {
    const sink = new ListSink();
    await feed.open(erp, '0.0', sink);
    await revoke('msn_a');
    await revoke('msn_b', 'msn_c');
    await until(() => sink.keys().length === 3, 'three entries');
    const entries = sink.frames
      .filter(({ event }) => event === 'entry')
      .map(({ data }) => readStreamEntry(data));
    let last = sink.beats()[0]?.seq;
    for (const { prev, seq } of entries) {
      expect(prev).toBe(last);
      last = seq;
    }
    expect(JSON.stringify(sink.frames)).not.toContain('audiences');
  });

  it('brings what was committed together in one write, whatever each reader saw before, and one who comes back too', async () => {
    const { epoch, seq } = await snapshot();
    await revoke('msn_a', 'msn_b');
    const [fresh, behind] = [new ListSink(), new ListSink()];
    await feed.open(erp, `${epoch}.${seq + 2}`, fresh);
    await feed.open(erp, `${epoch}.${seq}`, behind);
    const brought = (sink: ListSink): number => sink.writes - sink.beats().length;
    expect([fresh, behind].map(brought)).toStrictEqual([0, 1]);
    const keys = Array.from({ length: 50 }, (_, index) => `msn_${index}`);
    await revoke(...keys);
    await until(() => fresh.keys().length === 50, 'entries');
    for (const [sink, missed] of [
      [fresh, []],
      [behind, ['msn_a', 'msn_b']],
    ] as const) {
      expect(sink.keys()).toStrictEqual([...missed, ...keys]);
      expect(brought(sink)).toBe(missed.length > 0 ? 2 : 1);
      const set = new RevocationSet([1, 2]);
      const from = seq + 2 - missed.length;
      set.load({ epoch, seq: from, ts: clock.now(), max_token_seconds: 900, entries: [] }, 1);
      expect(new Set(replay(set, sink))).not.toContain('gap');
      expect(set.seq).toBe(seq + 52);
    }
  });

  it('goes on after a short absence without asking the store, and after a long one with it', async () => {
    const { epoch, seq } = await snapshot();
    await revoke('msn_a', 'msn_b');
    const near = new ListSink();
    await feed.open(erp, `${epoch}.${seq + 1}`, near);
    expect(near.keys()).toStrictEqual(['msn_b']);
    await feed.close();
    feed = await openFeed();
    const far = new ListSink();
    await feed.open(erp, `${epoch}.${seq}`, far);
    expect(far.keys()).toStrictEqual(['msn_a', 'msn_b']);
    expect(far.beats()).toMatchObject([{ epoch, seq: seq + 2 }]);
  });

  it('a reader of another epoch, or from the future, is told the truth and must take a snapshot', async () => {
    await revoke('msn_a');
    const { epoch, seq, ts } = await snapshot();
    for (const [claim, outcome] of [
      [`${epoch + 1}.${seq}`, 'rollback'],
      [`${epoch}.${seq + 50}`, 'rollback'],
      [`${epoch - 1}.0`, 'gap'],
    ] as const) {
      const [of_epoch, of_seq] = claim.split('.').map(Number) as [number, number];
      const set = new RevocationSet([1, 2]);
      set.load({ epoch: of_epoch, seq: of_seq, ts, max_token_seconds: 900, entries: [] }, 1);
      const sink = new ListSink();
      await feed.open(erp, claim, sink);
      expect(replay(set, sink)).toStrictEqual([outcome]);
    }
    for (const claim of [null, '', 'x.y', '1', '1.2.3', `${epoch}.-1`, `${epoch}.1e3`]) {
      const sink = new ListSink();
      await feed.open(erp, claim, sink);
      expect(sink.beats()).toMatchObject([{ epoch, seq }]);
    }
  });

  it('loses and repeats nothing for readers that join while revocations are committed', async () => {
    const sinks: ListSink[] = [];
    const sets: RevocationSet[] = [];
    const total = 100;
    const writing = (async () => {
      for (let index = 0; index < total; index++) await revoke(`msn_${index}`);
    })();
    for (let turn = 0; turn < 30; turn++) {
      const taken = await snapshot();
      const set = new RevocationSet([1, 2]);
      set.load(taken, 1);
      const sink = new ListSink();
      await feed.open(erp, `${taken.epoch}.${taken.seq}`, sink);
      sinks.push(sink);
      sets.push(set);
    }
    await writing;
    await until(
      () => sinks.every((sink) => sink.frames.length > 0 && lastSeq(sink) === total),
      'all at the end',
    );
    for (const [index, sink] of sinks.entries()) {
      const set = sets[index] as RevocationSet;
      const outcomes = replay(set, sink);
      expect(outcomes).not.toContain('gap');
      expect(outcomes).not.toContain('rollback');
      expect(set.seq).toBe(total);
      expect(set.footprint.entries).toBe(total);
    }
  });

  it('tells an audience nothing of what does not concern it', async () => {
    const [ours, theirs] = [new ListSink(), new ListSink()];
    await feed.open(erp, null, ours);
    await feed.open(mail, null, theirs);
    // Sent to those for which a matching token was minted: to nobody here.
    await store.atomically([{ ...entry('msn_unknown'), to: 'minted' } as Write]);
    await revoke('msn_all');
    await until(() => theirs.keys().length === 1 && ours.keys().length === 1, 'both');
    expect(ours.keys()).toStrictEqual(['msn_all']);
  });

  it('a reader that does not read is cut, the others go on', async () => {
    const [slow, quick] = [new ListSink(), new ListSink()];
    await feed.open(erp, null, slow);
    await feed.open(erp, null, quick);
    slow.stalled = true;
    slow.buffered_bytes = 2_000_000;
    await revoke('msn_a');
    await until(() => quick.keys().length === 1, 'entry');
    expect(slow.closed).toBe('cut');
    await revoke('msn_b');
    await until(() => quick.keys().length === 2, 'next entry');
    expect(slow.keys()).toStrictEqual([]);
  });

  it('beats each second with the position of the stream', async () => {
    const sink = new ListSink();
    await feed.open(erp, null, sink);
    await until(() => sink.beats().length >= 3, 'beats');
    expect(new Set(sink.beats().map(({ seq }) => seq)).size).toBe(1);
  });

  it('a verifier that is no longer registered is cut', async () => {
    const sink = new ListSink();
    await feed.open(erp, null, sink);
    registered.delete('erp');
    await until(() => sink.closed === 'cut', 'cut');
  });

  it('announces a new bundle', async () => {
    const sink = new ListSink();
    await feed.open(erp, null, sink);
    expect(feed.audiencesRead()).toStrictEqual([ERP]);
    feed.announceBundle(ERP, 'v2');
    feed.announceBundle(MAIL, 'v9');
    expect(sink.frames.filter(({ event }) => event === 'bundle').map(({ data }) => data)).toStrictEqual([
      { version: 'v2' },
    ]);
  });
});

describe('acknowledgements', () => {
  const say = (instance_id: string, seq: number) => feed.acknowledge(erp, { instance_id, epoch: 1, seq });

  it('a revocation is waited for until every connected process has it', async () => {
    const { epoch } = await snapshot();
    await feed.open(erp, null, new ListSink());
    await feed.acknowledge(erp, { instance_id: 'a', epoch, seq: 0 });
    await feed.acknowledge(erp, { instance_id: 'b', epoch, seq: 0 });
    const { feed: written } = await revoke('msn_a');
    const seq = written[0]?.seq ?? 0;
    const waiting = feed.acknowledgements(seq, [ERP], 5_000);
    await feed.acknowledge(erp, { instance_id: 'a', epoch, seq });
    await feed.acknowledge(erp, { instance_id: 'b', epoch, seq });
    const all = await waiting;
    expect(
      all.map(({ instance_id, acknowledged_at }) => [instance_id, acknowledged_at !== null]),
    ).toStrictEqual([
      ['a', true],
      ['b', true],
    ]);
    expect(feed.verifiers().every(({ current }) => current)).toBe(true);
  });

  it('who does not answer is named, and not waited for longer than asked', async () => {
    const { epoch } = await snapshot();
    await feed.open(erp, null, new ListSink());
    await feed.acknowledge(erp, { instance_id: 'a', epoch, seq: 0 });
    const { feed: written } = await revoke('msn_a');
    const all = await feed.acknowledgements(written[0]?.seq ?? 0, null, 20);
    expect(all).toStrictEqual([{ verifier_id: 'erp', instance_id: 'a', acknowledged_at: null }]);
    expect(feed.verifiers()).toMatchObject([
      { instance_id: 'a', audience: ERP, connected: true, current: false },
    ]);
  });

  it('a process never goes back, and is remembered over a restart', async () => {
    await say('a', 5);
    await say('a', 3);
    expect(feed.verifiers()).toMatchObject([{ instance_id: 'a', seq: 5 }]);
    await feed.close();
    feed = await openFeed();
    expect(feed.verifiers()).toMatchObject([{ instance_id: 'a', seq: 5, connected: false }]);
  });

  it('an audience that nobody reads is not waited for', async () => {
    await say('a', 0);
    expect(await feed.acknowledgements(1, [MAIL], 10_000)).toStrictEqual([]);
  });
});

function lastSeq(sink: ListSink): number {
  const last = sink.frames.at(-1)?.data as { seq: number } | undefined;
  return last?.seq ?? -1;
}
