/** Commands that need no running broker: they read files and the database. */
import { existsSync, writeFileSync } from 'node:fs';
import type { Command } from 'commander';
import { compactVerify, importJWK, type JWK } from 'jose';
import { createAttestation } from '../attesters/create.ts';
import { diffBehaviour, explainBehaviour, lintBehaviour } from '../behaviour/section.ts';
import { faulty, loadConfig, relativeTo } from '../config/load.ts';
import { templateOf, templateSchema } from '../config/template-schema.ts';
import { readYaml } from '../config/yaml.ts';
import { templateHash } from '../domain/anchors.ts';
import { sealPayload } from '../domain/audit.ts';
import { type Catalogue, diff, explain, lint } from '../domain/authority/index.ts';
import type { TemplateDocument } from '../domain/policy.ts';
import { diffLimits, explainLimits } from '../domain/template-limits.ts';
import { generateKek } from '../keys/seal.ts';
import { AUDIT_SEAL_TYP } from '../operations/audit.ts';
import { verifyAudit } from '../store/audit-verify.ts';
import { openSqliteStore } from '../store/sqlite.ts';
import { Failure, type Terminal } from './terminal.ts';

export function addLocalCommands(program: Command, terminal: Terminal): void {
  const configuration = program.command('config').description('Configuration files');
  configuration
    .command('check')
    .description('Read the configuration and its templates; faults with file, line, key and suggestion')
    .option('-c, --config <file>', 'configuration file', 'broker.yaml')
    .action((options: { config: string }) => {
      const { config, policy, templates } = loadConfig(options.config);
      // Rules are compiled as at start; no key is fetched.
      createAttestation(config.attesters, {
        issuer: config.issuer,
        store: { enrolledKey: async () => null },
      }).close();
      terminal.out(
        `${options.config} is good: ${policy.audiences.length} audiences, ${policy.verifiers.length} verifiers, ${templates.length} templates, policy ${policy.version}\n`,
      );
    });

  const template = program.command('template').description('Mission templates');
  const withAudiences = ['-c, --config <file>', 'configuration with the audiences, for includes'] as const;
  template
    .command('hash')
    .description('The hash that an approval names')
    .argument('<file>')
    .requiredOption('--issuer <url>', "the broker's issuer")
    .option(...withAudiences)
    .action((file: string, options: { issuer: string; config?: string }) => {
      const document = readTemplate(file, catalogueIn(options.config));
      terminal.out(`${document.id} ${document.version} ${templateHash(options.issuer, document)}\n`);
    });

  template
    .command('explain')
    .description('What a template allows, in plain words')
    .argument('<file>')
    .option(...withAudiences)
    .action((file: string, options: { config?: string }) => {
      const document = readTemplate(file, catalogueIn(options.config));
      terminal.out(`${document.id} ${document.version}: ${document.description ?? ''}\n`);
      for (const line of explain(document.ceiling)) terminal.out(`  ${line}\n`);
      for (const line of explainLimits(document)) terminal.out(`  ${line}\n`);
      for (const line of explainBehaviour(document)) terminal.out(`  ${line}\n`);
    });
  template
    .command('diff')
    .description('What a change widens and narrows, computed by the algebra; exit code 1 if it widens')
    .argument('<before>')
    .argument('<after>')
    .option(...withAudiences)
    .action((before: string, after: string, options: { config?: string }) => {
      const catalogue = catalogueIn(options.config);
      const [was, is] = [readTemplate(before, catalogue), readTemplate(after, catalogue)];
      const change = diff(was.ceiling, is.ceiling);
      const limits = diffLimits(was, is);
      const behaviour = diffBehaviour(was, is);
      const widened = [...change.widened.map(({ text }) => text), ...limits.widened, ...behaviour.widened];
      const narrowed = [
        ...change.narrowed.map(({ text }) => text),
        ...limits.narrowed,
        ...behaviour.narrowed,
      ];
      for (const text of widened) terminal.out(`widens   ${text}\n`);
      for (const text of narrowed) terminal.out(`narrows  ${text}\n`);
      if (change.equivalent && widened.length + narrowed.length === 0) terminal.out('both allow the same\n');
      if (widened.length > 0) throw new Failure(`${after} allows what ${before} does not`);
    });
  template
    .command('lint')
    .description('Ceilings that allow everything, nothing, or something else than was meant')
    .argument('<file>')
    .option('-c, --config <file>', 'configuration with the audiences, for includes and to check against')
    .action((file: string, options: { config?: string }) => {
      const catalogue = catalogueIn(options.config);
      const document = readTemplate(file, catalogue);
      const findings = [
        ...lint(document.ceiling, Date.now() / 1000, catalogue ?? undefined),
        ...lintBehaviour(document),
      ];
      for (const { severity, rule, text } of findings) terminal.out(`${severity} ${rule}: ${text}\n`);
      if (findings.some(({ severity }) => severity === 'error'))
        throw new Failure(`${file} must not be approved`);
      terminal.out(`${file}: ${findings.length} finding(s), none an error\n`);
    });

  const keys = program.command('keys').description('Signing keys');
  keys
    .command('generate-kek')
    .description('A fresh key-encryption key: 32 random bytes in base64')
    .option('-o, --out <file>', 'write it to a new file (0600) instead of the terminal')
    .action((options: { out?: string }) => {
      if (options.out === undefined) terminal.out(`${generateKek()}\n`);
      else writeFileSync(options.out, `${generateKek()}\n`, { mode: 0o600, flag: 'wx' });
    });

  const audit = program.command('audit').description('The audit chain');
  audit
    .command('verify')
    .description('Walk the whole chain of a database: every hash, every segment, every seal')
    .option('-c, --config <file>', 'configuration file', 'broker.yaml')
    .action(async (options: { config: string }) => {
      const loaded = loadConfig(options.config);
      const path = relativeTo(loaded.path, loaded.config.store.sqlite.path);
      if (!existsSync(path)) throw new Failure(`${path}: no such database`);
      const store = await openSqliteStore({ path });
      try {
        const keyOf = new Map((await store.signingKeys()).map((key) => [key.kid, key]));
        const verdict = await verifyAudit(store, async (segment) => {
          try {
            const { payload: signed } = await compactVerify(segment.seal ?? '', async (header) => {
              const record = keyOf.get(header.kid ?? '');
              if (!record || header.typ !== AUDIT_SEAL_TYP) throw new Error('not a seal of this broker');
              return importJWK(record.jwk as unknown as JWK, record.alg);
            });
            const sealed = JSON.parse(new TextDecoder().decode(signed)) as Record<string, unknown>;
            return Object.entries(sealPayload(segment)).every(([member, value]) => sealed[member] === value);
          } catch {
            return false;
          }
        });
        if (!verdict.ok) throw new Failure(`the audit chain is broken at record ${verdict.first_bad}`);
        terminal.out(
          `the audit chain holds: ${verdict.records} record(s) in ${verdict.segments} segment(s)\n`,
        );
      } finally {
        await store.close();
      }
    });
}

function catalogueIn(config: string | undefined): Catalogue | null {
  return config === undefined ? null : loadConfig(config).policy.catalogue;
}

/** A template with its includes resolved. @throws ConfigFault naming the file */
function readTemplate(file: string, catalogue: Catalogue | null): TemplateDocument {
  return faulty(file, () => templateOf(readYaml(file, templateSchema), catalogue));
}
