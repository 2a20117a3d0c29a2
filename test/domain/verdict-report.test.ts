/** Verdicts as verifiers report them: only what the rules can say is kept, and never a value. */
import { describe, expect, it } from 'vitest';
import { RULE_NAMES } from '../../src/behaviour/rules.ts';
import { RULE_MODES } from '../../src/behaviour/section.ts';
import type { JsonObject, JsonValue } from '../../src/domain/json.ts';
import { readDecisionEvent } from '../../src/domain/reports.ts';
import { type ReportedVerdict, readVerdictReport, verdictReport } from '../../src/domain/verdict-report.ts';

const event = { mission_id: 'm', action: 'a.pay' };
const [rule = ''] = RULE_NAMES;
const [mode = ''] = RULE_MODES;
const finding: JsonObject = {
  rule,
  parameter: 'iban',
  kind: 'action',
  origins: ['text'],
  declared_sources: ['a.read body'],
  value_digest: '0123456789ab',
  mode,
};
const good: JsonObject = {
  seq: 1,
  decision: 'deny',
  rule,
  findings: [finding],
  response: 'none',
  tainted: true,
  detour: false,
  memory: { values: 3, overflow: false },
  catalogue_version: 'c',
  history_version: 2,
  rules_version: 'r',
  enforced: true,
  evidence: 'e',
};
const read = (change: JsonObject) => readVerdictReport({ ...good, ...change }, event);
const found = (change: JsonObject) => read({ findings: [finding, { ...finding, ...change }] });
const text = (length: number) => 'a'.repeat(length);
const list = (length: number, item: JsonValue) => Array.from({ length }, () => item);

describe('a verdict', () => {
  it('is read and written the same, of the mission and action of its event', () => {
    const verdict = readVerdictReport({ ...good, note: 'x' }, event);
    expect(verdict).toMatchObject({
      enforced: true,
      evidence: 'e',
      record: { ...event, decision: 'deny', rule },
    });
    expect(verdictReport(verdict as ReportedVerdict)).toStrictEqual(good);
    const { evidence: _, ...bare } = good;
    const plain = readVerdictReport(
      { ...bare, decision: 'permit', rule: null, history_version: null },
      event,
    );
    expect(plain?.evidence).toBeNull();
    expect(verdictReport(plain as ReportedVerdict)).toStrictEqual({
      ...bare,
      decision: 'permit',
      rule: null,
      history_version: null,
    });
  });

  it('takes each bound', () => {
    for (const change of [
      { seq: 0, history_version: 0, memory: { values: 0, overflow: true } },
      { catalogue_version: text(512), rules_version: text(512), evidence: text(16_384) },
      { findings: [] },
      { findings: list(128, finding) },
      { response: 'contain' },
      { response: 'suspend' },
      { response: 'revoke' },
      { tainted: false, detour: true, enforced: false },
    ])
      expect(read(change), Object.keys(change).join()).not.toBeNull();
    for (const change of [
      { parameter: '' },
      { parameter: text(256) },
      { value_digest: '' },
      { origins: [], declared_sources: [] },
      { declared_sources: list(32, text(512)) },
    ])
      expect(found(change)).not.toBeNull();
  });

  it.each([null, 1, 'x', [], [good]])('is never %j', (value) => {
    expect(readVerdictReport(value as JsonValue, event)).toBeNull();
  });

  it.each([
    ['seq', [-1, 1.5, '1', null, 2 ** 53]],
    ['decision', ['', 'permit', 'Deny', null, true]],
    ['rule', ['', 'no such rule', null, 1]],
    ['response', ['', 'block', null, 1]],
    ['tainted', [null, 1, 'true']],
    ['detour', [null, 1, 'true']],
    ['enforced', [null, 1, 'true']],
    ['memory', [null, [], {}, { values: 1 }, { values: -1, overflow: false }, { values: 1, overflow: 1 }]],
    ['catalogue_version', ['', 1, null, text(513)]],
    ['rules_version', ['', 1, null, text(513)]],
    ['history_version', [-1, '1', 1.5]],
    ['evidence', ['', 1, null, text(16_385)]],
    ['findings', [null, {}, 'x', [1], [null], [finding, {}], list(129, finding)]],
  ] as const)('is nothing with a bad %s', (member, values) => {
    for (const value of values)
      expect(read({ [member]: value as JsonValue }), JSON.stringify(value)).toBeNull();
    const { [member]: _, ...rest } = good;
    expect(readVerdictReport(rest, event) === null).toBe(member !== 'evidence');
  });

  it.each([
    ['rule', ['', 'no such rule', null]],
    ['mode', ['', 'sometimes', null]],
    ['parameter', [1, null, text(257)]],
    ['kind', ['', 'galaxy', 1, null]],
    [
      'value_digest',
      ['0123456789a', '0123456789abc', '0123456789aB', '0123456789ag', 'the value in clear', 1, null],
    ],
    ['origins', [null, 'text', ['nowhere'], ['toString'], [''], [1], ['text', 'nowhere']]],
    ['declared_sources', [null, 'x', [''], [1], [text(513)], list(33, 'a')]],
  ] as const)('is nothing with a bad %s in one finding', (member, values) => {
    for (const value of values)
      expect(found({ [member]: value as JsonValue }), JSON.stringify(value)).toBeNull();
  });

  it('that cannot be read makes its whole event nothing', () => {
    const decision: JsonObject = {
      ts: 1,
      jti: 'j',
      mission_id: 'm',
      seq: 0,
      action: 'a.pay',
      resource: 'https://erp.example.com',
      decision: 'permit',
      reason: 'permitted',
      latency_us: 0,
    };
    expect(readDecisionEvent({ ...decision, verdict: good })?.verdict?.record.mission_id).toBe('m');
    expect(readDecisionEvent({ ...decision, verdict: {} })).toBeNull();
    expect(readDecisionEvent({ ...decision, verdict: null })).toBeNull();
    expect(readDecisionEvent({ ...decision, access_token: text(16_384) })?.access_token).toHaveLength(16_384);
    for (const access_token of ['', 1, null, text(16_385)])
      expect(readDecisionEvent({ ...decision, access_token })).toBeNull();
  });
});
