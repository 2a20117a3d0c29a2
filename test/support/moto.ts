/**
 * moto's AWS server (PyPI), on a free loopback port: the wire of STS and IAM. It checks neither session
 * policies nor deny policies; a test against it shows what is sent and how answers are read, not what AWS enforces.
 */

import { spawn } from 'node:child_process';
import { CreateRoleCommand, IAMClient } from '@aws-sdk/client-iam';
import { freePort } from './free-port.ts';

export async function startMoto(): Promise<{
  readonly url: string;
  readonly port: number;
  close(): Promise<void>;
}> {
  const port = await freePort();
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

/** A client of moto's IAM, with roles that anybody may assume. */
export async function motoRoles(url: string, names: readonly string[]): Promise<IAMClient> {
  const iam = new IAMClient({
    region: 'eu-central-1',
    endpoint: url,
    credentials: { accessKeyId: 'admin', secretAccessKey: 'admin' },
  });
  for (const RoleName of names)
    await iam.send(
      new CreateRoleCommand({
        RoleName,
        AssumeRolePolicyDocument: JSON.stringify({
          Version: '2012-10-17',
          Statement: [{ Effect: 'Allow', Principal: '*', Action: ['sts:AssumeRole', 'sts:TagSession'] }],
        }),
      }),
    );
  return iam;
}
