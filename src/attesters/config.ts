/**
 * Configuration of attesters, as the broker's strict file includes it. Every key is described: the JSON Schema and
 * the commented example are made from these texts. Unknown keys are refused.
 */
import { z } from 'zod';
import { TIERS } from '../domain/mission.ts';
import { parseClaimPath, parsePattern, parseTemplate } from '../domain/trust.ts';
import { ALGORITHMS } from './jws.ts';
import { GCP_ISSUER, GITHUB_ISSUER, GITLAB_ISSUER } from './presets/platforms.ts';

/** Turns the domain's teaching errors into zod issues at the right place. */
function checkedBy(parse: (text: string) => unknown) {
  return (text: string, context: z.RefinementCtx) => {
    try {
      parse(text);
    } catch (error) {
      context.addIssue({ code: 'custom', message: error instanceof Error ? error.message : 'not accepted' });
    }
  };
}

const pattern = z
  .string()
  .superRefine(checkedBy(parsePattern))
  .describe('Exact text, or "*" in place of a whole segment between "/" or ":". Never a regular expression.');
const identityTemplate = z.string().superRefine(checkedBy(parseTemplate));
const address = z.url({ protocol: /^https?$/ });
const name = z
  .string()
  .regex(/^[a-z0-9][a-z0-9-]{0,62}$/)
  .describe('Name of the attester in missions, decisions and revocations; lower case, digits and "-".');

/** A trust rule: which claims make which agent. */
export const trustRuleSchema = z
  .strictObject({
    name: z
      .string()
      .min(1)
      .max(128)
      .describe('Name of the rule; it is recorded in every mission that it admits.'),
    match: z
      .record(z.string().superRefine(checkedBy(parseClaimPath)), pattern)
      .refine((match) => Object.keys(match).length > 0, 'match at least one claim')
      .describe(
        'Claim to pattern; all must match. A claim is a top-level name, or a JSON pointer such as "/google/compute_engine/project_id". Lists match if one element does.',
      ),
    agent: identityTemplate.describe(
      'Agent id, with claims in braces: "k8s/{/kubernetes.io/namespace}". Values are escaped.',
    ),
    instance: identityTemplate.describe(
      'Id of the running copy: pod uid, run id, machine id. Missions are bound to it.',
    ),
    tier: z
      .enum(TIERS)
      .optional()
      .describe(
        'Weakest evidence that this rule accepts. The mission records the tier that the evidence really had; "dev" marks it as development.',
      ),
    max_keys: z
      .int()
      .min(1)
      .max(1000)
      .optional()
      .describe('Distinct keys that may present the same reusable evidence. Default 1.'),
    caps_token: z.boolean().optional().describe('Tokens end with the evidence. Default false.'),
  })
  .describe('Which claims make which agent; the first rule that matches wins.');

const rules = z
  .array(trustRuleSchema)
  .min(1)
  .describe('Trust rules, in order; the first that matches wins, none refuses.');

/** Keys shared by everything that fetches. */
const egress = {
  allow_private_addresses: z
    .boolean()
    .default(false)
    .describe(
      "Permit loopback and private addresses, and plain http, for this attester's endpoints. Link-local and metadata addresses stay refused. Default false.",
    ),
  timeout_ms: z
    .int()
    .min(100)
    .max(30_000)
    .default(3_000)
    .describe('Longest time for one request, look-up and body included. Milliseconds, default 3000.'),
  max_stale_seconds: z
    .int()
    .min(0)
    .max(86_400)
    .default(3_600)
    .describe('While the endpoint fails, keys fetched earlier are used up to this age. Default 3600.'),
  max_key_age_seconds: z
    .int()
    .min(10)
    .max(86_400)
    .default(600)
    .describe('Keys are refreshed at this age, in the background from half of it. Default 600.'),
  cooldown_seconds: z
    .int()
    .min(1)
    .max(300)
    .default(5)
    .describe('Least time between fetches that unknown keys or failures cause. Default 5.'),
};

/** Keys shared by attesters of signed JWTs. */
const jwt = {
  name,
  audience: z
    .string()
    .min(1)
    .max(512)
    .optional()
    .describe(
      "The audience that evidence must name. Default: the broker's issuer. Set it only where the platform does not let the workload choose.",
    ),
  leeway_seconds: z
    .int()
    .min(0)
    .max(60)
    .default(10)
    .describe('Clock difference that is forgiven. Default 10.'),
  max_age_seconds: z
    .int()
    .min(1)
    .max(604_800)
    .default(3_660)
    .describe('Longest time since the evidence was issued. Default 3660.'),
};

