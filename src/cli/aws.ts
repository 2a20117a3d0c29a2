/** `sortie aws`: what a person does about AWS sessions that cannot be denied one by one. */
import type { Command } from 'commander';
import { type Answer, type Common, callAndShow, connected } from './connected.ts';
import type { Terminal } from './terminal.ts';

interface StruckMission {
  readonly id: string;
  readonly agent: string;
  readonly credentials: number;
  readonly collateral: boolean;
}

export function addAwsCommands(program: Command, terminal: Terminal): void {
  const aws = program.command('aws').description('Sessions of AWS roles');
  connected(aws.command('deny-older'))
    .description('Deny every session of a role that was issued until now; the way out of a full deny list')
    .argument('<role>', 'ARN of the role')
    .requiredOption('--reason <text>')
    .option('--dry-run', 'show whose sessions would die and change nothing')
    .option('--event-id <id>', 'makes a repeated command harmless')
    .action((role: string, options: Common & { reason: string; dryRun?: boolean; eventId?: string }) =>
      callAndShow(
        terminal,
        options,
        'POST',
        '/aws-sessions/deny-older',
        {
          role,
          reason: options.reason,
          dry_run: options.dryRun ?? false,
          ...(options.eventId !== undefined && { event_id: options.eventId }),
        },
        show,
      ),
    );
}

function show(answer: Answer): string {
  const missions = answer['missions'] as readonly StruckMission[];
  const lines = [
    `${answer['dry_run'] ? 'would deny' : 'denied'} sessions of ${String(answer['role'])} issued before ${String(answer['issued_before'])}`,
    `  ${String(answer['clean'])} mission(s) that were to lose theirs; ${String(answer['collateral'])} that were not:`,
    ...missions
      .filter(({ collateral }) => collateral)
      .map(({ id, agent, credentials }) => `    ${id} ${agent}: ${credentials} session(s)`),
    `  and ${String(answer['unknown'])}`,
    `  in force within ${String(answer['effective_within_seconds'])} s: ${String(answer['why'])}`,
  ];
  return `${lines.join('\n')}\n`;
}
