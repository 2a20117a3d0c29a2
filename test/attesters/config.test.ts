import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { attesterConfigSchema } from '../../src/attesters/config.ts';

const rules = [{ name: 'r', match: { sub: 'x' }, agent: 'a', instance: 'i' }];

/** Every object schema in a JSON Schema, with its path. */
function* properties(schema: unknown, path = ''): Generator<[string, Record<string, unknown>]> {
  if (typeof schema !== 'object' || schema === null) return;
  const { properties: own, ...rest } = schema as Record<string, unknown>;
  for (const [name, property] of Object.entries((own ?? {}) as Record<string, Record<string, unknown>>)) {
    yield [`${path}/${name}`, property];
    yield* properties(property, `${path}/${name}`);
  }
  for (const [name, value] of Object.entries(rest)) yield* properties(value, `${path}/${name}`);
}

describe('the configuration of attesters', () => {
  it('makes a JSON Schema in which every key is described', () => {
    const schema = z.toJSONSchema(attesterConfigSchema, { io: 'input' });
    const silent = [...properties(schema)]
      .filter(
        ([path, property]) => !path.endsWith('/kind') && !path.endsWith('/keys') && !property['description'],
      )
      .map(([path]) => path);
    expect(silent).toEqual([]);
    expect(JSON.stringify(schema)).toContain('"github-actions"');
  });

  it('is strict: an unknown or misspelt key is refused', () => {
    const wrong = { kind: 'oidc', name: 'x', issuer: 'https://i.example', rule: rules, rules };
    expect(() => attesterConfigSchema.parse(wrong)).toThrow(/[Uu]nrecognized key/);
    expect(() => attesterConfigSchema.parse({ kind: 'odic', name: 'x' })).toThrow();
  });

  it.each([
    [{ match: { sub: 'a*' } }, /whole segment/],
    [{ agent: '{a}{b}' }, /between two claims/],
    [{ match: {} }, /at least one claim/],
    [{ match: { '/a~2': 'x' } }, /JSON pointer/],
    [{ tier: 'gold' }, /bound/],
  ])('teaches the mistake of a rule: %j', (over, message) => {
    const config = {
      kind: 'oidc',
      name: 'x',
      issuer: 'https://i.example',
      rules: [{ ...rules[0], ...over }],
    };
    expect(() => attesterConfigSchema.parse(config)).toThrow(message);
  });
});
