import { expect, test } from 'vitest';
import { declaredActions, originFacts } from '../../src/behaviour/declare.ts';
import { ATTACKER, INJECTION, mail, Play } from './fixture.ts';

const granted = declaredActions([
  {
    type: 'mission_resource_access',
    resource: 'https://office.example',
    actions: ['mail.send', 'inbox.list'],
    constraints: {
      parameters: {
        to: { origin: { in: ['mission', 'trusted'], from: [{ action: 'inbox.list', field: 'sender' }] } },
        subject: { one_of: ['Answer', 'Reminder'] },
      },
    },
  },
  {
    type: 'mission_resource_access',
    resource: 'https://office.example',
    actions: ['mail.send'],
    constraints: { parameters: { to: { exact: 'boss@office.example' } } },
  },
  { type: 'vault_secret', path: 'kv/office' },
]);

test('literals and sources of the granted authority become what the mission declared', () => {
  expect(granted.find((one) => one.action === 'mail.send')?.parameters['to']).toEqual({
    literals: ['boss@office.example'],
    sources: [{ action: 'inbox.list', field: 'sender' }],
  });
  expect(granted.map((one) => one.action)).toEqual(['mail.send', 'inbox.list']);
});

test("facts tell each destination's origin, and say nothing of a parameter with an unknown one", () => {
  const play = new Play({ texts: ['Answer Maria.'], plan: [...granted, 'contacts.find'] });
  play.call('inbox.list', {}, [mail('maria@partner.example', INJECTION)]);
  play.call('contacts.find', { q: 'kim' }, [{ name: 'Kim', email: 'kim@office.example' }]);
  const facts = (to: string | string[]): unknown =>
    originFacts(play.state, play.context, { action: 'mail.send', parameters: { to } }, ['to'])['to'];
  expect(facts('boss@office.example')).toEqual([{ origin: 'mission' }]);
  expect(facts('maria@partner.example')).toEqual([
    { origin: 'trusted', from: { action: 'inbox.list', field: 'sender' } },
  ]);
  expect(facts('kim@office.example')).toEqual([{ origin: 'trusted' }]);
  expect(facts(ATTACKER)).toEqual([{ origin: 'untrusted' }]);
  expect(facts(['boss@office.example', 'never@seen.example'])).toBeUndefined();
  expect(facts('bоss@office.example')).toBeUndefined();
});

test('a mission born tainted has template and untrusted origins only', () => {
  const play = new Play({
    texts: ['Write to boss@office.example.'],
    plan: granted,
    born_tainted: true,
    template_values: [{ kind: 'mail', value: 'audit@office.example' }],
  });
  const facts = (to: string): unknown =>
    originFacts(play.state, play.context, { action: 'mail.send', parameters: { to } }, ['to'])['to'];
  expect(facts('boss@office.example')).toEqual([{ origin: 'untrusted' }]);
  expect(facts('audit@office.example')).toEqual([{ origin: 'template' }]);
});
