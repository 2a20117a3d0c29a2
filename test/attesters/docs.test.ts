import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { type AttesterConfigInput, attesterConfigSchema } from '../../src/attesters/config.ts';
import { attestation } from './support/evidence.ts';

const text = readFileSync(new URL('../../docs/attestation.md', import.meta.url), 'utf8');

describe('docs/attestation.md', () => {
  it('shows configurations that work, for every kind there is', () => {
    const entries = text
      .split('```yaml\n')
      .slice(1)
      .flatMap((block) => parse(block.split('```')[0] ?? '') as AttesterConfigInput[]);
    attestation(entries).close();
    const documented = new Set(entries.map((entry) => entry.kind));
    const kinds = attesterConfigSchema.options.map((option) => option.shape.kind.value);
    expect(kinds.filter((kind) => !documented.has(kind))).toEqual([]);
  });
});
