/** Template files: a ceiling for one kind of mission, readable and reviewed by people (wire profile 2.3). */
import { z } from 'zod';
import { RULE_NAMES } from '../behaviour/rules.ts';
import {
  HISTORY_MODES,
  RESPONSES,
  RULE_MODES,
  type TemplateBehaviour,
  valueFault,
} from '../behaviour/section.ts';
import { SINK_KINDS } from '../behaviour/values.ts';
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

const RULE_MEANS: Record<(typeof RULE_NAMES)[number], string> = {
  stray_effect: 'An effect outside the mission.',
  stray_read: 'A read outside the mission that fetches an address nobody vouches for.',
  stray_secret: 'After taint, a read of secrets outside the mission.',
  unproven_sink: 'After taint, a destination that nothing vouches for.',
  deceptive_sink: 'A destination written to read as another.',
  foreign_content: 'After taint, an effect without destination that says what strangers wrote.',
};

const vouched = (scoped: boolean) =>
  z
    .strictObject({
      kind: z.enum(SINK_KINDS).describe('What the values name, as in the catalogue of the audience.'),
      values: z.array(z.string().min(1).max(512)).min(1).max(256),
      ...(scoped && {
        actions: z
          .array(z.string().min(1).max(128))
          .min(1)
          .max(64)
          .optional()
          .describe('Actions in which they count; every action without it.'),
      }),
    })
    .superRefine(({ kind, values }, context) => {
      for (const [index, value] of values.entries()) {
        const fault = valueFault(kind, value);
        if (fault !== null) context.addIssue({ code: 'custom', path: ['values', index], message: fault });
      }
    });

/** See docs/containment.md. What is not written is not hashed, and takes its default. */
const behaviour = z.strictObject({
  rules: z
    .strictObject(
      Object.fromEntries(
        RULE_NAMES.map((rule) => [rule, z.enum(RULE_MODES).optional().describe(RULE_MEANS[rule])]),
      ) as Record<
        (typeof RULE_NAMES)[number],
        z.ZodOptional<z.ZodEnum<{ deny: 'deny'; observe: 'observe'; off: 'off' }>>
      >,
    )
    .optional()
    .describe('Each rule: deny, observe (judged and recorded, nothing refused) or off.'),
  responses: z
    .strictObject(
      Object.fromEntries(RULE_NAMES.map((rule) => [rule, z.enum(RESPONSES).optional()])) as Record<
        (typeof RULE_NAMES)[number],
        z.ZodOptional<
          z.ZodEnum<{ observe: 'observe'; contain: 'contain'; suspend: 'suspend'; revoke: 'revoke' }>
        >
      >,
    )
    .optional()
    .describe(
      'What a denial by a rule asks of the broker; default suspend for stray_effect, observe for the others.',
    ),
  values: z.array(vouched(true)).max(64).optional().describe('Destinations that the template vouches for.'),
  own: z.array(vouched(false)).max(16).optional().describe("The principal's own addresses."),
  history: z
    .enum(HISTORY_MODES)
    .optional()
    .describe(
      'Whether what clean missions of the same agent used may vouch; internal: not for external effects.',
    ),
  ambient_reads: z
    .boolean()
    .optional()
    .describe('Whether plain reads outside the mission are let through; default true.'),
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
      max_derivations: count().optional().describe('Tokens minted under one mission and those below it.'),
      max_calls: count().optional().describe('Calls under one mission, over all of its audiences.'),
      max_egress_volume: count().optional().describe('Bytes sent to the agent under one mission.'),
      max_children: count().optional().describe('Live child missions of one mission at once.'),
      max_descendants: count()
        .optional()
        .describe('Missions below one mission, children of children and ended ones included.'),
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
  behaviour: behaviour
    .optional()
    .describe('How calls are judged by where their values come from; the default rules without it.'),
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
      ...(file.limits.max_children !== undefined && { max_children: file.limits.max_children }),
      ...(file.limits.max_descendants !== undefined && { max_descendants: file.limits.max_descendants }),
    },
    bearer_audiences: file.bearer_audiences,
    deliver_audiences: file.deliver_audiences,
    ...(file.behaviour !== undefined && { behaviour: behaviourOf(file.behaviour) }),
  };
}

/** Only what was written: an absent member is not hashed. */
function behaviourOf(section: z.output<typeof behaviour>): TemplateBehaviour {
  return JSON.parse(JSON.stringify(section)) as TemplateBehaviour;
}
