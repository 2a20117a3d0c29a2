/** Configuration of credential providers, as the broker's strict file includes it. Unknown keys are refused. */
import { z } from 'zod';
import { duration } from './duration.ts';
import { secretSchema } from './secret.ts';

const name = () =>
  z
    .string()
    .regex(/^[A-Za-z0-9._-]{1,64}$/, 'must be letters, digits, ".", "-" and "_"')
    .describe('As `server` of entries names it.');
const timeout = () => duration().prefault('5s').describe('For one request; what takes longer has failed.');
const ca_file = () =>
  z.string().min(1).optional().describe('PEM certificates to trust instead of the built-in ones.');
const endpoint = () => z.url({ protocol: /^https?$/ });
const audience = () =>
  z
    .string()
    .min(1)
    .describe('A reserved audience: its JWT, signed with its token_alg, never leaves the broker.');

const postgresSchema = z.strictObject({
  name: name(),
  host: z.string().min(1).describe('Host name or address, for the broker and for agents.'),
  port: z.number().int().min(1).max(65_535).default(5432).describe('Port.'),
  user: z
    .string()
    .min(1)
    .describe('Role of the broker: CREATEROLE, no superuser, grants with the grant option.'),
  password: secretSchema.describe('Password of that role.'),
  tls: z
    .union([z.literal('off'), z.strictObject({ ca_file: ca_file() })])
    .prefault({})
    .describe('`off` only where the network itself is private: everything then goes in the clear.'),
  timeout: timeout(),
});

const vaultSchema = z.strictObject({
  name: name(),
  url: endpoint().describe('Base URL of Vault or OpenBao.'),
  namespace: z.string().min(1).optional().describe('Namespace, where there are any.'),
  ca_file: ca_file(),
  login: z
    .union([
      z.strictObject({
        jwt: z
          .strictObject({
            mount: z
              .string()
              .regex(/^[A-Za-z0-9._-]{1,64}$/)
              .default('jwt')
              .describe('Mount of the JWT auth method.'),
            audience: audience(),
            broker_role: z.string().min(1).describe('Role of the broker itself, to revoke accessors with.'),
          })
          .describe("The broker's own JWT; roles of entries must have a token_ttl of at most 60 s."),
      }),
      z.strictObject({
        token: secretSchema.describe(
          'A token that creates tokens of orphan token roles and revokes accessors.',
        ),
      }),
    ])
    .describe('How the broker logs in.'),
  timeout: timeout(),
});

const awsSchema = z.strictObject({
  region: z.string().min(1).describe('Region of the STS that is asked.'),
  sts_endpoint: endpoint().optional().describe("Other than AWS's own."),
  iam_endpoint: endpoint().optional().describe("Other than AWS's own."),
  credentials: z
    .strictObject({
      access_key_id: secretSchema.describe('Of the broker.'),
      secret_access_key: secretSchema.describe('Of the broker.'),
    })
    .optional()
    .describe("Without it the SDK's own chain: the instance's, the pod's or the environment's role."),
  roles: z
    .array(
      z.strictObject({
        arn: z.string().min(1).describe('ARN of the role, as entries name it.'),
        external_id: z.string().min(2).optional().describe('For AssumeRole.'),
        web_identity: z
          .strictObject({ audience: audience() })
          .optional()
          .describe("AssumeRoleWithWebIdentity with the broker's own JWT instead of AssumeRole."),
        max_session: duration().prefault('1h').describe("The role's MaxSessionDuration."),
        min_session: duration().prefault('15m').describe("STS's floor."),
      }),
    )
    .min(1)
    .describe('Roles that missions may be given sessions of.'),
  mark: z
    .enum(['session_tag', 'source_identity'])
    .default('session_tag')
    .describe(
      'What sessions are denied by; needs sts:TagSession or sts:SetSourceIdentity in the trust policy.',
    ),
  deny_policy_name: z
    .string()
    .regex(/^[\w+=,.@-]{1,128}$/)
    .default('SortieRevoked')
    .describe('Inline policy of the roles that this broker, and nobody else, writes.'),
  deny_policy_max_characters: z
    .number()
    .int()
    .min(512)
    .max(10_240)
    .default(10_240)
    .describe('What it may grow to; IAM allows 10240 over all inline policies of a role.'),
  propagation: duration()
    .prefault('1m')
    .describe('How long a change in IAM may take to be in force: the residual.'),
  timeout: timeout(),
});

const kubernetesSchema = z.strictObject({
  name: z
    .string()
    .regex(/^[A-Za-z0-9._-]{1,64}$/, 'must be letters, digits, ".", "-" and "_"')
    .describe('As `cluster` of entries names it.'),
  url: endpoint().describe('Base URL of the API server.'),
  ca_file: ca_file(),
  token: secretSchema.describe("The broker's own token; a file is read again at each use."),
  timeout: timeout(),
});

const githubSchema = z.strictObject({
  name: z
    .string()
    .regex(/^[A-Za-z0-9._-]{1,64}$/, 'must be letters, digits, ".", "-" and "_"')
    .describe('As `app` of entries names it.'),
  api_url: endpoint()
    .refine((url) => !url.endsWith('/'), 'must not end with a slash')
    .default('https://api.github.com')
    .describe('Of an Enterprise Server: https://HOST/api/v3.'),
  ca_file: ca_file(),
  app_id: z.string().min(1).max(64).describe("The app's client id, or its app id in quotes."),
  private_key: secretSchema.describe('Of the app: RSA, PEM. Whoever has it has every installation.'),
  timeout: timeout(),
});

export const providersSchema = z
  .strictObject({
    postgres: z.array(postgresSchema).default([]).describe('Servers of `postgres_role`.'),
    vault: z.array(vaultSchema).default([]).describe('Servers of `vault_secret`.'),
    kubernetes: z.array(kubernetesSchema).default([]).describe('Clusters of `kubernetes_token`.'),
    github: z.array(githubSchema).default([]).describe('GitHub Apps of `github_installation_token`.'),
    aws: awsSchema.optional().describe('Accounts of `aws_session`.'),
  })
  .prefault({})
  .describe('Where credentials other than tokens come from.');

export type ProvidersConfig = z.output<typeof providersSchema>;
