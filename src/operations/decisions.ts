/**
 * Every call made under a mission and why it was permitted or denied: what verifiers reported, and what the broker
 * judged itself (`GET /admin/v1/decisions`).
 */
import { actionWithin } from '../domain/authority/actions.ts';
import { effective, explainEntry, forAudience, isResourceAccess } from '../domain/authority/index.ts';
import { Denied, malformed } from '../domain/denial.ts';
import type { JsonValue } from '../domain/json.ts';
import { rfc3339 } from '../domain/reader.ts';
import type { KeptDecision, ProofState } from '../domain/reports.ts';
import { type ReportedVerdict, readVerdictReport } from '../domain/verdict-report.ts';
import type { Ports, ReportRecord, SealedAuditRecord } from '../ports.ts';
import { bundleContent } from './bundle.ts';
import { explainVerdict } from './explain-verdict.ts';

export interface DecisionQuery {
  readonly mission_id?: string;
  readonly audience?: string;
  readonly decision?: 'permit' | 'deny';
  /** With what verdicts follow from: up to 16 KiB each. */
  readonly evidence?: boolean;
  readonly cursor?: string;
  readonly limit: number;
}

/** One decision as admins see it. */
export interface DecisionView {
  /** `dec_...` with the position in its batch, or of an audit record. */
  readonly id: string;
  readonly ts: string;
  /** Who judged: a verifier, or the broker asked by one. */
  readonly judged_by: 'verifier' | 'broker';
  readonly verifier: string;
  readonly instance_id: string | null;
  readonly audience: string | null;
  readonly mission_id: string | null;
  readonly jti: string | null;
  readonly action: string;
  readonly resource: string;
  readonly labels: readonly string[];
  readonly decision: 'permit' | 'deny';
  readonly reason: string;
  readonly outcome: string | null;
  readonly latency_us: number | null;
  readonly bytes: number | null;
  readonly region: string | null;
  readonly parameters_digest: string | null;
  /** `broker`: judged here. Of reports only `valid` counts for more than display. */
  readonly proof: ProofState | 'broker';
  readonly bundle_version: string | null;
  /** What the behaviour rules found, where they found something. */
  readonly verdict: ReportedVerdict | null;
}

export interface DecisionPage {
  readonly items: readonly DecisionView[];
  readonly next_cursor: string | null;
}

/** A decision with its place in its source, newest first within it. */
interface Placed {
  readonly view: DecisionView;
  readonly ts: number;
  /** What a next page of this source starts after. */
  readonly place: string;
}

interface Source {
  readonly placed: readonly Placed[];
  /** Where this source goes on when all of {@link placed} is used up; null at its end. */
  readonly next: string | null;
}

const AUDIT_EVENTS = ['call.permitted', 'call.refused'] as const;
/** Batches and records looked through for one page at most: a rare match makes short pages, never slow ones. */
const BATCHES_A_PAGE = 64;
const BATCHES_AT_ONCE = 8;
const RECORDS_A_PAGE = 1000;
/** In a cursor: a source with nothing more. */
const ENDED = '-';

/**
 * Newest first. A page may be short and still not be the last: the cursor says so.
 * @throws Denied `invalid_request` for a cursor of somebody else's
 */
export async function listDecisions(ports: Ports, query: DecisionQuery): Promise<DecisionPage> {
  const places = query.cursor === undefined ? ['', '', ''] : readCursor(query.cursor);
  const sources = await Promise.all([
    reportSource(ports, query, places[0] ?? ENDED),
    ...AUDIT_EVENTS.map((event, index) => auditSource(ports, query, event, places[index + 1] ?? ENDED)),
  ]);
  const taken = sources.map(() => 0);
  const items: DecisionView[] = [];
  while (items.length < query.limit) {
    let newest: { source: number; placed: Placed } | null = null;
    // Where one source's look ended early, what comes after it is not known: nothing older may pass it.
    let open = false;
    for (const [index, source] of sources.entries()) {
      const placed = source.placed[taken[index] ?? 0];
      if (placed === undefined) {
        open ||= source.next !== null;
        continue;
      }
      if (newest === null || placed.ts > newest.placed.ts) newest = { source: index, placed };
    }
    if (newest === null || open) break;
    const { view } = newest.placed;
    items.push(query.evidence === true ? view : withoutEvidence(view));
    taken[newest.source] = (taken[newest.source] ?? 0) + 1;
  }
  const next = sources.map((source, index) => {
    const count = taken[index] ?? 0;
    if (count === source.placed.length) return source.next ?? ENDED;
    return source.placed[count - 1]?.place ?? places[index] ?? '';
  });
  return {
    items,
    next_cursor: next.every((place) => place === ENDED)
      ? null
      : Buffer.from(next.join(' ')).toString('base64url'),
  };
}

