/** The verifier bundle: a guard that misreads it judges calls by rules that nobody wrote. */
import { describe, expect, it } from 'vitest';
import { BUNDLE_TYP, CONSEQUENTIAL, readBundle } from '../../src/domain/bundle.ts';
import type { JsonObject, JsonValue } from '../../src/domain/json.ts';

const smallest: JsonObject = {
  iss: 'https://broker.example',
  aud: 'https://erp.example.com',
  iat: 1,
  version: 'v1',
  keys: [],
  actions: [],
  sinks: [],
  field_trust: [],
  sequence_rules: [],
  max_staleness_seconds: 5,
  max_token_seconds: 300,
};
const whole: JsonObject = {
  ...smallest,
  keys: [{ kty: 'EC' }, { kty: 'OKP' }],
  actions: [
    { name: 'invoices.read', labels: ['read'] },
    { name: 'invoices.approve', labels: ['write', CONSEQUENTIAL] },
  ],
  sinks: [{ action: 'x' }],
  field_trust: [1],
  sequence_rules: ['r'],
  catalogue_version: 'c1',
  processes: 4,
};
const list = (length: number, item: JsonValue) => Array.from({ length }, () => item);
const refusal = (change: JsonObject) => {
  try {
    readBundle({ ...whole, ...change });
  } catch (error) {
    return (error as { private_reason: string }).private_reason;
  }
  return 'accepted';
};

describe('a bundle', () => {
  it('is read whole, and nothing is made up for what it leaves out', () => {
    expect(readBundle(whole)).toStrictEqual(whole);
    expect(readBundle(smallest)).toStrictEqual(smallest);
    expect([BUNDLE_TYP, CONSEQUENTIAL]).toStrictEqual(['sortie-bundle+jwt', 'consequential']);
  });

  it('leaves out what a later broker may add', () => {
    expect(readBundle({ ...whole, more: 1, actions: [{ name: 'a', labels: [], more: 1 }] })).toStrictEqual({
      ...whole,
      actions: [{ name: 'a', labels: [] }],
    });
  });

  it.each(['iss', 'aud', 'version', 'catalogue_version'])('is refused when %s is not a text', (member) => {
    for (const value of ['', 1, null, [], {}])
      expect(refusal({ [member]: value })).toBe(`bundle ${member} must be a string`);
  });

  it.each(['iat', 'max_staleness_seconds', 'max_token_seconds'])(
    'is refused when %s is not a positive number: a guard without a bound trusts for ever',
    (member) => {
      for (const value of [0, -1, '1', null, Number.NaN, Number.POSITIVE_INFINITY])
        expect(refusal({ [member]: value })).toBe(`bundle ${member} must be a positive number`);
      expect(refusal({ [member]: 0.5 })).toBe('accepted');
    },
  );

  it('is refused when it shares allotments among no whole number of processes: half a one would double each part', () => {
    for (const value of [0, -1, 0.5, 1.5, '1', null, Number.NaN, Number.POSITIVE_INFINITY])
      expect(refusal({ processes: value })).toBe('bundle processes must be a whole number from 1');
    expect(refusal({ processes: 1 })).toBe('accepted');
  });

  it.each([
    ['keys', 64, {}],
    ['actions', 10_000, { name: 'a', labels: [] }],
    ['sinks', 10_000, 1],
    ['field_trust', 10_000, 1],
    ['sequence_rules', 10_000, 1],
  ] as const)('is refused when %s is no list of at most %i', (member, most, item) => {
    for (const value of [null, {}, 'x', 1, list(most + 1, item)])
      expect(refusal({ [member]: value })).toBe(`bundle ${member} must be a list of at most ${most}`);
    expect(refusal({ [member]: list(most, item) })).toBe('accepted');
  });

  it.each(Object.keys(smallest))('is refused without %s', (member) => {
    const { [member]: _, ...rest } = smallest;
    expect(() => readBundle(rest)).toThrow(
      expect.objectContaining({ private_reason: expect.stringContaining(`bundle ${member} must be`) }),
    );
  });

  it('is refused for one bad key, action or label among good ones', () => {
    expect(refusal({ keys: [{}, 1] })).toBe('bundle keys must be objects');
    expect(refusal({ actions: [{ name: 'a', labels: [] }, 1] })).toBe('bundle actions must be objects');
    expect(refusal({ actions: [{ name: '', labels: [] }] })).toBe('bundle name must be a string');
    expect(refusal({ actions: [{ name: 'a' }] })).toBe('bundle labels must be a list of at most 100');
    expect(refusal({ actions: [{ name: 'a', labels: list(100, 'l') }] })).toBe('accepted');
    expect(refusal({ actions: [{ name: 'a', labels: list(101, 'l') }] })).toBe(
      'bundle labels must be a list of at most 100',
    );
    expect(refusal({ actions: [{ name: 'a', labels: ['read', 1] }] })).toBe('bundle labels must be strings');
  });
});
