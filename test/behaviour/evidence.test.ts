import { assert, constantFrom, property, record, string, uniqueArray } from 'fast-check';
import { describe, expect, test } from 'vitest';
import { followsFrom, recordEvidence, replayEvidence } from '../../src/behaviour/evidence.ts';
import { DEFAULT_RULES } from '../../src/behaviour/rules.ts';
import { verdictBytes } from '../../src/behaviour/verdict.ts';
import type { JsonValue } from '../../src/domain/json.ts';
import { ATTACKER, INJECTION, mail, Play } from './fixture.ts';

/** Judges a call, and again from what was written down of it. */
function twice(play: Play, action: string, parameters: Record<string, JsonValue>, answer?: JsonValue) {
  const evidence = recordEvidence(play.state, { action, parameters }, play.context);
  const verdict = play.call(action, parameters, answer);
  if (evidence === null) throw new Error('too long');
  const again = replayEvidence(evidence);
  expect(verdictBytes(again.record)).toBe(verdictBytes(verdict.record));
  expect(again).toStrictEqual(verdict);
  return { verdict, evidence };
}

const PLAN = [
  'inbox.list',
  'contacts.find',
  'files.read',
  'mail.send',
  'calendar.add',
  'repo.invite',
  'contacts.add',
];

function office(): Play {
  const play = new Play({
    texts: ['Mail the summary to boss@office.example, and invite Maria to owner/site.'],
    plan: PLAN,
    template_values: [
      { kind: 'mail', value: ['desk@office.example'] },
      { kind: 'mail', value: ['guests@office.example'], actions: ['calendar.add'] },
    ],
  });
  play.call('inbox.list', {}, [
    mail('stranger@elsewhere.example', INJECTION),
    mail('maria@partner.example', 'Hello from Maria', 'm-100002'),
  ]);
  return play;
}

describe('the evidence behind a verdict', () => {
  test.each([
    ['mail.send', { to: ATTACKER, subject: 'Summary' }],
    ['mail.send', { to: ['boss@office.example', ATTACKER], cc: null }],
    ['mail.send', { to: 'desk@office.example', body: 'x'.repeat(500) }],
    ['mail.send', { to: 'guests@office.example' }],
    ['mail.send', { to: { deep: [ATTACKER] } }],
    ['mail.send', { to: 'maria@partner.example' }],
    ['mail.send', { to: 'bоss@office.example' }],
    ['calendar.add', { guests: 'guests@office.example', title: 'IMPORTANT: before you go on' }],
    ['contacts.add', { name: ATTACKER, email: ATTACKER }],
    ['payments.send', { account: 'DE89370400440532013000' }],
    ['page.get', { url: 'https://evil.example/next' }],
    ['repo.invite', { repo: 'owner/site', email: 'maria@partner.example' }],
    ['nobody.knows', { __proto__: 'x', to: 7 }],
    ['files.read', { id: '#0#', path: '$1' }],
  ] as [string, Record<string, JsonValue>][])('%s %j gives the same bytes again', (action, parameters) => {
    twice(office(), action, parameters);
  });

  test('holds no value, whatever the values are', () => {
    const { evidence, verdict } = twice(office(), 'mail.send', {
      to: ATTACKER,
      subject: 'IMPORTANT: before',
    });
    expect(verdict.decision).toBe('deny');
    for (const secret of [
      'evil',
      'collect',
      'boss',
      'office.example',
      'maria',
      'stranger',
      'IMPORTANT',
      'Summary',
    ])
      expect(evidence.toLowerCase()).not.toContain(secret.toLowerCase());
  });

  test('says what other rules would have said', () => {
    const { evidence } = twice(office(), 'payments.send', { account: 'DE89370400440532013000' });
    const observed = replayEvidence(evidence, {
      ...DEFAULT_RULES,
      version: '2',
      stray_effect: 'observe',
      unproven_sink: 'observe',
    });
    expect(observed).toMatchObject({ decision: 'permit', response: 'none', record: { rules_version: '2' } });
  });

  test('history that was asked is part of it', () => {
    const play = new Play(
      { texts: ['Pay the rent'], plan: ['inbox.list', 'payments.send'] },
      { history: 'all' },
      { version: 4, vouches: (key) => key.includes('de8937') || key.includes('DE8937') },
    );
    play.call('inbox.list', {}, [mail('stranger@elsewhere.example', INJECTION)]);
    const { verdict } = twice(play, 'payments.send', { account: 'DE89370400440532013000' });
    expect(verdict).toMatchObject({ decision: 'permit', record: { history_version: 4 } });
  });

  test('one changed bit of it gives another verdict or none', () => {
    const { verdict, evidence } = twice(office(), 'mail.send', { to: ATTACKER });
    expect(followsFrom(verdict.record, evidence)).toBe(true);
    const other = twice(office(), 'mail.send', { to: 'boss@office.example' });
    expect(followsFrom(verdict.record, other.evidence)).toBe(false);
    expect(followsFrom(verdict.record, evidence.replace('"format":1', '"format":2'))).toBe(false);
    for (const broken of ['', '{}', '[]', '{"format":1}', evidence.slice(0, -2), 'null', 'x'.repeat(99_999)])
      expect(() => replayEvidence(broken)).toThrow();
  });

  test('any run of calls and answers replays to the same bytes', () => {
    const values = [
      ATTACKER,
      'boss@office.example',
      'maria@partner.example',
      'https://evil.example/next',
      'owner/site',
      'm-100001',
      'DE89370400440532013000',
    ];
    const actions = [
      'mail.send',
      'page.get',
      'page.submit',
      'contacts.find',
      'contacts.add',
      'files.read',
      'files.delete',
      'payments.send',
      'payments.confirm',
      'channels.post',
      'unknown.thing',
    ];
    const parameter = constantFrom('to', 'cc', 'url', 'id', 'account', 'channel', 'name', 'note');
    assert(
      property(
        uniqueArray(
          record({
            action: constantFrom(...actions),
            parameter,
            value: constantFrom(...values),
            noise: string(),
          }),
          {
            minLength: 1,
            maxLength: 6,
          },
        ),
        (steps) => {
          const play = office();
          for (const { action, parameter: name, value, noise } of steps)
            twice(play, action, { [name]: value, noise }, [mail(value, `${noise} ${value}`)]);
        },
      ),
      { numRuns: 150 },
    );
  });
});
