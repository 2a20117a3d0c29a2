import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { delegable, explain, lint, parseAuthoritySet } from '../../../../src/domain/authority/index.ts';
import { kubernetesToken } from '../../../../src/domain/authority/types/kubernetes_token.ts';
import { withDelegation } from '../../../../src/domain/authority/types/with_delegation.ts';
import type { JsonObject } from '../../../../src/domain/json.ts';
import { keepsTheLaws } from './laws.ts';

const delegate = fc.constantFrom({ sub: 'a' }, { sub: 'b' }, { sub_profile: 'ai_agent' });
const entries = fc.record(
  {
    type: fc.constant('kubernetes_token'),
    cluster: fc.constant('a'),
    namespace: fc.constantFrom('jobs', 'jobs', 'web'),
    service_account: fc.constant('migrator'),
    audiences: fc.uniqueArray(fc.constantFrom('https://a', 'https://b'), { minLength: 1 }),
    max_ttl_seconds: fc.constantFrom(60, 600),
    delegation: fc.record(
      {
        max_depth: fc.constantFrom(1, 2),
        allowed_delegates: fc.uniqueArray(delegate, { minLength: 1, selector: (one) => JSON.stringify(one) }),
      },
      { requiredKeys: ['max_depth'] },
    ),
  },
  { requiredKeys: ['type', 'cluster', 'namespace', 'service_account', 'audiences'] },
) as unknown as fc.Arbitrary<JsonObject>;
const good = {
  type: 'kubernetes_token',
  cluster: 'a',
  namespace: 'jobs',
  service_account: 'migrator',
  audiences: ['https://kubernetes.default.svc'],
  delegation: { max_depth: 1, allowed_delegates: [{ sub: 'agents/reader' }] },
};

describe('a provider entry that may be passed on', () => {
  keepsTheLaws({
    type: withDelegation(kubernetesToken),
    entries,
    good,
    // Without it less is allowed: it is no bound that a ceiling would have to keep.
    optional: ['max_ttl_seconds'],
    needless: ['delegation'],
    bad: [
      [{ delegation: null }, 'entry.delegation'],
      [{ delegation: { max_depth: 0 } }, 'entry.delegation.max_depth'],
      [{ delegation: { max_depth: 8 } }, 'entry.delegation.max_depth'],
      [{ delegation: { max_depth: 1, anyone: true } }, 'entry.delegation.anyone'],
      [{ delegation: { max_depth: 1, allowed_delegates: [] } }, 'entry.delegation.allowed_delegates'],
      [{ namespace: '../kube-system' }, 'entry.namespace'],
    ],
  });

  it('is warned of where anybody may get it', () => {
    const rules = (delegation: object) =>
      lint(parseAuthoritySet([{ ...good, delegation }] as never, 'x'), 0).map(({ rule }) => rule);
    expect(rules({ max_depth: 1 })).toEqual(['open_delegation']);
    expect(rules(good.delegation)).toEqual([]);
  });

  it('is every provider entry, and only where it says so, for whom it names, as deep as it says', () => {
    const set = parseAuthoritySet([good], 'x');
    const to = (sub: string, depth: number) => delegable(set, { sub, sub_profile: 'ai_agent' }, depth).length;
    expect(to('agents/reader', 1)).toBe(1);
    expect(to('agents/reader', 2)).toBe(0);
    expect(to('agents/other', 1)).toBe(0);
    const { delegation: _, ...kept } = good;
    expect(delegable(parseAuthoritySet([kept], 'x'), { sub: 'agents/reader' }, 1)).toEqual([]);
    expect(explain(set)).toEqual([
      'Allows a token of service account jobs/migrator on a for https://kubernetes.default.svc; may be passed on one level deep to agents/reader.',
    ]);
  });
});
