/** What one process counts, and what it tells of tokens that are over. */
import { describe, expect, it } from 'vitest';
import { readStatement, STATEMENT_TOKENS, type Statement } from '../../../src/domain/settlement.ts';
import { Allotments, type AllottedToken } from '../../../src/sdk/resource/allotments.ts';

const START = 1000;
const NOW = 2000;
const ALL = Number.MAX_SAFE_INTEGER;

const open = (processes = 1, capacity = 100) =>
  new Allotments(
    () => START,
    () => processes,
    capacity,
  );
const token = (jti: string, limits: object = { max_calls: 4 }, over: Partial<AllottedToken> = {}) =>
  ({ jti, iat: START + 1, exp: NOW + 100, limits, ...over }) as AllottedToken;
const take = (mine: Allotments, one: AllottedToken, times = 1) =>
  Array.from({ length: times }, () => mine.take(one, 0, NOW)).filter((code) => code === null).length;
const told = (mine: Allotments, through = ALL): Statement | null => {
  const statement = mine.statement('run', through, NOW);
  if (statement !== null) mine.told(statement);
  return statement;
};

describe('a part of an allotment', () => {
  it('is divided as the token says, and never by fewer than there are', () => {
    expect(take(open(), token('a', { max_calls: 8 }), 20)).toBe(8);
    expect(take(open(), token('a', { max_calls: 8, processes: 4 }), 20)).toBe(2);
    expect(take(open(8), token('a', { max_calls: 8, processes: 4 }), 20)).toBe(1);
    expect(take(open(3), token('a', { max_calls: 8 }), 20)).toBe(2);
  });

  it.each([{ max_calls: -1 }, { max_calls: 1.5 }, { max_calls: '1' }, { processes: 0 }, { more: 1 }])(
    'that is not understood permits nothing: %j',
    (limits) => expect(open().take(token('a', limits), 0, NOW)).toBe('rules_unenforceable'),
  );

  it('of nothing permits nothing: the broker counts', () => {
    expect(open().take(token('a', { max_calls: 0 }), 0, NOW)).toBe('limit_exhausted');
  });

  it('of a token that may be older than the process permits nothing', () => {
    expect(open().take(token('a', undefined, { iat: START }), 0, NOW)).toBe('limit_exhausted');
    // What has no counted limit is not held up by that.
    expect(open().take(token('a', { max_budget: {} }, { iat: START }), 0, NOW)).toBeNull();
  });

  it('of bytes is taken before they are sent, or not at all', () => {
    const mine = open();
    const one = token('a', { max_egress_volume: 10 });
    expect([mine.bytesLeft(one, NOW), mine.spend(one, 8, NOW), mine.spend(one, 3, NOW)]).toEqual([
      10,
      true,
      false,
    ]);
    expect([mine.bytesLeft(one, NOW), mine.spend(one, 2, NOW), mine.take(one, 0, NOW)]).toEqual([
      2,
      true,
      'limit_exhausted',
    ]);
    mine.charge('a', 5);
    expect(mine.bytesLeft(one, NOW)).toBe(0);
    expect(told(mine)?.spent).toEqual([{ jti: 'a', max_calls: 0, max_egress_volume: 15 }]);
  });
});

