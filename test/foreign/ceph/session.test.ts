/** `aws_session` where it is enforced: the STS and S3 of a Ceph RADOS Gateway. */
import {
  CreateOpenIDConnectProviderCommand,
  CreateRoleCommand,
  IAMClient,
  PutRolePolicyCommand,
} from '@aws-sdk/client-iam';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { AwsSession } from '../../../src/domain/authority/types/aws_session.ts';
import type { JsonObject } from '../../../src/domain/json.ts';
import { type AwsRole, type AwsSessions, createAwsSessions } from '../../../src/providers/aws/session.ts';
import { type Counterpart, conforms, issued, leaseRequest } from '../../providers/conformance.ts';
import { type S3Keys, s3 } from '../../support/s3.ts';
import { type CephCluster, cephIsInstalled, startCeph } from './cluster.ts';
import { startIssuer, type TestIssuer } from './issuer.ts';

const AUDIENCE = 'sts.example.com';
const WEB = 'arn:aws:iam:::role/web';
const ASSUMED = 'arn:aws:iam:::role/assumed';
const BROAD = 'arn:aws:iam:::role/broad';
const entry = {
  type: 'aws_session',
  role: WEB,
  statements: [{ actions: ['s3:GetObject'], resources: ['arn:aws:s3:::bucket/reports/*'] }],
};
const now = () => Date.now() / 1000;

const installed = cephIsInstalled();
if (!installed && process.env['CI'] === 'true')
  throw new Error('CI needs ceph-mon, ceph-osd, radosgw and ceph-common');
if (!installed)
  process.stderr.write('SKIPPED: aws_session against Ceph RADOS Gateway, which is not installed here\n');

