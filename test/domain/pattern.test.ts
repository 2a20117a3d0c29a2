import { describe, expect, it } from 'vitest';
import { matchesPattern, patternFault } from '../../src/domain/pattern.ts';

describe('a pattern of the configuration', () => {
  it('matches whole segments and nothing below', () => {
    expect(matchesPattern('k8s/payments/*', 'k8s/payments/reconciler')).toBe(true);
    expect(matchesPattern('k8s/payments/*', 'k8s/payments')).toBe(false);
    expect(matchesPattern('k8s/payments/*', 'k8s/payments/a/b')).toBe(false);
  });

  it('is refused with what is wrong with it', () => {
    expect(patternFault('k8s/*')).toBeNull();
    expect(patternFault('')).toBe('a pattern must not be empty');
    expect(patternFault('k8s/pay*')).toContain('one whole segment');
  });
});
