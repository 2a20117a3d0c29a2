import { describe, expect, it } from 'vitest';
import { ReplayMemory } from '../../../src/sdk/resource/replay-memory.ts';
import type { VerifiedToken } from '../../../src/sdk/resource/token.ts';
import { TokenCache } from '../../../src/sdk/resource/token-cache.ts';
import { Bench, mint, NOW, outcome } from './support.ts';

const bearer = (token: string) => ({ token, authorization: `Bearer ${token}`, proof: undefined });

describe('held tokens', () => {
  it('nothing that was not verified is held', () => {
    const bench = new Bench().ready();
    const token = mint({ cnf: undefined });
    bench.check(bearer(`${token.slice(0, -4)}AAAA`));
    bench.check(bearer(mint({ cnf: undefined, exp: NOW - 1 })));
    expect(bench.state.tokens.size).toBe(0);
  });

  it('a forged token with the end of a held one is not taken for it', () => {
    const bench = new Bench().ready();
    const token = mint({ cnf: undefined });
    expect(outcome(bench.check(bearer(token)))).toBe('permitted');
    const [head, , signature] = token.split('.') as [string, string, string];
    const payload = mint({ cnf: undefined, mission: { id: 'msn_other' } }).split('.')[1] as string;
    expect(outcome(bench.check(bearer(`${head}.${payload}.${signature}`)))).toBe('token_invalid');
    expect(outcome(bench.check(bearer(token)))).toBe('permitted');
    expect(bench.state.tokens.size).toBe(1);
  });

  it('are bounded, and one mission pushes out only its own', () => {
    const bench = new Bench({ limits: { tokens: 10, tokens_per_mission: 3 } }).ready();
    const honest = mint({ cnf: undefined, mission: { id: 'msn_honest' } });
    bench.check(bearer(honest));
    for (let turn = 0; turn < 30; turn++)
      expect(outcome(bench.check(bearer(mint({ cnf: undefined, mission: { id: 'msn_flood' } }))))).toBe(
        'permitted',
      );
    expect(bench.state.tokens.size).toBe(4);
    expect(bench.state.tokens.get(`Bearer ${honest}`)).toBeDefined();
    for (let turn = 0; turn < 30; turn++)
      bench.check(bearer(mint({ cnf: undefined, mission: { id: `msn_${turn}` } })));
    expect(bench.state.tokens.size).toBe(10);
  });

  it('two whose prints meet are both held', () => {
    const cache = new TokenCache({ tokens: 10, tokens_per_mission: 10 });
    const token = (authorization: string) =>
      ({ authorization, mission_id: 'msn_self', claims: { exp: NOW + 10 } }) as VerifiedToken;
    // The same twelve characters at the end, as two signatures might have by chance; the third also shares the next ones.
    const [one, two, three] = ['A'.repeat(40), 'B'.repeat(40), 'C'.repeat(40)].map((rest, index) =>
      token(`${rest}${index === 0 ? 'a' : 'b'}bcdefgh123456789012`),
    ) as [VerifiedToken, VerifiedToken, VerifiedToken];
    for (const each of [one, two]) cache.add(each, NOW);
    expect(cache.get(one.authorization)).toBe(one);
    expect(cache.get(two.authorization)).toBe(two);
    cache.add(three, NOW);
    expect(cache.get(three.authorization)).toBe(three);
    expect(cache.get(two.authorization)).toBeUndefined();
    cache.delete(three);
    expect(cache.get(three.authorization)).toBeUndefined();
    expect(cache.get(one.authorization)).toBe(one);
    expect(cache.size).toBe(1);
  });

  it('expired ones make room first', () => {
    const bench = new Bench({ limits: { tokens: 4 } }).ready();
    const first = mint({ cnf: undefined, mission: { id: 'msn_first' } });
    bench.check(bearer(first));
    for (let turn = 0; turn < 3; turn++)
      bench.check(bearer(mint({ cnf: undefined, exp: NOW + 1, mission: { id: `msn_${turn}` } })));
    bench.now = NOW + 2;
    bench.check(bearer(mint({ cnf: undefined, mission: { id: 'msn_new' } })));
    expect(bench.state.tokens.size).toBe(2);
    expect(bench.state.tokens.get(`Bearer ${first}`)).toBeDefined();
  });
});

describe('memory of proofs', () => {
  it('forgets nothing within the span and everything after two', () => {
    const memory = new ReplayMemory([1, 2], 120, 1000);
    for (let turn = 0; turn < 500; turn++) expect(memory.remember('jkt', `proof-${turn}`, NOW)).toBe('new');
    for (let turn = 0; turn < 500; turn++)
      expect(memory.remember('jkt', `proof-${turn}`, NOW + 119)).toBe('seen');
    expect(memory.remember('jkt', 'later', NOW + 121)).toBe('new');
    for (let turn = 0; turn < 500; turn++)
      expect(memory.remember('jkt', `proof-${turn}`, NOW + 239)).toBe('seen');
    expect(memory.remember('jkt', 'proof-0', NOW + 500)).toBe('new');
  });

  it('refuses beyond its capacity and recovers with time', () => {
    const memory = new ReplayMemory([1, 2], 120, 3);
    for (const jti of ['a', 'b', 'c']) expect(memory.remember('jkt', jti, NOW)).toBe('new');
    expect(memory.remember('jkt', 'd', NOW)).toBe('full');
    expect(memory.remember('jkt', 'a', NOW)).toBe('seen');
    expect(memory.remember('jkt', 'd', NOW + 120)).toBe('new');
  });

  it('keeps ten bytes to thirty a proof', () => {
    const memory = new ReplayMemory([1, 2], 120, 100_000);
    for (let turn = 0; turn < 100_000; turn++) memory.remember('jkt', `proof-${turn}`, NOW);
    expect(memory.bytes / 100_000).toBeLessThanOrEqual(30);
  });
});