describe('a statement', () => {
  it('tells what was spent of tokens that are over, each once, and of no other', () => {
    const mine = open();
    take(mine, token('a', undefined, { exp: NOW }), 3);
    take(mine, token('b', undefined, { exp: NOW + 1 }), 9);
    expect(told(mine, NOW)).toEqual({
      run_id: 'run',
      since: START,
      alive_at: NOW,
      from: 0,
      through: NOW,
      spent: [{ jti: 'a', max_calls: 3, max_egress_volume: 0 }],
    });
    expect(told(mine, NOW)).toBeNull();
    expect(told(mine, NOW + 1)).toMatchObject({
      from: NOW,
      through: NOW + 1,
      spent: [{ jti: 'b', max_calls: 4 }],
    });
    // Also where nothing was spent: of what it does not name it spent nothing.
    expect(told(mine, NOW + 9)).toMatchObject({ from: NOW + 1, through: NOW + 9, spent: [] });
  });

  it('is kept: nothing is spent any more of what it was about, whether it arrived or not', () => {
    const mine = open();
    const a = token('a', undefined, { exp: NOW });
    take(mine, a);
    expect(mine.statement('run', NOW, NOW)).not.toBeNull();
    expect(mine.take(a, 0, NOW - 50)).toBe('limit_exhausted');
    expect(mine.spend(a, 1, NOW - 50)).toBe(false);
    expect(mine.take(token('new', undefined, { exp: NOW }), 0, NOW - 50)).toBe('limit_exhausted');
    expect(take(mine, token('b'))).toBe(1);
    // At the end of the process: of none.
    mine.statement('run', ALL, NOW);
    expect(mine.take(token('c'), 0, NOW)).toBe('limit_exhausted');
  });

  it('is not made by a process that never heard the broker', () => {
    const deaf = new Allotments(
      () => Number.NEGATIVE_INFINITY,
      () => 1,
      9,
    );
    expect(deaf.statement('run', NOW, NOW)).toBeNull();
    expect(open().statement('run', NOW, Number.NEGATIVE_INFINITY)).toBeNull();
  });

  it('is as long as the broker takes it; more that end together than fit are never told of', () => {
    const mine = open(1, 9 * STATEMENT_TOKENS);
    for (let at = 0; at < STATEMENT_TOKENS + 5; at++)
      take(mine, token(`a${at}`, undefined, { exp: NOW + at }));
    const first = told(mine);
    expect(first?.spent).toHaveLength(STATEMENT_TOKENS);
    expect(first?.through).toBe(NOW + STATEMENT_TOKENS - 1);
    expect(readStatement(JSON.parse(JSON.stringify(first)))).toEqual(first);
    expect(told(mine)?.spent).toHaveLength(5);

    const crowd = open(1, 9 * STATEMENT_TOKENS);
    for (let at = 0; at <= STATEMENT_TOKENS; at++) take(crowd, token(`a${at}`, undefined, { exp: NOW + 5 }));
    take(crowd, token('later', undefined, { exp: NOW + 6 }));
    expect(told(crowd)).toMatchObject({ from: NOW + 5, through: ALL, spent: [{ jti: 'later' }] });
  });

  it('leaves out what was forgotten for want of room: nothing of it comes back', () => {
    const mine = open(1, 2);
    take(mine, token('a', undefined, { exp: NOW - 1 }));
    take(mine, token('b'));
    // Room is made of what is over.
    expect(take(mine, token('c'))).toBe(1);
    expect(told(mine)).toMatchObject({ from: NOW - 1, spent: [{ jti: 'b' }, { jti: 'c' }] });
    const full = open(1, 1);
    take(full, token('a'));
    expect(full.take(token('b'), 0, NOW)).toBe('limits_full');
  });
});

describe('the broker reads', () => {
  const good = {
    run_id: 'r',
    since: 1,
    alive_at: 2,
    from: 0,
    through: 9,
    spent: [{ jti: 'a', max_calls: 1 }],
  };
  it('a statement and nothing else', () => {
    expect(readStatement(good)).toEqual({
      ...good,
      spent: [{ jti: 'a', max_calls: 1, max_egress_volume: 0 }],
    });
  });
  it.each([
    null,
    [],
    { ...good, more: 1 },
    { ...good, run_id: '' },
    { ...good, run_id: 'x'.repeat(129) },
    { ...good, since: '1' },
    { ...good, alive_at: -1 },
    { ...good, from: 9 },
    { ...good, spent: {} },
    { ...good, spent: [{ max_calls: 1 }] },
    { ...good, spent: [{ jti: 'a', max_calls: -1 }] },
    { ...good, spent: [{ jti: 'a', max_egress_volume: 0.5 }] },
    // Of two words on one token the smaller would be a gift.
    { ...good, spent: [{ jti: 'a', max_calls: 4 }, { jti: 'a' }] },
    { ...good, spent: Array.from({ length: STATEMENT_TOKENS + 1 }, (_, at) => ({ jti: `a${at}` })) },
  ])('refuses %#', (body) => expect(() => readStatement(body as never)).toThrow());
});
