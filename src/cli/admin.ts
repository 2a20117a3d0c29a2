/** Commands over the admin API of a running broker. */
import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { parse } from 'yaml';
import { type Answer, type Common, callAndShow, connected } from './connected.ts';
import { limitsTable } from './limits-table.ts';
import { Failure, type Terminal, table } from './terminal.ts';

interface MissionRow {
  readonly id: string;
  readonly state: string;
  readonly version: number;
  readonly agent: string;
  readonly goal: string;
  readonly expires_at: string;
}

export function addAdminCommands(program: Command, terminal: Terminal): void {
  const call = (
    options: Common,
    method: string,
    path: string,
    body: unknown,
    show: (answer: Answer) => string,
  ) => callAndShow(terminal, options, method, path, body, show);

  const admin = program.command('admin').description('Admin tokens');
  connected(admin.command('create'))
    .description('Issue an admin token; with the bootstrap token, the first one')
    .requiredOption('--name <name>', 'whose it is')
    .option('--role <role>', 'viewer, responder or admin', 'admin')
    .option('--expires <time>', 'RFC 3339')
    .action((options: Common & { name: string; role: string; expires?: string }) =>
      call(
        options,
        'POST',
        '/tokens',
        { name: options.name, role: options.role, ...(options.expires && { expires_at: options.expires }) },
        (answer) => `${String(answer['token'])}\n`,
      ),
    );

  const missions = program.command('missions').description('Missions');
  connected(missions.command('list'))
    .description('Newest first')
    .option('--state <state>')
    .option('--agent <agent>')
    .option('--template <id>')
    .action((options: Common & { state?: string; agent?: string; template?: string }) => {
      const query = new URLSearchParams();
      for (const name of ['state', 'agent', 'template'] as const)
        if (options[name] !== undefined) query.set(name, options[name]);
      return call(options, 'GET', `/missions?${query}`, undefined, (answer) =>
        table(
          ['ID', 'STATE', 'V', 'AGENT', 'UNTIL', 'GOAL'],
          (answer['items'] as MissionRow[]).map((mission) => [
            mission.id,
            mission.state,
            String(mission.version),
            mission.agent,
            mission.expires_at,
            mission.goal.slice(0, 60),
          ]),
        ),
      );
    });
  connected(missions.command('show'))
    .description('Everything about one: tree, credentials, decisions and why')
    .argument('<id>')
    .action((id: string, options: Common) =>
      call(
        options,
        'GET',
        `/missions/${encodeURIComponent(id)}`,
        undefined,
        (answer) => `${JSON.stringify(answer, null, 2)}\n`,
      ),
    );
  connected(missions.command('limits'))
    .description('What is left of its limits: in all, and at each audience')
    .argument('<id>')
    .action((id: string, options: Common) =>
      call(options, 'GET', `/missions/${encodeURIComponent(id)}`, undefined, (answer) =>
        limitsTable(answer['limits'] as Parameters<typeof limitsTable>[0]),
      ),
    );
  for (const [verb, done] of [
    ['suspend', 'suspended'],
    ['resume', 'resumed'],
    ['revoke', 'revoked'],
  ] as const)
    connected(missions.command(verb))
      .argument('<id>')
      .requiredOption('--reason <text>')
      .action((id: string, options: Common & { reason: string }) =>
        call(
          options,
          'POST',
          `/missions/${encodeURIComponent(id)}/${verb}`,
          { reason: options.reason },
          (answer) => {
            const cascaded = (answer['cascaded'] as string[]).length;
            return `${id} ${done}${cascaded > 0 ? `, ${cascaded} below it cascaded` : ''}; feed position ${String(answer['seq'])}\n`;
          },
        ),
      );
  connected(missions.command('contain'))
    .description('Take authority away from a live mission')
    .argument('<id>')
    .requiredOption('--reason <text>')
    .option('--action <action...>', 'actions or families to remove')
    .option('--audience <uri...>', 'audiences to remove')
    .option('--expires <time>', 'a new, earlier end (RFC 3339)')
    .action(
      (
        id: string,
        options: Common & { reason: string; action?: string[]; audience?: string[]; expires?: string },
      ) => {
        const remove = [
          ...(options.action ?? []).map((action) => ({ action })),
          ...(options.audience ?? []).map((audience) => ({ audience })),
        ];
        const body = {
          reason: options.reason,
          ...(remove.length > 0 && { remove }),
          ...(options.expires && { expires_at: options.expires }),
        };
        return call(options, 'POST', `/missions/${encodeURIComponent(id)}/contain`, body, (answer) => {
          const { version } = answer['mission'] as MissionRow;
          return `${id} contained: version ${version}; its next call needs a renewal, which gets less\n`;
        });
      },
    );

  connected(program.command('revoke'))
    .description(
      'End everything that a selector names: token, credential, mission, mission_tree, agent, instance, template, attester, rule, agent_key',
    )
    .argument('<kind>')
    .argument('<key>')
    .requiredOption('--reason <text>')
    .option('--dry-run', 'show the blast radius and change nothing')
    .option('--allow-new', 'do not block what would match in future')
    .action(
      (
        kind: string,
        key: string,
        options: Common & { reason: string; dryRun?: boolean; allowNew?: boolean },
      ) =>
        call(
          options,
          'POST',
          '/revocations',
          {
            selector: { kind, key },
            reason: options.reason,
            dry_run: options.dryRun ?? false,
            allow_new: options.allowNew ?? false,
          },
          showRevocation,
        ),
    );

  connected(program.command('block'))
    .description('Refuse attestation, creation and renewal to whatever matches')
    .argument('<kind>')
    .argument('<key>')
    .requiredOption('--reason <text>')
    .option('--until <time>', 'RFC 3339; without it, until lifted')
    .action((kind: string, key: string, options: Common & { reason: string; until?: string }) =>
      call(
        options,
        'POST',
        '/blocks',
        { selector: { kind, key }, reason: options.reason, ...(options.until && { until: options.until }) },
        (answer) => `blocked: ${String(answer['id'])}\n`,
      ),
    );
  connected(program.command('unblock'))
    .argument('<id>')
    .action((id: string, options: Common) =>
      call(options, 'DELETE', `/blocks/${encodeURIComponent(id)}`, undefined, () => `lifted: ${id}\n`),
    );
  connected(program.command('restore').description('After a backup was restored').command('confirm'))
    .description('The block list was looked at: issue again')
    .requiredOption('--reason <text>')
    .action((options: Common & { reason: string }) =>
      call(options, 'POST', '/restore/confirm', { reason: options.reason }, () => 'issuing again\n'),
    );
  connected(program.command('verifiers'))
    .description('Who enforces the revocation feed, and up to where')
    .action((options: Common) =>
      call(options, 'GET', '/verifiers', undefined, (answer) =>
        table(
          ['VERIFIER', 'PROCESS', 'AUDIENCE', 'SEQ', 'CURRENT', 'CONNECTED'],
          (answer['items'] as Answer[]).map((item) =>
            ['verifier_id', 'instance_id', 'audience', 'seq', 'current', 'connected'].map((name) =>
              String(item[name]),
            ),
          ),
        ),
      ),
    );

  const template =
    program.commands.find((command) => command.name() === 'template') ?? program.command('template');
  connected(template.command('import'))
    .description('Import a template file; it dispatches once another person approved its hash')
    .argument('<file>')
    .action((file: string, options: Common) =>
      call(
        options,
        'POST',
        '/templates',
        parse(readFileSync(file, 'utf8')),
        (answer) => `${String(answer['id'])} ${String(answer['version'])} ${String(answer['hash'])}\n`,
      ),
    );
  connected(template.command('approve'))
    .argument('<id>')
    .argument('<hash>')
    .action((id: string, hash: string, options: Common) =>
      call(
        options,
        'POST',
        `/templates/${encodeURIComponent(id)}/versions/${encodeURIComponent(hash)}/approve`,
        undefined,
        (answer) => `${id} ${String(answer['version'])} approved by ${String(answer['approved_by'])}\n`,
      ),
    );

  const keys = program.commands.find((command) => command.name() === 'keys') ?? program.command('keys');
  connected(keys.command('rotate'))
    .description('New signing keys; the old ones stay published until their tokens are gone')
    .option('--emergency', 'the old keys die now: every token they signed is refused')
    .action((options: Common & { emergency?: boolean }) =>
      call(
        options,
        'POST',
        '/keys/rotate',
        { emergency: options.emergency ?? false },
        (answer) =>
          `created ${(answer['created'] as string[]).join(', ')}${options.emergency ? `; revoked ${(answer['revoked'] as string[]).join(', ')}` : ''}\n`,
      ),
    );

  connected(keys.command('enrol-code'))
    .description('A one-time code with which a machine enrols its own key')
    .argument('<agent>', 'agent id that the key will stand for, such as laptop/alice')
    .option('--ttl <seconds>', 'life of the code', '900')
    .action((agent: string, options: Common & { ttl: string }) =>
      call(
        options,
        'POST',
        '/enrolments',
        { agent, code_ttl_seconds: Number(options.ttl) },
        (answer) => `${String(answer['code'])}\n`,
      ),
    );
  connected(keys.command('list'))
    .description('Enrolled keys')
    .action((options: Common) =>
      call(options, 'GET', '/enrolled-keys', undefined, (answer) =>
        table(
          ['ID', 'AGENT', 'BY', 'UNTIL', 'REVOKED'],
          (answer['items'] as Answer[]).map((key) =>
            ['id', 'agent', 'created_by', 'expires_at', 'revoked_at'].map((name) => String(key[name] ?? '')),
          ),
        ),
      ),
    );
  connected(keys.command('revoke'))
    .description('Revoke an enrolled key and end what it holds')
    .argument('<id>')
    .requiredOption('--reason <text>')
    .action((id: string, options: Common & { reason: string }) =>
      call(
        options,
        'POST',
        `/enrolled-keys/${encodeURIComponent(id)}/revoke`,
        { reason: options.reason },
        (answer) => `revoked; ${String(answer['missions'])} mission(s) ended\n`,
      ),
    );

  const attest = program.command('attest').description('Workload attestation');
  connected(attest.command('test'))
    .description(
      'Which attester, rule, agent, instance and tier a token yields, and why others did not match',
    )
    .argument('[file]', 'file with the token; standard input without it')
    .option('--type <type>', 'jwt, x509-svid or aws-caller-identity', 'jwt')
    .action(async (file: string | undefined, options: Common & { type: string }) => {
      const token = (file === undefined ? await terminal.stdin() : readFileSync(file, 'utf8')).trim();
      if (token === '') throw new Failure('no token given');
      const type = `urn:${options.type === 'jwt' ? 'ietf:params:oauth' : 'sortie'}:token-type:${options.type}`;
      return call(
        options,
        'POST',
        '/attestations/explain',
        { type, token },
        (answer) => `${JSON.stringify(answer, null, 2)}\n`,
      );
    });
}

function showRevocation(answer: Answer): string {
  const credentials = answer['credentials'] as {
    type: string;
    target: string;
    count: number;
    works_until: string;
    why: string;
  }[];
  const lines = [
    `${answer['dry_run'] ? 'would end' : 'ended'} ${String(answer['missions'])} mission(s)`,
    ...credentials.map(
      ({ type, target, count, works_until, why }) =>
        `  ${count} ${type} for ${target}, until ${works_until} at the latest: ${why}`,
    ),
  ];
  for (const verifier of (answer['verifiers'] ?? []) as {
    verifier_id: string;
    acknowledged_at: number | null;
  }[])
    lines.push(
      `  verifier ${verifier.verifier_id}: ${verifier.acknowledged_at === null ? 'has NOT acknowledged yet' : 'enforces it'}`,
    );
  return `${lines.join('\n')}\n`;
}
