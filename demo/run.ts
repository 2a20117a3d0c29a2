/**
 * `make demo`: the whole promise on real processes. Ends by itself, with 0 if every step held; `--json` prints the
 * steps and their times as one document.
 */
import { narrator } from './narrator.ts';
import { type Scene, setScene } from './scene.ts';
import { tell } from './story.ts';

const LONGEST_MS = 55_000;

const started = performance.now();
const json = process.argv.includes('--json');
const story = narrator({
  json,
  colour: process.stdout.isTTY === true && process.env['NO_COLOR'] === undefined,
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
});
const cleanups: (() => Promise<void>)[] = [];

const stopped = new Promise<never>((_, reject) => {
  setTimeout(() => reject(new Error(`it takes longer than ${LONGEST_MS / 1000} s`)), LONGEST_MS).unref();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.once(signal, () => reject(new Error(`stopped by ${signal}`)));
});

async function run(): Promise<void> {
  const scene: Scene = await setScene(cleanups);
  if (!json) {
    process.stdout.write('Sortie: an agent gets what its mission needs, for as long as it needs it.\n\n');
    for (const [name, what] of [
      ['issuer', `${scene.issuer_url}  an OIDC issuer by another vendor`],
      ['broker', `${scene.broker_url}  sortie serve, on SQLite`],
      ['erp', `${scene.erp_url}  Express and the guard`],
      ['mail', `${scene.mail_url}  Express and the guard`],
      ['agent', 'the agent SDK'],
    ])
      process.stdout.write(`    ${name?.padEnd(8)}${what}\n`);
  }
  story.say('five processes are ready', performance.now() - started);
  story.fact('ready', { took_ms: performance.now() - started, pids: scene.pids });
  await Promise.race([tell(scene, story), scene.failed]);
}

try {
  await Promise.race([run(), stopped]);
  for (const cleanup of cleanups) await cleanup();
  story.end(performance.now() - started);
} catch (cause) {
  for (const cleanup of cleanups) await cleanup();
  story.failed(cause instanceof Error ? cause : new Error(String(cause)));
  process.exitCode = 1;
}
// What a failed step left waiting must not keep the demo alive.
process.exit();
