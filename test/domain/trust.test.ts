import fc from 'fast-check';
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
} from '../../src/domain/trust.ts';

const matches = (pattern: string, value: string) => matchesPattern(parsePattern(pattern), value);
const rule = (over: Partial<TrustRule> = {}): TrustRule => ({
  name: 'r',
  match: { sub: '*' },
  agent: 'a/{sub}',
  instance: '{jti}',
  ...over,
});
const apply = (
  over: Partial<TrustRule>,
  claims: Parameters<typeof applyTrustRules>[1],
  tier = 'reusable' as const,
) => applyTrustRules(compileTrustRules([rule(over)]), claims, { tier });

describe('a pattern', () => {
  it('is exact text, case included', () => {
    expect(matches('refs/heads/main', 'refs/heads/main')).toBe(true);
    expect(matches('refs/heads/main', 'refs/heads/Main')).toBe(false);
    expect(matches('refs/heads/main', 'refs/heads/main2')).toBe(false);
    expect(matches('refs/heads/main', 'xrefs/heads/main')).toBe(false);
  });

  it('lets * stand for one whole segment, never across / or :', () => {
    expect(matches('refs/heads/*', 'refs/heads/main')).toBe(true);
    expect(matches('refs/heads/*', 'refs/heads/feature/x')).toBe(false);
    expect(matches('refs/heads/*', 'refs/heads/a:b')).toBe(false);
    expect(matches('repo:org/*:ref:refs/heads/main', 'repo:org/app:ref:refs/heads/main')).toBe(true);
    expect(matches('repo:org/*:ref:refs/heads/main', 'repo:org/app:environment:x:ref:refs/heads/main')).toBe(
      false,
    );
    expect(matches('*', 'a/b')).toBe(false);
  });

  it('never matches an empty segment with *', () => {
    expect(matches('a/*', 'a/')).toBe(false);
    expect(matches('*', '')).toBe(false);
  });

  it('tells / from :', () => {
    expect(matches('a/*', 'a:b')).toBe(false);
    expect(matches('*:b', 'a/b')).toBe(false);
  });

  it('is no regular expression: metacharacters are themselves', () => {
    expect(matches('a.c', 'abc')).toBe(false);
    expect(matches('[a-z]+', 'abc')).toBe(false);
    expect(matches('a.c', 'a.c')).toBe(true);
  });

  it.each(['release-*', 'a/**', '**', 'a/b*/c', '*.example.com'])(
    'refuses %s: * is a whole segment or nothing',
    (text) => {
      expect(() => parsePattern(text)).toThrow(/whole segment/);
    },
  );

  it('refuses an empty pattern and an endless one', () => {
    expect(() => parsePattern('')).toThrow(/empty/);
    expect(() => parsePattern('a'.repeat(2_000))).toThrow(/at most/);
  });

  it('matches itself wherever it has no *', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1, maxLength: 40 }), (text) => {
        fc.pre(!text.includes('*'));
        expect(matches(text, text)).toBe(true);
      }),
    );
  });
});

describe('a claim path', () => {
  const claims = { a: 'top', 'x/y': 'slash', n: { 'k8s.io/ns': 'v', 'a~b': 't' }, list: ['zero', 'one'] };

  it('is a top-level name or an RFC 6901 pointer', () => {
    expect(claimAt(claims, parseClaimPath('a'))).toBe('top');
    expect(claimAt(claims, parseClaimPath('/x~1y'))).toBe('slash');
    expect(claimAt(claims, parseClaimPath('/n/k8s.io~1ns'))).toBe('v');
    expect(claimAt(claims, parseClaimPath('/n/a~0b'))).toBe('t');
    expect(claimAt(claims, parseClaimPath('/list/1'))).toBe('one');
  });

  it('finds nothing beyond own members', () => {
    expect(claimAt(claims, parseClaimPath('__proto__'))).toBeUndefined();
    expect(claimAt(claims, parseClaimPath('constructor'))).toBeUndefined();
    expect(claimAt(claims, parseClaimPath('/n/toString'))).toBeUndefined();
    expect(claimAt(claims, parseClaimPath('/list/length'))).toBeUndefined();
    expect(claimAt(claims, parseClaimPath('/list/01'))).toBeUndefined();
    expect(claimAt(claims, parseClaimPath('/a/0'))).toBeUndefined();
  });

  it('refuses a bad escape', () => {
    expect(() => parseClaimPath('/a~2b')).toThrow(/~0/);
    expect(() => parseClaimPath('')).toThrow(/empty/);
  });
});

