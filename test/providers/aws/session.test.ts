import {
  DeleteRolePolicyCommand,
  GetRolePolicyCommand,
  type IAMClient,
  PutRolePolicyCommand,
} from '@aws-sdk/client-iam';
import { GetCallerIdentityCommand, STSClient } from '@aws-sdk/client-sts';
import { decodeJwt, SignJWT } from 'jose';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { AwsSession } from '../../../src/domain/authority/types/aws_session.ts';
import type { JsonObject } from '../../../src/domain/json.ts';
import {
  type AwsSessionOptions,
  type AwsSessions,
  createAwsSessions,
} from '../../../src/providers/aws/session.ts';
import { pythonHas } from '../../foreign/python.ts';
import { motoRoles, startMoto } from '../../support/moto.ts';
import { type Counterpart, conforms, issued, leaseRequest } from '../conformance.ts';

const ROLE = 'arn:aws:iam::123456789012:role/data';
const WEB_ROLE = 'arn:aws:iam::123456789012:role/web';
const SECRET = 'secret-access-key-of-the-broker';
const entry = {
  type: 'aws_session',
  role: ROLE,
  statements: [{ actions: ['s3:GetObject'], resources: ['arn:aws:s3:::bucket/reports/*'] }],
};
const now = () => Date.now() / 1000;

