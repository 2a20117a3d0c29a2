/** No credential is handed out by a provider that does not run the suites. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { ENTRY_TYPES } from '../../src/domain/authority/entry_types.ts';

const FOLDER = join(import.meta.dirname);
const tests = readdirSync(FOLDER, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.test.ts'))
  .map((name) => readFileSync(join(FOLDER, name), 'utf8'));
const types = ENTRY_TYPES.map(({ type }) => type).filter((type) => type !== 'mission_resource_access');

it.each(types)(
  '%s runs the conformance suite against its counterpart, and its subset rule the laws',
  (type) => {
    expect(tests.some((text) => text.includes('conforms<') && text.includes(`'${type}'`))).toBe(true);
    const laws = readFileSync(join(FOLDER, '../domain/authority/types', `${type}.test.ts`), 'utf8');
    expect(laws).toContain('keepsTheLaws');
  },
);
