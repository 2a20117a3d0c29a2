/** What is held and renewed, without a broker: a clock of the test, and renewals that fail in each way. */
import { expect, test } from 'vitest';
import { BrokerUnavailable, MissionDenied } from '../../../src/sdk/agent/index.ts';
import { Kept, type Perishable } from '../../../src/sdk/agent/kept.ts';
import { until } from './support.ts';

function denied(code: string): MissionDenied {
  return new MissionDenied({
    status: 403,
    error: code,
    description: null,
    reason: code,
    mission_error: null,
  });
}

function keep(failures: Error[]) {
  let [now, made] = [1000, 0];
  const asked: string[] = [];
  const kept = new Kept<Perishable>({
    keyOf: () => 'key',
    async renew(key) {
      asked.push(key);
      const failure = failures.shift();
      if (failure !== undefined) throw failure;
      made += 1;
      return { id: `made-${made}`, usable_until: now + 100, renew_at: now + 70 };
    },
    failed: () => {},
    now: () => now,
    random: () => 1,
    deadlines: () => ({ attest_at: Number.POSITIVE_INFINITY, end_at: Number.POSITIVE_INFINITY }),
    ended: () => {},
  });
  kept.put({ id: 'first', usable_until: 1100, renew_at: 1070 });
  return {
    kept,
    asked,
    pass: (seconds: number) => {
      now += seconds;
    },
  };
}

test.each([
  [
    'a broker that is away',
    new BrokerUnavailable('away', { status: 503, attempts: 1, retry_after_seconds: null }),
  ],
  ['too many at once', denied('dispatch_rate')],
  ['a request that overtook it', denied('conflict')],
])(
  '%s is tried again ahead of the end, not before a pause, and what is in hand goes on',
  async (_, failure) => {
    const { kept, asked, pass } = keep([failure]);
    pass(75);
    expect((await kept.get('key')).id).toBe('first');
    await until(() => asked.length === 1, 'it is asked for');
    expect((await kept.get('key')).id).toBe('first');
    expect(asked).toHaveLength(1);
    pass(2);
    expect((await kept.get('key')).id).toBe('first');
    await until(() => asked.length === 2, 'it is asked for again');
    expect((await kept.get('key')).id).toBe('made-1');
    kept.close();
  },
);

test('what was refused for good is asked for again only by who needs it', async () => {
  const { kept, asked, pass } = keep([denied('authority_contained'), denied('authority_contained')]);
  pass(75);
  await kept.get('key');
  await until(() => asked.length === 1, 'it is asked for');
  pass(20);
  await kept.get('key');
  expect(asked).toHaveLength(1);
  pass(10);
  await expect(kept.get('key')).rejects.toThrow('authority_contained');
  expect(asked).toHaveLength(2);
  // The mission was resumed.
  kept.retry();
  expect((await kept.get('key')).id).toBe('made-1');
  kept.close();
});

test('what was lost is not given out, and a look at it asks for no more than one', async () => {
  const { kept, asked } = keep([]);
  expect((await kept.peek('key')).id).toBe('first');
  expect(asked).toEqual([]);
  kept.lose('key');
  const values = await Promise.all([kept.peek('key'), kept.get('key'), kept.peek('key')]);
  expect(values.map(({ id }) => id)).toEqual(['made-1', 'made-1', 'made-1']);
  expect(asked).toHaveLength(1);
  kept.close();
});
