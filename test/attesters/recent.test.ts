import { describe, expect, it } from 'vitest';
import { recent } from '../../src/attesters/recent.ts';

describe('a bounded memory', () => {
  it('keeps what was used last, and no more than its capacity', () => {
    const memory = recent<number>(2);
    memory.set('a', 1);
    memory.set('b', 2);
    expect(memory.get('a')).toBe(1);
    memory.set('c', 3);
    expect(memory.get('b')).toBeUndefined();
    expect([memory.get('a'), memory.get('c')]).toEqual([1, 3]);
    memory.delete('a');
    expect(memory.get('a')).toBeUndefined();
  });
});
