/** A verdict in words for the person on call: which rule, what kind of value, where from, by which versions. */
import { followsFrom, replayEvidence } from '../behaviour/evidence.ts';
import type { RuleName } from '../behaviour/rules.ts';
import type { Finding } from '../behaviour/verdict.ts';
import { verdictHash } from '../behaviour/verdict.ts';
import type { ReportedVerdict } from '../domain/verdict-report.ts';
import type { Ports } from '../ports.ts';
import { VERDICT_EVENT } from './verdicts.ts';

const RULE_SAYS: Record<RuleName, string> = {
  stray_effect: 'an effect that the mission does not declare',
  stray_read: 'a read outside the mission that fetches an address nobody vouches for',
  stray_secret: 'a read of secrets outside the mission, after it took in untrusted content',
  unproven_sink: 'a destination that nothing vouches for, after the mission took in untrusted content',
  deceptive_sink: 'a destination that is written to read as another one',
  foreign_content:
    'content that stands only in what strangers wrote, and that the mission never meant to use',
};

const ORIGIN_SAYS: Readonly<Record<string, string>> = {
  template: 'the template',
  mission: "the mission's own words",
  system: 'a field that the service vouches for',
  counterparty: 'a field in which a stranger can put himself',
  text: 'text that strangers wrote',
  history: 'earlier missions',
  echo: "the agent's own words, repeated by a service",
  linked: 'a record of somebody whom the mission names',
  repeated: "the agent's own words, after a declared source held them",
  ambiguous: 'a text that offers several',
};

export interface ExplainedVerdict {
  readonly says: readonly string[];
  /** `sha-256:` over the verdict's bytes; the same everywhere. */
  readonly hash: string;
  /** Whether the same verdict follows from the evidence that came with it. */
  readonly replay: 'same' | 'different' | 'no_evidence';
  readonly enforced: boolean;
  /** Interventions that name this decision. */
  readonly followed: readonly { readonly ts: number; readonly event: string; readonly details: unknown }[];
}

/** @param decision_id `dec_...`, which interventions name */
export async function explainVerdict(
  ports: Ports,
  verdict: ReportedVerdict,
  decision_id: string,
): Promise<ExplainedVerdict> {
  const { record, evidence, enforced } = verdict;
  const told = await ports.store.auditRecords({
    mission_id: record.mission_id,
    event: VERDICT_EVENT,
    newest_first: true,
    limit: 100,
  });
  return {
    says: inWords(verdict),
    hash: verdictHash(record),
    replay: evidence === null ? 'no_evidence' : followsFrom(record, evidence) ? 'same' : 'different',
    enforced,
    followed: told
      .filter(({ details }) => details['decision'] === decision_id)
      .map(({ ts, event, details }) => ({ ts, event, details })),
  };
}

/** One line a statement; no value is in any of them. */
export function inWords({ record, enforced }: Pick<ReportedVerdict, 'record' | 'enforced'>): string[] {
  const lines = [
    record.rule === null
      ? 'Nothing was denied by these rules.'
      : `Denied by ${record.rule}: ${RULE_SAYS[record.rule]}.`,
  ];
  if (!enforced) lines.push('The verifier only observes: it refused nothing.');
  lines.push(
    record.tainted
      ? 'The mission had taken in untrusted content.'
      : 'The mission had not taken in untrusted content.',
  );
  for (const finding of record.findings) lines.push(findingInWords(finding));
  if (record.memory.overflow)
    lines.push('The memory of values was full: what did not fit is unknown, and unknown is refused.');
  if (record.response !== 'none')
    lines.push(`The template asks the broker to ${record.response} the mission.`);
  lines.push(
    `Rules ${record.rules_version}, catalogue ${record.catalogue_version}, history ${record.history_version ?? 'not asked'}.`,
  );
  return lines;
}

function findingInWords(finding: Finding & { readonly mode: string }): string {
  const { rule, mode, parameter, kind, origins, declared_sources, value_digest } = finding;
  const mark = mode === 'deny' ? '' : ` (${mode} only)`;
  if (kind === 'action') return `${rule}${mark}: the action itself.`;
  const seen =
    origins.length === 0
      ? 'was never seen before'
      : `is known from ${origins.map((origin) => ORIGIN_SAYS[origin] ?? origin).join(', ')}`;
  const declared =
    declared_sources.length === 0
      ? ''
      : `; the mission declares ${declared_sources.join(', ')} as its source`;
  const digest = value_digest === '' ? '' : ` [${value_digest}]`;
  return `${rule}${mark}: the ${kind === 'any' ? 'content' : kind} in parameter ${JSON.stringify(parameter)}${digest} ${seen}${declared}.`;
}

/** Re-judges an exported verdict. @returns what the evidence gives, or why it gives nothing */
export function rejudge(verdict: ReportedVerdict): {
  readonly same: boolean;
  readonly hash: string | null;
  readonly fault: string | null;
} {
  if (verdict.evidence === null) return { same: false, hash: null, fault: 'no evidence' };
  try {
    const hash = verdictHash(replayEvidence(verdict.evidence).record);
    return { same: hash === verdictHash(verdict.record), hash, fault: null };
  } catch (cause) {
    return { same: false, hash: null, fault: cause instanceof Error ? cause.message : 'unreadable' };
  }
}
