/**
 * The behaviour engine in a guard: each call of a mission judged before it runs, each answer taken in before it is
 * released. What this process does not know, because it was read at another audience or by another process, the broker
 * knows: it is asked where a judgement depends on it, and only there.
 */
import { originFacts } from '../../behaviour/declare.ts';
import { judge as judgeStep, permittedEffect, type Step } from '../../behaviour/engine.ts';
import { recordEvidence } from '../../behaviour/evidence.ts';
import { historyDigest } from '../../behaviour/history.ts';
import { provenDestinations } from '../../behaviour/judge.ts';
import type { MissionState } from '../../behaviour/mission.ts';
import { answersText, onlyUnproven, originParameters } from '../../behaviour/plan.ts';
import type { Call, Context } from '../../behaviour/proof.ts';
import type { BehaviourRules } from '../../behaviour/rules.ts';
import type { VerdictRecord } from '../../behaviour/verdict.ts';
import { type Bundle, CONSEQUENTIAL } from '../../domain/bundle.ts';
import type { JsonValue } from '../../domain/json.ts';
import type { ReportedVerdict } from '../../domain/verdict-report.ts';
import { AnswerIntake } from './answer-intake.ts';
import type { GuardedCall } from './call.ts';
import { denied, type GuardDenial } from './denial.ts';
import { type AskBroker, type BrokerWord, deniedBy } from './guard.ts';
import { type Held, HeldMissions, reachesOut } from './held-missions.ts';
import type { MissionFactsSource, TaintMark } from './mission-facts.ts';
import type { ObservationReports } from './observation-reports.ts';
import type { AnswerReader, SequenceJudge, Settled } from './state.ts';
import type { VerifiedToken } from './token.ts';

/** `enforce` refuses; `observe` judges and records just the same, and refuses nothing. */
export type BehaviourMode = 'enforce' | 'observe';

export interface BehaviourOptions {
  readonly mode: BehaviourMode;
  readonly bundle: () => Bundle | null;
  readonly facts: MissionFactsSource;
  readonly mark: TaintMark;
  /** @param onReset what was told before is gone */
  readonly reports: (onReset: () => void) => ObservationReports;
  /** For a destination that is unknown here: the broker judges it with what all audiences observed. */
  readonly ask: AskBroker;
  /** Rules of this server's operator: the stricter of them and the template's holds. Default: the template's. */
  readonly rules?: BehaviourRules;
  /** Missions held at once. Default 8,192. */
  readonly missions?: number;
  /** Told of every verdict: what an administrator may know and an agent may not. */
  readonly onVerdict?: (record: VerdictRecord, token: VerifiedToken) => void;
}

/** A call whose judgement depends on what the broker knows, between its stages and its answer. */
interface OpenCall {
  readonly held: Held;
  readonly call: GuardedCall;
  readonly token: VerifiedToken;
  /** The broker judges it anyway. */
  readonly consequential: boolean;
}

/** Refusals of one mission that come with their evidence. */
const EXPLAINED = 32;

export class BehaviourJudge implements SequenceJudge {
  readonly #options: BehaviourOptions;
  readonly #missions: HeldMissions;
  readonly #reports: ObservationReports;
  #found: ReportedVerdict | null = null;
  #open: OpenCall | null = null;
  /** Calls that the broker permitted before they were judged here. */
  readonly #words = new WeakMap<GuardedCall, BrokerWord>();
  /** Calls that only the broker can permit, by their parameters: `locate` makes another call around them. */
  readonly #left = new WeakSet<object>();

