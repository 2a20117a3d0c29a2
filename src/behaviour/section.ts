/**
 * The `behaviour` section of a template: which rules judge missions of this kind and how, what is asked of the broker
 * when one is broken, and which destinations the template itself vouches for. Part of the template's hash, so that a
 * person has approved every word of it. Guards and the broker read the same record of it.
 */
import type { TemplateValue } from './mission.ts';
import {
  type BehaviourRules,
  DEFAULT_RULES,
  type RequestedResponse,
  RULE_NAMES,
  type RuleMode,
  type RuleName,
} from './rules.ts';
import { destinationsOf, type SinkKind } from './values.ts';

/** What a broken rule asks of the broker besides the denial. `observe`: nothing. */
export const RESPONSES = ['observe', 'contain', 'suspend', 'revoke'] as const;
export type TemplateResponse = (typeof RESPONSES)[number];

export const RULE_MODES: readonly RuleMode[] = ['deny', 'observe', 'off'];
export const HISTORY_MODES = ['off', 'internal', 'all'] as const;

/** Destinations that the template vouches for. */
export interface VouchedValues {
  readonly kind: SinkKind;
  readonly values: readonly string[];
  /** In these actions only. */
  readonly actions?: readonly string[];
}

/** As written, with no default inserted (anchors hash what was approved). */
export interface TemplateBehaviour {
  readonly rules?: Readonly<Partial<Record<RuleName, RuleMode>>>;
  readonly responses?: Readonly<Partial<Record<RuleName, TemplateResponse>>>;
  readonly values?: readonly VouchedValues[];
  /** Addresses of the principal itself. */
  readonly own?: readonly VouchedValues[];
  readonly history?: BehaviourRules['history'];
  readonly ambient_reads?: boolean;
}

export interface TemplateVersion {
  readonly id: string;
  readonly version: string;
  readonly behaviour?: TemplateBehaviour;
}

/** The rules that judge missions of a template version; the defaults where it has no section. */
export function rulesOf(template: TemplateVersion): BehaviourRules {
  const { behaviour } = template;
  if (behaviour === undefined) return DEFAULT_RULES;
  const { rules = {}, responses = {}, history, ambient_reads } = behaviour;
  const { stray_effect } = responses;
  return {
    ...DEFAULT_RULES,
    ...rules,
    // One version of a template has one content, which was approved by its hash.
    version: `${DEFAULT_RULES.version}:${template.id}@${template.version}`,
    ...(stray_effect !== undefined && { stray_effect_response: requested(stray_effect) }),
    ...(Object.keys(responses).length > 0 && {
      responses: Object.fromEntries(
        Object.entries(responses).map(([rule, response]) => [rule, requested(response)]),
      ),
    }),
    ...(history !== undefined && { history }),
    ...(ambient_reads !== undefined && { ambient_reads }),
  };
}

function requested(response: TemplateResponse): RequestedResponse {
  return response === 'observe' ? 'none' : response;
}

/** Destinations as the engine takes them, the principal's own included. */
export function templateValuesOf(behaviour: TemplateBehaviour | undefined): TemplateValue[] {
  return [...(behaviour?.values ?? []), ...(behaviour?.own ?? [])].map(({ kind, values, actions }) => ({
    kind,
    value: [...values],
    ...(actions !== undefined && { actions }),
  }));
}

/** Why a value cannot stand for a destination of its kind; null where it can. */
export function valueFault(kind: SinkKind, value: string): string | null {
  const destinations = destinationsOf(kind, value);
  const [only] = destinations ?? [];
  if (destinations === null || destinations.length !== 1 || only === undefined)
    return 'must name exactly one destination';
  if (only.deceptive) return 'is written to read as another destination';
  return only.candidates.length === 0 ? `cannot be read as ${kind}` : null;
}

/** The strictest of two rules for every member: a server's operator may add to what a template says, never take away. */
export function strictest(a: BehaviourRules, b: BehaviourRules): BehaviourRules {
  if (a === b) return a;
  const modes = Object.fromEntries(
    RULE_NAMES.map((rule) => [
      rule,
      RULE_MODES.find((mode) => a[rule] === mode || b[rule] === mode) ?? 'deny',
    ]),
  ) as Record<RuleName, RuleMode>;
  const both = (name: 'ambient_reads' | 'local_detours' | 'declared_destinations' | 'confirmations') =>
    a[name] && b[name];
  const history = HISTORY_MODES.find((mode) => a.history === mode || b.history === mode) ?? 'off';
  return {
    ...a,
    ...modes,
    version: `${a.version}+${b.version}`,
    ambient_reads: both('ambient_reads'),
    local_detours: both('local_detours'),
    declared_destinations: both('declared_destinations'),
    confirmations: both('confirmations'),
    follow_one_link: a.follow_one_link && b.follow_one_link,
    field_trust: a.field_trust && b.field_trust,
    declared_sources: a.declared_sources && b.declared_sources,
    history,
  };
}

export interface BehaviourDiff {
  readonly widened: readonly string[];
  readonly narrowed: readonly string[];
}

