/** The mission intent: closed, bounded, inert. What is let in here is stored, shown to people and hashed for good. */
import { describe, expect, it } from 'vitest';
import { type Denial, Denied } from '../../src/domain/denial.ts';
import { parseIntent, parseIntentEnvelope } from '../../src/domain/intent.ts';
import type { JsonObject, JsonValue } from '../../src/domain/json.ts';

const ERP = 'https://erp.example.com';
const smallest: JsonObject = { goal: 'g', resources: [ERP], expires_at: '2026-12-31T23:59:59Z' };
const whole: JsonObject = {
  ...smallest,
  constraints: ['none of it twice'],
  success_criteria: ['all of it once'],
  purpose: 'reconcile',
  goal_lang: 'en',
  needs: [{ resource: ERP, actions: ['invoices.read'], why: 'to read' }],
  continues: 'mis_1',
  controls: { max_calls: 1, max_derivations: 2, max_duration: 3, max_egress_volume: 4, acr: 'high' },
};

function refusal(run: () => unknown): Denial {
  try {
    run();
  } catch (error) {
    if (error instanceof Denied) return error.denial;
    throw error;
  }
  throw new Error('was accepted');
}
const refuse = (value: JsonValue | undefined) => refusal(() => parseIntent(value));
const detail = (change: JsonObject) => {
  const denial = refuse({ ...whole, ...change });
  return denial.tag === 'invalid_request' ? denial.detail : denial.tag;
};
const list = (length: number, item: (index: number) => JsonValue) =>
  Array.from({ length }, (_, index) => item(index));

