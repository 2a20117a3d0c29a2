/** From a declared mission to what is granted: never more than the template, the parent, the intent or the clock. */
import { describe, expect, it } from 'vitest';
import { type AuthoritySet, catalogueOf } from '../../src/domain/authority/index.ts';
import { type Denial, Denied } from '../../src/domain/denial.ts';
import { type DispatchRule, derive, deriveToken, dispatch } from '../../src/domain/grant.ts';
import { parseIntent } from '../../src/domain/intent.ts';
import type { JsonObject } from '../../src/domain/json.ts';
import type { TemplateDocument } from '../../src/domain/policy.ts';

const NOW = 1_000;
const ERP = 'https://erp.example.com';
const CRM = 'https://crm.example.com';
const access = (resource: string, actions: string[], more: object = {}) => ({
  type: 'mission_resource_access' as const,
  resource,
  actions,
  ...more,
});
const BELOW = { resource_match: 'prefix' as const };
const template: TemplateDocument = {
  id: 't',
  version: 'v',
  ceiling: [access(ERP, ['invoices.read', 'invoices.approve'], BELOW), access(CRM, ['notes.read'])],
  token_ttl_seconds: 300,
  lifetime_seconds: 3_600,
  attest_every_seconds: 600,
  required_tier: 'live',
  max_active: null,
  dispatch_rate: null,
  review_every_seconds: null,
  limits: {},
  bearer_audiences: [],
  deliver_audiences: [],
};
const declared = (change: JsonObject = {}) =>
  parseIntent({ goal: 'g', resources: [ERP], expires_at: '1970-01-01T00:30:00Z', ...change });
const catalogue = catalogueOf([{ resource: ERP, actions: { 'invoices.read': {}, 'invoices.approve': {} } }]);
const request = { declared: declared(), proposal: null, template, catalogue, now: NOW };

function refusal(run: () => unknown): Denial {
  try {
    run();
  } catch (error) {
    if (error instanceof Denied) return error.denial;
    throw error;
  }
  throw new Error('was accepted');
}

describe('dispatch', () => {
  const rules: readonly DispatchRule[] = [
    { agent: 'k8s/pay/*', tier: 'bound', template: 'strong' },
    { agent: 'k8s/pay/*', purpose: 'audit', template: 'audit' },
    { agent: 'k8s/pay/*', tier: 'live', template: 'plain' },
    { agent: 'ci/*', template: 'ci' },
  ];
  const asked = { agent: 'k8s/pay/a', tier: 'live' as const };

  it('is by the first rule whose every condition holds', () => {
    expect(dispatch(rules, { ...asked, tier: 'bound' })).toStrictEqual({ template: 'strong', rule: 0 });
    expect(dispatch(rules, { ...asked, purpose: 'audit' })).toStrictEqual({ template: 'audit', rule: 1 });
    expect(dispatch(rules, asked)).toStrictEqual({ template: 'plain', rule: 2 });
    expect(dispatch(rules, { ...asked, purpose: 'other' })).toStrictEqual({ template: 'plain', rule: 2 });
    expect(dispatch(rules, { ...asked, agent: 'ci/a', tier: 'dev' })).toStrictEqual({
      template: 'ci',
      rule: 3,
    });
  });

  it('gives nothing to evidence that is too weak, or to an agent of no rule', () => {
    expect(dispatch(rules, { ...asked, tier: 'dev' })).toBeNull();
    expect(dispatch(rules, { ...asked, agent: 'k8s/ops/a' })).toBeNull();
    expect(dispatch([], asked)).toBeNull();
  });

  it('to one template only where it is asked for, and never by a rule that does not hold', () => {
    expect(dispatch(rules, { ...asked, tier: 'bound', wanted: 'plain' })).toStrictEqual({
      template: 'plain',
      rule: 2,
    });
    expect(dispatch(rules, { ...asked, wanted: 'strong' })).toBeNull();
    expect(dispatch(rules, { ...asked, wanted: 'ci' })).toBeNull();
  });
});

