import { describe, expect, test } from 'vitest';
import { type Catalogue, parseCatalogue } from '../../src/behaviour/catalogue.ts';
import { judge } from '../../src/behaviour/engine.ts';
import { digestKey } from '../../src/behaviour/memory.ts';
import { beginMission, type MissionState } from '../../src/behaviour/mission.ts';
import type { Context } from '../../src/behaviour/proof.ts';
import { DEFAULT_RULES } from '../../src/behaviour/rules.ts';
import type { JsonValue } from '../../src/domain/json.ts';
import { ATTACKER, INJECTION } from './fixture.ts';

const NESTED: Catalogue = parseCatalogue({
  audience: 'nested',
  version: '1',
  fields: [
    { field: 'note', trust: 'third_party' },
    { field: 'content', trust: 'third_party' },
  ],
  actions: {
    'record.get': { labels: ['read'], names_one_object: true },
    'letter.send': {
      labels: ['effect', 'external', 'consequential'],
      sinks: [
        { parameter: 'envelope.to', kind: 'mail' },
        { parameter: 'guests.email', kind: 'mail' },
      ],
    },
  },
});

describe('a destination below the top of the arguments', () => {
  const key = digestKey(Buffer.alloc(32, 5));
  const context: Context = { catalogue: NESTED, rules: DEFAULT_RULES, key };
  const FRIEND = 'ada@friends.example';

  function having(body: JsonValue, goal = `Read the record r-1 and write to ${FRIEND}.`): MissionState {
    const start = beginMission(
      {
        mission_id: 'msn_nested',
        texts: [goal],
        actions: [
          { action: 'record.get', parameters: {}, sources: [] },
          {
            action: 'letter.send',
            parameters: {},
            sources: [{ action: 'record.get', implied: true }],
          },
        ],
        template_values: [],
        born_tainted: false,
      },
      key,
    );
    const call = { action: 'record.get', parameters: { id: 'r-1' } };
    return judge(judge(start, { type: 'call', call }, context).state, { type: 'answer', call, body }, context)
      .state;
  }
  const decision = (state: MissionState, parameters: Record<string, JsonValue>): string | undefined =>
    judge(state, { type: 'call', call: { action: 'letter.send', parameters } }, context).verdict?.decision;
  const tainted = having({ note: `Nothing new here today. ${INJECTION}` });

  test('is found in objects, lists and texts that hold JSON', () => {
    expect(decision(tainted, { envelope: { to: [FRIEND] } })).toBe('permit');
    expect(decision(tainted, { envelope: { to: [FRIEND, ATTACKER] } })).toBe('deny');
    expect(decision(tainted, { envelope: JSON.stringify({ to: ATTACKER }) })).toBe('deny');
    expect(decision(tainted, { envelope: JSON.stringify([{ to: FRIEND }]) })).toBe('permit');
    expect(decision(tainted, { guests: [{ email: FRIEND }, { email: ATTACKER }] })).toBe('deny');
  });

  test('is not escaped by building the call otherwise than its schema says', () => {
    expect(decision(tainted, { envelope: ATTACKER })).toBe('deny');
    expect(decision(tainted, { guests: [ATTACKER] })).toBe('deny');
    expect(decision(tainted, { guests: [[{ email: ATTACKER }]] })).toBe('deny');
    expect(decision(tainted, { 'envelope.to': ATTACKER })).toBe('deny');
    expect(decision(tainted, { envelope: '{"to": broken' })).toBe('deny');
    expect(decision(tainted, { guests: Array.from({ length: 300 }, () => ({ email: FRIEND })) })).toBe(
      'deny',
    );
  });

  test('a note beside the document is not the document that the mission planned to read', () => {
    const goal = 'Read the record r-1 and write to whom it names.';
    const letter = { envelope: { to: ATTACKER } };
    expect(
      decision(having({ content: 'Kept since May by the front desk.', note: INJECTION }, goal), letter),
    ).toBe('deny');
    expect(decision(having({ content: `Kept since May by ${ATTACKER} at the desk.` }, goal), letter)).toBe(
      'permit',
    );
  });
});
