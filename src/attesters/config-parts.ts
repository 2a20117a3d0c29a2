/** Keys that configurations of attesters share. Every key is described, for the JSON Schema and the commented example. */
import { z } from 'zod';
import { TIERS } from '../domain/mission.ts';
import { parseClaimPath, parsePattern, parseTemplate } from '../domain/trust.ts';

/** Turns the domain's teaching errors into zod issues at the right place. */
export function checkedBy(parse: (text: string) => unknown) {
  return (text: string, context: z.RefinementCtx) => {
    try {
      parse(text);
    } catch (error) {
      context.addIssue({ code: 'custom', message: error instanceof Error ? error.message : 'not accepted' });
    }
  };
}

export const pattern = z
  .string()
  .superRefine(checkedBy(parsePattern))
  .describe('Exact text, or "*" in place of a whole segment between "/" or ":". Never a regular expression.');
export const identityTemplate = z.string().superRefine(checkedBy(parseTemplate));
export const address = z.url({ protocol: /^https?$/ });
export const name = z
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
      .record(z.string().min(1).superRefine(checkedBy(parseClaimPath)), pattern)
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

export const rules = z
  .array(trustRuleSchema)
  .min(1)
  .describe('Trust rules, in order; the first that matches wins, none refuses.');

/** Keys shared by everything that fetches. */
export const egress = {
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
export const jwt = {
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

export const keySource = {
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

export const presetRules = z
  .array(presetRuleSchema)
  .min(1)
  .describe('Trust rules, in order; the first that matches wins, none refuses.');
export const presetJwt = {
  ...jwt,
  max_age_seconds: jwt.max_age_seconds
    .unwrap()
    .optional()
    .describe("Longest time since the evidence was issued. Default: the platform's own longest life."),
};
export const platform = { ...presetJwt, ...keySource, ...egress, rules: presetRules };
