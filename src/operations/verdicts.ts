/**
 * What a verdict of the behaviour rules may do by itself (wire profile 3, event authenticity). On one verifier's word
 * alone: take the authority at that verifier's own audience from the mission, and say so. To suspend or revoke it
 * takes the broker's own judgement, or proven events of two audiences that both ask for it. Nothing here reaches
 * beyond one mission and what is below it; nothing here resumes.
 *
 * What is asked for is read from the mission's template, never from the event; the event only says which rule was
 * broken. A person's resume settles everything that was proven before it.
 */
import type { RequestedResponse, RuleName } from '../behaviour/rules.ts';
import { responseTo } from '../behaviour/section.ts';
import type { VerdictRecord } from '../behaviour/verdict.ts';
import { effective, forAudience } from '../domain/authority/index.ts';
import { Denied } from '../domain/denial.ts';
import type { JsonObject } from '../domain/json.ts';
import { type Mission, stateAt } from '../domain/mission.ts';
import type { KeptDecision } from '../domain/reports.ts';
import { type Ports, type VerifierPolicy, type Write, WriteConflict } from '../ports.ts';
import { bundleContent } from './bundle.ts';
import type { ReportedBatch, Reports } from './events.ts';
import type { BehaviourJudgement, CallBehaviour } from './judge-behaviour.ts';
import { BROKER_REASON, contain, type Intervention, intervene, SILENT, suspendForGood } from './lifecycle.ts';
import { missionBehaviour } from './mission-behaviour.ts';

export const BEHAVIOUR_ACTOR = 'behaviour';
/** Audit event of every verdict that asked for more than its denial, and what followed. */
export const VERDICT_EVENT = 'behaviour.verdict';

/** One verdict that asks for a response. */
export interface Claim {
  readonly mission_id: string;
  readonly verifier: Pick<VerifierPolicy, 'id' | 'audience'>;
  readonly record: Pick<
    VerdictRecord,
    'rule' | 'findings' | 'tainted' | 'rules_version' | 'catalogue_version'
  >;
  /** `dec_...`, by which it is explained. */
  readonly decision_id: string;
  /** `broker`: here, synchronously. */
  readonly judged_by: 'broker' | 'verifier';
  /** Seconds: when the broker judged, or when the agent made the call's proof, by its clock. */
  readonly at: number;
  readonly bundle_version: string | null;
}

/** `recorded`: there was nothing left to take away. `repeated`: done before. `nothing`: nobody asks, or it is too late. */
export type ResponseDone = 'contained' | 'suspended' | 'revoked' | 'recorded' | 'repeated' | 'nothing';

const STRENGTH: readonly RequestedResponse[] = ['none', 'contain', 'suspend', 'revoke'];
/** The mission may change between the look and the write. */
const TRIES = 3;
/** Verdicts of one mission since its last resume that are looked at. */
const LOOKED_AT = 100;

/**
 * Carries out what the mission's template asks for, as far as this claim may. Repeating it does nothing.
 * @returns what was done now
 */
export async function respond(ports: Ports, claim: Claim): Promise<ResponseDone> {
  const mission = await ports.store.mission(claim.mission_id);
  const now = ports.clock.now();
  if (mission === null) return 'nothing';
  const state = stateAt(mission, now);
  if (state !== 'active' && state !== 'suspended') return 'nothing';
  const { rules } = await missionBehaviour(ports, mission, claim.verifier.audience);
  const asked = askedFor(claim.record, (rule) => (rules[rule] === 'deny' ? responseTo(rules, rule) : 'none'));
  if (asked === 'none') return 'nothing';
  const resumed_at = await lastResume(ports, mission);
  if (claim.at <= resumed_at) return 'nothing';
  const does = claim.judged_by === 'broker' ? asked : await permitted(ports, claim, asked, resumed_at);
  const source = claim.judged_by === 'broker' ? 'broker' : `verifier:${claim.verifier.id}`;
  const event_id = `${BEHAVIOUR_ACTOR}:${source}:${asked}:${resumed_at}`;
  return carryOut(ports, mission, claim, does, event_id, (done) => [
    { kind: 'insert_event_id', event_id: `${mission.id}:${event_id}`, at: now },
    verdictRecord(claim, asked, done, now),
  ]);
}

function askedFor(
  { findings, tainted }: Claim['record'],
  wanted: (rule: RuleName) => RequestedResponse,
): RequestedResponse {
  let strongest = 0;
  for (const { rule } of findings)
    if (tainted || rule === 'deceptive_sink') strongest = Math.max(strongest, STRENGTH.indexOf(wanted(rule)));
  return STRENGTH[strongest] ?? 'none';
}

/** When a person last resumed the mission; what was proven before is settled. */
async function lastResume(ports: Ports, mission: Mission): Promise<number> {
  // Nothing but its creation has happened to it.
  if (mission.version === 1) return 0;
  const resumes = await ports.store.auditRecords({
    mission_id: mission.id,
    event: 'mission.resumed',
    newest_first: true,
    limit: LOOKED_AT,
  });
  return resumes.find(({ actor }) => actor.startsWith('admin:'))?.ts ?? 0;
}

