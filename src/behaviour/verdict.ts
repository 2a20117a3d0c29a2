import { hash } from 'node:crypto';
import { canonicalize, type JsonValue } from '../domain/json.ts';
import type { OriginName } from './memory.ts';
import type { BehaviourRules, RequestedResponse, RuleMode, RuleName } from './rules.ts';
import { responseTo } from './section.ts';
import type { SinkKind } from './values.ts';

/** One thing a rule found. It says which class of value and where it came from, never the value. */
export interface Finding {
  readonly rule: RuleName;
  readonly parameter: string;
  readonly kind: SinkKind | 'action';
  readonly origins: readonly OriginName[];
  readonly declared_sources: readonly string[];
  /** Keyed digest, so that an admin can tell two refusals of one value from two values. */
  readonly value_digest: string;
}

export interface VerdictRecord {
  readonly mission_id: string;
  readonly seq: number;
  readonly action: string;
  readonly decision: 'permit' | 'deny';
  readonly rule: RuleName | null;
  readonly findings: readonly (Finding & { readonly mode: RuleMode })[];
  /** What is asked of the broker; carried out only under the event-authenticity rules. */
  readonly response: RequestedResponse;
  readonly tainted: boolean;
  readonly detour: boolean;
  readonly memory: { readonly values: number; readonly overflow: boolean };
  readonly catalogue_version: string;
  /** Version of the destination history that was asked; null where it is off. */
  readonly history_version: number | null;
  readonly rules_version: string;
}

export interface Verdict {
  readonly decision: 'permit' | 'deny';
  /** All that the agent learns beside the decision: it must not be able to probe the boundary. */
  readonly agent: { readonly code: 'behaviour_denied'; readonly retry: 'never' | 'with_new_mission' } | null;
  /** What the rule asks of the broker; carried out only under the event-authenticity rules. */
  readonly response: RequestedResponse;
  readonly record: VerdictRecord;
}

/** The record as an admin's and auditor's bytes: the same inputs always give the same. */
export function verdictBytes(record: VerdictRecord): string {
  return canonicalize(JSON.parse(JSON.stringify(record)) as JsonValue);
}

export function verdictHash(record: VerdictRecord): string {
  return 'sha-256:' + hash('sha256', verdictBytes(record), 'base64url');
}

const ORDER: readonly RuleName[] = [
  'deceptive_sink',
  'stray_effect',
  'unproven_sink',
  'foreign_content',
  'stray_read',
  'stray_secret',
];

/** Applies the rules' modes to what was found. */
export function settleVerdict(
  findings: readonly Finding[],
  rules: BehaviourRules,
  facts: Omit<VerdictRecord, 'decision' | 'rule' | 'findings' | 'response' | 'rules_version'>,
): Verdict {
  const judged = findings
    .map((finding) => ({ ...finding, mode: rules[finding.rule] }))
    .filter((finding) => finding.mode !== 'off');
  const denying =
    ORDER.find((rule) => judged.some((finding) => finding.rule === rule && finding.mode === 'deny')) ?? null;
  const decision = denying === null ? 'permit' : 'deny';
  const response = strongestResponse(judged, rules, facts.tainted);
  const record: VerdictRecord = {
    ...facts,
    decision,
    rule: denying,
    findings: judged,
    response,
    rules_version: rules.version,
  };
  return {
    decision,
    agent:
      denying === null
        ? null
        : { code: 'behaviour_denied', retry: denying === 'deceptive_sink' ? 'never' : 'with_new_mission' },
    response,
    record,
  };
}

const STRENGTH: readonly RequestedResponse[] = ['none', 'contain', 'suspend', 'revoke'];

/**
 * The strongest that a denied finding asks for. Before any taint a mistake is a mistake: only a destination that is
 * written to deceive asks for more than a denial then.
 */
function strongestResponse(
  judged: readonly { readonly rule: RuleName; readonly mode: RuleMode }[],
  rules: BehaviourRules,
  tainted: boolean,
): RequestedResponse {
  let strongest = 0;
  for (const { rule, mode } of judged) {
    if (mode !== 'deny' || !(tainted || rule === 'deceptive_sink')) continue;
    strongest = Math.max(strongest, STRENGTH.indexOf(responseTo(rules, rule)));
  }
  return STRENGTH[strongest] ?? 'none';
}
