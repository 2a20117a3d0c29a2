/** Trust rules at their edges: a claim that slips past a bound becomes another agent. */
import { describe, expect, it } from 'vitest';
import {
  applyTrustRules,
  claimAt,
  compileTrustRules,
  escapeClaim,
  explainTrustRules,
  matchesPattern,
  parseClaimPath,
  parsePattern,
  parseTemplate,
  type TrustRule,
  TrustRuleError,
} from '../../src/domain/trust.ts';

const rule = (over: Partial<TrustRule> = {}): TrustRule => ({
  name: 'r',
  match: { sub: 'x' },
  agent: 'a/{sub}',
  instance: 'i',
  ...over,
});
const live = { tier: 'live' } as const;
const apply = (over: Partial<TrustRule>, claims: Parameters<typeof applyTrustRules>[1]) =>
  applyTrustRules(compileTrustRules([rule(over)]), claims, live);
const explain = (
  over: Partial<TrustRule>,
  claims: Parameters<typeof applyTrustRules>[1],
  established = live,
) => explainTrustRules(compileTrustRules([rule(over)]), claims, established).missed[0]?.misses;
const wrong = (over: object): string => {
  try {
    compileTrustRules([rule(over as Partial<TrustRule>)]);
  } catch (error) {
    if (error instanceof TrustRuleError && error.name === 'TrustRuleError') return error.message;
    throw error;
  }
  return 'accepted';
};

describe('a pattern', () => {
  it('is bounded, and so is what it is compared with', () => {
    expect(parsePattern('a'.repeat(1024))).toStrictEqual({ exact: 'a'.repeat(1024) });
    expect(() => parsePattern('a'.repeat(1025))).toThrow('a pattern has at most 1024 characters');
    expect(matchesPattern(parsePattern('*'), 'a'.repeat(1024))).toBe(true);
    expect(matchesPattern(parsePattern('*'), 'a'.repeat(1025))).toBe(false);
  });

  it('is split where its delimiters stand', () => {
    expect(parsePattern('a/*:b')).toStrictEqual({
      exact: null,
      segments: ['a', null, 'b'],
      delimiters: '/:',
    });
    expect(parsePattern('*/')).toStrictEqual({ exact: null, segments: [null, ''], delimiters: '/' });
    for (const [pattern, value, matches] of [
      ['a/*:b', 'a/x:b', true],
      ['a/*:b', 'a/x:c', false],
      ['a/*:b', 'c/x:b', false],
      ['a/*:b', 'a:x/b', false],
      ['a/*', 'b/x', false],
      ['*/a', 'x/b', false],
    ] as const)
      expect(matchesPattern(parsePattern(pattern), value), `${pattern} ${value}`).toBe(matches);
  });
});

describe('a claim', () => {
  it('is found by name or pointer, never in what is no object', () => {
    expect(() => parseClaimPath('/')).toThrow('a claim name must not be empty');
    expect(() => parseClaimPath('')).toThrow('a claim name must not be empty');
    for (const bad of ['/a~', '/a~2', '/~0~x', '/a~1b~'])
      expect(() => parseClaimPath(bad)).toThrow('in a JSON pointer');
    expect(parseClaimPath('/a~0b~1c').steps).toStrictEqual(['a~b/c']);
    for (const [claims, path] of [
      [{ a: null }, '/a/b'],
      [{ a: 'text' }, '/a/0'],
      [{ a: 1 }, '/a/b'],
      [{ a: ['x'] }, '/a/1'],
      [{ a: ['x'] }, '/a/-1'],
      [{ a: ['x'] }, '/a/0.0'],
      [{ a: ['x'] }, '/a/ 0'],
    ] as const)
      expect(claimAt(claims, parseClaimPath(path)), path).toBeUndefined();
    expect(claimAt({ a: [['x']] }, parseClaimPath('/a/0/0'))).toBe('x');
  });

  it('is compared as what it is: false, numbers that are exact, and no null', () => {
    expect(apply({ match: { b: 'false' } }, { sub: 'x', b: false })).not.toBeNull();
    expect(apply({ match: { b: 'true' } }, { sub: 'x', b: false })).toBeNull();
    expect(apply({ match: { n: String(2 ** 53) } }, { sub: 'x', n: 2 ** 53 })).toBeNull();
    expect(apply({ match: { n: 'null' } }, { sub: 'x', n: null })).toBeNull();
    expect(explain({ match: { n: 'null' } }, { sub: 'x', n: null })).toStrictEqual([
      { claim: 'n', why: 'absent', wanted: 'null' },
    ]);
    expect(explain({ match: { n: '*' } }, { sub: 'x' })).toStrictEqual([
      { claim: 'n', why: 'absent', wanted: '*' },
    ]);
  });

  it('in a list matches by one of its first 256, and by no null or list in it', () => {
    const list = (length: number) => [...Array.from({ length }, () => 'no'), 'yes'];
    expect(apply({ match: { g: 'yes' } }, { sub: 'x', g: list(255) })).not.toBeNull();
    expect(apply({ match: { g: 'yes' } }, { sub: 'x', g: list(256) })).toBeNull();
    expect(apply({ match: { g: '*' } }, { sub: 'x', g: [null, ['a'], { a: 1 }, 1.5] })).toBeNull();
    expect(apply({ match: { g: '1' } }, { sub: 'x', g: [1] })).not.toBeNull();
    expect(explain({ match: { g: 'yes' } }, { sub: 'x', g: ['no', null] })).toStrictEqual([
      { claim: 'g', why: 'differs', wanted: 'yes' },
    ]);
  });

  it('in an id is bounded alone and together', () => {
    const claims = (length: number) => ({ sub: 'x', a: 'a'.repeat(length), b: 'b'.repeat(512) });
    expect(apply({ agent: '{a}' }, claims(512))?.agent).toHaveLength(512);
    expect(apply({ agent: '{a}' }, claims(513))).toBeNull();
    expect(apply({ agent: '{a}/{b}' }, claims(511))?.agent).toHaveLength(1024);
    expect(apply({ agent: '{a}/{b}' }, claims(512))).toBeNull();
    expect(explain({ agent: '{a}/{b}' }, claims(512))).toStrictEqual([
      { claim: 'a', why: 'unusable_in_id', wanted: 'a non-empty scalar of at most 512 characters' },
    ]);
    expect(apply({ instance: '{gone}' }, claims(1))).toBeNull();
    expect(apply({ agent: '{gone}' }, claims(1))).toBeNull();
    expect(explain({ agent: '{gone}' }, claims(1))?.[0]?.claim).toBe('gone');
  });

  it('in an id is escaped byte by byte', () => {
    expect(escapeClaim('\n')).toBe('%0A');
    expect(escapeClaim('é/.')).toBe('%C3%A9%2F.');
    expect(escapeClaim('a..b')).toBe('a..b');
    expect(escapeClaim('.')).toBe('%2E');
    expect(escapeClaim('.a/')).toBe('.a%2F');
    expect(escapeClaim('Az09._-')).toBe('Az09._-');
    expect(escapeClaim('~')).toBe('%7E');
  });
});

