/** The only file that touches argv, env and signals. */
export async function main(argv: readonly string[]): Promise<void> {
  const out = (text: string) => void process.stdout.write(text);
  const err = (text: string) => void process.stderr.write(text);
  // A terminal that was closed must not end a run before it has cleaned up.
  process.stderr.on('error', () => {});
  if (argv[2] === 'credential-process') {
    // A tool waits for this one, each time: nothing else is loaded.
    const { credentialProcess } = await import('./cli/credential-process.ts');
    process.exitCode = await credentialProcess(argv.slice(3), out, err);
    return;
  }
  const { runCli } = await import('./cli/program.ts');
  const code = await runCli(argv, {
    env: process.env,
    out,
    err,
    self: [process.execPath, argv[1] ?? ''],
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
