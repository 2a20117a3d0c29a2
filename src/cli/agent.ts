/** Commands for the machine that an agent runs on: enrol it, see what evidence it has. */
import { randomUUID, webcrypto } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { Command } from 'commander';
import { importJWK, type JWK } from 'jose';
import {
  collectEvidence,
  discardEnrolmentKey,
  explainEvidence,
  makeEnrolmentKey,
} from '../sdk/agent/evidence/index.ts';
import { generateProofKey, prove } from '../sdk/agent/proof-key.ts';

import { type ConnectionOptions, callAdmin, hasAdminToken } from './client.ts';
import { Failure, type Terminal } from './terminal.ts';

export function addAgentCommands(program: Command, terminal: Terminal): void {
  const urlOf = (options: { url?: string }) =>
    options.url ?? terminal.env['SORTIE_URL'] ?? 'http://127.0.0.1:8480';

  const keyFile = terminal.env['SORTIE_KEY_FILE'] ?? join(homedir(), '.config', 'sortie', 'key.json');

  program
    .command('enrol')
    .description('Enrol this machine: make a key and redeem a one-time code (standard input, or --code-file)')
    .option('--url <url>', 'the broker (SORTIE_URL; default http://127.0.0.1:8480)')
    .option('--code-file <file>', 'file with the code')
    .option('--key <file>', 'where the key is kept (0600; SORTIE_KEY_FILE)', keyFile)
    .action(async (options: { url?: string; codeFile?: string; key: string }) => {
      const url = urlOf(options);
      const code = (
        options.codeFile === undefined ? await terminal.stdin() : readFileSync(options.codeFile, 'utf8')
      ).trim();
      if (code === '') throw new Failure('no code given');
      const { jwk } = await makeEnrolmentKey(options.key);
      try {
        const enrolled = await redeem(url, code, jwk, options.key);
        terminal.out(
          `enrolled as ${String(enrolled['agent'])} until ${String(enrolled['expires_at'])}; key in ${options.key}\n`,
        );
      } catch (cause) {
        await discardEnrolmentKey(options.key);
        throw cause;
      }
    });

  const attest = program.commands.find((command) => command.name() === 'attest');
  attest
    ?.option('--explain', 'say what evidence this machine has, without showing it')
    .option('--url <url>', 'the broker (SORTIE_URL; default http://127.0.0.1:8480)')
    .option(
      '--token-file <file>',
      'file with an admin token: shows which rule matches (SORTIE_ADMIN_TOKEN_FILE)',
    )
    .action(async (options: ConnectionOptions) => {
      const key = await generateProofKey(webcrypto);
      const found = await explainEvidence({ audience: urlOf(options), jkt: key.jkt, now: Date.now() / 1000 });
      for (const { kind, found: here, detail } of found.looked)
        terminal.out(`${here ? 'found ' : '      '} ${kind.padEnd(16)} ${detail}\n`);
      if (found.failure !== null) throw new Failure(found.failure);
      terminal.out(`uses ${found.chosen}${found.bound ? ', bound to the key' : ''}\n`);
      for (const [name, value] of Object.entries(found.claims ?? {}))
        terminal.out(`  ${name} ${String(value)}\n`);
      await explainRules(terminal, { ...options, url: urlOf(options) }, key.jkt);
    });
}

interface MissedRule {
  readonly rule: string;
  readonly misses: readonly { readonly claim: string; readonly why: string; readonly wanted: string }[];
}

/**
 * With an admin token at hand: what the broker makes of this evidence, rule by rule. Agents cannot ask, because the
 * answer tells how to become somebody else.
 */
async function explainRules(
  terminal: Terminal,
  options: ConnectionOptions & { url: string },
  jkt: string,
): Promise<void> {
  if (!hasAdminToken(terminal, options)) {
    terminal.out('which rule matches is for admins: give an admin token to see it\n');
    return;
  }
  const { type, token } = await collectEvidence({ audience: options.url, jkt, now: Date.now() / 1000 });
  const answer = await callAdmin(terminal, options, 'POST', '/attestations/explain', { type, token });
  const attester = answer['attester'] as { name: string; kind: string } | null;
  const result = answer['result'] as { agent: string; instance: string; tier: string; rule: string } | null;
  const refusal = answer['refusal'] as { code: string; detail: string } | null;
  terminal.out(
    attester ? `attester ${attester.name} (${attester.kind})\n` : 'no attester is configured for it\n',
  );
  for (const { rule, misses } of answer['missed_rules'] as MissedRule[])
    for (const { claim, why, wanted } of misses)
      terminal.out(`missed   ${rule}: ${claim} ${why.replaceAll('_', ' ')}, wanted ${wanted}\n`);
  if (result)
    terminal.out(
      `matches  ${result.rule}: ${result.agent}, instance ${result.instance}, tier ${result.tier}\n`,
    );
  if (refusal) terminal.out(`refused  ${refusal.code}: ${refusal.detail}\n`);
}

/** One proof by the new key, with the nonce that the broker asks for. */
async function redeem(
  url: string,
  code: string,
  jwk: JWK,
  key_file: string,
): Promise<Record<string, unknown>> {
  const key = await importJWK(JSON.parse(readFileSync(key_file, 'utf8')) as JWK, 'ES256');
  if (key instanceof Uint8Array) throw new Failure(`${key_file} is not an ES256 key`);
  const sign = async (input: Uint8Array) =>
    new Uint8Array(await webcrypto.subtle.sign({ name: 'ECDSA', hash: 'SHA-256' }, key, input));
  let nonce: string | undefined;
  for (let attempt = 0; ; attempt++) {
    const proof = await prove(
      { alg: 'ES256', jwk, jkt: '', sign },
      {
        method: 'POST',
        url: `${url}/enrol`,
        now: Date.now() / 1000,
        jti: randomUUID(),
        ...(nonce !== undefined && { nonce }),
      },
    );
    let response: Response;
    try {
      response = await fetch(`${url}/enrol`, {
        method: 'POST',
        headers: { dpop: proof, 'content-type': 'application/json' },
        body: JSON.stringify({ code, jwk }),
        redirect: 'error',
      });
    } catch {
      throw new Failure(`no broker answers at ${url}: is it running? (--url or SORTIE_URL)`);
    }
    const answer = (await response.json()) as Record<string, unknown>;
    if (response.ok) return answer;
    nonce = response.headers.get('dpop-nonce') ?? undefined;
    if (answer['type'] === 'urn:sortie:problem:use_dpop_nonce' && attempt === 0) continue;
    throw new Failure('the code was not accepted: it is wrong, used or expired');
  }
}
