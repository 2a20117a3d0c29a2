/** A full deny list, seen by an admin, and the way out of it: over the admin API, against moto's IAM. */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  CreateRoleCommand,
  GetRolePolicyCommand,
  IAMClient,
  NoSuchEntityException,
} from '@aws-sdk/client-iam';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runCli } from '../../src/cli/program.ts';
import { pythonHas } from '../foreign/python.ts';
import {
  ERP,
  inAnHour,
  type KeyHolder,
  newKey,
  startBroker,
  TEMPLATE,
  type TestBroker,
} from '../support/broker.ts';
import { startMoto } from '../support/moto.ts';

const ROLE = 'arn:aws:iam::123456789012:role/data';
const AWS_ENTRY = {
  type: 'aws_session',
  role: ROLE,
  statements: [{ actions: ['s3:GetObject'], resources: ['arn:aws:s3:::reports/*'] }],
};

interface Lease {
  readonly id: string;
  readonly state: string;
  readonly residual: { readonly seconds: number; readonly why: string } | null;
  readonly alternative: { readonly kind: string; readonly role: string; readonly command: string } | null;
}

describe.skipIf(!pythonHas('denying older AWS sessions', 'moto.server'))('denying older sessions', () => {
  let moto: Awaited<ReturnType<typeof startMoto>>;
  let sortie: TestBroker;
  let iam: IAMClient;
  let runs = 0;
  const secrets: string[] = [];
  const expires_at = inAnHour();
  const folder = mkdtempSync(join(tmpdir(), 'sortie-aws-'));
  const broker_key = { from_file: join(folder, 'key') };

  beforeAll(async () => {
    writeFileSync(broker_key.from_file, 'KEYOFTHEBROKER', { mode: 0o600 });
    moto = await startMoto();
    iam = new IAMClient({
      region: 'eu-central-1',
      endpoint: moto.url,
      credentials: { accessKeyId: 'admin', secretAccessKey: 'admin' },
    });
    await iam.send(
      new CreateRoleCommand({
        RoleName: 'data',
        AssumeRolePolicyDocument: JSON.stringify({
          Version: '2012-10-17',
          Statement: [{ Effect: 'Allow', Principal: '*', Action: ['sts:AssumeRole', 'sts:TagSession'] }],
        }),
      }),
    );
    sortie = await startBroker({
      template: { ceiling: [...TEMPLATE.ceiling, AWS_ENTRY] },
      config: {
        providers: {
          aws: {
            region: 'eu-central-1',
            sts_endpoint: moto.url,
            iam_endpoint: moto.url,
            credentials: { access_key_id: broker_key, secret_access_key: broker_key },
            roles: [{ arn: ROLE }],
            // Room for a few missions.
            deny_policy_max_characters: 700,
          },
        },
      },
    });
  });
  afterAll(async () => {
    await sortie?.close();
    iam?.destroy();
    await moto?.close();
    rmSync(folder, { recursive: true });
  });

  async function declare(key: KeyHolder, run: string, request: string) {
    const { status, body } = await sortie.holder(key, 'POST', '/missions', {
      json: {
        evidence: { type: 'urn:ietf:params:oauth:token-type:jwt', token: await sortie.evidence({ run }) },
        intent: { goal: 'Read reports', resources: [ERP], expires_at },
        creation_request_id: request,
      },
    });
    expect({ status, error: body['error'] }).toEqual({ status: 201, error: undefined });
    const manifest = body as unknown as {
      readonly mission: { readonly id: string };
      readonly credentials: readonly { readonly type: string; readonly value?: Record<string, string> }[];
    };
    const value = manifest.credentials.find(({ type }) => type === 'aws_session')?.value ?? {};
    secrets.push(value['secret_access_key'] ?? 'none', value['session_token'] ?? 'none');
    return { id: manifest.mission.id, key, run, request };
  }
  const born = async () => declare(await newKey(), `run-${++runs}`, crypto.randomUUID());
  const leasesOf = async (id: string) =>
    (await sortie.admin('GET', `/missions/${id}`)).body['leases'] as readonly Lease[];
  async function policy(): Promise<string> {
    try {
      const asked = new GetRolePolicyCommand({ RoleName: 'data', PolicyName: 'SortieRevoked' });
      return decodeURIComponent((await iam.send(asked)).PolicyDocument ?? '');
    } catch (cause) {
      if (cause instanceof NoSuchEntityException) return '';
      throw cause;
    }
  }
  const denyOlder = (more: object = {}) =>
    sortie.admin('POST', '/aws-sessions/deny-older', { role: ROLE, reason: 'list is full', ...more });

  test('a revocation that finds the list full says how long the session lives and what could be done; and it is done', async () => {
    const innocent = await born();
    let stuck: { readonly id: string; readonly lease: Lease } | null = null;
    while (stuck === null) {
      const { id } = await born();
      const { body } = await sortie.admin('POST', `/missions/${id}/revoke`, { reason: 'test' });
      const [lease] = body['leases'] as readonly Lease[];
      if (lease === undefined) throw new Error('the answer names no lease');
      if (lease.state === 'revoking') stuck = { id, lease };
      else expect(lease).toMatchObject({ state: 'revoked', residual: { seconds: 60 }, alternative: null });
    }
    // What an admin sees in the answer and later.
    expect(stuck.lease.residual?.seconds).toBeGreaterThan(800);
    expect(stuck.lease.alternative).toMatchObject({
      kind: 'deny_older_sessions',
      role: ROLE,
      effective_within_seconds: 60,
      command: `sortie aws deny-older ${ROLE} --dry-run`,
      blast_radius: expect.stringContaining('other missions'),
    });
    const [seen] = await leasesOf(stuck.id);
    expect(seen).toMatchObject({ state: 'revoking', alternative: { kind: 'deny_older_sessions' } });

    // What it would hit, and nothing happens.
    const before = await policy();
    const preview = await denyOlder({ dry_run: true });
    expect(preview.body).toMatchObject({
      dry_run: true,
      role: ROLE,
      clean: 1,
      collateral: 1,
      effective_within_seconds: 60,
      missions: [
        { id: innocent.id, collateral: true, state: 'active', credentials: 1 },
        { id: stuck.id, collateral: false, state: 'revoked', credentials: 1 },
      ],
    });
    expect(await policy()).toBe(before);
    expect((await leasesOf(innocent.id))[0]?.state).toBe('live');

    // Older than any difference of clocks.
    sortie.clock.ahead += 120;
    const event_id = 'incident-7';
    const done = await denyOlder({ event_id });
    expect(done.body).toMatchObject({ dry_run: false, repeated: false, clean: 1, collateral: 1 });
    expect(await policy()).toContain('aws:TokenIssueTime');
    expect((await policy()).length).toBeLessThanOrEqual(700);
    for (const id of [stuck.id, innocent.id])
      expect((await leasesOf(id))[0]).toMatchObject({
        state: 'revoked',
        residual: { seconds: 60 },
        alternative: null,
      });
    const audit = await sortie.admin('GET', '/audit?event=credentials.older_denied&newest_first=true');
    expect(audit.body['items']).toMatchObject([
      {
        actor: 'admin:alice',
        details: { target: ROLE, reason: 'list is full', collateral: [innocent.id], event_id },
      },
    ]);

    // Nothing more of it has to be said on the list.
    expect(await policy()).not.toContain(innocent.id);

    // The innocent mission goes on, and asks again.
    sortie.clock.ahead += 2;
    await declare(innocent.key, innocent.run, innocent.request);
    const live = async () => (await leasesOf(innocent.id)).filter(({ state }) => state === 'live').length;
    expect(await live()).toBe(1);
    // The same event again denies the same time again: what was issued since lives.
    const again = await denyOlder({ event_id });
    expect(again.body).toMatchObject({ repeated: true, issued_before: done.body['issued_before'] });
    expect(await live()).toBe(1);
    // For another role the same id is another event.
    expect((await denyOlder({ event_id, role: 'arn:aws:iam::123456789012:role/other' })).status).toBe(404);
    // There is room again.
    const next = await born();
    const { body } = await sortie.admin('POST', `/missions/${next.id}/revoke`, { reason: 'test' });
    expect(body['leases']).toMatchObject([{ state: 'revoked' }]);
    const told = JSON.stringify([preview.body, done.body, audit.body, sortie.log]);
    for (const secret of secrets) expect(told).not.toContain(secret);
  });

  test('is an admin’s to do, with a reason, for a role that is configured', async () => {
    const before = await policy();
    for (const role of ['viewer', 'responder'] as const) {
      const token = await sortie.adminToken(role, `some-${role}`);
      const answer = await sortie.as(token, 'POST', '/aws-sessions/deny-older', { role: ROLE, reason: 'no' });
      expect(answer.status).toBe(403);
    }
    expect((await denyOlder({ reason: '' })).status).toBe(400);
    expect((await denyOlder({ unheard_of: true })).status).toBe(400);
    for (const dry_run of [true, false])
      expect((await denyOlder({ role: 'arn:aws:iam::123456789012:role/other', dry_run })).status).toBe(404);
    expect(await policy()).toBe(before);
  });

  test('what is younger than clocks may differ is denied by itself as well', async () => {
    const young = await born();
    expect((await denyOlder()).body['collateral']).toBeGreaterThanOrEqual(1);
    const [lease] = await leasesOf(young.id);
    await expect.poll(async () => (await leasesOf(young.id))[0]?.state, { timeout: 5000 }).toBe('revoked');
    expect(await policy()).toContain(lease?.id);
  });

  test('a preview of a revocation tells the residual of the provider, not that of a verifier', async () => {
    const { id } = await born();
    const { body } = await sortie.admin('POST', '/revocations', {
      selector: { kind: 'mission', key: id },
      reason: 'test',
      dry_run: true,
    });
    const credentials = body['credentials'] as readonly { type: string; why: string }[];
    expect(credentials.find(({ type }) => type === 'aws_session')?.why).toContain('IAM takes up to 60 s');
    const ended = await sortie.admin('POST', '/revocations', {
      selector: { kind: 'mission', key: id },
      reason: 'test',
    });
    expect(ended.body['leases']).toMatchObject([{ state: 'revoked', residual: { seconds: 60 } }]);
  });

  test('the command line shows the same', async () => {
    const file = join(sortie.folder, 'admin-token');
    writeFileSync(file, await sortie.adminToken('admin', 'cli'), { mode: 0o600 });
    const { id } = await born();
    let out = '';
    const code = await runCli(
      [
        'node',
        'sortie',
        ...['aws', 'deny-older', ROLE, '--reason', 'look', '--dry-run'],
        ...['--url', sortie.url, '--token-file', file],
      ],
      {
        env: {},
        out: (text) => {
          out += text;
        },
        err: (text) => {
          out += text;
        },
        stdin: async () => '',
        onSignal: () => {},
      },
    );
    expect(code).toBe(0);
    expect(out).toContain(`would deny sessions of ${ROLE}`);
    expect(out).toContain(`${id} agents/reconciler: 1 session(s)`);
    expect(out).toContain('in force within 60 s');
  });
});