/** One verifier's word takes away that verifier's part; a second audience's, as much as both ask for. */
async function permitted(
  ports: Ports,
  claim: Claim,
  asked: RequestedResponse,
  resumed_at: number,
): Promise<RequestedResponse> {
  if (asked === 'contain') return asked;
  const told = await ports.store.auditRecords({
    mission_id: claim.mission_id,
    event: VERDICT_EVENT,
    newest_first: true,
    limit: LOOKED_AT,
  });
  let other = STRENGTH.indexOf('contain');
  for (const { details } of told) {
    const { proven_at, audience, verifier } = details;
    if (typeof proven_at !== 'number' || proven_at <= resumed_at) continue;
    // Two verifiers of one audience are run by one owner: they are one voice.
    if (audience === claim.verifier.audience || verifier === claim.verifier.id) continue;
    other = Math.max(other, STRENGTH.indexOf(details['asked'] as RequestedResponse));
  }
  return STRENGTH[Math.min(other, STRENGTH.indexOf(asked))] ?? 'contain';
}

async function carryOut(
  ports: Ports,
  mission: Mission,
  claim: Claim,
  does: RequestedResponse,
  event_id: string,
  on_record: (done: RequestedResponse) => readonly Write[],
): Promise<ResponseDone> {
  const by = {
    actor: BEHAVIOUR_ACTOR,
    reason: `${BROKER_REASON} ${claim.record.rule ?? 'behaviour'}, see decision ${claim.decision_id}`,
    event_id: `${event_id}:${does}`,
    with: on_record(does),
  };
  try {
    if (does === 'revoke') {
      const { repeated } = await intervene(ports, mission.id, 'revoke', by, 'behaviour');
      return repeated ? 'repeated' : 'revoked';
    }
    if (does === 'suspend') {
      const { repeated } = await suspendForGood(ports, mission, by, 'behaviour');
      return repeated ? 'repeated' : 'suspended';
    }
    // Nothing works under it any more, and a containment would outlive the resume of a mission that was suspended in error.
    const stands = mission.state === 'suspended' && mission.state_reason !== SILENT;
    const done = stands ? null : await containAudience(ports, mission.id, claim.verifier.audience, by);
    if (done !== null) return done;
  } catch (cause) {
    // Somebody else was faster, or it is suspended already; what was found stays on record below.
    if (!(cause instanceof Denied)) throw cause;
  }
  try {
    await ports.store.atomically(on_record('none'));
    return 'recorded';
  } catch (cause) {
    if (cause instanceof WriteConflict && cause.conflict === 'repeated') return 'repeated';
    throw cause;
  }
}

/** Null where the mission has nothing at this audience any more. @throws Denied */
async function containAudience(
  ports: Ports,
  mission_id: string,
  audience: string,
  by: Intervention,
): Promise<ResponseDone | null> {
  for (let attempt = 1; ; attempt++) {
    const mission = await ports.store.mission(mission_id);
    if (mission === null) return null;
    if (forAudience(effective(mission.authority, mission.containments), audience).length === 0) return null;
    try {
      const request = { ...by, remove: [{ audience }], reason_code: 'behaviour' } as const;
      return (await contain(ports, mission_id, request)).repeated ? 'repeated' : 'contained';
    } catch (cause) {
      if (!(cause instanceof Denied) || cause.denial.tag !== 'conflict' || attempt === TRIES) throw cause;
    }
  }
}

function verdictRecord(claim: Claim, asked: RequestedResponse, does: RequestedResponse, now: number): Write {
  const { record, verifier } = claim;
  const details: JsonObject = {
    decision: claim.decision_id,
    verifier: verifier.id,
    audience: verifier.audience,
    rule: record.rule,
    asked,
    does,
    judged_by: claim.judged_by,
    ...(claim.judged_by === 'verifier' && { proven_at: claim.at }),
    rules_version: record.rules_version,
    catalogue_version: record.catalogue_version,
    bundle_version: claim.bundle_version,
  };
  return {
    kind: 'append_audit',
    record: { ts: now, event: VERDICT_EVENT, actor: BEHAVIOUR_ACTOR, mission_id: claim.mission_id, details },
  };
}

/** Told of what a person should look at. */
export interface Alert {
  readonly mission_id: string | null;
  readonly verifier: string;
  readonly rule: string | null;
  readonly decision: string;
  readonly done: ResponseDone | 'held';
}

/**
 * Missions of one verifier that are acted on in one minute: a catalogue gone wrong must not take a fleet down by
 * itself. What comes on top stays refused at the guards, is on record, and waits for a person.
 */