describe.skipIf(!installed)('aws_session where STS and S3 enforce it', () => {
  let ceph: CephCluster;
  let issuer: TestIssuer;
  let iam: IAMClient;
  let provider: AwsSessions;

  beforeAll(async () => {
    [ceph, issuer] = await Promise.all([startCeph(), startIssuer()]);
    for (const [method, path, body] of [
      ['PUT', '/bucket', ''],
      ['PUT', '/bucket/reports/q3.csv', 'figures'],
      ['PUT', '/bucket/salaries/q3.csv', 'secret'],
    ] as const)
      expect((await s3(ceph.url, ceph.admin, method, path, body)).status).toBe(200);
    iam = new IAMClient({
      region: 'us-east-1',
      endpoint: ceph.url,
      credentials: { accessKeyId: ceph.admin.access_key_id, secretAccessKey: ceph.admin.secret_access_key },
    });
    await iam.send(
      new CreateOpenIDConnectProviderCommand({
        Url: issuer.url,
        ClientIDList: [AUDIENCE],
        ThumbprintList: [issuer.thumbprint],
      }),
    );
    const federated = `arn:aws:iam:::oidc-provider/${issuer.url.slice(7)}`;
    const trust = {
      web: {
        Principal: { Federated: [federated] },
        Action: ['sts:AssumeRoleWithWebIdentity', 'sts:TagSession'],
      },
      assumed: { Principal: { AWS: ['arn:aws:iam:::user/admin'] }, Action: ['sts:AssumeRole'] },
    };
    for (const [name, statement] of [
      ['web', trust.web],
      ['broad', trust.web],
      ['assumed', trust.assumed],
    ] as const) {
      await iam.send(
        new CreateRoleCommand({
          RoleName: name,
          Path: '/',
          AssumeRolePolicyDocument: JSON.stringify({
            Version: '2012-10-17',
            Statement: [{ Effect: 'Allow', ...statement }],
          }),
        }),
      );
      await iam.send(
        new PutRolePolicyCommand({
          RoleName: name,
          PolicyName: 'access',
          PolicyDocument: JSON.stringify({
            Version: '2012-10-17',
            Statement: [{ Effect: 'Allow', Action: ['s3:*'], Resource: ['arn:aws:s3:::*'] }],
          }),
        }),
      );
    }
    provider = aws(ceph.url);
  }, 180_000);
  afterAll(async () => {
    await provider?.close();
    iam?.destroy();
    await issuer?.close();
    await ceph?.close();
  });

  function aws(endpoint: string, timeout_ms = 10_000, sign = issuer.sign): AwsSessions {
    const web: AwsRole['login'] = {
      kind: 'web_identity',
      audience: AUDIENCE,
      issuer: issuer.url,
      sign,
    };
    const common = { max_session_seconds: 3600, min_session_seconds: 3 };
    return createAwsSessions({
      region: 'us-east-1',
      sts_endpoint: endpoint,
      iam_endpoint: endpoint,
      credentials: ceph.admin,
      roles: [
        { arn: WEB, login: web, ...common },
        // As at AWS: no session shorter than 15 minutes.
        { arn: BROAD, login: web, ...common, min_session_seconds: 900 },
        { arn: ASSUMED, login: { kind: 'assume_role' }, ...common },
      ],
      mark: 'session_tag',
      deny_policy_name: 'SortieRevoked',
      deny_policy_max_characters: 10_240,
      propagation_seconds: 0,
      timeout_ms,
    });
  }

  const keysOf = (deliver: JsonObject) => deliver as unknown as S3Keys;
  const get = async (deliver: JsonObject, path: string) =>
    (await s3(ceph.url, keysOf(deliver), 'GET', path)).status;
  const works = async (deliver: JsonObject) => (await get(deliver, '/bucket/reports/q3.csv')) === 200;

  conforms<AwsSession>(
    (): Counterpart<AwsSession> => ({
      provider,
      entry,
      unconfigured: { ...entry, role: 'arn:aws:iam:::role/elsewhere' },
      broker_secrets: [ceph.admin.secret_access_key],
      works,
      secrets: (deliver) => [String(deliver['secret_access_key']), String(deliver['session_token'])],
      alive: async () => null,
      at: (port) => aws(`http://127.0.0.1:${port}`, 700),
      short_life_seconds: 4,
      leases_are_independent: true,
      enforces: true,
    }),
  );

  it.each([WEB, ASSUMED])('reads below its prefix and nothing else, as %s', async (role) => {
    const { deliver } = await issued(provider, leaseRequest<AwsSession>({ ...entry, role }));
    expect(await s3(ceph.url, keysOf(deliver), 'GET', '/bucket/reports/q3.csv')).toEqual({
      status: 200,
      body: 'figures',
    });
    expect(await get(deliver, '/bucket/salaries/q3.csv')).toBe(403);
    expect(await get(deliver, '/bucket')).toBe(403);
    expect((await s3(ceph.url, keysOf(deliver), 'PUT', '/bucket/reports/q4.csv', 'forged')).status).toBe(403);
    expect((await s3(ceph.url, keysOf(deliver), 'DELETE', '/bucket/reports/q3.csv')).status).toBe(403);
  });

  it('ends with the mission though the session itself has a quarter of an hour', async () => {
    const request = leaseRequest<AwsSession>({ ...entry, role: BROAD }, 4);
    const { deliver } = await issued(provider, request);
    expect(await works(deliver)).toBe(true);
    await new Promise((resolve) => setTimeout(resolve, 5500));
    expect(await works(deliver)).toBe(false);
  });

  it('refuses an unexpired session of a mission that is over, and of no other', async () => {
    const request = leaseRequest<AwsSession>(entry);
    const [first, second, other] = await Promise.all([
      issued(provider, request),
      issued(provider, leaseRequest<AwsSession>(entry, 1200, request.mission.id)),
      issued(provider, leaseRequest<AwsSession>(entry)),
    ]);
    // By the tag alone, and whatever was recorded: also what a crash would have lost.
    await provider.revoke(first.revocation, now(), 'mission');
    expect(await works(first.deliver)).toBe(false);
    expect(await works(second.deliver)).toBe(false);
    expect(await works(other.deliver)).toBe(true);
  });

  it('gives a mission a new session after one of its sessions was revoked', async () => {
    const request = leaseRequest<AwsSession>(entry);
    const first = await issued(provider, request);
    await provider.revoke(first.revocation, now());
    const second = await issued(provider, leaseRequest<AwsSession>(entry, 1200, request.mission.id));
    expect(await works(first.deliver)).toBe(false);
    expect(await works(second.deliver)).toBe(true);
  });

  it('denies every older session of a role at once, whoever has it, and none that is issued afterwards', async () => {
    const other = await issued(provider, leaseRequest<AwsSession>({ ...entry, role: ASSUMED }));
    const [older, denied] = await Promise.all([
      issued(provider, leaseRequest<AwsSession>(entry)),
      issued(provider, leaseRequest<AwsSession>(entry)),
    ]);
    await provider.revoke(denied.revocation, now());
    expect(await works(older.deliver)).toBe(true);
    const at = now();
    await provider.denyOlder(WEB, at, at);
    expect(await works(older.deliver)).toBe(false);
    expect(await works(denied.deliver)).toBe(false);
    expect(await works(other.deliver)).toBe(true);
    // STS tells the second of an issue.
    await new Promise((resolve) => setTimeout(resolve, 1100));
    const after = await issued(provider, leaseRequest<AwsSession>(entry));
    expect(await works(after.deliver)).toBe(true);
    // The same denial again takes nothing more, and single denials go on beside it.
    await provider.denyOlder(WEB, at, now());
    expect(await works(after.deliver)).toBe(true);
    await provider.revoke(after.revocation, now());
    expect(await works(after.deliver)).toBe(false);
  });

  it('takes no web token for another audience, or by another key', async () => {
    const stranger = await startIssuer();
    const signers: readonly TestIssuer['sign'][] = [
      stranger.sign,
      (claims) => issuer.sign({ ...claims, aud: 'elsewhere.example.com' }),
    ];
    for (const sign of signers) {
      const forged = aws(ceph.url, 10_000, sign);
      await expect(issued(forged, leaseRequest<AwsSession>(entry))).rejects.toMatchObject({
        code: 'refused',
      });
      await forged.close();
    }
    await stranger.close();
  });
});
