/** What verifiers report is read member by member: a report is shown to people and kept for years. */
import { describe, expect, it } from 'vitest';
import type { JsonObject, JsonValue } from '../../src/domain/json.ts';
import {
  type DecisionEvent,
  needsProof,
  readDecisionEvent,
  readObservation,
} from '../../src/domain/reports.ts';

const KEYED = `hmac-sha-256:${'Az09_-'.repeat(8).slice(0, 43)}`;
const smallest: JsonObject = {
  ts: 1.5,
  jti: 'j',
  mission_id: 'm',
  seq: 0,
  action: 'invoices.read',
  resource: 'https://erp.example.com',
  decision: 'permit',
  reason: 'permitted',
  latency_us: 0,
};
const whole: JsonObject = {
  ...smallest,
  labels: ['read'],
  outcome: 'ok',
  parameters_digest: KEYED,
  region: 'eu',
  bytes: 1,
  proof: 'a.b.c',
};
const observation: JsonObject = {
  mission_id: 'm',
  jti: 'j',
  seq: 1,
  origin: 'untrusted',
  field: 'body',
  digests: ['0123456789ab', KEYED],
};
const text = (length: number) => 'a'.repeat(length);
const list = (length: number, item: JsonValue) => Array.from({ length }, () => item);

const NO_TEXT: readonly JsonValue[] = ['', 1, null, true, [], {}];
const NO_COUNT: readonly JsonValue[] = [-1, 1.5, '1', null, 2 ** 53, Number.NaN, Number.POSITIVE_INFINITY];
const NO_AMOUNT: readonly JsonValue[] = [-0.1, '1', null, Number.NaN, Number.POSITIVE_INFINITY, []];
const NO_CODE: readonly JsonValue[] = [
  ...NO_TEXT,
  'Denied',
  'a b',
  'a-b',
  'a.b',
  'é',
  'a\n',
  '`',
  '{',
  '/',
  ':',
  text(65),
];

describe('a decision event', () => {
  it('is read whole; what it does not say is not made up', () => {
    expect(readDecisionEvent(whole)).toStrictEqual(whole);
    expect(readDecisionEvent(smallest)).toStrictEqual({ ...smallest, labels: [], outcome: '' });
    expect(readDecisionEvent({ ...whole, note: 'trust me', score: 9 })).toStrictEqual(whole);
    expect(readDecisionEvent({ ...whole, decision: 'deny' })).toMatchObject({ decision: 'deny' });
  });

  it.each([null, 1, 'x', [], [whole]])('is never %j', (value) => {
    expect(readDecisionEvent(value as JsonValue)).toBeNull();
  });

  it.each(Object.keys(smallest))('is nothing without %s', (member) => {
    const { [member]: _, ...rest } = smallest;
    expect(readDecisionEvent(rest)).toBeNull();
  });

  it.each([
    ['ts', NO_AMOUNT],
    ['jti', [...NO_TEXT, text(129)]],
    ['mission_id', [...NO_TEXT, text(129)]],
    ['seq', NO_COUNT],
    ['action', [...NO_TEXT, text(257)]],
    ['resource', [...NO_TEXT, text(2049)]],
    ['labels', [null, 'read', {}, [''], [1], ['read', text(65)], list(17, 'l')]],
    ['decision', ['', 'Permit', 'allow', null, true, 1]],
    ['reason', NO_CODE],
    ['outcome', NO_CODE.filter((value) => value !== '')],
    ['latency_us', NO_AMOUNT],
    [
      'parameters_digest',
      [...NO_TEXT, `sha-256:${text(43)}`, KEYED.slice(0, -1), `${KEYED}a`, `x${KEYED.slice(1)}`],
    ],
    ['region', [...NO_TEXT, text(65)]],
    ['bytes', NO_COUNT],
    ['proof', [...NO_TEXT, text(4097)]],
  ] as const)('is nothing with a bad %s', (member, values) => {
    for (const value of values)
      expect(readDecisionEvent({ ...whole, [member]: value }), String(value)).toBeNull();
  });

  it('may use each bound to the last character', () => {
    const widest = {
      ...whole,
      ts: 0,
      jti: text(128),
      mission_id: text(128),
      seq: 2 ** 53 - 1,
      action: text(256),
      resource: text(2048),
      labels: list(16, text(64)),
      reason: 'az09_'.repeat(13).slice(0, 64),
      outcome: text(64),
      region: text(64),
      bytes: 0,
      proof: text(4096),
    };
    expect(readDecisionEvent(widest)).toStrictEqual(widest);
  });
});

describe('an observation', () => {
  it('is origins and digests, never a value', () => {
    expect(readObservation(observation)).toStrictEqual(observation);
    expect(readObservation({ ...observation, value: 'secret' })).toStrictEqual(observation);
    expect(readObservation({ ...observation, digests: [] })).toStrictEqual({ ...observation, digests: [] });
  });

  it.each([null, 1, 'x', [], [observation]])('is never %j', (value) => {
    expect(readObservation(value as JsonValue)).toBeNull();
  });

  it.each(Object.keys(observation))('is nothing without %s', (member) => {
    const { [member]: _, ...rest } = observation;
    expect(readObservation(rest)).toBeNull();
  });

  it.each([
    ['mission_id', [...NO_TEXT, text(129)]],
    ['jti', [...NO_TEXT, text(129)]],
    ['seq', NO_COUNT],
    ['origin', NO_CODE],
    ['field', [...NO_TEXT, text(257)]],
    [
      'digests',
      [
        null,
        'x',
        {},
        [1],
        [''],
        ['0123456789a'],
        ['0123456789abc'],
        ['0123456789a-'],
        ['0123456789ab', 'a value in clear text'],
        [`sha-256:${text(43)}`],
        list(1025, '0123456789ab'),
      ],
    ],
  ] as const)('is nothing with a bad %s', (member, values) => {
    for (const value of values) expect(readObservation({ ...observation, [member]: value })).toBeNull();
  });

  it('may use each bound to the last character', () => {
    const widest = {
      ...observation,
      mission_id: text(128),
      jti: text(128),
      seq: 0,
      origin: text(64),
      field: text(256),
      digests: list(1024, KEYED),
    };
    expect(readObservation(widest)).toStrictEqual(widest);
  });
});

describe('a proof', () => {
  it('is needed for whatever counts against an agent or for an effect: a verifier could make it up', () => {
    const event = (labels: string[], decision: 'permit' | 'deny' = 'permit') =>
      needsProof({ ...(smallest as unknown as DecisionEvent), labels, decision });
    expect(event(['read'])).toBe(false);
    expect(event(['read', 'read'])).toBe(false);
    expect(event([])).toBe(false);
    expect(event(['write'])).toBe(true);
    expect(event(['read', 'consequential'])).toBe(true);
    expect(event(['read'], 'deny')).toBe(true);
    expect(event([], 'deny')).toBe(true);
  });
});