describe('a trust rule', () => {
  it('matches when every claim does, and fills agent and instance', () => {
    const match = apply(
      { match: { sub: 'svc/*', env: 'prod' }, agent: 'ci/{/org/id}/{sub}', instance: 'run/{jti}' },
      { sub: 'svc/x', env: 'prod', org: { id: 42 }, jti: '7' },
    );
    expect(match).toMatchObject({ agent: 'ci/42/svc%2Fx', instance: 'run/7', tier: 'reusable', max_keys: 1 });
    expect(apply({ match: { sub: '*', env: 'prod' } }, { sub: 'x', jti: '1', env: 'dev' })).toBeNull();
    expect(apply({ match: { sub: '*', env: 'prod' } }, { sub: 'x', jti: '1' })).toBeNull();
  });

  it('compares strings, numbers and booleans, and lists by containing', () => {
    expect(apply({ match: { n: '5', b: 'true' } }, { sub: 'x', jti: '1', n: 5, b: true })).not.toBeNull();
    expect(
      apply({ match: { groups: 'ops' } }, { sub: 'x', jti: '1', groups: ['dev', 'ops'] }),
    ).not.toBeNull();
    expect(
      apply({ match: { groups: 'ops' } }, { sub: 'x', jti: '1', groups: [['ops'], { ops: 1 }] }),
    ).toBeNull();
  });

  it.each([[{ sub: { a: 1 } }], [{ sub: null }], [{ sub: 1.5 }], [{}]])('never matches %j', (claims) => {
    expect(apply({ agent: 'fixed' }, { jti: '1', ...claims })).toBeNull();
  });

  it('is tried in order: the first that matches wins', () => {
    const rules = compileTrustRules([
      rule({ name: 'one', match: { sub: 'a' } }),
      rule({ name: 'two', match: { sub: '*' } }),
      rule({ name: 'three', match: { sub: 'b' } }),
    ]);
    expect(applyTrustRules(rules, { sub: 'b', jti: '1' }, { tier: 'live' })?.rule).toBe('two');
  });

  it('does not match where an id would have a hole', () => {
    expect(apply({}, { sub: 'x' })).toBeNull();
    expect(apply({}, { sub: 'x', jti: '' })).toBeNull();
    expect(apply({}, { sub: 'x', jti: 'j'.repeat(600) })).toBeNull();
    expect(apply({}, { sub: 'x', jti: '\ud800' })).toBeNull();
  });

  it('accepts evidence of its tier or stronger and records what it really was', () => {
    const claims = { sub: 'x', jti: '1' };
    const rules = compileTrustRules([rule({ tier: 'live' })]);
    expect(applyTrustRules(rules, claims, { tier: 'bound' })?.tier).toBe('bound');
    expect(applyTrustRules(rules, claims, { tier: 'reusable' })).toBeNull();
    expect(applyTrustRules(compileTrustRules([rule({ tier: 'dev' })]), claims, { tier: 'bound' })?.tier).toBe(
      'dev',
    );
  });

  it('accepts degraded evidence only where it names the lower tier itself', () => {
    const claims = { sub: 'x', jti: '1' };
    const degraded = { tier: 'reusable', degraded: true } as const;
    expect(applyTrustRules(compileTrustRules([rule()]), claims, degraded)).toBeNull();
    expect(applyTrustRules(compileTrustRules([rule({ tier: 'reusable' })]), claims, degraded)?.tier).toBe(
      'reusable',
    );
  });

  it.each([
    [{ match: {} }, /at least one claim/],
    [{ agent: '{sub}{jti}' }, /between two claims/],
    [{ agent: '{sub}-{jti}' }, /between two claims/],
    [{ agent: '{sub' }, /no "}"/],
    [{ agent: 'a b' }, /only letters/],
    [{ agent: 'a%2F{sub}' }, /only letters/],
    [{ instance: '' }, /not be empty/],
    [{ match: { sub: 'a*' } }, /whole segment/],
    [{ max_keys: 0 }, /max_keys/],
  ])('teaches its mistake: %j', (over, message) => {
    expect(() => compileTrustRules([rule(over as Partial<TrustRule>)])).toThrow(message);
  });

  it('has a name of its own', () => {
    expect(() => compileTrustRules([rule(), rule()])).toThrow(/another rule/);
  });
});