const keySource = {
  jwks_uri: address
    .optional()
    .describe(
      "Address of the issuer's keys. Without it, jwks or jwks_file, OpenID Connect discovery is used.",
    ),
  jwks: z
    .strictObject({ keys: z.array(z.record(z.string(), z.json())).min(1) })
    .optional()
    .describe("The issuer's public keys, inline."),
  jwks_file: z
    .string()
    .min(1)
    .optional()
    .describe("File with the issuer's public keys; read again when they age."),
  ca_file: z
    .string()
    .min(1)
    .optional()
    .describe(
      "PEM certificates that the endpoint's certificate must chain to, instead of the built-in ones.",
    ),
  bearer_token_file: z
    .string()
    .min(1)
    .optional()
    .describe('File with a bearer token for the endpoint, such as a Kubernetes service account token.'),
};

const algorithms = z
  .array(z.enum(ALGORITHMS))
  .min(1)
  .default(['RS256', 'ES256'])
  .describe('Signature algorithms that are accepted. Default RS256 and ES256.');

export const oidcAttesterSchema = z
  .strictObject({
    kind: z.literal('oidc'),
    ...jwt,
    issuer: z.string().min(1).max(512).describe('The exact "iss" of the evidence. It chooses this attester.'),
    algorithms,
    typ: z
      .array(z.string().min(1))
      .default([])
      .describe(
        'Header "typ" values accepted beside "JWT" and none. Default none: access tokens and proofs are not evidence.',
      ),
    ...keySource,
    ...egress,
    rules,
  })
  .describe('Any OpenID Connect issuer that signs JWTs.');

export const enrolledAttesterSchema = z
  .strictObject({
    kind: z.literal('enrolled'),
    name,
    leeway_seconds: jwt.leeway_seconds,
    agents: z
      .array(pattern)
      .min(1)
      .optional()
      .describe('Agent ids that enrolled keys may stand for. Keep platforms\' own ids out: "laptop/*".'),
  })
  .describe('Keys enrolled with a one-time code, for laptops and machines without a platform identity.');

/** A rule under a preset: agent and instance have defaults, and claims have short names. */
export const presetRuleSchema = z
  .strictObject({
    ...trustRuleSchema.shape,
    agent: identityTemplate
      .optional()
      .describe("Agent id. Default: made of the platform's immutable ids, see docs/attestation.md."),
    instance: identityTemplate
      .optional()
      .describe('Id of the running copy. Default: pod uid, run id, job id or machine id.'),
  })
  .describe(
    "Which of the platform's workloads makes which agent. At least one immutable claim must be matched.",
  );

const presetRules = z
  .array(presetRuleSchema)
  .min(1)
  .describe('Trust rules, in order; the first that matches wins, none refuses.');
const presetJwt = {
  ...jwt,
  max_age_seconds: jwt.max_age_seconds
    .unwrap()
    .optional()
    .describe("Longest time since the evidence was issued. Default: the platform's own longest life."),
};
const platform = { ...presetJwt, ...keySource, ...egress, rules: presetRules };

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

/** One entry of `attesters`. */
export const attesterConfigSchema = z.discriminatedUnion('kind', [
  oidcAttesterSchema,
  enrolledAttesterSchema,
  kubernetesAttesterSchema,
  githubAttesterSchema,
  gitlabAttesterSchema,
  gcpAttesterSchema,
  azureAttesterSchema,
  awsWebIdentityAttesterSchema,
  spiffeAttesterSchema,
  awsCallerIdentityAttesterSchema,
]);

export type OidcAttesterConfig = z.infer<typeof oidcAttesterSchema>;
export type SpiffeAttesterConfig = z.infer<typeof spiffeAttesterSchema>;
export type EnrolledAttesterConfig = z.infer<typeof enrolledAttesterSchema>;
export type TrustRuleConfig = z.infer<typeof trustRuleSchema>;
/** After parsing: defaults filled in. */
export type AttesterConfig = z.infer<typeof attesterConfigSchema>;
/** As written in the file. */
export type AttesterConfigInput = z.input<typeof attesterConfigSchema>;