function withoutEvidence(view: DecisionView): DecisionView {
  return view.verdict === null ? view : { ...view, verdict: { ...view.verdict, evidence: null } };
}

function readCursor(cursor: string): readonly string[] {
  const places = Buffer.from(cursor, 'base64url').toString('latin1').split(' ');
  if (places.length !== 1 + AUDIT_EVENTS.length || !places.every(isPlace)) throw malformed('cursor');
  return places;
}

function isPlace(place: string): boolean {
  return (
    place === '' || place === ENDED || place.split('.').every((part) => Number.isSafeInteger(Number(part)))
  );
}

/** What verifiers reported. A place is `batch.index`: the next page starts in the batch, before that index. */
async function reportSource(ports: Ports, query: DecisionQuery, place: string): Promise<Source> {
  if (place === ENDED) return { placed: [], next: null };
  const [batch = '', index = ''] = place.split('.');
  let before = batch === '' ? undefined : Number(batch) + (index === '' ? 0 : 1);
  const placed: Placed[] = [];
  for (let looked = 0; looked < BATCHES_A_PAGE && placed.length < query.limit; looked += BATCHES_AT_ONCE) {
    const found = await ports.store.reports({
      kind: 'decisions',
      limit: BATCHES_AT_ONCE,
      ...(query.mission_id !== undefined && { mission_id: query.mission_id }),
      ...(query.audience !== undefined && { audience: query.audience }),
      ...(query.decision === 'deny' && { with_denials: true }),
      ...(before !== undefined && { before }),
    });
    for (const { position, report } of found) {
      const decisions = decisionsOf(report);
      const start = index !== '' && position === Number(batch) ? Number(index) : decisions.length;
      for (let at = start - 1; at >= 0; at--) {
        const decision = decisions[at];
        if (decision === undefined || !matches(query, decision)) continue;
        placed.push({
          view: reportedView(report, decision, at),
          // The broker's own clock orders what different processes say.
          ts: report.received_at,
          place: `${position}.${at}`,
        });
        // A whole batch may be one mission's: no need to show more of it than a page.
        if (placed.length >= query.limit) break;
      }
      if (placed.length >= query.limit) break;
      before = position;
    }
    if (found.length < BATCHES_AT_ONCE && placed.length < query.limit) return { placed, next: null };
  }
  return { placed, next: placed.length >= query.limit ? (placed.at(-1)?.place ?? ENDED) : `${before ?? ''}` };
}

/** What the broker judged: AuthZEN evaluations and forwarded requests, from the audit chain. A place is a `seq`. */
async function auditSource(
  ports: Ports,
  query: DecisionQuery,
  event: (typeof AUDIT_EVENTS)[number],
  place: string,
): Promise<Source> {
  const wanted = event === 'call.permitted' ? 'permit' : 'deny';
  if (place === ENDED || (query.decision !== undefined && query.decision !== wanted))
    return { placed: [], next: null };
  const limit = query.audience === undefined ? query.limit : RECORDS_A_PAGE;
  const records = await ports.store.auditRecords({
    event,
    newest_first: true,
    limit,
    ...(query.mission_id !== undefined && { mission_id: query.mission_id }),
    ...(place !== '' && { after_seq: Number(place) }),
  });
  const placed: Placed[] = [];
  for (const record of records) {
    const view = judgedView(ports, record);
    if (query.audience !== undefined && view.audience !== query.audience) continue;
    placed.push({ view, ts: record.ts, place: String(record.seq) });
    if (placed.length >= query.limit) return { placed, next: String(record.seq) };
  }
  const last = records.at(-1);
  return { placed, next: last === undefined || records.length < limit ? null : String(last.seq) };
}

function matches(query: DecisionQuery, decision: KeptDecision): boolean {
  if (query.mission_id !== undefined && decision.mission_id !== query.mission_id) return false;
  return query.decision === undefined || decision.decision === query.decision;
}

/** Written by this broker after it read every member. */
function decisionsOf(report: ReportRecord): readonly KeptDecision[] {
  return JSON.parse(report.body) as KeptDecision[];
}

