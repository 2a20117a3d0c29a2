/** `sortie decision` and `sortie behaviour`: what the behaviour rules said, in words, and judged again offline. */
import { readFileSync, writeFileSync } from 'node:fs';
import type { Command } from 'commander';
import { canonicalize, isJsonObject, type JsonValue } from '../domain/json.ts';
import { type ReportedVerdict, readVerdictReport, verdictReport } from '../domain/verdict-report.ts';
import { inWords, rejudge } from '../operations/explain-verdict.ts';
import { callAdmin } from './client.ts';
import { type Common, callAndShow, connected } from './connected.ts';
import { Failure, type Terminal, table } from './terminal.ts';

const PAGE = 100;
const MAX_FILE_BYTES = 268_435_456;

interface Exported {
  readonly id: string;
  readonly mission_id: string;
  readonly action: string;
  readonly bundle_version: string | null;
  readonly verdict: ReportedVerdict;
}

export function addBehaviourCommands(program: Command, terminal: Terminal): void {
  const decision = program.command('decision').description('Calls, and why each was permitted or denied');
  connected(decision.command('explain'))
    .description('One decision in words: rule, kind of value, origins, versions, and what followed')
    .argument('<id>')
    .action(async (id: string, options: Common) => {
      const path = `/decisions/${encodeURIComponent(id)}/explain`;
      const answer = await callAdmin(terminal, options, 'GET', path);
      terminal.out(options.json ? `${JSON.stringify(answer, null, 2)}\n` : explained(answer));
    });

  const behaviour = program.command('behaviour').description('Verdicts of the behaviour rules');
  connected(behaviour.command('export'))
    .description('Verdicts of a mission with their evidence, one JSON a line: digests, no values')
    .argument('<mission>')
    .option('-o, --out <file>', 'a new file (0600) instead of the terminal')
    .action(async (mission: string, options: Common & { out?: string }) => {
      const lines: string[] = [];
      let cursor: unknown = null;
      do {
        const query = new URLSearchParams({ mission_id: mission, evidence: 'true', limit: String(PAGE) });
        if (typeof cursor === 'string') query.set('cursor', cursor);
        const page = await callAdmin(terminal, options, 'GET', `/decisions?${query}`);
        for (const item of page['items'] as (Exported & { verdict: ReportedVerdict | null })[])
          if (item.verdict !== null) lines.push(lineOf(item));
        cursor = page['next_cursor'];
      } while (typeof cursor === 'string');
      const text = lines.reverse().join('');
      if (options.out === undefined) terminal.out(text);
      else writeFileSync(options.out, text, { mode: 0o600, flag: 'wx' });
    });
  addHistoryCommands(behaviour, terminal);
  behaviour
    .command('replay')
    .description('Judge exported verdicts again; exit code 1 unless every one gives the same bytes')
    .argument('<file>')
    .option('--explain', 'and say in words what each found')
    .action((file: string, options: { explain?: boolean }) => {
      const verdicts = readExport(file);
      let different = 0;
      let without = 0;
      for (const { id, action, verdict } of verdicts) {
        const { same, hash, fault } = rejudge(verdict);
        if (verdict.evidence === null) without++;
        else if (!same) different++;
        const said = fault ?? (same ? 'same' : 'DIFFERENT');
        terminal.out(
          `${id} ${action} ${verdict.record.decision} ${said}${hash === null ? '' : ` ${hash}`}\n`,
        );
        if (options.explain) for (const line of inWords(verdict)) terminal.out(`  ${line}\n`);
      }
      if (different > 0)
        throw new Failure(`${different} of ${verdicts.length} verdicts do not follow from their evidence`);
      terminal.out(
        `${verdicts.length - without} of ${verdicts.length} verdicts give the same bytes again${without > 0 ? `; ${without} came without evidence` : ''}\n`,
      );
    });
}

