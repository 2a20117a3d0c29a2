/** Statements of spending: a wrong word gives a mission more than its limit. */
import { describe, expect, it } from 'vitest';
import type { Denied } from '../../src/domain/denial.ts';
import type { JsonObject, JsonValue } from '../../src/domain/json.ts';
import { creditsOf, readStatement, STATEMENT_TOKENS } from '../../src/domain/settlement.ts';

const good: JsonObject = {
  run_id: 'r',
  since: 0,
  alive_at: 9.5,
  from: 1,
  through: 2,
  spent: [{ jti: 'j', max_calls: 3, max_egress_volume: 0 }],
};
const wrong = (change: JsonObject): string => {
  try {
    readStatement({ ...good, ...change });
  } catch (error) {
    return (error as Denied).private_reason;
  }
  return 'accepted';
};
const many = (length: number) => Array.from({ length }, (_, at) => ({ jti: `j${at}` }));

describe('a statement', () => {
  it('is read whole; what it does not say of a token was not spent', () => {
    expect(readStatement(good)).toStrictEqual(good);
    expect(readStatement({ ...good, spent: [{ jti: 'j' }] }).spent).toStrictEqual([
      { jti: 'j', max_calls: 0, max_egress_volume: 0 },
    ]);
    expect(
      readStatement({ ...good, run_id: 'r'.repeat(128), spent: many(STATEMENT_TOKENS) }).spent,
    ).toHaveLength(500);
  });

  it('is refused by the member at fault', () => {
    for (const value of [null, 1, 'x', [], [good]])
      expect(() => readStatement(value as JsonValue)).toThrow(
        expect.objectContaining({ private_reason: 'a statement is an object' }),
      );
    expect(wrong({ more: 1 })).toBe('a statement has no member more');
    for (const run_id of ['', 'r'.repeat(129), 1, null])
      expect(wrong({ run_id })).toBe('run_id must be text of 1 to 128 characters');
    for (const member of ['since', 'alive_at', 'from', 'through'])
      for (const value of [-1, '1', null, Number.NaN, Number.POSITIVE_INFINITY])
        expect(wrong({ [member]: value })).toBe(
          'since, alive_at, from and through must be seconds since the epoch',
        );
    for (const from of [2, 3]) expect(wrong({ from })).toBe('from must be before through');
    for (const spent of [null, {}, 'x', many(501)])
      expect(wrong({ spent })).toBe('spent must be a list of at most 500');
    for (const item of [null, 'j', [], {}, { jti: '' }, { jti: 1 }, { jti: 'j'.repeat(129) }])
      expect(wrong({ spent: [item] })).toBe('spent must name tokens by jti');
    for (const member of ['max_calls', 'max_egress_volume'])
      for (const value of [-1, 1.5, '1', null, 2 ** 53])
        expect(wrong({ spent: [{ jti: 'j', [member]: value }] })).toBe('what was spent must be counts');
    expect(wrong({ spent: [{ jti: 'j' }, { jti: 'j', max_calls: 1 }] })).toBe('spent names a token twice');
  });
});

describe('a credit', () => {
  it('is what is left of one part, never more, and nothing of a part that was passed', () => {
    const statement = readStatement({
      ...good,
      spent: [
        { jti: 'a', max_calls: 3, max_egress_volume: 100 },
        { jti: 'b', max_calls: 99 },
      ],
    });
    const open = (jti: string, control: 'max_calls' | 'max_egress_volume', amount: number) => ({
      jti,
      control,
      amount,
      processes: 2,
      expires_at: 2,
    });
    expect(
      creditsOf(statement, [
        open('a', 'max_calls', 11),
        open('a', 'max_egress_volume', 200),
        open('b', 'max_calls', 10),
        open('c', 'max_calls', 10),
      ]),
    ).toStrictEqual([
      { jti: 'a', control: 'max_calls', amount: 2 },
      { jti: 'a', control: 'max_egress_volume', amount: 0 },
      { jti: 'b', control: 'max_calls', amount: 0 },
      { jti: 'c', control: 'max_calls', amount: 5 },
    ]);
  });
});
