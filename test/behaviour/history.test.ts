import { describe, expect, test } from 'vitest';
import {
  type DestinationHistory,
  type EndedMission,
  forgetSince,
  learn,
  NO_HISTORY,
  vouchesFromHistory,
} from '../../src/behaviour/history.ts';

const DAY = 86_400;
const clean: EndedMission = {
  state: 'completed',
  declared_by: 'launcher',
  born_tainted: false,
  refusals: 0,
  strays: 0,
  destinations: ['aa'],
};

function weeks(mission: EndedMission, runs: number): DestinationHistory {
  let history = NO_HISTORY;
  for (let i = 0; i < runs; i++) history = learn(history, mission, i * 3 * DAY);
  return history;
}

describe('destination history', () => {
  test('vouches after several clean missions on different days, past the quarantine', () => {
    expect(vouchesFromHistory(weeks(clean, 5), 'aa', 13 * DAY)).toBe(true);
    expect(vouchesFromHistory(weeks(clean, 4), 'aa', 13 * DAY)).toBe(false);
    expect(vouchesFromHistory(weeks(clean, 5), 'bb', 13 * DAY)).toBe(false);
  });

  test('many missions within a day or within the quarantine teach nothing yet', () => {
    let history = NO_HISTORY;
    for (let i = 0; i < 50; i++) history = learn(history, clean, 1000 + i);
    expect(vouchesFromHistory(history, 'aa', 1100)).toBe(false);
    expect(vouchesFromHistory(history, 'aa', 30 * DAY)).toBe(false);
  });

  test.each([
    ['was refused something', { refusals: 1 }],
    ['strayed', { strays: 1 }],
    ['was declared by the agent itself', { declared_by: 'agent' as const }],
    ['was born tainted', { born_tainted: true }],
    ['was revoked', { state: 'revoked' as const }],
    ['names too many new destinations', { destinations: Array.from({ length: 20 }, (_, i) => `d${i}`) }],
  ])('a mission that %s teaches nothing', (_, part) => {
    expect(weeks({ ...clean, ...part }, 9)).toBe(NO_HISTORY);
  });

  test('a full history keeps what it knows against a stream of new destinations', () => {
    const policy = {
      min_missions: 1,
      min_days: 1,
      quarantine_seconds: 0,
      forget_after_seconds: 900 * DAY,
      max_new_per_mission: 8,
      max_destinations: 4,
    };
    let history = learn(NO_HISTORY, clean, 0, policy);
    for (let i = 0; i < 20; i++)
      history = learn(history, { ...clean, destinations: [`n${i}`] }, i * DAY, policy);
    expect(history.learned.size).toBe(4);
    expect(vouchesFromHistory(history, 'aa', 20 * DAY, policy)).toBe(true);
  });

  test('an incident forgets what was first seen since, and changes the version', () => {
    const history = learn(weeks(clean, 5), { ...clean, destinations: ['late'] }, 14 * DAY);
    const after = forgetSince(history, 14 * DAY);
    expect([...after.learned.keys()]).toEqual(['aa']);
    expect(after.version).toBe(history.version + 1);
  });
});