describe('a template of ids', () => {
  it('is literals around claims', () => {
    expect(parseTemplate('a/{b}:{/c/d}@e')).toStrictEqual({
      literals: ['a/', ':', '@e'],
      claims: [
        { name: 'b', steps: ['b'] },
        { name: '/c/d', steps: ['c', 'd'] },
      ],
    });
    expect(parseTemplate('plain')).toStrictEqual({ literals: ['plain'], claims: [] });
    for (const text of ['{a}/{b}', '{a}:{b}', '{a}@{b}', '{a}x/{b}'])
      expect(() => parseTemplate(text)).not.toThrow();
    for (const text of ['{a}{b}', '{a}x{b}', '{a}-{b}'])
      expect(() => parseTemplate(text)).toThrow('between two claims');
    for (const text of ['a b', 'a}', '{a} ', '{a}é', 'a%2F'])
      expect(() => parseTemplate(text)).toThrow('only letters');
    expect(() => parseTemplate('{}')).toThrow('a claim name must not be empty');
    expect(() => parseTemplate('a/{b')).toThrow('"{" has no "}"');
    expect(() => parseTemplate('')).toThrow('a template must not be empty');
  });
});

describe('a rule', () => {
  it('is refused with its name and its mistake', () => {
    expect(wrong({ max_keys: 1 })).toBe('accepted');
    for (const max_keys of [0, -1, 1.5, Number.NaN, '2'])
      expect(wrong({ max_keys })).toBe('trust rule "r": max_keys is a whole number of 1 or more');
    expect(wrong({ tier: 'golden' })).toBe('trust rule "r": unknown tier');
    expect(wrong({ tier: 'live' })).toBe('accepted');
    expect(wrong({ match: {} })).toBe(
      'trust rule "r": match at least one claim; a rule for everything is not a rule',
    );
    expect(wrong({ match: { sub: '' } })).toBe('trust rule "r": a pattern must not be empty');
    expect(() => compileTrustRules([rule(), rule()])).toThrow('trust rule "r": another rule has this name');
  });

  it('gives one key and a token of its own life unless it says otherwise', () => {
    expect(apply({}, { sub: 'x' })).toStrictEqual({
      rule: 'r',
      agent: 'a/x',
      instance: 'i',
      tier: 'live',
      max_keys: 1,
      caps_token: false,
    });
    expect(apply({ max_keys: 3, caps_token: true, tier: 'dev' }, { sub: 'x' })).toMatchObject({
      max_keys: 3,
      caps_token: true,
      tier: 'dev',
    });
  });

  it('says to administrators that evidence was too weak', () => {
    const degraded = { tier: 'live', degraded: true } as never;
    expect(explain({}, { sub: 'x' }, degraded)).toStrictEqual([
      {
        claim: '(tier)',
        why: 'tier_too_weak',
        wanted: 'a live check, or a rule that names the tier it accepts',
      },
    ]);
    expect(explain({ tier: 'bound' }, { sub: 'y' })).toStrictEqual([
      { claim: '(tier)', why: 'tier_too_weak', wanted: 'bound' },
      { claim: 'sub', why: 'differs', wanted: 'x' },
    ]);
  });
});
