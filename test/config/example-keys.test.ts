import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { z } from 'zod';
import { loadConfig } from '../../src/config/load.ts';
import { brokerSchema } from '../../src/config/schema.ts';

const EXAMPLE = 'config/broker.example.yaml';
const text = readFileSync(EXAMPLE, 'utf8');

function keysOf(value: unknown, found = new Set<string>()): Set<string> {
  if (typeof value !== 'object' || value === null) return found;
  for (const [key, inner] of Object.entries(value)) {
    if (key === 'properties') for (const name of Object.keys(inner as object)) found.add(name);
    keysOf(inner, found);
  }
  return found;
}

test('the example configuration loads with its templates', () => {
  const loaded = loadConfig(EXAMPLE);
  expect(loaded.policy.issuer).toBe('https://sortie.example.com');
  expect(loaded.templates.map((template) => template.id)).toContain('invoice-reconciliation');
  expect(loaded.policy.auto_approve).toBe(false);
});

test('the example shows every key that the schema knows', () => {
  const known = [...keysOf(z.toJSONSchema(brokerSchema, { io: 'input', unrepresentable: 'any' }))];
  expect(known.length).toBeGreaterThan(50);
  expect(known.filter((key) => !new RegExp(`(^|[\\s{#-])${key}:`, 'm').test(text))).toEqual([]);
});

test('every key has a description for editors', () => {
  const bare: string[] = [];
  const walk = (value: unknown, at: string): void => {
    if (typeof value !== 'object' || value === null) return;
    for (const [key, inner] of Object.entries(value)) {
      if (key === 'properties')
        for (const [name, schema] of Object.entries(inner as Record<string, Record<string, unknown>>))
          if (schema['description'] === undefined && schema['const'] === undefined)
            bare.push(`${at}.${name}`);
      walk(inner, key === 'properties' ? at : `${at}.${key}`);
    }
  };
  walk(z.toJSONSchema(brokerSchema, { io: 'input', unrepresentable: 'any' }), 'broker');
  expect(bare.filter((path) => !path.endsWith('.kty') && !path.endsWith('.jwks.keys'))).toEqual([]);
});