/** What a change of the section lets through that was not, and the other way round. */
export function diffBehaviour(before: TemplateVersion, after: TemplateVersion): BehaviourDiff {
  const widened: string[] = [];
  const narrowed: string[] = [];
  const [a, b] = [rulesOf(before), rulesOf(after)];
  const ranked = <T extends string>(order: readonly T[], name: string, was: T, is: T): void => {
    if (was === is) return;
    (order.indexOf(is) > order.indexOf(was) ? widened : narrowed).push(
      `behaviour: ${name} from ${was} to ${is}`,
    );
  };
  for (const rule of RULE_NAMES) {
    ranked(RULE_MODES, rule, a[rule], b[rule]);
    ranked(
      ['revoke', 'suspend', 'contain', 'observe'],
      `response to ${rule}`,
      saidOf(a, rule),
      saidOf(b, rule),
    );
  }
  ranked(HISTORY_MODES, 'history', a.history, b.history);
  ranked(['false', 'true'], 'ambient_reads', String(a.ambient_reads), String(b.ambient_reads));
  const [was, is] = [vouchedOf(before), vouchedOf(after)];
  for (const [key, text] of is)
    if (!was.has(key) && !covered(was, key)) widened.push(`behaviour: vouches for ${text}`);
  for (const [key, text] of was)
    if (!is.has(key) && !covered(is, key)) narrowed.push(`behaviour: no longer vouches for ${text}`);
  return { widened, narrowed };
}

function saidOf(rules: BehaviourRules, rule: RuleName): TemplateResponse {
  const response = responseTo(rules, rule);
  return response === 'none' ? 'observe' : response;
}

/** What these rules ask for where this one is broken. */
export function responseTo(rules: BehaviourRules, rule: RuleName): RequestedResponse {
  return rules.responses?.[rule] ?? (rule === 'stray_effect' ? rules.stray_effect_response : 'none');
}

/** One entry for each value and action, `*` for every action. */
function vouchedOf({ behaviour }: TemplateVersion): Map<string, string> {
  const out = new Map<string, string>();
  for (const { kind, value, actions } of templateValuesOf(behaviour))
    for (const one of value as readonly string[])
      for (const action of actions ?? ['*'])
        out.set(
          JSON.stringify([kind, one, action]),
          `${kind} ${one} in ${action === '*' ? 'every action' : action}`,
        );
  return out;
}

/** What holds for every action holds for one. */
function covered(vouched: ReadonlyMap<string, string>, key: string): boolean {
  const [kind, value] = JSON.parse(key) as [string, string, string];
  return vouched.has(JSON.stringify([kind, value, '*']));
}

/** The section in plain words, one line a statement. */
export function explainBehaviour(template: TemplateVersion): string[] {
  const rules = rulesOf(template);
  const lines = RULE_NAMES.map((rule) => {
    const response = saidOf(rules, rule);
    const then =
      rules[rule] === 'deny' && response !== 'observe'
        ? `, then ${response}${response === 'contain' ? '' : " (on the broker's own judgement or two verifiers' word; else contain)"}`
        : '';
    return `${rule}: ${{ deny: 'denied', observe: 'recorded, not denied', off: 'not judged' }[rules[rule]]}${then}`;
  });
  lines.push(`plain reads outside the mission: ${rules.ambient_reads ? 'counted' : 'denied'}`);
  lines.push(
    `history: ${{ off: 'not asked', internal: 'may vouch, but not for what leaves the house', all: 'may vouch for every destination' }[rules.history]}`,
  );
  for (const text of vouchedOf(template).values()) lines.push(`vouches for ${text}`);
  return lines;
}

export interface BehaviourFinding {
  readonly severity: 'error' | 'warning';
  readonly rule: string;
  readonly text: string;
}

/** What a person should look at twice before approving. */
export function lintBehaviour(template: TemplateVersion): BehaviourFinding[] {
  const { behaviour } = template;
  if (behaviour === undefined) return [];
  const rules = rulesOf(template);
  const out: BehaviourFinding[] = [];
  const warn = (rule: string, text: string) =>
    out.push({ severity: 'warning', rule, text: `behaviour: ${text}` });
  for (const rule of ['stray_effect', 'unproven_sink', 'deceptive_sink'] as const)
    if (rules[rule] !== 'deny')
      warn('behaviour_weakened', `${rule} is ${rules[rule]}: a hijacked mission is not stopped by it`);
  for (const rule of RULE_NAMES)
    if (behaviour.responses?.[rule] !== undefined && rules[rule] !== 'deny')
      warn('response_without_denial', `${rule} has a response but is ${rules[rule]}: nothing is asked for`);
  if (rules.history === 'all')
    warn('history_external', 'history may vouch for destinations outside: five clean missions make one');
  for (const { kind, values, actions } of [...(behaviour.values ?? []), ...(behaviour.own ?? [])])
    for (const value of values)
      if ((destinationsOf(kind, value) ?? []).some(({ weak }) => weak) && actions === undefined)
        warn('value_weak', `${kind} ${value} is short: name the actions in which it counts`);
  return out;
}
