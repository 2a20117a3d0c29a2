/** What every command over the admin API shares: where the broker is, who asks, and how the answer is shown. */
import type { Command } from 'commander';
import { type ConnectionOptions, callAdmin } from './client.ts';
import type { Terminal } from './terminal.ts';

export type Answer = Record<string, unknown>;
export type Common = ConnectionOptions & { readonly json?: boolean };

export function connected(command: Command): Command {
  return command
    .option('--url <url>', 'the broker (SORTIE_URL; default http://127.0.0.1:8480)')
    .option('--token-file <file>', 'file with an admin token (SORTIE_ADMIN_TOKEN_FILE)')
    .option('--json', 'print the answer as JSON');
}

/** Calls, then prints: JSON on request, else what `show` makes of it. */
export async function callAndShow(
  terminal: Terminal,
  options: Common,
  method: string,
  path: string,
  body: unknown,
  show: (answer: Answer) => string,
): Promise<void> {
  const answer = await callAdmin(terminal, options, method, path, body);
  terminal.out(options.json ? `${JSON.stringify(answer, null, 2)}\n` : show(answer));
}
