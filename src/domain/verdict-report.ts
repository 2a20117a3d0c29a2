/**
 * The verdict of the behaviour rules as it travels in a decision event: what was found, where it came from and by
 * which versions, never the value. Read from the wire member by member, as everything that verifiers say.
 */
import { ORIGIN, type OriginName } from '../behaviour/memory.ts';
import { RULE_NAMES } from '../behaviour/rules.ts';
import { RULE_MODES } from '../behaviour/section.ts';
import { SINK_KINDS } from '../behaviour/values.ts';
import type { VerdictRecord } from '../behaviour/verdict.ts';
import { isJsonObject, type JsonObject, type JsonValue } from './json.ts';

/** A verdict of a verifier's process about the call of its event. */
export interface ReportedVerdict {
  readonly record: VerdictRecord;
  /** False where the verifier only observes: then it refused nothing, and asks for nothing. */
  readonly enforced: boolean;
  /** What it follows from (`behaviour/evidence.ts`); null where there was too much of it. */
  readonly evidence: string | null;
}

const FINDINGS_MAX = 128;
const SOURCES_MAX = 32;
const NAME_MAX = 256;
const VERSION_MAX = 512;
const EVIDENCE_MAX = 16_384;
const RESPONSES: readonly VerdictRecord['response'][] = ['none', 'contain', 'suspend', 'revoke'];
const KINDS = new Set<string>([...SINK_KINDS, 'action']);

/** The wire form; `mission_id` and `action` are the event's own. */
export function verdictReport({ record, enforced, evidence }: ReportedVerdict): JsonObject {
  const { mission_id: _mission, action: _action, ...rest } = record;
  return {
    ...(JSON.parse(JSON.stringify(rest)) as JsonObject),
    enforced,
    ...(evidence !== null && { evidence }),
  };
}

/** Null for anything that is not a verdict. Unknown members are left out. */
export function readVerdictReport(
  value: JsonValue,
  event: { readonly mission_id: string; readonly action: string },
): ReportedVerdict | null {
  if (!isJsonObject(value)) return null;
  const { seq, decision, rule, findings, response, tainted, detour, memory, enforced, evidence } = value;
  const { catalogue_version, history_version, rules_version } = value;
  if (!isCount(seq) || (decision !== 'permit' && decision !== 'deny')) return null;
  if (rule !== null && !RULE_NAMES.some((known) => known === rule)) return null;
  if ((rule === null) !== (decision === 'permit')) return null;
  if (!RESPONSES.some((known) => known === response)) return null;
  if (typeof tainted !== 'boolean' || typeof detour !== 'boolean' || typeof enforced !== 'boolean')
    return null;
  if (!isJsonObject(memory) || !isCount(memory['values']) || typeof memory['overflow'] !== 'boolean')
    return null;
  if (!isText(catalogue_version, VERSION_MAX) || !isText(rules_version, VERSION_MAX)) return null;
  if (history_version !== null && !isCount(history_version)) return null;
  if (evidence !== undefined && !isText(evidence, EVIDENCE_MAX)) return null;
  if (!Array.isArray(findings) || findings.length > FINDINGS_MAX) return null;
  const found = findings.map(readFinding);
  if (!found.every((one) => one !== null)) return null;
  return {
    record: {
      mission_id: event.mission_id,
      seq,
      action: event.action,
      decision,
      rule: rule as VerdictRecord['rule'],
      findings: found,
      response: response as VerdictRecord['response'],
      tainted,
      detour,
      memory: { values: memory['values'] as number, overflow: memory['overflow'] },
      catalogue_version,
      history_version,
      rules_version,
    },
    enforced,
    evidence: evidence ?? null,
  };
}

function readFinding(value: JsonValue): VerdictRecord['findings'][number] | null {
  if (!isJsonObject(value)) return null;
  const { rule, parameter, kind, origins, declared_sources, value_digest, mode } = value;
  if (!RULE_NAMES.some((known) => known === rule) || !RULE_MODES.some((known) => known === mode)) return null;
  if (typeof parameter !== 'string' || parameter.length > NAME_MAX) return null;
  if (typeof kind !== 'string' || !KINDS.has(kind) || !isDigest(value_digest)) return null;
  if (!isTextList(origins) || !origins.every((origin) => Object.hasOwn(ORIGIN, origin))) return null;
  if (!isTextList(declared_sources)) return null;
  return {
    rule: rule as VerdictRecord['findings'][number]['rule'],
    parameter,
    kind: kind as VerdictRecord['findings'][number]['kind'],
    origins: origins as OriginName[],
    declared_sources,
    value_digest,
    mode: mode as VerdictRecord['findings'][number]['mode'],
  };
}

function isText(value: JsonValue | undefined, max: number): value is string {
  return typeof value === 'string' && value.length > 0 && value.length <= max;
}

function isTextList(value: JsonValue | undefined): value is string[] {
  return (
    Array.isArray(value) && value.length <= SOURCES_MAX && value.every((one) => isText(one, 2 * NAME_MAX))
  );
}

function isCount(value: JsonValue | undefined): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** Twelve hexadecimal digits, or none. */
function isDigest(value: JsonValue | undefined): value is string {
  return typeof value === 'string' && (value === '' || /^[0-9a-f]{12}$/.test(value));
}
