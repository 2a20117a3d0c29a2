/** The only file that touches argv, env and signals. */
import { runCli } from './cli/program.ts';

export async function main(argv: readonly string[]): Promise<void> {
  const code = await runCli(argv, {
    env: process.env,
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
    stdin: async () => {
      const chunks: Buffer[] = [];
      for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
      return Buffer.concat(chunks).toString('utf8');
    },
    onSignal: (signal, listener) => void process.on(signal, listener),
  });
  process.exitCode = code;
  // A broker that failed while starting may have its writer thread or a timer running: it must not linger.
  if (code !== 0) process.exit();
}