describe('a grant', () => {
  it("is the template's ceiling over the intent's resources when nothing is proposed", () => {
    expect(derive(request)).toStrictEqual({
      authority: [template.ceiling[0]],
      expires_at: 1_800,
      max_derivations: null,
      narrowed: [],
    });
    expect(derive({ ...request, declared: declared({ resources: [ERP, CRM] }) }).authority).toStrictEqual(
      template.ceiling,
    );
  });

  it('never reaches a place that the intent does not name, and says so to a proposal', () => {
    expect(
      refusal(() => derive({ ...request, declared: declared({ resources: ['https://x.example'] }) })),
    ).toStrictEqual({
      tag: 'invalid_authorization_details',
      reason: 'out_of_template_ceiling',
      detail: 'nothing of what was asked for is within template t@v',
    });
    const proposal: AuthoritySet = [
      access(`${ERP}/invoices/1`, ['invoices.read']),
      access(CRM, ['notes.read']),
    ];
    expect(refusal(() => derive({ ...request, proposal }))).toStrictEqual({
      tag: 'invalid_request',
      detail: 'authorization_details names a resource that intent.resources does not',
    });
    expect(
      derive({ ...request, proposal: [access(`${ERP}/invoices/1`, ['invoices.read'])] }).authority,
    ).toStrictEqual([access(`${ERP}/invoices/1`, ['invoices.read'])]);
    // The intent names a place below: the audience above it is not covered.
    expect(
      refusal(() => derive({ ...request, declared: declared({ resources: [`${ERP}/invoices`] }), proposal })),
    ).toMatchObject({ tag: 'invalid_request' });
    expect(
      refusal(() =>
        derive({
          ...request,
          declared: declared({ resources: ['not a uri'] }),
          proposal: [access(ERP, ['invoices.read'])],
        }),
      ),
    ).toMatchObject({ tag: 'invalid_request' });
  });

  it('lets through what a provider hands out, which has no place', () => {
    const secret = { type: 'vault_secret', paths: ['secret/a'] };
    const of = { ...request, template: { ...template, ceiling: [secret] } };
    expect(derive(of).authority).toStrictEqual([secret]);
    expect(derive({ ...of, proposal: [secret] }).authority).toStrictEqual([secret]);
  });

  it('reports each cut of the template, and then each of the parent', () => {
    const proposal = [access(ERP, ['invoices.read', 'invoices.delete'], BELOW)];
    const cut = derive({ ...request, proposal });
    expect(cut.authority).toStrictEqual([access(ERP, ['invoices.read'], BELOW)]);
    expect(cut.narrowed).toStrictEqual([
      {
        wanted: proposal[0],
        granted: cut.authority[0],
        reason: 'action_not_covered',
        rule: 'template t@v: ceiling[0].actions',
      },
    ]);
    const parent = { authority: [access(`${ERP}/a`, ['invoices.read'])], expires_at: 1_900 };
    const below = derive({ ...request, proposal, parent });
    expect(below.authority).toStrictEqual(parent.authority);
    expect(below.narrowed.map(({ rule }) => rule)).toStrictEqual([
      'template t@v: ceiling[0].actions',
      'parent: ceiling[0].resource',
    ]);
  });

  it('is refused as no subset where the parent has none of it', () => {
    expect(
      refusal(() =>
        derive({ ...request, parent: { authority: [access(CRM, ['notes.read'])], expires_at: 1_900 } }),
      ),
    ).toStrictEqual({
      tag: 'invalid_authorization_details',
      reason: 'not_strict_subset',
      detail: 'nothing of what was asked for is within template t@v',
    });
  });

  it('holds the single actions of a family, so that one can be taken away', () => {
    const families = { ...template, ceiling: [access(ERP, ['invoices.*'])] };
    expect(derive({ ...request, template: families }).authority).toStrictEqual([
      access(ERP, ['invoices.approve', 'invoices.read']),
    ]);
  });

  it('is refused for a mission that has ended already, to the second', () => {
    expect(refusal(() => derive({ ...request, now: 1_800 }))).toStrictEqual({
      tag: 'invalid_request',
      detail: 'intent.expires_at has passed',
    });
    expect(derive({ ...request, now: 1_799 }).expires_at).toBe(1_800);
  });

  it('takes the smaller number of derivations, whoever gives one', () => {
    const most = (ours: number | undefined, asked: number | undefined) =>
      derive({
        ...request,
        template: { ...template, limits: ours === undefined ? {} : { max_derivations: ours } },
        declared: declared(asked === undefined ? {} : { controls: { max_derivations: asked } }),
      }).max_derivations;
    expect([
      most(2, 3),
      most(3, 2),
      most(2, undefined),
      most(undefined, 3),
      most(undefined, undefined),
    ]).toStrictEqual([2, 2, 2, 3, null]);
  });
});

