/** Template files: a ceiling for one kind of mission, readable and reviewed by people (wire profile 2.3). */
import { z } from 'zod';
import { type Catalogue, parseAuthoritySet, resolveIncludes } from '../domain/authority/index.ts';
import type { JsonValue } from '../domain/json.ts';
import { TIERS } from '../domain/mission.ts';
import type { TemplateDocument } from '../domain/policy.ts';
import { duration } from './duration.ts';

const count = () => z.number().int().min(1);

/** Actions by the audience's catalogue; see docs/authority.md. Resolved before the template is hashed. */
const include = z.strictObject({
  include: z
    .strictObject({
      label: z.string().min(1).max(32).optional().describe('Every action that has this label.'),
      family: z
        .string()
        .min(3)
        .max(128)
        .optional()
        .describe('Every action under this family, such as invoices.*.'),
    })
    .describe('Of the actions that the audience registers now, those that match everything named here.'),
});

export const templateSchema = z.strictObject({
  id: z
    .string()
    .regex(/^[a-z0-9][a-z0-9-]{0,63}$/, 'must be lower-case letters, digits and dashes')
    .describe('Named by the dispatch list.'),
  version: z.string().min(1).max(32).describe('Any word; the hash is what is approved.'),
  description: z.string().max(1024).optional().describe('What missions of this kind are for.'),
  ceiling: z
    .array(
      z.looseObject({
        type: z.string(),
        actions: z
          .array(z.union([z.string(), include]))
          .optional()
          .describe('Of a mission_resource_access: names, families, and includes from the catalogue.'),
      }),
    )
    .min(1)
    .describe('The most that a mission may be granted: authorization_details, entry by entry.'),
  token_ttl: duration().prefault('5m').describe('Life of one token.'),
  lifetime: duration().describe('Longest life of a mission.'),
  attest_every: duration().optional().describe('Longest silence before suspension; default twice token_ttl.'),
  required_tier: z.enum(TIERS).default('reusable').describe('The weakest evidence accepted.'),
  max_active: count().optional().describe('Live missions of this template at once.'),
  dispatch_rate: z
    .strictObject({
      count: count().describe('This many new missions of one agent ...'),
      per: duration().describe('... in this time.'),
    })
    .optional()
    .describe('How often an agent may start one.'),
  review_every: duration()
    .optional()
    .describe('The approval is due again after this; overdue versions stop dispatching.'),
  limits: z
    .strictObject({
      max_derivations: count().optional().describe('Tokens minted under one mission.'),
      max_calls: count().optional().describe('Calls under one mission, over all of its audiences.'),
      max_egress_volume: count().optional().describe('Bytes sent to the agent under one mission.'),
    })
    .prefault({})
    .describe('Limits of one mission.'),
  bearer_audiences: z
    .array(z.url())
    .default([])
    .describe('Audiences whose servers cannot check proofs: tokens of at most 60 s without one.'),
  deliver_audiences: z
    .array(z.url())
    .default([])
    .describe('Reserved audiences whose token leaves the broker after all.'),
});

/**
 * The document as stored and hashed, with every include resolved.
 * @param catalogue of the registered audiences; null where they are not known
 * @throws Denied for the ceiling
 */
export function templateOf(
  file: z.output<typeof templateSchema>,
  catalogue: Catalogue | null,
): TemplateDocument {
  return {
    id: file.id,
    version: file.version,
    ...(file.description !== undefined && { description: file.description }),
    ceiling: parseAuthoritySet(resolveIncludes(file.ceiling as JsonValue, catalogue, 'ceiling'), 'ceiling'),
    token_ttl_seconds: file.token_ttl,
    lifetime_seconds: file.lifetime,
    attest_every_seconds: file.attest_every ?? 2 * file.token_ttl,
    required_tier: file.required_tier,
    max_active: file.max_active ?? null,
    dispatch_rate: file.dispatch_rate
      ? { count: file.dispatch_rate.count, per_seconds: file.dispatch_rate.per }
      : null,
    review_every_seconds: file.review_every ?? null,
    limits: {
      ...(file.limits.max_derivations !== undefined && { max_derivations: file.limits.max_derivations }),
      ...(file.limits.max_calls !== undefined && { max_calls: file.limits.max_calls }),
      ...(file.limits.max_egress_volume !== undefined && {
        max_egress_volume: file.limits.max_egress_volume,
      }),
    },
    bearer_audiences: file.bearer_audiences,
    deliver_audiences: file.deliver_audiences,
  };
}
