import { describe, expect, test } from 'vitest';
import { NoSuchPart, partOf } from '../../src/delivery/value-parts.ts';

const VALUE = { user: 'u', password: 'p@s/s', port: 5432, secrets: [{ data: { key: 'k' } }] };

describe('a part of a value', () => {
  test.each([
    [{}, JSON.stringify(VALUE)],
    [{ member: 'password' }, 'p@s/s'],
    [{ member: 'port' }, '5432'],
    [{ member: 'secrets.0.data.key' }, 'k'],
    [{ member: 'secrets.0.data' }, '{"key":"k"}'],
    [{ text: '{user}:{password|url}@h:{port}' }, 'u:p%40s%2Fs@h:5432'],
    [{ text: '{{"k": "{secrets.0.data.key}"}}' }, '{"k": "k"}'],
  ])('%j', (part, text) => {
    expect(partOf(VALUE, part)).toBe(text);
  });

  test.each([
    { member: 'none' },
    { member: 'secrets.1' },
    { member: 'secrets.-1' },
    { member: 'secrets.length' },
    { member: 'user.length' },
    { member: '__proto__' },
    { member: 'constructor.name' },
    { member: '' },
    { text: '{user' },
    { text: 'user}' },
    { text: '{user|shell}' },
    { text: '{user|url|url}' },
    { text: '{}' },
  ])('is refused without showing a value: %j', (part) => {
    try {
      partOf(VALUE, part);
    } catch (cause) {
      expect(cause).toBeInstanceOf(NoSuchPart);
      expect(String(cause)).not.toContain('p@s/s');
      return;
    }
    throw new Error('was not refused');
  });
});