describe('the end of a mission', () => {
  const late = '1970-01-01T02:00:00.9Z';

  it('is as asked when nothing ends before, in whole seconds, and then no cut is reported', () => {
    const asked = derive({ ...request, declared: declared({ expires_at: '1970-01-01T00:30:00.9Z' }) });
    expect(asked).toMatchObject({ expires_at: 1_800, narrowed: [] });
    expect(derive({ ...request, declared: declared({ controls: { max_duration: 100 } }) })).toMatchObject({
      expires_at: 1_100,
      narrowed: [],
    });
    expect(derive({ ...request, declared: declared({ controls: { max_duration: 9_000 } }) }).expires_at).toBe(
      1_800,
    );
  });

  it("never comes after the template's longest life", () => {
    expect(derive({ ...request, declared: declared({ expires_at: late }) })).toMatchObject({
      expires_at: 4_600,
      narrowed: [
        {
          wanted: { expires_at: '1970-01-01T02:00:00Z' },
          granted: { expires_at: '1970-01-01T01:16:40Z' },
          reason: 'lifetime_shortened',
          rule: 'template t@v.lifetime',
        },
      ],
    });
  });

  it("never comes after the parent's end", () => {
    const parent = { authority: template.ceiling, expires_at: 1_500.5 };
    expect(derive({ ...request, parent })).toMatchObject({
      expires_at: 1_500,
      narrowed: [
        {
          wanted: { expires_at: '1970-01-01T00:30:00Z' },
          granted: { expires_at: '1970-01-01T00:25:00Z' },
          reason: 'lifetime_shortened',
          rule: 'parent.expires_at',
        },
      ],
    });
    expect(derive({ ...request, parent: { ...parent, expires_at: 9_000 } })).toMatchObject({
      expires_at: 1_800,
      narrowed: [],
    });
  });
});

describe("a token's authority", () => {
  const created: AuthoritySet = [
    access(ERP, ['invoices.read', 'invoices.approve']),
    access(CRM, ['notes.read']),
  ];
  const effective: AuthoritySet = [access(ERP, ['invoices.read']), access(CRM, ['notes.read'])];
  const of = { effective, created, resource: ERP, wanted: null };

  it('is what the mission has at one audience', () => {
    expect(deriveToken(of)).toStrictEqual({ authority: [effective[0]], narrowed: [] });
    expect(deriveToken({ ...of, resource: CRM })).toStrictEqual({ authority: [effective[1]], narrowed: [] });
  });

  it('is narrowed to what is asked for, with each cut reported', () => {
    const wanted = [access(ERP, ['invoices.read', 'invoices.approve'])];
    expect(deriveToken({ ...of, wanted })).toStrictEqual({
      authority: [effective[0]],
      narrowed: [
        {
          wanted: wanted[0],
          granted: effective[0],
          reason: 'action_not_covered',
          rule: 'mission: ceiling[0].actions',
        },
      ],
    });
  });

  it('may not be asked for elsewhere', () => {
    const wanted = [access(ERP, ['invoices.read']), access(CRM, ['notes.read'])];
    expect(refusal(() => deriveToken({ ...of, wanted }))).toStrictEqual({
      tag: 'invalid_request',
      detail: 'authorization_details of this request may name only its resource',
    });
  });

  it('tells what was taken away from what was never there', () => {
    const contained = {
      tag: 'invalid_authorization_details',
      reason: 'authority_contained',
      detail: `this mission's authority at ${ERP} was contained`,
    };
    const never = {
      tag: 'invalid_authorization_details',
      reason: 'not_strict_subset',
      detail: `this mission has no such authority at ${ERP}`,
    };
    expect(refusal(() => deriveToken({ ...of, effective: [] }))).toStrictEqual(contained);
    expect(refusal(() => deriveToken({ ...of, effective: [], created: [] }))).toStrictEqual(never);
    expect(refusal(() => deriveToken({ ...of, wanted: [access(ERP, ['invoices.approve'])] }))).toStrictEqual(
      contained,
    );
    expect(refusal(() => deriveToken({ ...of, wanted: [access(ERP, ['invoices.delete'])] }))).toStrictEqual(
      never,
    );
  });
});
