/** Configuration of attesters for known platforms: a preset each, so that an entry takes a few lines. */
import { z } from 'zod';
import { address, egress, jwt, name, platform, presetRules } from './config-parts.ts';
import { GCP_ISSUER, GITHUB_ISSUER, GITLAB_ISSUER } from './presets/platforms.ts';

export const kubernetesAttesterSchema = z
  .strictObject({
    kind: z.literal('kubernetes'),
    ...platform,
    issuer: z
      .string()
      .min(1)
      .max(512)
      .describe("The cluster's service account issuer (--service-account-issuer)."),
    live: z
      .strictObject({
        api_server: address
          .default('https://kubernetes.default.svc')
          .describe('Address of the API server. Default https://kubernetes.default.svc.'),
        token_file: z
          .string()
          .min(1)
          .default('/var/run/secrets/kubernetes.io/serviceaccount/token')
          .describe(
            'The broker\'s own service account token; it needs "create tokenreviews" and, with check_pod, "get pods".',
          ),
        ca_file: z
          .string()
          .min(1)
          .optional()
          .describe(
            'PEM certificates of the API server, such as /var/run/secrets/kubernetes.io/serviceaccount/ca.crt.',
          ),
        check_pod: z
          .boolean()
          .default(true)
          .describe('See the pod itself: same uid, same service account, running. Default true.'),
      })
      .optional()
      .describe(
        'Ask the API server about every token (tier "live"). Rules that name tier "reusable" accept the offline check while it cannot be asked.',
      ),
  })
  .describe('Kubernetes service account tokens of one cluster.');

export const githubAttesterSchema = z
  .strictObject({
    kind: z.literal('github-actions'),
    ...platform,
    issuer: address
      .default(GITHUB_ISSUER)
      .describe(`Default ${GITHUB_ISSUER}; an Enterprise Server has its own.`),
    allow_pull_requests: z
      .boolean()
      .default(false)
      .describe(
        'Accept runs started by pull requests, issues and comments, which work on what strangers wrote. Default false.',
      ),
  })
  .describe('GitHub Actions workflow runs. Only protected refs, unless a rule names ref_protected.');

export const gitlabAttesterSchema = z
  .strictObject({
    kind: z.literal('gitlab'),
    ...platform,
    issuer: address
      .default(GITLAB_ISSUER)
      .describe(`Address of the GitLab instance. Default ${GITLAB_ISSUER}.`),
    allow_merge_requests: z
      .boolean()
      .default(false)
      .describe("Accept merge request pipelines, forks' included. Default false."),
  })
  .describe('GitLab CI/CD jobs. Only protected refs, unless a rule names ref_protected.');

export const gcpAttesterSchema = z
  .strictObject({
    kind: z.literal('gcp'),
    ...platform,
    issuer: address.default(GCP_ISSUER).describe(`Default ${GCP_ISSUER}.`),
  })
  .describe('Google Compute Engine instance identity tokens (format=full).');

export const azureAttesterSchema = z
  .strictObject({
    kind: z.literal('azure'),
    ...platform,
    audience: z
      .string()
      .min(1)
      .max(512)
      .describe(
        'The application that managed identities ask tokens for, such as api://sortie; Azure does not let a workload choose freely.',
      ),
    tenant_id: z.guid().describe('The Microsoft Entra tenant.'),
    version: z
      .enum(['v1', 'v2'])
      .default('v1')
      .describe('Token version of that application: v1 (issuer sts.windows.net) or v2. Default v1.'),
    issuer: address
      .optional()
      .describe('Replaces the issuer that tenant and version make; for sovereign clouds.'),
  })
  .describe('Azure managed identities.');

export const awsWebIdentityAttesterSchema = z
  .strictObject({
    kind: z.literal('aws-web-identity'),
    ...platform,
    issuer: address.describe(
      "The account's own issuer, https://<id>.tokens.sts.global.api.aws (aws iam enable-outbound-web-identity-federation).",
    ),
  })
  .describe('AWS outbound identity federation (GetWebIdentityToken).');

export const spiffeAttesterSchema = z
  .strictObject({
    kind: z.literal('spiffe'),
    ...jwt,
    ...egress,
    max_key_age_seconds: z
      .int()
      .min(10)
      .max(86_400)
      .default(3_600)
      .describe(
        'The bundle is refreshed at this age, or at its refresh hint if that is sooner. Default 3600.',
      ),
    trust_domain: z
      .string()
      .regex(/^[a-z0-9._-]{1,255}$/)
      .describe('The trust domain that this attester answers for, without "spiffe://".'),
    accept: z
      .array(z.enum(['jwt-svid', 'x509-svid']))
      .min(1)
      .default(['jwt-svid', 'x509-svid'])
      .describe('Kinds of SVID that are accepted. Default both.'),
    bundle: z
      .union([
        z.strictObject({ file: z.string().min(1).describe('File with the bundle (JWK set).') }),
        z.strictObject({
          https_web: address.describe('Bundle endpoint, authenticated by its web certificate.'),
          ca_file: z
            .string()
            .min(1)
            .optional()
            .describe('PEM certificates that the endpoint must chain to, instead of the built-in ones.'),
        }),
        z.strictObject({
          workload_api: z
            .string()
            .startsWith('unix:')
            .describe('Socket of the local SPIFFE agent, such as unix:///run/spire/agent.sock.'),
        }),
      ])
      .describe("Where the trust domain's bundle comes from: file, https_web or workload_api."),
    rules: presetRules.describe(
      'Trust rules over spiffe_id, trust_domain, path and /segments/N. Agent defaults to "spiffe/{trust_domain}/{path}".',
    ),
  })
  .describe('SPIFFE workloads of one trust domain: JWT-SVIDs and X509-SVIDs.');

export const awsCallerIdentityAttesterSchema = z
  .strictObject({
    kind: z.literal('aws-caller-identity'),
    name,
    audience: jwt.audience,
    leeway_seconds: jwt.leeway_seconds,
    max_age_seconds: z
      .int()
      .min(10)
      .max(900)
      .default(300)
      .describe('Longest time since the request was signed. Default 300.'),
    timeout_ms: egress.timeout_ms,
    regions: z
      .array(z.string().regex(/^[a-z]{2}(-[a-z]+)+-[0-9]$/))
      .min(1)
      .describe('Regions whose STS may be asked; the workload signs for one of them.'),
    rules: presetRules.describe(
      'Trust rules over account, principal_id, principal_type, name, session and arn. Agent defaults to "aws/{account}/{name}".',
    ),
  })
  .describe('AWS workloads that sign a GetCallerIdentity request, for accounts without outbound federation.');
