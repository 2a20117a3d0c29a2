/** Objects and lists as values of a constraint: equal by what they say, and never covered by another. */
import { describe, expect, it } from 'vitest';
import {
  type AuthoritySet,
  compile,
  intersect,
  parseAuthoritySet,
  permits,
  within,
} from '../../../src/domain/authority/index.ts';
import { Denied } from '../../../src/domain/denial.ts';

const RESOURCE = 'https://erp.example.com';
const bound = (predicate: object): AuthoritySet =>
  parseAuthoritySet(
    [
      {
        type: 'mission_resource_access',
        resource: RESOURCE,
        actions: ['pay'],
        constraints: { parameters: { to: predicate } },
      },
    ],
    'x',
  );
const covered = (a: object, b: object) => within(bound(a), bound(b)).ok;
const common = (a: object, b: object) => intersect(bound(a), bound(b)).granted;
const codeOf = (predicate: object, to: unknown) =>
  permits(
    compile(bound(predicate)),
    { action: 'pay', resource: RESOURCE, parameters: { to } as never, context: {} },
    0,
  )?.code ?? 'met';

const A = { bank: 'a', no: 1 };
const A_AGAIN = { no: 1, bank: 'a' };
const B = { bank: 'b', no: 1 };

describe('a list of objects', () => {
  it('is within one that has each of them, in any order of members and elements', () => {
    expect(covered({ one_of: [A] }, { one_of: [B, A_AGAIN] })).toBe(true);
    expect(covered({ one_of: [A, B] }, { one_of: [B, A] })).toBe(true);
    expect(covered({ exact: A }, { exact: A_AGAIN })).toBe(true);
  });

  it('is not within one that lacks a single one', () => {
    expect(covered({ one_of: [A] }, { one_of: [B] })).toBe(false);
    expect(covered({ one_of: [A, B] }, { one_of: [A] })).toBe(false);
    expect(covered({ one_of: [A, 'x'] }, { one_of: ['x'] })).toBe(false);
    expect(covered({ one_of: ['x', A] }, { one_of: ['x', B] })).toBe(false);
    expect(covered({ exact: A }, { one_of: [B] })).toBe(false);
    expect(covered({ subset: [A] }, { subset: [B] })).toBe(false);
    expect(covered({ subset: [[1]] }, { subset: [[1], [2]] })).toBe(true);
  });

  it('that must be there is within fewer, that must not within fewer too', () => {
    expect(covered({ contains: [A, B] }, { contains: [B] })).toBe(true);
    expect(covered({ contains: [B] }, { contains: [A, B] })).toBe(false);
    expect(covered({ contains: [A] }, { contains: [B] })).toBe(false);
  });

  it('meets another in what both have, as it was written', () => {
    expect(common({ one_of: [A, B] }, { one_of: [A_AGAIN] })).toEqual(bound({ one_of: [A] }));
    expect(common({ one_of: [A] }, { one_of: [B] })).toEqual([]);
    expect(common({ one_of: [[1], 'x'] }, { one_of: [[1], [2]] })).toEqual(bound({ exact: [1] }));
  });

  it('is met by an equal value and by no other form of it', () => {
    expect(codeOf({ one_of: [A] }, A_AGAIN)).toBe('met');
    expect(codeOf({ one_of: [A] }, { ...A, more: 1 })).toBe('constraint_violated');
    expect(codeOf({ one_of: [A] }, JSON.stringify(A))).toBe('constraint_violated');
    expect(codeOf({ one_of: [[1, 2]] }, [2, 1])).toBe('constraint_violated');
    expect(codeOf({ one_of: ['[1]'] }, [1])).toBe('constraint_violated');
    expect(codeOf({ one_of: [null] }, null)).toBe('met');
    expect(codeOf({ one_of: [null] }, {})).toBe('constraint_violated');
  });

  it('holds none twice, however its members are ordered', () => {
    expect(() => bound({ one_of: [A, A_AGAIN] })).toThrow(Denied);
    expect(() => bound({ one_of: [[1], [1]] })).toThrow(Denied);
    expect(() => bound({ one_of: [0, -0] })).toThrow(Denied);
  });

  it('holds no value without one written form', () => {
    for (const value of [
      { a: '\ud800' },
      ['\ud800'],
      { '\ud800': 1 },
      Number.NaN,
      [Number.POSITIVE_INFINITY],
    ]) {
      expect(() => bound({ exact: value })).toThrow(Denied);
      expect(() => bound({ one_of: [value] })).toThrow(Denied);
    }
  });
});
