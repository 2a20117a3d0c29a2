import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Command } from 'commander';
import { createBroker } from '../broker.ts';
import { loadConfig, relativeTo } from '../config/load.ts';
import { generateKek } from '../keys/seal.ts';
import type { Terminal } from './terminal.ts';

export function addServeCommand(program: Command, terminal: Terminal): void {
  program
    .command('serve')
    .description('Run the broker')
    .option('-c, --config <file>', 'configuration file', 'broker.yaml')
    .option('--development-kek', 'make the key-encryption key file if it is missing (development only)')
    .action(async (options: { config: string; developmentKek?: boolean }) => {
      if (options.developmentKek) makeKek(options.config);
      const broker = await createBroker({ config: options.config, env: terminal.env });
      const port = await broker.listen();
      const { issuer, development } = broker.loaded().config;
      terminal.out(`sortie is ready: ${issuer} (port ${port})\n`);
      if (development) terminal.out('development configuration: templates are approved without a person\n');
      if (broker.bootstrap_token_file !== null)
        terminal.out(
          `first admin: sortie admin create --token-file ${broker.bootstrap_token_file} --name YOU\n`,
        );
      terminal.onSignal('SIGHUP', () => {
        broker.reload().catch((cause: unknown) => {
          broker.log.error(
            { faults: cause instanceof Error ? cause.message.split('\n') : [] },
            'reload refused: the old configuration keeps running',
          );
        });
      });
      await new Promise<void>((resolve) => {
        for (const signal of ['SIGINT', 'SIGTERM'] as const) terminal.onSignal(signal, resolve);
      });
      await broker.close();
    });
}

/** Only for a development configuration: a lost or regenerated KEK makes every signing key unreadable. */
function makeKek(config_path: string): void {
  const { config, path } = loadConfig(config_path);
  const source = config.keys.key_encryption_key;
  if (!config.development || !('from_file' in source)) return;
  const file = relativeTo(path, source.from_file);
  if (existsSync(file)) return;
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  writeFileSync(file, `${generateKek()}\n`, { mode: 0o600, flag: 'wx' });
}
