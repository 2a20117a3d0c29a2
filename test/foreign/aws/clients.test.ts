/**
 * AWS's own clients under `sortie exec`: aws-cli, boto3 and the JavaScript SDK, each by the container endpoint and by
 * `credential_process`, against moto. A session's name is the lease, so who a client says it is tells whose session it
 * holds: another name is a renewal. Sessions last four seconds, so that every client has to come back.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { eventually, missionFile, node, type Place, startPlace, stateOf } from '../../delivery/support.ts';
import { startBroker, TEMPLATE, type TestBroker } from '../../support/broker.ts';
import { motoRoles, startMoto } from '../../support/moto.ts';
import { pythonHas } from '../python.ts';

const READER = 'arn:aws:iam::123456789012:role/reader';
const WRITER = 'arn:aws:iam::123456789012:role/writer';
const session = (role: string, region: string) => ({
  type: 'aws_session',
  role,
  statements: [{ actions: ['s3:GetObject'], resources: ['arn:aws:s3:::reports/*'] }],
  regions: [region],
  max_ttl_seconds: 4,
});
const here = (name: string) => fileURLToPath(new URL(name, import.meta.url));
/** Standing credentials and settings of whoever starts the run; none of them may matter. */
const STANDING = {
  AWS_ACCESS_KEY_ID: 'AKIASTANDING',
  AWS_SECRET_ACCESS_KEY: 'standing',
  AWS_SESSION_TOKEN: 'standing',
  AWS_PROFILE: 'standing',
  AWS_CONTAINER_AUTHORIZATION_TOKEN: 'standing',
};

