/** `sortie exec --mission FILE -- command...` */
import type { Command } from 'commander';
import { ConfigFault } from '../config/yaml.ts';
import { execUnderMission, FAILED } from '../delivery/exec.ts';
import { readMissionFile } from '../delivery/mission-file.ts';
import { createReport } from '../delivery/report.ts';
import { Exit, type Terminal } from './terminal.ts';

export function addExecCommand(program: Command, terminal: Terminal): void {
  program
    .command('exec')
    .description('Run a command under a mission: credentials come, are renewed, and go with it')
    .usage('--mission <file> [options] -- <command> [args...]')
    .requiredOption('-m, --mission <file>', 'what is declared, and how each credential reaches the command')
    .option('--json', 'report in JSON lines on standard error')
    .option('-q, --quiet', 'report only what goes wrong')
    .argument('<command>')
    .argument('[args...]')
    .passThroughOptions()
    .action(
      async (
        command: string,
        args: string[],
        options: { mission: string; json?: boolean; quiet?: boolean },
      ) => {
        const report = createReport({
          json: options.json ?? false,
          quiet: options.quiet ?? false,
          write: (line) => terminal.err(line),
          now: () => Date.now() / 1000,
        });
        let code: number;
        try {
          if (process.platform === 'win32') throw new ConfigFault(['exec runs on Linux and macOS']);
          const file = readMissionFile(options.mission);
          const { env, onSignal, self = [] } = terminal;
          code = await execUnderMission({ file, command, args, env, self, report, onSignal });
        } catch (cause) {
          if (!(cause instanceof ConfigFault)) throw cause;
          for (const fault of cause.faults) report('failed', fault);
          code = FAILED;
        }
        throw new Exit(code);
      },
    );
}
