/** The revocation feed over HTTP (wire profile 3): complete, in order, one's own, and resumable. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { creation, ERP, MAIL, newKey, startBroker, type TestBroker } from '../support/broker.ts';
import { type EventReader, openStream, type StreamEvent } from '../support/stream.ts';

let sortie: TestBroker;
const open: EventReader[] = [];
beforeEach(async () => {
  sortie = await startBroker();
});
afterEach(async () => {
  for (const reader of open.splice(0)) reader.close();
  await sortie.close();
});

async function stream(verifier: 'erp' | 'mail' = 'erp', last?: string): Promise<EventReader> {
  const reader = await openStream(`${sortie.url}/revocations/stream`, {
    authorization: `Bearer ${await sortie.assertion(verifier)}`,
    ...(last !== undefined && { 'last-event-id': last }),
  });
  open.push(reader);
  expect(reader.status).toBe(200);
  await expect.poll(() => reader.of('heartbeat').length, { timeout: 20_000 }).toBeGreaterThan(0);
  return reader;
}

async function snapshot(verifier: 'erp' | 'mail' = 'erp') {
  const response = await fetch(`${sortie.url}/revocations`, {
    headers: { authorization: `Bearer ${await sortie.assertion(verifier)}` },
  });
  return (await response.json()) as {
    epoch: number;
    seq: number;
    ts: number;
    max_token_seconds: number;
    entries: Record<string, unknown>[];
  };
}

async function mission(resource = ERP): Promise<string> {
  const evidence = await sortie.evidence({ run: crypto.randomUUID() });
  const { body } = await sortie.token(await newKey(), creation(evidence, { resource }));
  return body.mission_id;
}

const revoke = (id: string) => sortie.admin('POST', `/missions/${id}/revoke`, { reason: 'a private reason' });

const entries = (reader: EventReader, count: number): Promise<StreamEvent[]> =>
  expect
    .poll(() => reader.of('entry').length, { timeout: 20_000 })
    .toBeGreaterThanOrEqual(count)
    .then(() => reader.of('entry'));

describe('the stream', () => {
  test('brings a revocation as one entry of the documented shape, without the reason’s text', async () => {
    const id = await mission();
    const reader = await stream();
    expect(reader.headers['content-type']).toBe('text/event-stream');
    expect(reader.headers['cache-control']).toBe('no-store');
    const { body } = await revoke(id);
    const [entry] = await entries(reader, 1);
    const { epoch } = await snapshot();
    expect(entry?.id).toBe(`${epoch}.${String(body['seq'])}`);
    expect(entry?.data).toEqual({
      seq: body['seq'],
      prev: expect.any(Number),
      ts: expect.any(Number),
      kind: 'mission_tree',
      key: id,
      effect: 'deny',
      not_after: expect.any(Number),
      reason_code: 'admin_revoked',
    });
    expect(JSON.stringify(reader.events)).not.toContain('private');
  });

  test('beats every second with epoch, head and time', async () => {
    const reader = await stream();
    await expect.poll(() => reader.of('heartbeat').length, { timeout: 20_000 }).toBeGreaterThanOrEqual(3);
    const beats = reader
      .of('heartbeat')
      .map(({ data }) => data as { epoch: number; seq: number; ts: number });
    for (const beat of beats) expect(Object.keys(beat).sort()).toEqual(['epoch', 'seq', 'ts']);
    expect(beats.map(({ ts }) => ts)).toEqual(beats.map(({ ts }) => ts).sort((a, b) => a - b));
  });

  test('chains: prev is the last seq that this reader was sent, whatever others got', async () => {
    const ids = [await mission(), await mission(MAIL), await mission(), await mission(MAIL), await mission()];
    const reader = await stream();
    const first = reader.of('heartbeat')[0]?.data['seq'];
    for (const id of ids) await revoke(id);
    const got = await entries(reader, 3);
    expect(got.map(({ data }) => data['key'])).toEqual([ids[0], ids[2], ids[4]]);
    let last = first;
    for (const { data } of got) {
      expect(data['prev']).toBe(last);
      last = data['seq'];
    }
  });

  test('resumes after Last-Event-ID with everything since, in order, across a restart', async () => {
    const ids = [];
    for (let i = 0; i < 6; i++) ids.push(await mission());
    const reader = await stream();
    await revoke(ids[0] ?? '');
    const [seen] = await entries(reader, 1);
    reader.close();
    for (const id of ids.slice(1, 4)) await revoke(id);
    await sortie.restart();
    const resumed = await stream('erp', seen?.id ?? '');
    await revoke(ids[4] ?? '');
    const got = await entries(resumed, 4);
    expect(got.map(({ data }) => data['key'])).toEqual(ids.slice(1, 5));
    expect(got[0]?.data['prev']).toBe(seen?.data['seq']);
  });

  test('from an unknown or future position starts at the head: the reader must take a snapshot', async () => {
    const id = await mission();
    await revoke(id);
    const { seq } = await snapshot();
    for (const last of ['7.1', '1.999999', 'nonsense', '1.1.1', '1.-1', '']) {
      const reader = await stream('erp', last);
      expect(reader.of('entry')).toEqual([]);
      expect(reader.of('heartbeat')[0]?.data['seq']).toBe(seq);
    }
  });

  test('twenty revocations at once arrive each once, in order, chained', async () => {
    const ids = await Promise.all(Array.from({ length: 20 }, () => mission()));
    const readers = await Promise.all([stream(), stream(), stream()]);
    await Promise.all(ids.map(revoke));
    for (const reader of readers) {
      const got = await entries(reader, 20);
      expect(new Set(got.map(({ data }) => data['key']))).toEqual(new Set(ids));
      expect(got).toHaveLength(20);
      const seqs = got.map(({ data }) => Number(data['seq']));
      expect(seqs).toEqual([...seqs].sort((a, b) => a - b));
      expect(got.slice(1).map(({ data }) => data['prev'])).toEqual(seqs.slice(0, -1));
    }
  });

  test('an announced bundle is a new one', async () => {
    const before = await bundleVersion();
    const reader = await stream();
    await sortie.admin('POST', '/keys/rotate', {});
    await expect.poll(() => reader.of('bundle').length, { timeout: 20_000 }).toBeGreaterThan(0);
    const version = reader.of('bundle').at(-1)?.data['version'];
    expect(version).not.toBe(before);
    expect(await bundleVersion()).toBe(version);
  });

  test('a reader that does not read is cut, and goes on where it was; nobody else waits for it', async () => {
    const id = await mission();
    const slow = await stream();
    const fast = await stream();
    slow.pause();
    const { store } = sortie.broker.ports;
    const key = `k${'x'.repeat(2000)}`;
    for (let round = 0; round < 80; round++)
      await store.atomically(
        Array.from({ length: 100 }, () => ({
          kind: 'append_feed' as const,
          entry: {
            ts: 1,
            kind: 'mission' as const,
            key,
            effect: 'deny' as const,
            not_after: 9e9,
            reason_code: 'admin_revoked' as const,
          },
          to: 'all' as const,
        })),
      );
    await revoke(id);
    const got = await entries(fast, 8001);
    expect(got.at(-1)?.data['key']).toBe(id);
    // What the system had buffered still comes, then the end: far from everything.
    slow.resume();
    await expect.poll(() => slow.ended, { timeout: 20_000 }).toBe(true);
    expect(slow.of('entry').length).toBeLessThan(8001);
    const resumed = await stream('erp', slow.of('entry').at(-1)?.id ?? `${(await snapshot()).epoch}.0`);
    const rest = await entries(resumed, 8001 - slow.of('entry').length);
    expect(rest.at(-1)?.data['key']).toBe(id);
  });

  test('readers that go away are forgotten', async () => {
    for (let i = 0; i < 5; i++) (await stream()).close();
    await expect.poll(() => sortie.broker.feed.audiencesRead()).toEqual([]);
  });
});

async function bundleVersion(): Promise<unknown> {
  const response = await fetch(`${sortie.url}/verifier/bundle`, {
    headers: { authorization: `Bearer ${await sortie.assertion()}` },
  });
  const [, payload = ''] = (await response.text()).split('.');
  return (JSON.parse(Buffer.from(payload, 'base64url').toString()) as { version: unknown }).version;
}

describe('the snapshot', () => {
  test('holds what is in force for one’s own audience alone', async () => {
    const [own, foreign] = [await mission(), await mission(MAIL)];
    await revoke(own);
    await revoke(foreign);
    const erp = await snapshot();
    expect(erp.entries.map((entry) => entry['key'])).toEqual([own]);
    expect(erp.max_token_seconds).toBe(900);
    expect((await snapshot('mail')).entries.map((entry) => entry['key'])).toEqual([foreign]);
    expect(JSON.stringify(erp)).not.toContain('prev');
  });

  test('forgets an entry once no token can exist that it would refuse', async () => {
    await revoke(await mission());
    expect((await snapshot()).entries).toHaveLength(1);
    sortie.clock.ahead = 900 + 62;
    await new Promise((resolve) => setTimeout(resolve, 250));
    expect((await snapshot()).entries).toEqual([]);
  });

  test('resume and unblock are lifts', async () => {
    const id = await mission();
    await sortie.admin('POST', `/missions/${id}/suspend`, { reason: 'x' });
    await sortie.admin('POST', `/missions/${id}/resume`, { reason: 'x' });
    const effects = (await snapshot()).entries.map((entry) => [entry['effect'], entry['reason_code']]);
    expect(effects).toEqual([
      ['deny', 'admin_suspended'],
      ['lift', 'admin_resumed'],
    ]);
  });
});

describe('acknowledgements', () => {
  const ack = async (body: Record<string, unknown>, verifier: 'erp' | 'mail' = 'erp') =>
    fetch(`${sortie.url}/revocations/ack`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${await sortie.assertion(verifier)}`,
        'content-type': 'application/json',
      },
      body: JSON.stringify(body),
    });

  test('tell the admin who enforces a revocation, also after a restart', async () => {
    const id = await mission();
    const reader = await stream();
    const { epoch, seq } = await snapshot();
    expect((await ack({ instance_id: 'erp-1', epoch, seq })).status).toBe(204);
    const asked = sortie.admin('POST', '/revocations', {
      selector: { kind: 'mission', key: id },
      reason: 'x',
    });
    const [entry] = await entries(reader, 1);
    await ack({ instance_id: 'erp-1', epoch, seq: entry?.data['seq'] });
    expect((await asked).body['verifiers']).toEqual([
      { verifier_id: 'erp', instance_id: 'erp-1', acknowledged_at: expect.any(Number) },
    ]);
    const other = await mission();
    await revoke(other);
    const behind = async () => (await sortie.admin('GET', '/verifiers')).body['items'];
    expect(await behind()).toEqual([expect.objectContaining({ instance_id: 'erp-1', current: false })]);
    await sortie.restart();
    expect(await behind()).toEqual([expect.objectContaining({ instance_id: 'erp-1', current: false })]);
  });

  test('never go backwards, and strangers have none', async () => {
    const { epoch } = await snapshot();
    await ack({ instance_id: 'a', epoch, seq: 5 });
    await ack({ instance_id: 'a', epoch, seq: 3 });
    expect((await sortie.admin('GET', '/verifiers')).body['items']).toEqual([
      expect.objectContaining({ seq: 5 }),
    ]);
    const stranger = await fetch(`${sortie.url}/revocations/ack`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ instance_id: 'x', epoch, seq: 1 }),
    });
    expect(stranger.status).toBe(401);
    for (const path of ['/revocations', '/revocations/stream', '/verifier/bundle'])
      expect((await fetch(`${sortie.url}${path}`)).status).toBe(401);
  });
});
