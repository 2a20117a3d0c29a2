/** moto as the AWS of a bundle: two roles, what was denied on them, and who holds a session. */
import { GetRolePolicyCommand } from '@aws-sdk/client-iam';
import { GetCallerIdentityCommand, STSClient } from '@aws-sdk/client-sts';
import { motoRoles, startMoto } from './moto.ts';

export const DATA_ROLE = 'arn:aws:iam::123456789012:role/data';
/** Assumed with the broker's own JWT. */
export const WEB_ROLE = 'arn:aws:iam::123456789012:role/web';
export const AWS_AUDIENCE = 'https://sts.amazonaws.com';

export const awsEntry = (role: string, region: string) => ({
  type: 'aws_session',
  role,
  statements: [{ actions: ['s3:GetObject'], resources: [`arn:aws:s3:::reports-${region}/*`] }],
  regions: [region],
});

export interface BundleAws {
  /** Of moto itself. */
  readonly port: number;
  /** The ARN that a delivered session acts as; null if moto knows none. */
  callerOf(value: unknown): Promise<string | null>;
  /** Ids of missions and leases that the role's deny policy names. */
  denied(role?: 'data' | 'web'): Promise<readonly string[]>;
  close(): Promise<void>;
}

export async function startBundleAws(): Promise<BundleAws> {
  const moto = await startMoto();
  const iam = await motoRoles(moto.url, ['data', 'web']);
  return {
    port: moto.port,
    async callerOf(value) {
      const delivered = value as Record<string, string>;
      const sts = new STSClient({
        region: 'eu-central-1',
        endpoint: moto.url,
        credentials: {
          accessKeyId: delivered['access_key_id'] ?? '',
          secretAccessKey: delivered['secret_access_key'] ?? '',
          sessionToken: delivered['session_token'] ?? '',
        },
      });
      try {
        return (await sts.send(new GetCallerIdentityCommand({}))).Arn ?? null;
      } finally {
        sts.destroy();
      }
    },
    async denied(role = 'data') {
      try {
        const { PolicyDocument } = await iam.send(
          new GetRolePolicyCommand({ RoleName: role, PolicyName: 'SortieRevoked' }),
        );
        const { Statement } = JSON.parse(decodeURIComponent(PolicyDocument ?? '')) as {
          Statement: { Condition: { StringEquals: Record<string, string[]> } }[];
        };
        return Statement.flatMap(({ Condition }) => Object.values(Condition.StringEquals).flat());
      } catch (cause) {
        if (cause instanceof Error && cause.name.startsWith('NoSuchEntity')) return [];
        throw cause;
      }
    },
    async close() {
      iam.destroy();
      await moto.close();
    },
  };
}
