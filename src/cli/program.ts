/** The `sortie` command. */
import { Command, CommanderError } from 'commander';
import { ConfigFault } from '../config/yaml.ts';
import { addAdminCommands } from './admin.ts';
import { addAgentCommands } from './agent.ts';
import { addAwsCommands } from './aws.ts';
import { addBehaviourCommands } from './behaviour.ts';
import { addCatalogueCommands } from './catalogue.ts';
import { addExecCommand } from './exec.ts';
import { addLocalCommands } from './local.ts';
import { addServeCommand } from './serve.ts';
import { Exit, Failure, type Terminal } from './terminal.ts';

/** @returns the exit code */
export async function runCli(argv: readonly string[], terminal: Terminal): Promise<number> {
  const program = new Command('sortie')
    .description('Ephemeral credential broker for AI agents')
    .exitOverride()
    .enablePositionalOptions()
    .configureOutput({ writeOut: (text) => terminal.out(text), writeErr: (text) => terminal.err(text) });
  addServeCommand(program, terminal);
  addLocalCommands(program, terminal);
  addCatalogueCommands(program, terminal);
  addAdminCommands(program, terminal);
  addAwsCommands(program, terminal);
  addBehaviourCommands(program, terminal);
  addAgentCommands(program, terminal);
  addExecCommand(program, terminal);
  try {
    await program.parseAsync([...argv]);
    return 0;
  } catch (cause) {
    if (cause instanceof CommanderError) return cause.exitCode;
    if (cause instanceof Exit) return cause.code;
    if (cause instanceof ConfigFault || cause instanceof Failure) {
      terminal.err(`${cause.message}\n`);
      return 1;
    }
    // Not a stack: what a person on call needs is the sentence.
    terminal.err(`sortie: ${cause instanceof Error ? cause.message : 'failed'}\n`);
    return 1;
  }
}