describe('an intent', () => {
  it('is returned as declared, with nothing added', () => {
    expect(parseIntent(smallest)).toStrictEqual({ intent: smallest, expires_at: 1798761599 });
    expect(parseIntent(whole).intent).toBe(whole);
    expect(parseIntentEnvelope({ intent: whole }).intent).toBe(whole);
  });

  it('is one member of a closed envelope', () => {
    expect(refusal(() => parseIntentEnvelope({ intent: whole, more: 1 }))).toMatchObject({
      detail: 'mission_intent has an unknown member "more"',
    });
    expect(refusal(() => parseIntentEnvelope([]))).toMatchObject({
      detail: 'mission_intent must be an object',
    });
    expect(refusal(() => parseIntentEnvelope({}))).toMatchObject({ detail: 'intent must be an object' });
  });

  it('never carries evidence: a proof stored with the mission could be presented again', () => {
    expect(refuse({ ...whole, evidence: 'a.b.c' })).toStrictEqual({ tag: 'invalid_mission_intent_evidence' });
    expect(refusal(() => parseIntentEnvelope({ intent: whole, evidence: 'a.b.c' }))).toStrictEqual({
      tag: 'invalid_mission_intent_evidence',
    });
  });

  it('has no member that nobody reads: a declared limit that is ignored would be relied on', () => {
    expect(detail({ scope: 'all' })).toBe('intent has an unknown member "scope"');
    expect(detail({ controls: { max_call: 1 } })).toBe('intent.controls has an unknown member "max_call"');
    expect(detail({ needs: [{ resource: ERP, actions: ['a'], why: 'w', also: 1 }] })).toBe(
      'intent.needs[0] has an unknown member "also"',
    );
    expect(detail({ ['n'.repeat(65)]: 1 })).toBe(`intent has an unknown member "${'n'.repeat(64)}"`);
  });

  it.each(['goal', 'resources', 'expires_at'])('needs %s', (member) => {
    const { [member]: _, ...rest } = whole;
    expect(refuse(rest)).toMatchObject({
      tag: 'invalid_request',
      detail: expect.stringContaining(`intent.${member} must be`),
    });
  });

  it('is bounded, each text and list to its last character and item', () => {
    const text = (length: number) => 'a'.repeat(length);
    for (const [member, most] of [
      ['goal', 4096],
      ['purpose', 128],
      ['goal_lang', 35],
      ['continues', 64],
    ] as const) {
      expect(() => parseIntent({ ...whole, [member]: text(most) })).not.toThrow();
      expect(detail({ [member]: text(most + 1) })).toBe(`intent.${member} is longer than ${most} characters`);
      expect(detail({ [member]: '' })).toBe(`intent.${member} must be a non-empty string`);
      expect(detail({ [member]: 1 })).toBe(`intent.${member} must be a non-empty string`);
    }
    for (const member of ['constraints', 'success_criteria']) {
      expect(() => parseIntent({ ...whole, [member]: list(64, () => text(1024)) })).not.toThrow();
      expect(detail({ [member]: list(65, () => 'a') })).toBe(`intent.${member} has more than 64 items`);
      expect(detail({ [member]: ['a', text(1025)] })).toBe(
        `intent.${member}[1] is longer than 1024 characters`,
      );
      expect(detail({ [member]: [] })).toBe(`intent.${member} must be a non-empty array`);
      expect(detail({ [member]: 'a' })).toBe(`intent.${member} must be a non-empty array`);
    }
    const far = (index: number) => `${ERP}/${index}`.padEnd(2048, 'x');
    const { needs: _, ...plain } = whole;
    expect(() => parseIntent({ ...plain, resources: list(64, far) })).not.toThrow();
    expect(detail({ resources: list(65, far) })).toBe('intent.resources has more than 64 items');
    expect(detail({ resources: [`${far(0)}x`] })).toBe('intent.resources[0] is longer than 2048 characters');
    expect(detail({ resources: [] })).toBe('intent.resources must be a non-empty array');
  });

  it('names no resource twice, and no need elsewhere', () => {
    expect(detail({ resources: [ERP, ERP] })).toBe('intent.resources names a resource twice');
    expect(detail({ needs: [{ resource: `${ERP}/x`, actions: ['a'], why: 'w' }] })).toBe(
      'intent.needs[0].resource is not among intent.resources',
    );
  });

  it('says of each need what is wanted and why, within bounds', () => {
    const need = { resource: ERP, actions: ['a'], why: 'w' };
    expect(() =>
      parseIntent({
        ...whole,
        needs: list(64, () => ({ ...need, actions: list(64, () => 'a'.repeat(256)), why: 'w'.repeat(1024) })),
      }),
    ).not.toThrow();
    for (const [needs, wrong] of [
      [{}, 'intent.needs must be an array of at most 64 items'],
      [list(65, () => need), 'intent.needs must be an array of at most 64 items'],
      [[need, 1], 'intent.needs[1] must be an object'],
      [[{ ...need, resource: 1 }], 'intent.needs[0].resource must be a non-empty string'],
      [[{ ...need, resource: 'a'.repeat(2049) }], 'intent.needs[0].resource is longer than 2048 characters'],
      [[{ ...need, actions: [] }], 'intent.needs[0].actions must be a non-empty array'],
      [[{ ...need, actions: list(65, () => 'a') }], 'intent.needs[0].actions has more than 64 items'],
      [[{ ...need, actions: ['a'.repeat(257)] }], 'intent.needs[0].actions[0] is longer than 256 characters'],
      [[{ ...need, why: '' }], 'intent.needs[0].why must be a non-empty string'],
      [[{ ...need, why: 'w'.repeat(1025) }], 'intent.needs[0].why is longer than 1024 characters'],
    ] as const)
      expect(detail({ needs: needs as JsonValue })).toBe(wrong);
  });

  it('counts in whole numbers from one', () => {
    for (const control of ['max_calls', 'max_derivations', 'max_duration', 'max_egress_volume'])
      for (const value of [0, -1, 1.5, '1', null, 2 ** 53, Number.NaN])
        expect(detail({ controls: { [control]: value } })).toBe(
          `intent.controls.${control} must be a whole number from 1`,
        );
    expect(detail({ controls: { acr: '' } })).toBe('intent.controls.acr must be a non-empty string');
    expect(detail({ controls: { acr: 'a'.repeat(257) } })).toBe(
      'intent.controls.acr is longer than 256 characters',
    );
    expect(() =>
      parseIntent({ ...whole, controls: { acr: 'a'.repeat(256), max_calls: 2 ** 53 - 1 } }),
    ).not.toThrow();
    expect(detail({ controls: 1 })).toBe('intent.controls must be an object');
  });

  it('takes a budget that can be added up, and no other', () => {
    const budget = (max_budget: unknown) => ({ controls: { max_budget } as never });
    const good = { ...whole, ...budget({ amount: '100.00', currency: 'EUR' }) };
    expect(parseIntent(good).intent).toBe(good);
    for (const wrong of [
      1,
      '1',
      {},
      { amount: 1, currency: 'EUR' },
      { amount: '1e2', currency: 'EUR' },
      { amount: '-1', currency: 'EUR' },
      { amount: '1', currency: 'eur' },
      { amount: '1', currency: 'EURO' },
      { amount: '1', currency: 'EUR', more: 1 },
    ])
      expect(detail(budget(wrong))).toContain('intent.controls.max_budget must be');
  });
});