describe('an id made of claims', () => {
  it('can never be forged by a claim value', () => {
    expect(escapeClaim('payments/reconciler')).toBe('payments%2Freconciler');
    expect(escapeClaim('..')).toBe('%2E%2E');
    expect(escapeClaim('v1.2')).toBe('v1.2');
    expect(escapeClaim('%2F')).toBe('%252F');
    expect(escapeClaim('ä ')).toBe('%C3%A4%20');
  });

  it('is one-to-one in its claim values', () => {
    parseTemplate('k8s/{a}/{b}');
    const text = fc.string({
      minLength: 1,
      maxLength: 8,
      unit: fc.constantFrom('a', '/', '%', '2', 'F', '.', ':', '{', 'é'),
    });
    const rules = compileTrustRules([rule({ match: { a: 'x' }, agent: 'k8s/{b}/{c}', instance: '{b}' })]);
    const agentOf = (b: string, c: string) =>
      applyTrustRules(rules, { a: 'x', b, c }, { tier: 'live' })?.agent;
    fc.assert(
      fc.property(text, text, text, text, (b1, c1, b2, c2) => {
        if (b1 === b2 && c1 === c2) return;
        expect(agentOf(b1, c1)).not.toBe(agentOf(b2, c2));
        expect(agentOf(b1, c1)?.split('/')).toHaveLength(3);
      }),
    );
  });
});

describe('explain', () => {
  it('says which claim of which rule did not match, without any claim value', () => {
    const rules = compileTrustRules([
      rule({ name: 'prod', match: { env: 'prod', sub: '*' } }),
      rule({ name: 'live', match: { sub: '*' }, tier: 'live' }),
      rule({ name: 'hole', match: { sub: '*' }, instance: '{gone}' }),
      rule({ name: 'object', match: { obj: 'x' } }),
    ]);
    const claims = { sub: 'SECRETSUB', env: 'SECRETENV', obj: { a: 'SECRETOBJ' } };
    const { match, missed } = explainTrustRules(rules, claims, { tier: 'reusable' });
    expect(match).toBeNull();
    expect(missed).toEqual([
      { rule: 'prod', misses: [{ claim: 'env', why: 'differs', wanted: 'prod' }] },
      { rule: 'live', misses: [{ claim: '(tier)', why: 'tier_too_weak', wanted: 'live' }] },
      {
        rule: 'hole',
        misses: [{ claim: 'gone', why: 'unusable_in_id', wanted: expect.stringContaining('scalar') }],
      },
      { rule: 'object', misses: [{ claim: 'obj', why: 'not_a_scalar', wanted: 'x' }] },
    ]);
    expect(JSON.stringify(missed)).not.toContain('SECRET');
  });

  it('agrees with the rules as applied', () => {
    const rules = compileTrustRules([
      rule({ name: 'a', match: { x: '1' } }),
      rule({ name: 'b', match: { x: '*' } }),
    ]);
    fc.assert(
      fc.property(fc.constantFrom('1', '2', '', 'a/b'), (x) => {
        const claims = { x, sub: 's', jti: 'j' };
        expect(explainTrustRules(rules, claims, { tier: 'live' }).match).toEqual(
          applyTrustRules(rules, claims, { tier: 'live' }),
        );
      }),
    );
  });
});
