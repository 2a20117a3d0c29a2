import { describe, expect, it } from 'vitest';
import { Denied, malformed } from '../../src/domain/denial.ts';

describe('a denial', () => {
  it('says nothing but its tag in the message that a log may show', () => {
    const denied = new Denied({ tag: 'invalid_request', detail: 'goal is missing' }, 'the cause');
    expect(denied.message).toBe('invalid_request');
    expect(denied.name).toBe('Denied');
    expect(denied.denial).toStrictEqual({ tag: 'invalid_request', detail: 'goal is missing' });
  });

  it('has a private reason always: the one given, else the detail, else the tag', () => {
    expect(new Denied({ tag: 'invalid_request', detail: 'd' }, 'p').private_reason).toBe('p');
    expect(malformed('d').private_reason).toBe('d');
    expect(malformed('').private_reason).toBe('invalid_request');
    expect(new Denied({ tag: 'invalid_evidence' }).private_reason).toBe('invalid_evidence');
    expect(new Denied({ tag: 'access_denied', reason: 'blocked' }).private_reason).toBe('access_denied');
    expect(new Denied({ tag: 'not_found' }, '').private_reason).toBe('');
  });
});