const ACTIONS_A_MINUTE = 60;
const MINUTE_SECONDS = 60;
/** Milliseconds in which the broker's own judgement of the same call may come first. */
const GRACE_MS = 250;
/** Pairs of mission and verifier that are remembered as answered. */
const ANSWERED = 20_000;

/** Answers proven verdicts in decision events, one at a time for each mission. */
export function createVerdictResponses(
  ports: Ports,
  reports: Pick<Reports, 'onBatch'>,
  judged: Pick<CallBehaviour, 'onVerdict'>,
  tell: { alert(alert: Alert): void; failed(cause: unknown): void },
): void {
  /** Version of the mission as it was when this verifier's word was last answered: until it changes, nothing would. */
  const answered = new Map<string, string>();
  const waiting = new Map<string, Map<string, Claim>>();
  const minutes = new Map<string, { minute: number; left: number; told: boolean }>();

  function budgetOf(verifier_id: string): { left: number; told: boolean } {
    const minute = Math.floor(ports.clock.now() / MINUTE_SECONDS);
    let budget = minutes.get(verifier_id);
    if (budget?.minute !== minute) {
      budget = { minute, left: ACTIONS_A_MINUTE, told: false };
      minutes.set(verifier_id, budget);
    }
    return budget;
  }

  async function answer(claim: Claim): Promise<void> {
    const { mission_id, verifier, record, decision_id: decision } = claim;
    const pair = `${mission_id} ${verifier.id} ${claim.judged_by}`;
    const mission = await ports.store.mission(mission_id);
    const seen = `${mission?.version} ${record.rule}`;
    if (mission === null || answered.get(pair) === seen) return;
    const told = { mission_id, verifier: verifier.id, rule: record.rule, decision };
    const budget = budgetOf(verifier.id);
    if (budget.left <= 0) {
      if (!budget.told) tell.alert({ ...told, done: 'held' });
      budget.told = true;
      return;
    }
    const done = await respond(ports, claim);
    if (done === 'nothing') return;
    const after = await ports.store.mission(mission_id);
    answered.delete(pair);
    answered.set(pair, `${after?.version} ${record.rule}`);
    if (answered.size > ANSWERED) answered.delete(answered.keys().next().value ?? '');
    if (done === 'repeated') return;
    budget.left--;
    tell.alert({ ...told, done });
  }

  async function work(mission_id: string): Promise<void> {
    const claims = waiting.get(mission_id);
    for (;;) {
      const [key, claim] = claims?.entries().next().value ?? [];
      if (key === undefined || claim === undefined) break;
      claims?.delete(key);
      try {
        await answer(claim);
      } catch (cause) {
        tell.failed(cause);
      }
    }
    waiting.delete(mission_id);
  }

  function take(claims: readonly Claim[]): void {
    for (const claim of claims) {
      const { mission_id, verifier, record } = claim;
      const queued = waiting.get(mission_id);
      // One place for each verifier and rule: a flood of one does not push another's word out.
      const key = `${claim.judged_by} ${verifier.id} ${record.rule}`;
      if (queued !== undefined) {
        queued.set(key, claim);
        continue;
      }
      waiting.set(mission_id, new Map([[key, claim]]));
      void work(mission_id);
    }
  }

  reports.onBatch((batch) => {
    const claims = claimsOf(batch);
    // A guard asks for the broker's own judgement of such a call as well: where that suspends, nothing is taken away.
    if (claims.length > 0) setTimeout(() => take(claims), GRACE_MS).unref();
  });
  judged.onVerdict((judgement) => take(judgedClaim(ports, judgement)));
}

/** Enforced, proven denials that ask for more. Everything else is for display. */
function claimsOf(batch: ReportedBatch): Claim[] {
  return batch.decisions.flatMap((decision, index) => {
    const claim = claimOf(decision, batch, index);
    return claim === null ? [] : [claim];
  });
}

/** The broker's own judgement of a call with its proof. */
function judgedClaim(ports: Ports, judgement: BehaviourJudgement): Claim[] {
  const { verdict, mission_id, verifier, decision_id } = judgement;
  if (!judgement.proven || judgement.mode !== 'enforce' || verdict.response === 'none') return [];
  if (verdict.decision !== 'deny') return [];
  const bundle_version = bundleContent(ports, verifier.audience).version;
  const { record } = verdict;
  return [
    { mission_id, verifier, record, decision_id, judged_by: 'broker', at: judgement.at, bundle_version },
  ];
}

function claimOf(decision: KeptDecision, batch: ReportedBatch, index: number): Claim | null {
  const { verdict, proof, proven_at, mission_id } = decision;
  if (decision.decision !== 'deny' || proof !== 'valid' || proven_at === undefined) return null;
  if (verdict === undefined || !verdict.enforced || verdict.record.response === 'none') return null;
  return {
    mission_id,
    verifier: batch.verifier,
    record: verdict.record,
    decision_id: `${batch.id}.${index}`,
    judged_by: 'verifier',
    at: proven_at,
    bundle_version: batch.bundle_version,
  };
}