describe.skipIf(!pythonHas('AWS clients', 'moto.server', 'boto3', 'awscli'))('under sortie exec', () => {
  let moto: Awaited<ReturnType<typeof startMoto>>;
  let sortie: TestBroker;
  let place: Place;
  let folder = '';

  beforeAll(async () => {
    moto = await startMoto();
    const iam = await motoRoles(moto.url, ['reader', 'writer']);
    iam.destroy();
    folder = mkdtempSync(join(tmpdir(), 'sortie-aws-'));
    const key = join(folder, 'key');
    writeFileSync(key, 'of-the-broker', { mode: 0o600 });
    sortie = await startBroker({
      template: {
        ceiling: [
          ...TEMPLATE.ceiling,
          session(READER, 'eu-central-1'),
          session(WRITER, 'eu-central-1'),
          session(WRITER, 'us-east-1'),
        ],
      },
      config: {
        providers: {
          aws: {
            region: 'eu-central-1',
            sts_endpoint: moto.url,
            iam_endpoint: moto.url,
            credentials: { access_key_id: { from_file: key }, secret_access_key: { from_file: key } },
            roles: [{ arn: READER }, { arn: WRITER }],
          },
        },
      },
    });
    place = startPlace(sortie);
  });
  afterAll(async () => {
    place.close();
    await sortie.close();
    await moto.close();
    rmSync(folder, { recursive: true });
  });

  const exec = (command: readonly string[]) =>
    place.exec(
      missionFile(sortie, {
        deliver: {
          aws: [
            { role: READER, container: true, region: 'eu-central-1' },
            { role: WRITER, nth: 2, profile: 'writer', region: 'us-east-1' },
          ],
        },
      }),
      command,
      { env: STANDING },
    );
  const shell = (script: string) => ['sh', '-c', script];
  /** Until the identity has changed once. */
  const cli = (profile: string) =>
    shell(`
      first=
      for i in $(seq 60); do
        now=$(python3 -m awscli sts get-caller-identity --endpoint-url ${moto.url} --query Arn --output text ${profile}) || exit 9
        if [ -z "$first" ]; then first=$now; echo $now; fi
        if [ "$now" != "$first" ]; then echo $now; exit 0; fi
      done
      exit 4
    `);

  test.each([
    ['aws-cli, container endpoint', 'reader', () => cli('')],
    ['aws-cli, credential_process', 'writer', () => cli('--profile writer')],
    ['boto3, container endpoint', 'reader', () => ['python3', here('drive.py'), moto.url]],
    ['boto3, credential_process', 'writer', () => ['python3', here('drive.py'), moto.url, 'writer']],
    ['JavaScript SDK, container endpoint', 'reader', () => [process.execPath, here('drive.ts'), moto.url]],
    [
      'JavaScript SDK, credential_process',
      'writer',
      () => [process.execPath, here('drive.ts'), moto.url, 'writer'],
    ],
  ])('%s: takes the session of the mission, and its renewal', async (_, role, command) => {
    const run = await exec(command());
    const code = await run.exited;
    expect(run.said.err).not.toContain('Traceback');
    expect(code, run.said.err).toBe(0);
    const identities = run.said.out.trim().split('\n');
    expect(identities).toHaveLength(2);
    for (const arn of identities)
      expect(arn.startsWith(`arn:aws:sts::123456789012:assumed-role/${role}/lse_`)).toBe(true);
    expect(run.said.err).not.toContain('ASIA');
    expect(await stateOf(sortie, run)).toBe('completed');
    expect(place.left()).toEqual([]);
  });

  test('the endpoint tells the unauthorized nothing, and is gone with the run', async () => {
    const run = await exec(
      node(`
        const { readFileSync } = require('node:fs');
        const token = readFileSync(process.env.AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE, 'utf8');
        console.log(JSON.stringify({ uri: process.env.AWS_CONTAINER_CREDENTIALS_FULL_URI, token }));
        setInterval(() => {}, 1000);
      `),
    );
    await eventually(() => run.said.out !== '', 'the command runs', run);
    const { uri, token } = JSON.parse(run.said.out) as { uri: string; token: string };
    expect(token).toMatch(/^[A-Za-z0-9_-]{43}$/);
    expect(run.said.err).not.toContain(token);
    const ask = async (url: string, headers: Record<string, string>, method = 'GET') => {
      const answer = await fetch(url, { method, headers });
      return `${answer.status} ${await answer.text()}`;
    };
    const granted = await ask(uri, { authorization: token });
    expect(JSON.parse(granted.slice(4))).toMatchObject({ RoleArn: READER });
    const refused = await ask(uri, {});
    expect(refused).toBe('403 {"error":"forbidden"}');
    expect(await ask(uri, { authorization: 'wrong' })).toBe(refused);
    for (const path of [
      '/',
      '/aws/',
      '/aws/writer',
      '/aws/default/',
      '/aws/default/../writer',
      '/aws/default?x',
      '/latest/meta-data',
    ])
      expect(await ask(new URL(uri).origin + path, { authorization: token })).toBe(refused);
    expect(await ask(uri, { authorization: token }, 'POST')).toBe(refused);
    run.process.kill('SIGINT');
    await run.exited;
    await expect(fetch(uri, { headers: { authorization: token } })).rejects.toThrow('fetch failed');
  });

  test('two sessions of one role are told apart, and which is meant has to be said', async () => {
    const run = await place.exec(
      missionFile(sortie, { deliver: { aws: [{ role: WRITER, profile: 'writer' }] } }),
      node('console.log("ran")'),
    );
    expect(await run.exited).toBe(125);
    expect(run.said.err).toContain(`2 credentials of ${WRITER}: say which with nth`);
  });

  test('a profile of a run that is over says so', async () => {
    const run = await exec(['cat', '/dev/null']);
    await run.exited;
    const late = await place.exec(missionFile(sortie), [
      process.execPath,
      fileURLToPath(new URL('../../../bin/sortie.cjs', import.meta.url)),
      'credential-process',
      `${place.runtime}/gone/aws.sock`,
      'writer',
    ]);
    expect(await late.exited).toBe(1);
    expect(late.said.out).toBe('');
    expect(late.said.err).toContain('the run that made this profile is over (ENOENT)');
  });
});