  constructor(options: BehaviourOptions) {
    this.#options = options;
    this.#missions = new HeldMissions(options);
    this.#reports = options.reports(() => {
      for (const held of this.#missions.all()) held.told = null;
    });
  }

  /** Missions held. */
  get size(): number {
    return this.#missions.size;
  }

  /** Whether a mission has taken in untrusted content, as far as this process knows; null for one it does not hold. */
  isTainted(mission_id: string): boolean | null {
    return this.#missions.get(mission_id)?.state.tainted ?? null;
  }

  close(): Promise<void> {
    return this.#reports.close();
  }

  prepare(token: VerifiedToken, call: GuardedCall): Promise<GuardDenial | null> | null {
    if (this.#missions.get(token.mission_id) !== undefined) return this.#originsElsewhere(token, call);
    try {
      if (this.#missions.catalogue() === null) return null;
    } catch {
      return null; // `judge` refuses it.
    }
    return this.#missions.begin(token).then((denial) => denial ?? this.#originsElsewhere(token, call));
  }

  locate(call: GuardedCall, token: VerifiedToken): GuardedCall {
    const word = this.#words.get(call);
    const origins = word?.origins ?? this.#originsHere(token, call);
    if (origins === null) return call;
    const located = { ...call, context: { ...call.context, origins } };
    if (word !== undefined) this.#words.set(located, word);
    return located;
  }

  answered(call: GuardedCall): boolean {
    return this.#words.has(call);
  }

  /** Null where no entry limits this action by origin. */
  #originsHere(token: VerifiedToken, call: GuardedCall): ReturnType<typeof originFacts> | null {
    const held = this.#missions.get(token.mission_id);
    const names = originParameters(token.claims.authorization_details, call.action);
    const context = held === undefined || names.length === 0 ? null : this.#missions.contextOf(held);
    return held === undefined || context === null
      ? null
      : originFacts(held.state, context, call as Call, names);
  }

  /**
   * Where entries limit by origin and a value has none here, another audience may know it: the broker judges the call
   * in full, its proof included. Where it cannot be asked, the call is judged here, by what is known here.
   */
  #originsElsewhere(token: VerifiedToken, call: GuardedCall): Promise<null> | null {
    const held = this.#missions.get(token.mission_id);
    if (held === undefined || this.#options.mode !== 'enforce') return null;
    const origins = this.#originsHere(token, call);
    if (origins === null) return null;
    const unknown = originParameters(token.claims.authorization_details, call.action).some((name) => {
      if (!Object.hasOwn(call.parameters, name)) return false;
      return (
        origins[name]?.every(({ origin, from }) => origin !== 'untrusted' || from !== undefined) !== true
      );
    });
    return unknown ? this.#askInFull(held, token, call) : null;
  }

  async #askInFull(held: Held, token: VerifiedToken, call: GuardedCall): Promise<null> {
    try {
      await this.#reports.tell(held);
      const word = await this.#options.ask(call, token);
      // Its no stands as well: the proof is spent, and a second question would only hear that.
      this.#words.set(call, typeof word === 'boolean' ? { permitted: word } : word);
    } catch {
      // Then it is unknown.
    }
    return null;
  }

  judge(call: GuardedCall, token: VerifiedToken, labels: readonly string[]): GuardDenial | null {
    this.#found = null;
    this.#open = null;
    const rules = this.#options.bundle()?.sequence_rules.length ?? 0;
    if (rules > 0) return denied('rules_unenforceable');
    try {
      if (this.#missions.catalogue() === null) return null;
    } catch (error) {
      return denied('rules_unenforceable', { private_reason: (error as Error).message });
    }
    const held = this.#missions.touch(token);
    const word = this.#words.get(call);
    if (held !== null && word !== undefined) {
      this.#leave(held, call);
      return word.permitted ? null : deniedBy(word);
    }
    const context = held === null ? null : this.#missions.contextOf(held);
    if (held === null || context === null)
      return denied('rules_unenforceable', { private_reason: 'no facts of the mission' });
    const before = held.state;
    const step = judgeStep(before, { type: 'call', call: call as Call }, context);
    if (this.#options.mode === 'enforce' && this.#dependsOnOthers(held, call, step, context)) {
      const consequential = call.consequential === true || labels.includes(CONSEQUENTIAL);
      this.#open = { held, call, token, consequential };
      return null;
    }
    const settled = this.#conclude(held, call, token, before, step, context);
    this.#found = settled.verdict;
    return settled.denial;
  }

  takeVerdict(): ReportedVerdict | null {
    const found = this.#found;
    this.#found = null;
    return found;
  }

  /** Digests of where a permitted effect went, for the history of its template; empty where that is off. */
  taught(call: GuardedCall, token: VerifiedToken): readonly string[] {
    const held = this.#missions.get(token.mission_id);
    const context = held === undefined ? null : this.#missions.contextOf(held);
    if (held === undefined || held.history === null || context === null) return [];
    const { key } = held.history;
    return provenDestinations(held.state, context, call as Call).map((one) => historyDigest(key, one));
  }

  settle(): Promise<Settled> | null {
    const open = this.#open;
    this.#open = null;
    return open === null ? null : this.#settle(open);
  }

  /** An answer that nobody opens in the turns of the permit goes past us: whatever it says, the agent may read it. */
  permitted(call: GuardedCall, token: VerifiedToken): void {
    const held = this.#missions.get(token.mission_id);
    const context = held === undefined ? null : this.#missions.contextOf(held);
    if (held === undefined || context === null) return;
    if (this.#left.delete(call.parameters)) held.state = permittedEffect(held.state, context, call.action);
    if (!answersText(context.catalogue, call.action)) return;
    held.unread = true;
    setImmediate(() => {
      if (!held.unread) return;
      held.unread = false;
      this.#taint(held);
      this.#hold(held)?.catch(() => {});
    });
  }

  openAnswer(call: GuardedCall, token: VerifiedToken): AnswerReader | null {
    try {
      if (this.#missions.catalogue() === null) return null;
    } catch {
      return null;
    }
    const held = this.#missions.get(token.mission_id);
    if (held === undefined) return this.#blindReader(token);
    held.unread = false;
    // This very state, whatever becomes of it in the table: what was dropped meanwhile still marks before it releases.
    return new AnswerIntake({
      take: (body, whole) => this.#take(held, call, body, whole),
      taint: () => this.#taint(held),
      held: () => this.#hold(held),
    });
  }

  /** The mission was dropped between permit and answer: nothing of it is read, so all of it counts as untrusted. */
  #blindReader(token: VerifiedToken): AnswerReader | null {
    if (this.#options.mode !== 'enforce') return null;
    const { mark } = this.#options;
    let marked: Promise<void> | null = null;
    return new AnswerIntake({
      take: () => {},
      taint: () => {},
      held: () => {
        marked ??= mark(token.mission_id, token.claims.jti);
        return marked;
      },
    });
  }

  /**
   * Whether this call is judged otherwise by what was read and written elsewhere: the mission may be tainted there, a
   * value may be known there, or have been written by the agent there; and what it writes here, others must know.
   */
  #dependsOnOthers(held: Held, call: GuardedCall, step: Step, context: Context): boolean {
    const { state } = held;
    if (step.verdict?.decision === 'deny') return state.tainted && onlyUnproven(step.verdict);
    const strict = state.tainted
      ? step
      : judgeStep({ ...state, tainted: true }, { type: 'call', call: call as Call }, context);
    if (strict.verdict?.decision === 'deny') return true;
    if (!reachesOut(context.catalogue, call.action)) return false;
    return strict.state.memory !== state.memory || this.#reports.lacks(held);
  }

  async #settle({ held, call, token, consequential }: OpenCall): Promise<Settled> {
    try {
      // Another audience marks before it releases: what the agent can know by now, the broker knows.
      if (!held.state.tainted) {
        const { tainted, marked } = await this.#options.facts(held.mission_id);
        if (tainted) this.#taint(held);
        if (marked) held.mark = 'known';
      }
      if (held.state.tainted) await this.#reports.tell(held);
      const context = this.#missions.contextOf(held);
      if (context === null) return unenforceable('no catalogue');
      let step = judgeStep(held.state, { type: 'call', call: call as Call }, context);
      if (step.verdict?.decision === 'deny' && held.state.tainted && onlyUnproven(step.verdict)) {
        // The broker is asked about a consequential call anyway, and has what is known here by now.
        if (consequential || (await this.#isKnownElsewhere(call, token))) {
          this.#leave(held, call);
          return { denial: null, verdict: null };
        }
        step = judgeStep(held.state, { type: 'call', call: call as Call }, context);
      }
      const before = held.state;
      const settled = this.#conclude(held, call, token, before, step, context);
      // What the agent writes is known as its own words before anybody can read it back.
      if (settled.denial === null && step.state.memory !== before.memory) await this.#reports.tell(held);
      return settled;
    } catch (error) {
      return unenforceable(error instanceof Error ? error.message : 'the broker');
    }
  }

  /** The broker judges this call in place of us; what its permit means for the next ones is seen in {@link permitted}. */
  #leave(held: Held, call: GuardedCall): void {
    held.state = { ...held.state, seq: held.state.seq + 1 };
    this.#left.add(call.parameters);
  }

  async #isKnownElsewhere(call: GuardedCall, token: VerifiedToken): Promise<boolean> {
    try {
      const word = await this.#options.ask(call, token);
      return word === true || (typeof word === 'object' && word.permitted);
    } catch {
      return false;
    }
  }

  /** The judgement stands. @param before the mission that the step was judged on: as it is in this turn */
  #conclude(
    held: Held,
    call: GuardedCall,
    token: VerifiedToken,
    before: MissionState,
    step: Step,
    context: Context,
  ): Settled {
    const enforced = this.#options.mode === 'enforce';
    const { verdict } = step;
    held.state = step.state;
    if (verdict === null) return { denial: null, verdict: null };
    const found =
      verdict.record.findings.length === 0
        ? null
        : {
            record: verdict.record,
            enforced,
            // An agent that goes on being refused must not fill the broker's disk with why.
            evidence: before.refusals < EXPLAINED ? recordEvidence(before, call as Call, context) : null,
          };
    this.#tell(verdict.record, token);
    if (verdict.decision !== 'deny' || !enforced || verdict.agent === null)
      return { denial: null, verdict: found };
    const { code, retry } = verdict.agent;
    // Code and retry alone: the agent must not be able to probe the boundary.
    const denial = denied(code, { retry, private_reason: verdict.record.rule ?? 'behaviour' });
    return { denial, verdict: found };
  }

  #take(held: Held, call: GuardedCall, body: JsonValue, whole: boolean): void {
    const context = this.#missions.contextOf(held);
    if (context === null) return;
    // A piece of an answer is text of nobody: a declared step vouches with whole answers only.
    const named = { action: whole ? call.action : `${call.action} (in part)`, parameters: call.parameters };
    held.state = judgeStep(held.state, { type: 'answer', call: named as Call, body }, context).state;
    if (this.#options.mode === 'enforce') this.#reports.soon(held);
  }

  #taint(held: Held): void {
    if (!held.state.tainted) held.state = { ...held.state, tainted: true };
  }

  /** The first untrusted answer waits until the broker knows; `observe` holds nothing back and marks nothing. */
  #hold(held: Held): Promise<void> | null {
    if (!held.state.tainted || this.#options.mode !== 'enforce') return null;
    if (held.mark === 'known') return null;
    if (held.mark !== 'open') return held.mark;
    held.mark = this.#options.mark(held.mission_id, held.jti).then(
      () => {
        held.mark = 'known';
      },
      (error: unknown) => {
        held.mark = 'open';
        throw error;
      },
    );
    return held.mark;
  }

  #tell(record: VerdictRecord, token: VerifiedToken): void {
    try {
      this.#options.onVerdict?.(record, token);
    } catch {
      // An observer's fault neither permits nor denies.
    }
  }
}

function unenforceable(private_reason: string): Settled {
  return { denial: denied('rules_unenforceable', { private_reason }), verdict: null };
}
