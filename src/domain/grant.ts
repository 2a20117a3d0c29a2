/**
 * From a declared mission to what is granted: proposal ∩ template ceiling ∩ parent, entry by entry, every cut
 * reported (wire profile 2.3). Pure: mint, introspection and simulation call the same functions.
 */
import {
  type AuthorityEntry,
  type AuthoritySet,
  type Catalogue,
  expandFamilies,
  forAudience,
  intersect,
  isAtOrBelow,
  isResourceAccess,
  type Narrowing,
  normalResource,
} from './authority/index.ts';
import { Denied, malformed } from './denial.ts';
import type { ParsedIntent } from './intent.ts';
import type { JsonValue } from './json.ts';
import type { MissionIntent, Tier } from './mission.ts';
import { tierSatisfies } from './mission.ts';
import { matchesPattern } from './pattern.ts';
import type { TemplateDocument } from './policy.ts';
import { rfc3339 } from './reader.ts';

/** One cut, as the answer reports it. */
export interface ReportedNarrowing {
  readonly wanted: JsonValue | AuthorityEntry;
  readonly granted: JsonValue | AuthorityEntry | null;
  readonly reason: string;
  readonly rule: string;
}

/** What a mission may do and for how long. Only {@link derive} makes one. */
export interface Grant {
  readonly authority: AuthoritySet;
  readonly expires_at: number;
  readonly max_derivations: number | null;
  readonly narrowed: readonly ReportedNarrowing[];
}

export interface DispatchRule {
  readonly agent: string;
  /** The weakest tier that the rule accepts. */
  readonly tier?: Tier;
  readonly purpose?: string;
  readonly template: string;
}

/** The template of the first rule that matches; null is `policy_denied`. `wanted` restricts to one template. */
export function dispatch(
  rules: readonly DispatchRule[],
  asked: { readonly agent: string; readonly tier: Tier; readonly purpose?: string; readonly wanted?: string },
): { readonly template: string; readonly rule: number } | null {
  const rule = rules.findIndex(
    (candidate) =>
      matchesPattern(candidate.agent, asked.agent) &&
      (candidate.tier === undefined || tierSatisfies(asked.tier, candidate.tier)) &&
      (candidate.purpose === undefined || candidate.purpose === asked.purpose) &&
      (asked.wanted === undefined || candidate.template === asked.wanted),
  );
  const found = rules[rule];
  return found ? { template: found.template, rule } : null;
}

/**
 * @param proposal what the agent asks for, or null for the template's ceiling over the intent's resources
 * @throws Denied `invalid_request`, `invalid_authorization_details`
 */
export function derive(request: {
  readonly declared: ParsedIntent;
  readonly proposal: AuthoritySet | null;
  readonly template: TemplateDocument;
  readonly catalogue: Catalogue;
  /** The parent's effective set and end, for a child mission. */
  readonly parent?: { readonly authority: AuthoritySet; readonly expires_at: number };
  readonly now: number;
}): Grant {
  const { declared, template, now } = request;
  if (declared.expires_at <= now) throw malformed('intent.expires_at has passed');

  const within = (entry: AuthorityEntry) =>
    !isResourceAccess(entry) || covers(declared.intent.resources, entry);
  if (request.proposal !== null && !request.proposal.every(within))
    throw malformed('authorization_details names a resource that intent.resources does not');
  const wanted = request.proposal ?? template.ceiling.filter(within);

  const ceiling = `template ${template.id}@${template.version}`;
  const cut = intersect(wanted, template.ceiling);
  let granted = cut.granted;
  const narrowed = cut.narrowed.map((narrowing) => reported(narrowing, ceiling));
  if (request.parent) {
    const below = intersect(granted, request.parent.authority);
    granted = below.granted;
    narrowed.push(...below.narrowed.map((narrowing) => reported(narrowing, 'parent')));
  }
  // Families become the audience's catalogued actions here, so that containment can remove a single one.
  const authority = expandFamilies(granted, request.catalogue);
  if (authority.length === 0)
    throw new Denied({
      tag: 'invalid_authorization_details',
      reason: request.parent ? 'not_strict_subset' : 'out_of_template_ceiling',
      detail: `nothing of what was asked for is within ${ceiling}`,
    });

  const end = earliestEnd(request, narrowed, ceiling);
  return {
    authority,
    expires_at: end,
    max_derivations: smallest(template.limits.max_derivations, declared.intent.controls?.max_derivations),
    narrowed,
  };
}

/** `granted` for one audience's token, out of a mission's effective authority. */
export function deriveToken(request: {
  readonly effective: AuthoritySet;
  /** The set at creation: tells a contained request from one that was never granted. */
  readonly created: AuthoritySet;
  readonly resource: string;
  /** A narrower set that the holder asks for; null for all that the mission has there. */
  readonly wanted: AuthoritySet | null;
}): { readonly authority: AuthoritySet; readonly narrowed: readonly ReportedNarrowing[] } {
  const available = forAudience(request.effective, request.resource);
  if (available.length === 0) throw nothingThere(request, forAudience(request.created, request.resource));
  if (request.wanted === null) return { authority: available, narrowed: [] };
  const wanted = forAudience(request.wanted, request.resource);
  if (wanted.length !== request.wanted.length)
    throw malformed('authorization_details of this request may name only its resource');
  const { granted, narrowed } = intersect(wanted, available);
  if (granted.length === 0) throw nothingThere(request, intersect(wanted, request.created).granted);
  return { authority: granted, narrowed: narrowed.map((narrowing) => reported(narrowing, 'mission')) };
}

function nothingThere(request: { readonly resource: string }, before: AuthoritySet): Denied {
  return before.length > 0
    ? new Denied({
        tag: 'invalid_authorization_details',
        reason: 'authority_contained',
        detail: `this mission's authority at ${request.resource} was contained`,
      })
    : new Denied({
        tag: 'invalid_authorization_details',
        reason: 'not_strict_subset',
        detail: `this mission has no such authority at ${request.resource}`,
      });
}

function earliestEnd(
  request: Parameters<typeof derive>[0],
  narrowed: ReportedNarrowing[],
  ceiling: string,
): number {
  const { declared, template, now } = request;
  const asked = Math.min(
    declared.expires_at,
    declared.intent.controls?.max_duration === undefined
      ? Number.POSITIVE_INFINITY
      : now + declared.intent.controls.max_duration,
  );
  const end = Math.min(
    asked,
    now + template.lifetime_seconds,
    request.parent?.expires_at ?? Number.POSITIVE_INFINITY,
  );
  const whole = Math.floor(end);
  if (whole < Math.floor(asked))
    narrowed.push({
      wanted: { expires_at: rfc3339(asked) },
      granted: { expires_at: rfc3339(whole) },
      reason: 'lifetime_shortened',
      rule: end === request.parent?.expires_at ? 'parent.expires_at' : `${ceiling}.lifetime`,
    });
  return whole;
}

/** An intent resource names an audience, or a place that the entry is or lies below. */
function covers(resources: MissionIntent['resources'], entry: { readonly resource: string }): boolean {
  const target = normalResource(entry.resource);
  return resources.some((resource) => {
    const named = normalResource(resource);
    return target !== null && named !== null && isAtOrBelow(target, named);
  });
}

function smallest(a: number | undefined, b: number | undefined): number | null {
  if (a === undefined) return b ?? null;
  return b === undefined ? a : Math.min(a, b);
}

function reported(narrowing: Narrowing, against: string): ReportedNarrowing {
  return { ...narrowing, rule: `${against}: ${narrowing.rule}` };
}
