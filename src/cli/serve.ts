import { generateKeyPairSync } from 'node:crypto';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import type { Command } from 'commander';
import { createBroker } from '../broker.ts';
import { relativeTo } from '../config/load.ts';
import { brokerSchema } from '../config/schema.ts';
import { readYaml } from '../config/yaml.ts';
import { generateKek } from '../keys/seal.ts';
import type { Terminal } from './terminal.ts';

export function addServeCommand(program: Command, terminal: Terminal): void {
  program
    .command('serve')
    .description('Run the broker')
    .option('-c, --config <file>', 'configuration file', 'broker.yaml')
    .option('--development-keys', 'make missing key files (only with a development configuration)')
    .action(async (options: { config: string; developmentKeys?: boolean }) => {
      // Keys, database and bootstrap token are nobody else's to read.
      process.umask(0o077);
      if (options.developmentKeys) makeDevelopmentKeys(options.config);
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

/**
 * Key files that a development configuration names and that are not there yet. Never outside development: a
 * regenerated KEK makes every signing key unreadable.
 */
function makeDevelopmentKeys(config_path: string): void {
  const path = resolve(config_path);
  const config = readYaml(path, brokerSchema);
  if (!config.development) return;
  const fresh = (file: string, content: () => string) => {
    if (existsSync(file)) return;
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    writeFileSync(file, content(), { mode: 0o600, flag: 'wx' });
  };
  const kek = config.keys.key_encryption_key;
  if ('from_file' in kek) fresh(relativeTo(path, kek.from_file), () => `${generateKek()}\n`);
  for (const { auth } of config.verifiers) {
    if (!('private_key_jwt_file' in auth)) continue;
    const file = relativeTo(path, auth.private_key_jwt_file);
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    fresh(file, () => {
      writeFileSync(
        file.replace(/\.jwks\.json$/, '.key.json'),
        JSON.stringify(privateKey.export({ format: 'jwk' })),
        {
          mode: 0o600,
        },
      );
      return JSON.stringify({ keys: [publicKey.export({ format: 'jwk' })] });
    });
  }
}
