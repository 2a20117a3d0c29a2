/** `sortie catalogue`: what an audience's actions mean for provenance, proposed and checked. Needs no running broker. */
import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { Document, isMap, isPair, isSeq, parse, visit } from 'yaml';
import { CatalogueError, catalogueDocument } from '../behaviour/catalogue.ts';
import { describeService, type Proposal, proposeCatalogue } from '../behaviour/suggest.ts';
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
      terminal.out(reviewable(proposalOf(file, options.audience)));
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

function proposalOf(file: string, audience: string): Proposal {
  try {
    const actions = describeService(documentOf(file));
    if (actions.length > 0) return proposeCatalogue(audience, actions);
  } catch (cause) {
    if (cause instanceof CatalogueError) throw new Failure(`${file}: ${cause.message}`);
    throw cause;
  }
  throw new Failure(`${file}: neither an OpenAPI document nor an MCP tool list`);
}

const HEAD = [
  ' Proposed from names, descriptions and schemas alone: nobody has reviewed it yet.',
  ' Entries that need a decision come first and are marked LOOK. For each: is it a read or an effect, which',
  ' parameters say where something goes (sinks), and which returned fields can no stranger choose (trust: system)?',
];
const MAX_REASONS = 6;

/** The proposal as YAML: what to look at first comes first, and each entry says why it is as it is. */
function reviewable({ catalogue, notes }: Proposal): string {
  const doubtful = (action: string): number => ((notes.get(action)?.doubts.length ?? 0) > 0 ? 0 : 1);
  const ordered = [...catalogue.actions].sort(([a], [b]) => doubtful(a) - doubtful(b));
  const document = new Document(catalogueDocument({ ...catalogue, actions: new Map(ordered) }), {
    aliasDuplicateObjects: false,
  });
  const open = ordered.filter(([action]) => doubtful(action) === 0).length;
  document.commentBefore = [...HEAD, ` ${open} of ${ordered.length} actions are marked.`].join('\n');
  const entries = document.get('actions');
  for (const pair of isMap(entries) ? entries.items : []) {
    const note = notes.get(String(pair.key));
    if (note === undefined) continue;
    const lines = [
      ...note.doubts.map((doubt) => ` LOOK: ${doubt}`),
      ...reasons(note.why).map((why) => ` ${why}`),
    ];
    const key = document.createNode(String(pair.key));
    key.commentBefore = lines.map(oneLine).join('\n');
    key.spaceBefore = true;
    pair.key = key;
  }
  // One line a destination and a member: what is read line by line is read.
  visit(document, {
    Map: (_, node, path) => {
      if (isSeq(path.at(-1))) node.flow = true;
    },
    Seq: (_, node, path) => {
      const pair = path.at(-1);
      if (isPair(pair) && String(pair.key) === 'labels') node.flow = true;
    },
  });
  return document.toString({ lineWidth: 110 });
}

function reasons(why: readonly string[]): string[] {
  const rest = why.length - MAX_REASONS;
  return rest > 0 ? [...why.slice(0, MAX_REASONS), `and ${rest} more destinations`] : [...why];
}

/** A published name must not end the comment that it stands in. */
function oneLine(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, ' ').slice(0, 200);
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