describe.skipIf(!pythonHas('aws_session against moto', 'moto.server'))(
  'aws_session on the wire of moto',
  () => {
    let moto: Awaited<ReturnType<typeof startMoto>>;
    let iam: IAMClient;
    let provider: AwsSessions;
    const web_tokens: string[] = [];

    beforeAll(async () => {
      moto = await startMoto();
      iam = await motoRoles(moto.url, ['data', 'web']);
      provider = aws(moto.url);
    });
    afterEach(async () => {
      for (const RoleName of ['data', 'web'])
        await iam
          .send(new DeleteRolePolicyCommand({ RoleName, PolicyName: 'SortieRevoked' }))
          .catch(() => undefined);
    });
    afterAll(async () => {
      await provider.close();
      iam.destroy();
      await moto.close();
    });

    function aws(endpoint: string, more: Partial<AwsSessionOptions> = {}): AwsSessions {
      return createAwsSessions({
        region: 'eu-central-1',
        sts_endpoint: endpoint,
        iam_endpoint: endpoint,
        credentials: { access_key_id: 'broker', secret_access_key: SECRET },
        roles: [
          { arn: ROLE, login: { kind: 'assume_role' }, max_session_seconds: 3600, min_session_seconds: 900 },
          {
            arn: WEB_ROLE,
            login: {
              kind: 'web_identity',
              audience: 'sts.amazonaws.com',
              issuer: 'https://sortie.example.com',
              async sign(claims) {
                const token = await new SignJWT(claims)
                  .setProtectedHeader({ alg: 'HS256' })
                  .sign(Buffer.alloc(32, 'not verified by moto'));
                web_tokens.push(token);
                return token;
              },
            },
            max_session_seconds: 3600,
            min_session_seconds: 900,
          },
        ],
        mark: 'session_tag',
        deny_policy_name: 'SortieRevoked',
        deny_policy_max_characters: 10_240,
        propagation_seconds: 60,
        timeout_ms: 5000,
        ...more,
      });
    }

    async function callerOf(deliver: JsonObject): Promise<string> {
      const sts = new STSClient({
        region: 'eu-central-1',
        endpoint: moto.url,
        credentials: {
          accessKeyId: String(deliver['access_key_id']),
          secretAccessKey: String(deliver['secret_access_key']),
          sessionToken: String(deliver['session_token']),
        },
      });
      const { Arn } = await sts.send(new GetCallerIdentityCommand({}));
      sts.destroy();
      return Arn ?? '';
    }

    async function denied(role = 'data'): Promise<JsonObject[]> {
      const { PolicyDocument } = await iam.send(
        new GetRolePolicyCommand({ RoleName: role, PolicyName: 'SortieRevoked' }),
      );
      const { Statement } = JSON.parse(decodeURIComponent(PolicyDocument ?? '')) as {
        Statement: JsonObject[];
      };
      return Statement;
    }

    const counterpart = (login: string): Counterpart<AwsSession> => ({
      provider,
      entry: { ...entry, role: login },
      unconfigured: { ...entry, role: 'arn:aws:iam::123456789012:role/elsewhere' },
      broker_secrets: [SECRET],
      works: async (deliver) => (await callerOf(deliver)).includes(':assumed-role/'),
      secrets: (deliver) => [String(deliver['secret_access_key']), String(deliver['session_token'])],
      alive: async () => null,
      at: (port) => aws(`http://127.0.0.1:${port}`, { timeout_ms: 700 }),
      short_life_seconds: null,
      leases_are_independent: true,
      enforces: false,
    });

    describe('by AssumeRole', () => conforms<AwsSession>(() => counterpart(ROLE)));
    describe("by the broker's own JWT", () => conforms<AwsSession>(() => counterpart(WEB_ROLE)));

    it('names the session after the lease', async () => {
      const request = leaseRequest<AwsSession>(entry);
      const { deliver } = await issued(provider, request);
      expect(await callerOf(deliver)).toBe(`arn:aws:sts::123456789012:assumed-role/data/${request.lease_id}`);
    });

    it('puts mission, lease and agent into the web token, for tags that AWS enforces', async () => {
      const request = leaseRequest<AwsSession>({ ...entry, role: WEB_ROLE });
      await issued(provider, request);
      const claims = decodeJwt(web_tokens.at(-1) ?? '');
      expect(claims).toMatchObject({
        iss: 'https://sortie.example.com',
        aud: 'sts.amazonaws.com',
        sub: 'k8s/payments/reconciler',
        'https://aws.amazon.com/tags': {
          principal_tags: {
            'sortie-mission': [request.mission.id],
            'sortie-lease': [request.lease_id],
            'sortie-agent': ['k8s/payments/reconciler'],
          },
          transitive_tag_keys: ['sortie-mission', 'sortie-lease'],
        },
      });
      expect((claims.exp ?? 0) - (claims.iat ?? 0)).toBeLessThanOrEqual(60);
    });

    it('ends with the mission inside the policy where STS gives no session so short', async () => {
      const request = leaseRequest<AwsSession>(entry, 120);
      const { expires_at, revocation } = await issued(provider, request);
      expect(expires_at).toBeLessThanOrEqual(request.not_after);
      // The policy ends it: once it is over, nothing is left to deny, and no room on the list is taken.
      expect(await provider.revoke(revocation, expires_at)).toEqual({
        seconds: 0,
        why: 'the session was over',
      });
      await expect(denied()).rejects.toMatchObject({ name: 'NoSuchEntityException' });
    });

    it('denies one session by its lease, and all of a mission that is over', async () => {
      const request = leaseRequest<AwsSession>(entry);
      const { revocation } = await issued(provider, request);
      const residual = await provider.revoke(revocation, now());
      expect(residual).toEqual({ seconds: 60, why: 'IAM takes up to 60 s to deny a session everywhere' });
      await provider.revoke(revocation, now(), 'mission');
      expect((await denied()).map(({ Condition }) => Condition)).toEqual([
        { StringEquals: { 'aws:PrincipalTag/sortie-mission': [request.mission.id] } },
        { StringEquals: { 'aws:PrincipalTag/sortie-lease': [request.lease_id] } },
      ]);
    });

    it('denies by source identity where tags are not allowed', async () => {
      const by_identity = aws(moto.url, { mark: 'source_identity' });
      const request = leaseRequest<AwsSession>(entry);
      const { revocation } = await issued(by_identity, request);
      await by_identity.revoke(revocation, now(), 'mission');
      expect((await denied()).map(({ Condition }) => Condition)).toEqual([
        { StringLike: { 'aws:SourceIdentity': [`${request.mission.id}.*`] } },
      ]);
      await by_identity.close();
    });

    it('loses none of a hundred revocations at once', async () => {
      const requests = Array.from({ length: 100 }, () => leaseRequest<AwsSession>(entry));
      await Promise.all(
        requests.map((request) => provider.revoke(provider.plan(request, now()), now(), 'mission')),
      );
      const listed = (await denied()).flatMap(
        ({ Condition }) =>
          (Condition as { StringEquals: Record<string, string[]> }).StringEquals[
            'aws:PrincipalTag/sortie-mission'
          ],
      );
      expect(new Set(listed)).toEqual(new Set(requests.map((request) => request.mission.id)));
    });

    it('says that the list is full, what lives until when, and what could be done instead', async () => {
      const small = aws(moto.url, { deny_policy_max_characters: 700 });
      const outcomes = await Promise.allSettled(
        Array.from({ length: 40 }, () => {
          const request = leaseRequest<AwsSession>(entry);
          return small.revoke(small.plan(request, now()), now());
        }),
      );
      const refused = outcomes.flatMap((outcome) =>
        outcome.status === 'rejected' ? [outcome.reason as unknown] : [],
      );
      expect(refused.length).toBeGreaterThan(0);
      expect(refused.length).toBeLessThan(40);
      expect(JSON.stringify(await denied()).length).toBeLessThanOrEqual(700);
      expect(refused[0]).toMatchObject({
        code: 'deny_list_full',
        retry: true,
        residual: { seconds: expect.any(Number) },
        alternative: {
          kind: 'deny_older_sessions',
          role: ROLE,
          blast_radius: expect.stringContaining('other missions'),
        },
      });
      const full = refused[0] as { readonly residual: { readonly seconds: number } };
      expect(full.residual.seconds).toBeGreaterThan(800);
      const at = now();
      expect(await small.denyOlder(ROLE, at, at)).toMatchObject({ seconds: 60 });
      const older = await denied();
      expect(JSON.stringify(older)).toContain('aws:TokenIssueTime');
      // There is room again, and saying it twice is saying it once.
      await small.denyOlder(ROLE, at, now());
      expect(await denied()).toEqual(older);
      const late = leaseRequest<AwsSession>(entry);
      await small.revoke(small.plan(late, now()), now());
      expect(JSON.stringify(await denied())).toContain(late.lease_id);
      await small.close();
    });

    it('leaves a statement alone that somebody else put there', async () => {
      const foreign = { Sid: 'Somebody', Effect: 'Deny', Action: 's3:DeleteBucket', Resource: '*' };
      await iam.send(
        new PutRolePolicyCommand({
          RoleName: 'data',
          PolicyName: 'SortieRevoked',
          PolicyDocument: JSON.stringify({ Version: '2012-10-17', Statement: [foreign] }),
        }),
      );
      await provider.revoke(provider.plan(leaseRequest<AwsSession>(entry), now()), now());
      expect((await denied())[0]).toEqual(foreign);
      expect(await denied()).toHaveLength(2);
    });

    it('writes nothing for a session that is over', async () => {
      const plan = provider.plan(leaseRequest<AwsSession>(entry), now());
      expect(await provider.revoke(plan, now() + 4000)).toMatchObject({ seconds: 0 });
      await expect(denied()).rejects.toMatchObject({ name: 'NoSuchEntityException' });
    });
  },
);
