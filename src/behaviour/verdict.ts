import { hash } from 'node:crypto';
import { canonicalize, type JsonValue } from '../domain/json.ts';
import type { OriginName } from './memory.ts';
import type { BehaviourRules, RuleMode, RuleName } from './rules.ts';
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
  readonly response: 'none' | 'contain' | 'suspend' | 'revoke';
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
  facts: Omit<VerdictRecord, 'decision' | 'rule' | 'findings' | 'rules_version'>,
): Verdict {
  const judged = findings
    .map((finding) => ({ ...finding, mode: rules[finding.rule] }))
    .filter((finding) => finding.mode !== 'off');
  const denying =
    ORDER.find((rule) => judged.some((finding) => finding.rule === rule && finding.mode === 'deny')) ?? null;
  const decision = denying === null ? 'permit' : 'deny';
  const record: VerdictRecord = {
    ...facts,
    decision,
    rule: denying,
    findings: judged,
    rules_version: rules.version,
  };
  return {
    decision,
    agent:
      denying === null
        ? null
        : { code: 'behaviour_denied', retry: denying === 'deceptive_sink' ? 'never' : 'with_new_mission' },
    response: denying === 'stray_effect' && facts.tainted ? rules.stray_effect_response : 'none',
    record,
  };
}
