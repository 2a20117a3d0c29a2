/**
 * Configuration of attesters, as the broker's strict file includes it. Every key is described: the JSON Schema and the
 * commented example are made from these texts. Unknown keys are refused.
 */
import { z } from 'zod';
import { egress, jwt, keySource, name, pattern, rules, type trustRuleSchema } from './config-parts.ts';
import {
  awsCallerIdentityAttesterSchema,
  awsWebIdentityAttesterSchema,
  azureAttesterSchema,
  gcpAttesterSchema,
  githubAttesterSchema,
  gitlabAttesterSchema,
  kubernetesAttesterSchema,
  spiffeAttesterSchema,
} from './config-platforms.ts';
import { ALGORITHMS } from './jws.ts';

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
