/** The mission's life: what may happen when, and that its clock is asked before its record. */
import { describe, expect, it } from 'vitest';
import {
  MISSION_STATES,
  type MissionEvent,
  missionError,
  nextState,
  stateAt,
  statesBefore,
  TERMINAL_STATES,
  TIERS,
  tierSatisfies,
  tokenExpiry,
} from '../../src/domain/mission.ts';

const LIFE: Readonly<Record<MissionEvent, Readonly<Record<string, string>>>> = {
  suspend: { active: 'suspended' },
  resume: { suspended: 'active' },
  revoke: { active: 'revoked', suspended: 'revoked' },
  complete: { active: 'completed', suspended: 'completed' },
  expire: { active: 'expired', suspended: 'expired' },
  cascade: { active: 'cascaded', suspended: 'cascaded' },
};

describe('the life of a mission', () => {
  it('goes only where it may: what has ended never lives again', () => {
    for (const [event, moves] of Object.entries(LIFE) as [MissionEvent, Record<string, string>][]) {
      for (const state of MISSION_STATES) expect(nextState(state, event)).toBe(moves[state] ?? null);
      expect(statesBefore(event)).toStrictEqual(Object.keys(moves));
    }
    expect(TERMINAL_STATES).toStrictEqual(['revoked', 'completed', 'expired', 'cascaded']);
    expect(MISSION_STATES).toStrictEqual(['active', 'suspended', ...TERMINAL_STATES]);
  });

  it('ends by the clock, whatever is stored: a late reaper extends no life', () => {
    for (const state of ['active', 'suspended'] as const) {
      expect(stateAt({ state, expires_at: 100 }, 99.9)).toBe(state);
      expect(stateAt({ state, expires_at: 100 }, 100)).toBe('expired');
      expect(stateAt({ state, expires_at: 100 }, 101)).toBe('expired');
    }
  });

  it('keeps the end that it had: a revoked mission does not become merely expired', () => {
    for (const state of TERMINAL_STATES) expect(stateAt({ state, expires_at: 100 }, 200)).toBe(state);
  });

  it('is told to its own key in five words, of which two ends share one', () => {
    expect(missionError('suspended')).toBe('mission_suspended');
    expect(missionError('completed')).toBe('mission_completed');
    expect(missionError('expired')).toBe('mission_expired');
    expect(missionError('revoked')).toBe('mission_revoked');
    expect(missionError('cascaded')).toBe('mission_revoked');
  });
});

describe('a tier', () => {
  it('satisfies itself and every weaker one, and no stronger one', () => {
    expect(TIERS).toStrictEqual(['bound', 'live', 'reusable', 'enrolled', 'dev']);
    for (const [have, one] of TIERS.entries())
      for (const [required, other] of TIERS.entries())
        expect(tierSatisfies(one, other)).toBe(have <= required);
  });
});

describe('the end of a token', () => {
  it('is the earliest of its life, the mission and the evidence', () => {
    expect(tokenExpiry(100, 60, 1000, 500)).toBe(160);
    expect(tokenExpiry(100, 60, 130, 500)).toBe(130);
    expect(tokenExpiry(100, 60, 1000, 120)).toBe(120);
    expect(tokenExpiry(100, 60, 1000, null)).toBe(160);
  });
});