function addHistoryCommands(behaviour: Command, terminal: Terminal): void {
  connected(behaviour.command('history'))
    .description(
      'What recurring missions taught: of which template, agent and audience, and how many destinations',
    )
    .option('--template <id>')
    .option('--agent <agent>')
    .action((options: Common & { template?: string; agent?: string }) => {
      const query = new URLSearchParams();
      for (const name of ['template', 'agent'] as const)
        if (options[name] !== undefined) query.set(name, options[name]);
      return callAndShow(terminal, options, 'GET', `/history?${query}`, undefined, histories);
    });
  connected(behaviour.command('forget'))
    .description('Forget every destination that was first seen since a point in time')
    .requiredOption('--template <id>')
    .requiredOption('--since <time>', 'RFC 3339')
    .requiredOption('--reason <text>')
    .option('--agent <agent>', 'of this agent only')
    .action((options: Common & { template: string; since: string; reason: string; agent?: string }) => {
      const { template, since, reason, agent } = options;
      const body = { template, since, reason, ...(agent !== undefined && { agent }) };
      return callAndShow(terminal, options, 'POST', '/history/forget', body, histories);
    });
}

function histories(answer: Record<string, unknown>): string {
  return table(
    ['TEMPLATE', 'AGENT', 'AUDIENCE', 'V', 'DESTINATIONS'],
    (answer['items'] as Record<string, unknown>[]).map((item) =>
      ['template_id', 'agent', 'audience', 'version', 'destinations'].map((name) => String(item[name])),
    ),
  );
}

function lineOf({ id, mission_id, action, bundle_version, verdict }: Exported): string {
  return `${canonicalize({ id, mission_id, action, bundle_version, verdict: verdictReport(verdict) })}\n`;
}

/** @throws Failure naming file and line */
function readExport(file: string): Exported[] {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    throw new Failure(`${file}: cannot be read (${(cause as NodeJS.ErrnoException).code ?? 'unknown'})`);
  }
  if (text.length > MAX_FILE_BYTES) throw new Failure(`${file}: larger than ${MAX_FILE_BYTES} bytes`);
  return text
    .split('\n')
    .flatMap((line, index) => (line === '' ? [] : [readLine(line, `${file}:${index + 1}`)]));
}

function readLine(line: string, at: string): Exported {
  let value: JsonValue;
  try {
    value = JSON.parse(line) as JsonValue;
  } catch {
    throw new Failure(`${at}: not JSON`);
  }
  if (!isJsonObject(value)) throw new Failure(`${at}: not an exported verdict`);
  const { id, mission_id, action, bundle_version } = value;
  if (typeof id !== 'string' || typeof mission_id !== 'string' || typeof action !== 'string')
    throw new Failure(`${at}: not an exported verdict`);
  const verdict = readVerdictReport(value['verdict'] ?? null, { mission_id, action });
  if (verdict === null) throw new Failure(`${at}: not an exported verdict`);
  const bundle = typeof bundle_version === 'string' ? bundle_version : null;
  return { id, mission_id, action, bundle_version: bundle, verdict };
}

/** What verifiers write goes to a terminal without its control characters. */
function shown(text: unknown): string {
  return JSON.stringify(String(text)).slice(1, -1);
}

function explained(answer: Record<string, unknown>): string {
  const decision = answer['decision'] as Record<string, unknown>;
  const mission = answer['mission'] as { id: string; template: { id: string; version: string } } | null;
  const verdict = answer['verdict'] as {
    says: string[];
    hash: string;
    replay: string;
    followed: { ts: number; details: Record<string, unknown> }[];
  } | null;
  const lines = [
    `${String(decision['id'])}  ${String(decision['ts'])}  ${String(decision['decision'])} ${String(decision['reason'])}`,
    `  ${shown(decision['action'])} at ${String(decision['audience'])}, judged by ${String(decision['judged_by'])} ${String(decision['verifier'])}, proof ${String(decision['proof'])}`,
    `  bundle ${String(decision['bundle_version'] ?? 'not said')}`,
  ];
  if (mission !== null)
    lines.push(`  mission ${mission.id}, template ${mission.template.id} ${mission.template.version}`);
  if (verdict !== null) {
    lines.push(...verdict.says.map((line) => `  ${line}`));
    lines.push(`  verdict ${verdict.hash}; replayed from its evidence: ${verdict.replay.replace('_', ' ')}`);
    for (const { ts, details } of verdict.followed)
      lines.push(
        `  ${new Date(ts * 1000).toISOString()}: asked for ${String(details['asked'])}, did ${String(details['does'])}`,
      );
  }
  return `${lines.join('\n')}\n`;
}
