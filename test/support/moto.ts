/**
 * moto's AWS server (PyPI), on a free loopback port: the wire of STS and IAM. It checks neither session
 * policies nor deny policies; a test against it shows what is sent and how answers are read, not what AWS enforces.
 */
import { spawn } from 'node:child_process';
import { createServer } from 'node:net';

export async function startMoto(): Promise<{
  readonly url: string;
  readonly port: number;
  close(): Promise<void>;
}> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve));
  const address = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no port');
  const { port } = address;
  const server = spawn('python3', ['-m', 'moto.server', '-H', '127.0.0.1', '-p', String(port)], {
    stdio: 'ignore',
  });
  const exited = new Promise((resolve) => server.once('exit', resolve));
  const url = `http://127.0.0.1:${port}`;
  for (let attempt = 0; ; attempt++) {
    const up = await fetch(`${url}/moto-api/`).then(
      (answer) => answer.ok,
      () => false,
    );
    if (up) break;
    if (attempt === 150 || server.exitCode !== null) throw new Error('moto did not start');
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  return {
    url,
    port,
    async close() {
      server.kill('SIGTERM');
      await exited;
    },
  };
}
