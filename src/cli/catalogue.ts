/** `sortie catalogue`: what an audience's actions mean for provenance, proposed and checked. Needs no running broker. */
import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { parse, stringify } from 'yaml';
import { catalogueDocument } from '../behaviour/catalogue.ts';
import { describeService, suggestCatalogue } from '../behaviour/suggest.ts';
import { readCatalogue } from '../config/catalogue.ts';
import type { JsonValue } from '../domain/json.ts';
import { Failure, type Terminal } from './terminal.ts';

const MAX_BYTES = 16_777_216;

export function addCatalogueCommands(program: Command, terminal: Terminal): void {
  const catalogue = program
    .command('catalogue')
    .description("An audience's labels, destinations and trust by field");
  catalogue
    .command('suggest')
    .description('Propose a catalogue from an OpenAPI document or an MCP tool list, for a person to review')
    .argument('<file>', 'OpenAPI (YAML or JSON), or the result of tools/list')
    .option('--audience <uri>', 'registered resource of the audience', 'https://service.example')
    .action((file: string, options: { audience: string }) => {
      const actions = describeService(documentOf(file));
      if (actions.length === 0)
        throw new Failure(`${file}: neither an OpenAPI document nor an MCP tool list`);
      const proposed = suggestCatalogue(options.audience, actions);
      terminal.out(
        `# Proposed from names, descriptions and schemas alone. Review every line before it judges calls:\n` +
          `# labels, destinations (sinks), and which returned fields the service vouches for.\n` +
          stringify(catalogueDocument(proposed), { lineWidth: 110, aliasDuplicateObjects: false }),
      );
    });
  catalogue
    .command('check')
    .description('Read a catalogue; a fault with file, line and member')
    .argument('<file>')
    .requiredOption('--audience <uri>', 'registered resource of the audience')
    .action((file: string, options: { audience: string }) => {
      const { actions, version } = readCatalogue(file, options.audience);
      terminal.out(`${file} is good: version ${version}, ${actions.size} actions\n`);
    });
}

function documentOf(file: string): JsonValue {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    throw new Failure(`${file}: cannot be read (${(cause as NodeJS.ErrnoException).code ?? 'unknown'})`);
  }
  if (text.length > MAX_BYTES) throw new Failure(`${file}: larger than ${MAX_BYTES} bytes`);
  try {
    // JSON is YAML. Aliases can blow a small file up to a huge one.
    return parse(text, { maxAliasCount: 100 }) as JsonValue;
  } catch (cause) {
    throw new Failure(`${file}: ${(cause as Error).message.split('\n')[0]}`);
  }
}
