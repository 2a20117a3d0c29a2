/** Shapes that several routes share; `openapi.yaml` shows them. */
import { z } from 'zod';
import { SELECTOR_KINDS } from '../domain/revocation.ts';
import { BROKER_REASON } from '../operations/lifecycle.ts';

export const detailsSchema = z.array(z.looseObject({ type: z.string() }));

export const narrowedSchema = z.array(
  z.object({
    wanted: z.unknown(),
    granted: z.unknown(),
    reason: z.string(),
    rule: z.string().describe('The rule that cut.'),
  }),
);

/** RFC 6749 section 5.2, with the members of wire profile 2.7. */
export const oauthErrorSchema = z.looseObject({
  error: z.string(),
  error_description: z.string().optional(),
  mission_denial_reason: z.string().optional(),
  mission_error: z.string().optional(),
});

/** RFC 9457. */
export const problemSchema = z.looseObject({
  type: z.string(),
  title: z.string(),
  status: z.number().int(),
  detail: z.string().optional(),
});

const remainingSchema = z.object({ max: z.number().int(), left: z.number().int() });
const countedSchema = remainingSchema.extend({
  audiences: z
    .array(z.object({ audience: z.string(), held: z.number().int(), left: z.number().int() }))
    .optional()
    .describe('held: in allotments of tokens, or spent. left: what may still be given out there.'),
});

export const limitsSchema = z.object({
  derivations: remainingSchema.optional(),
  max_calls: countedSchema.optional(),
  max_egress_volume: countedSchema.optional(),
  max_budget: z
    .object({ max: z.string(), left: z.string(), currency: z.string() })
    .optional()
    .describe('Exact decimals.'),
});

export const manifestSchema = z.object({
  mission: z.object({
    id: z.string(),
    state: z.string(),
    version: z.number().int(),
    expires_at: z.string(),
    attest_before: z.string(),
    template: z.object({ id: z.string(), version: z.string() }),
  }),
  authorization_details: detailsSchema,
  limits: limitsSchema,
  credentials: z.array(
    z.object({
      id: z.string(),
      type: z.string(),
      audience: z.string(),
      expires_at: z.string(),
      residual_after_revoke_seconds: z.number().int(),
      residual_reason: z.string().optional(),
      value: z.union([z.string(), z.record(z.string(), z.unknown())]).optional(),
      token_type: z.string().optional(),
      replaces: z.string().optional().describe('The renewed credential that this one takes the place of.'),
    }),
  ),
  narrowed: narrowedSchema.optional(),
});

export const selectorSchema = z.strictObject({
  kind: z.enum(SELECTOR_KINDS),
  key: z.string().min(1).max(512),
});

/** What one call can end: more than can be blocked. */
export const revocationSelectorSchema = z.strictObject({
  ...selectorSchema.shape,
  kind: z.enum([...SELECTOR_KINDS, 'credential']),
});

/** Why: shown to people beside what was done. */
export const reasonSchema = z
  .string()
  .min(1)
  .max(1024)
  .refine((reason) => !reason.startsWith(BROKER_REASON), `must not begin with ${BROKER_REASON}`);

export const cursorQuery = {
  cursor: z.string().max(512).optional(),
  limit: z.coerce.number().int().min(1).max(500).default(50),
};
