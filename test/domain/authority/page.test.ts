import { readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import vectors from '../../../docs/vectors/authority.json' with { type: 'json' };
import { KINDS } from '../../../src/domain/authority/constraints/kinds.ts';
import { fillPage } from './page.ts';

const PAGE = new URL('../../../docs/authority.md', import.meta.url);

describe('docs/authority.md', () => {
  it('has the tables that the vectors make; UPDATE_DOCS=1 writes them', () => {
    const page = readFileSync(PAGE, 'utf8');
    const filled = fillPage(page);
    if (process.env['UPDATE_DOCS'] === '1') writeFileSync(PAGE, filled);
    else expect(page).toBe(filled);
    expect(fillPage(filled)).toBe(filled);
  });

  it('has a rule for every constraint kind and every code that a vector gives', () => {
    const page = readFileSync(PAGE, 'utf8');
    for (const { key } of KINDS) expect(page).toContain(`| \`${key}\` |`);
    const codes = [...vectors.within, ...vectors.permits].flatMap(({ refusal }) => refusal?.code ?? []);
    for (const code of codes) expect(page).toContain(`\`${code}\``);
  });
});
