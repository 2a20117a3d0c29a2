import { describe, expect, it } from 'vitest';
import { redacted } from '../../src/domain/redact.ts';

describe('what is written down', () => {
  it('never holds a run that could be a credential, wherever it stands', () => {
    const secret = 'Az09_-'.repeat(8).slice(0, 43);
    expect(redacted(`token ${secret} in header.${secret}`)).toBe('token [redacted] in header.[redacted]');
    expect(redacted(secret)).toBe('[redacted]');
    for (const sign of ['_', '-', 'a', 'z', 'A', 'Z', '0', '9'])
      expect(redacted(sign.repeat(32))).toBe('[redacted]');
  });

  it('keeps ids and prose, so that a record can be read', () => {
    expect(redacted('mission 01J8ZQ5R2N4T6V8X0Y2A4C6E8G ended')).toBe(
      'mission 01J8ZQ5R2N4T6V8X0Y2A4C6E8G ended',
    );
    expect(redacted('a'.repeat(31))).toBe('a'.repeat(31));
    expect(redacted(`${'a'.repeat(20)}.${'b'.repeat(20)}`)).toBe(`${'a'.repeat(20)}.${'b'.repeat(20)}`);
  });
});