function reportedView(report: ReportRecord, decision: KeptDecision, index: number): DecisionView {
  return {
    id: `${report.id}.${index}`,
    ts: rfc3339(decision.ts),
    judged_by: 'verifier',
    verifier: report.verifier_id,
    instance_id: report.instance_id,
    audience: report.audience,
    mission_id: decision.mission_id,
    jti: decision.jti,
    action: decision.action,
    resource: decision.resource,
    labels: decision.labels,
    decision: decision.decision,
    reason: decision.reason,
    outcome: decision.outcome === '' ? null : decision.outcome,
    latency_us: decision.latency_us,
    bytes: decision.bytes ?? null,
    region: decision.region ?? null,
    parameters_digest: decision.parameters_digest ?? null,
    proof: decision.proof,
    bundle_version: report.bundle_version,
    verdict: decision.verdict ?? null,
  };
}

function judgedView(ports: Ports, record: SealedAuditRecord): DecisionView {
  const { details } = record;
  const textOf = (value: JsonValue | undefined) => (typeof value === 'string' ? value : '');
  const verifier = record.actor.startsWith('verifier:')
    ? record.actor.slice('verifier:'.length)
    : record.actor;
  const audience =
    textOf(details['audience']) ||
    ports.policy().verifiers.find(({ id }) => id === verifier)?.audience ||
    null;
  return {
    id: `dec_${record.seq}`,
    ts: rfc3339(record.ts),
    judged_by: 'broker',
    verifier,
    instance_id: null,
    audience,
    mission_id: record.mission_id,
    jti: textOf(details['jti']) || null,
    action: textOf(details['action']),
    resource: textOf(details['resource']),
    labels: [],
    decision: record.event === 'call.permitted' ? 'permit' : 'deny',
    reason: textOf(details['reason']),
    outcome: null,
    latency_us: null,
    bytes: null,
    region: null,
    parameters_digest: null,
    proof: 'broker',
    bundle_version: textOf(details['bundle_version']) || null,
    verdict:
      details['found'] === undefined
        ? null
        : readVerdictReport(details['found'], {
            mission_id: record.mission_id ?? '',
            action: textOf(details['action']),
          }),
  };
}

/**
 * One decision with everything that it was judged by: the mission's effective authority, the entry that speaks of the
 * call, template, policy and bundle.
 * @throws Denied `not_found`
 */
export async function explainDecision(ports: Ports, id: string): Promise<Readonly<Record<string, unknown>>> {
  const view = await findDecision(ports, id);
  if (view === null) throw new Denied({ tag: 'not_found' });
  const mission = view.mission_id === null ? null : await ports.store.mission(view.mission_id);
  const own =
    mission === null || view.audience === null
      ? []
      : forAudience(effective(mission.authority, mission.containments), view.audience);
  return {
    decision: view,
    mission:
      mission === null
        ? null
        : {
            id: mission.id,
            version: mission.version,
            template: mission.template,
            policy_version: mission.policy_version,
            attester: mission.attester,
            rule: mission.rule,
            containments: mission.containments,
          },
    /** As it is now, narrowed or not; the decision may be older. */
    effective_authority: own.map((entry) => ({
      entry,
      says: explainEntry(entry),
      names_action:
        isResourceAccess(entry) && entry.actions.some((action) => actionWithin(view.action, action)),
    })),
    refusal: view.decision === 'deny' ? view.reason : null,
    verdict: view.verdict === null ? null : await explainVerdict(ports, view.verdict, view.id),
    bundle: {
      judged_by: view.bundle_version,
      current: view.audience === null ? null : currentBundle(ports, view.audience),
    },
  };
}

async function findDecision(ports: Ports, id: string): Promise<DecisionView | null> {
  const [report_id = '', place = ''] = id.split('.');
  const index = Number(place);
  if (place !== '') {
    if (!Number.isSafeInteger(index) || index < 0) return null;
    const report = await ports.store.report(report_id);
    const decision = report?.kind === 'decisions' ? decisionsOf(report)[index] : undefined;
    return report && decision ? reportedView(report, decision, index) : null;
  }
  const seq = id.startsWith('dec_') ? Number(id.slice('dec_'.length)) : Number.NaN;
  if (!Number.isSafeInteger(seq) || seq < 1) return null;
  const [record] = await ports.store.auditRecords({ after_seq: seq - 1, limit: 1 });
  const is_decision = AUDIT_EVENTS.some((event) => event === record?.event);
  return record?.seq === seq && is_decision ? judgedView(ports, record) : null;
}

function currentBundle(ports: Ports, audience: string): string | null {
  try {
    return bundleContent(ports, audience).version;
  } catch (cause) {
    // The audience was taken out of the configuration since.
    if (cause instanceof Denied) return null;
    throw cause;
  }
}
