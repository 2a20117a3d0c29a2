/**
 * Writes what is generated from the sources: openapi.yaml and the JSON Schemas that editors complete
 * configuration files with. With --check it writes nothing and fails if a file is not current.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';
import { z } from 'zod';
import { brokerSchema } from '../src/config/schema.ts';
import { templateSchema } from '../src/config/template-schema.ts';
import { missionFileSchema } from '../src/delivery/mission-file.ts';
import { type AppParts, routeTable } from '../src/http/app.ts';
import { openApiDocument } from '../src/http/openapi.ts';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };

/** Routes are described without being called, so nothing behind them needs to exist. */
const routes = routeTable({ ports: {}, judgement: {} } as unknown as AppParts);

const jsonSchema = (schema: z.ZodType, title: string) =>
  `${JSON.stringify({ title, ...z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }) }, null, 2)}\n`;

const files: Readonly<Record<string, string>> = {
  'openapi.yaml': stringify(openApiDocument(routes, version), {
    lineWidth: 110,
    aliasDuplicateObjects: false,
  }),
  'config/schema/broker.schema.json': jsonSchema(brokerSchema, 'Sortie broker configuration'),
  'config/schema/template.schema.json': jsonSchema(templateSchema, 'Sortie mission template'),
  'config/schema/mission.schema.json': jsonSchema(missionFileSchema, 'Mission file of sortie exec'),
};

const check = process.argv.includes('--check');
let stale = 0;
for (const [name, text] of Object.entries(files)) {
  const path = join(root, name);
  let current = '';
  try {
    current = readFileSync(path, 'utf8');
  } catch {
    // Not there yet.
  }
  if (current === text) continue;
  if (check) {
    process.stderr.write(`${name} is not what the sources say: run make openapi schemas\n`);
    stale++;
  } else {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
    process.stdout.write(`wrote ${name}\n`);
  }
}
process.exitCode = stale > 0 ? 1 : 0;
