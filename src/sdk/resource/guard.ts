/**
 * The guard: judges one call, in one turn, without the network. Framework-free; adapters build the call and send the
 * answer. Whatever goes wrong in here denies.
 */

import type { CallContext } from '../../domain/authority/index.ts';
import type { ReportedVerdict } from '../../domain/verdict-report.ts';
import type { AnswerMeter } from './answer-meter.ts';
import type { GuardedCall } from './call.ts';
import { answerOf, type DenialAnswer, denied, type GuardDenial } from './denial.ts';
import type { ResourceMetadata } from './metadata.ts';
import { credential, readAuthorization } from './stages/credential.ts';
import { ALIVE_STAGES, type NamedStage, STAGES } from './stages/index.ts';
import type { AnswerReader, GuardState } from './state.ts';
import type { OpenStreams } from './streams.ts';
import type { VerifiedToken } from './token.ts';

/** Permitted with the verified token, or denied with the reason. */
export type Verdict = VerifiedToken | GuardDenial;

/** Told of every decision, after it was made. Must return at once and never throw into a call. */
export interface DecisionObserver {
  decided(call: GuardedCall, token: VerifiedToken | null, verdict: Verdict, decision: DecisionFacts): void;
}

export interface DecisionFacts {
  /** Seconds since the epoch. */
  readonly ts: number;
  readonly latency_us: number;
  readonly labels: readonly string[];
  /** What the behaviour rules found, where they found something. */
  readonly verdict?: ReportedVerdict;
  /** Of a permitted effect: digests of its destinations, where the mission's template learns from them. */
  readonly destinations?: readonly string[];
}

/** Asks the broker for its word on one call (the whole tree's history). Rejects when it cannot be had. */
export type AskBroker = (call: GuardedCall, token: VerifiedToken) => Promise<boolean | BrokerWord>;

/** The broker's word with what the agent may know of a denial. */
export interface BrokerWord {
  readonly permitted: boolean;
  /** Code of the denial. */
  readonly reason?: string;
  readonly retry?: 'never' | 'with_new_mission';
  /** Of a permit: where the values came from by which `origin` constraints permitted it. */
  readonly origins?: CallContext['origins'];
}

export interface GuardOptions {
  readonly state: GuardState;
  readonly metadata: ResourceMetadata;
  readonly metadata_url: string;
  readonly streams: OpenStreams;
  /** Seconds since the epoch. */
  readonly now: () => number;
  readonly observer: DecisionObserver | null;
  readonly ask: AskBroker | null;
}

/** An agent that goes on is told about again; in between its denials are reported like all others. */
const ASK_AGAIN_SECONDS = 10;
const ASKED = 4_096;

export class Guard {
  readonly metadata: ResourceMetadata;
  /** Where {@link metadata} is served (RFC 9728 section 3.1). */
  readonly metadata_url: string;
  readonly #state: GuardState;
  readonly #streams: OpenStreams;
  readonly #now: () => number;
  readonly #observer: DecisionObserver | null;
  readonly #ask: AskBroker | null;
  /** Of calls that are judged and not yet reported. */
  readonly #verdicts = new WeakMap<GuardedCall, ReportedVerdict>();
  /** Missions whose denial the broker was asked to judge as well, and when (seconds). */
  readonly #asked = new Map<string, number>();

  constructor(options: GuardOptions) {
    this.metadata = options.metadata;
    this.metadata_url = options.metadata_url;
    this.#state = options.state;
    this.#streams = options.streams;
    this.#now = options.now;
    this.#observer = options.observer;
    this.#ask = options.ask;
  }

  /** The audience that this guard protects. */
  get audience(): string {
    return this.#state.audience;
  }

  /** Whether this call needs the broker's word: then only {@link decide} can permit it. */
  needsBroker(call: Pick<GuardedCall, 'action' | 'consequential'>): boolean {
    return call.consequential === true || this.#state.isConsequential(call.action);
  }

  /** Whether only {@link decide} can permit this call: the broker's word or facts of the mission may be needed. */
  needsWait(call: Pick<GuardedCall, 'action' | 'consequential'>): boolean {
    return this.#state.sequence?.prepare !== undefined || this.needsBroker(call);
  }

  /**
   * Reads the answer of a call that was just permitted, for the judgement of later calls. Adapters open it in the turn
   * of the permit; an answer that nobody reads counts as untrusted. Null where answers are of no interest.
   */
  openAnswer(call: GuardedCall, permit: VerifiedToken): AnswerReader | null {
    return this.#state.sequence?.openAnswer?.(call, permit) ?? null;
  }

  /**
   * Judges a call now. Never throws. A call that needs the broker's word is denied with
   * `broker_decision_required`: use {@link decide}.
   */
  check(call: GuardedCall): Verdict {
    const started = this.#observer === null ? 0 : performance.now();
    const now = this.#now();
    const found = this.#authenticate(call, now);
    if (!found.permitted) return this.#report(call, null, found, now, started);
    const refused = this.needsBroker(call)
      ? denied('broker_decision_required')
      : this.#prepare(found, call) !== null
        ? denied('rules_unenforceable', { private_reason: 'facts of the mission are on their way' })
        : (this.#runStages(call, found, now) ??
          (this.#state.sequence?.settle?.() == null
            ? null
            : denied('rules_unenforceable', { private_reason: 'depends on what the broker knows' })));
    return this.#report(call, found, refused ?? found, now, started);
  }

  /** As {@link check}, and asks the broker where its word is needed. No word in time is a denial. */
  async decide(call: GuardedCall): Promise<Verdict> {
    if (!this.needsWait(call)) return this.check(call);
    const started = this.#observer === null ? 0 : performance.now();
    const now = this.#now();
    const found = this.#authenticate(call, now);
    if (!found.permitted) return this.#report(call, null, found, now, started);
    const waiting = this.#prepare(found, call);
    const refused =
      (waiting === null ? null : await waiting) ??
      this.#runStages(call, found, waiting === null ? now : this.#now()) ??
      (await this.#settle(call, found)) ??
      (this.needsBroker(call) && this.#state.sequence?.answered?.(call) !== true
        ? await this.#askBroker(call, found)
        : null);
    return this.#report(call, found, refused ?? found, now, started);
  }

  /**
   * Whether the call comes with a living token in the right hands; says nothing about any action. For the parts of a
   * protocol that act on nothing: opening a session, listing what there is.
   */
  recognize(call: GuardedCall): Verdict {
    const now = this.#now();
    const found = this.#authenticate(call, now);
    if (!found.permitted) return found;
    return this.#runStages(call, found, now, ALIVE_STAGES) ?? found;
  }

  /** Whether a permitted token is still alive: for work that goes on after the call. Null means that it is. */
  stillPermitted(permit: VerifiedToken): GuardDenial | null {
    return this.#streams.judge(permit, this.#now());
  }

  /**
   * Calls `cut` once when the permit's token dies: revoked, expired, narrowed, or no longer knowable. Use it for every
   * answer that stays open. Returns how to stop watching.
   */
  watch(permit: VerifiedToken, cut: (denial: GuardDenial) => void): () => void {
    return this.#streams.watch(permit, cut);
  }

  /**
   * Holds an answer to the bytes that the permit's token may still send, if it limits them. Adapters do so in the turn of
   * the permit, and ask the meter before each piece.
   */
  meter(permit: VerifiedToken, meter: AnswerMeter): AnswerMeter {
    const { claims } = permit;
    if (claims.limits?.['max_egress_volume'] !== undefined)
      meter.limit({
        spend: (bytes) => this.#state.allotments.spend(claims, bytes, this.#now()),
        left: () => this.#state.allotments.bytesLeft(claims, this.#now()),
      });
    return meter;
  }

  /**
   * Counts bytes of an answer that is already sent, where the token limits them: may pass the end once, then nothing more
   * is permitted. {@link meter} never does.
   */
  charge(permit: VerifiedToken, bytes: number): void {
    this.#state.allotments.charge(permit.claims.jti, bytes);
  }

  /** Status, headers and body for a denied call. */
  answer(denial: GuardDenial, authorization?: string): DenialAnswer {
    const scheme = authorization === undefined ? null : readAuthorization(authorization);
    // A bound token sent as a bearer is told the scheme that it needs.
    const asBearer = scheme?.scheme === 'Bearer' && denial.code !== 'scheme_mismatch';
    return answerOf(denial, asBearer ? 'Bearer' : 'DPoP', this.metadata_url);
  }

  #authenticate(call: GuardedCall, now: number): Verdict {
    try {
      return credential(call, this.#state, now);
    } catch (error) {
      return failed(error);
    }
  }

  #prepare(token: VerifiedToken, call: GuardedCall): Promise<GuardDenial | null> | null {
    return this.#state.sequence?.prepare?.(token, call) ?? null;
  }

  #runStages(
    given: GuardedCall,
    token: VerifiedToken,
    now: number,
    stages: readonly NamedStage[] = STAGES,
  ): GuardDenial | null {
    try {
      const call = this.#state.sequence?.locate?.(given, token) ?? given;
      let denial: GuardDenial | null = null;
      for (let at = 0; at < stages.length && denial === null; at++)
        denial = stages[at]?.judge(call, token, this.#state, now) ?? null;
      const found = this.#state.sequence?.takeVerdict?.() ?? null;
      if (found !== null && this.#observer !== null) this.#verdicts.set(given, found);
      return denial;
    } catch (error) {
      return failed(error);
    }
  }

  async #settle(call: GuardedCall, token: VerifiedToken): Promise<GuardDenial | null> {
    const waiting = this.#state.sequence?.settle?.() ?? null;
    if (waiting === null) return null;
    const { denial, verdict } = await waiting;
    if (verdict !== null && this.#observer !== null) this.#verdicts.set(call, verdict);
    return denial ?? this.#moved(token);
  }

  /** The world moved while the broker was asked: what was revoked meanwhile is refused. */
  #moved(token: VerifiedToken): GuardDenial | null {
    return this.#streams.judge(token, this.#now());
  }

  #report(
    call: GuardedCall,
    token: VerifiedToken | null,
    verdict: Verdict,
    now: number,
    started: number,
  ): Verdict {
    if (verdict.permitted) this.#state.sequence?.permitted?.(call, verdict);
    if (this.#observer === null) return verdict;
    try {
      const found = this.#verdicts.get(call);
      const destinations =
        verdict.permitted && token !== null ? (this.#state.sequence?.taught?.(call, token) ?? []) : [];
      this.#observer.decided(call, token, verdict, {
        ts: now,
        latency_us: (performance.now() - started) * 1000,
        labels: this.#state.labelsOf(call.action),
        ...(found !== undefined && { verdict: found }),
        ...(destinations.length > 0 && { destinations }),
      });
      if (found !== undefined && token !== null && !verdict.permitted)
        this.#tellDenial(call, token, found, now);
    } catch {
      // An observer's fault neither permits nor denies.
    }
    return verdict;
  }

  /**
   * A denial for which the template asks that the mission be ended: this guard's word alone may not do that, the
   * broker's own judgement of the same call and proof may. Nobody waits for it, and what it says changes no answer.
   */
  #tellDenial(call: GuardedCall, token: VerifiedToken, found: ReportedVerdict, now: number): void {
    const { response } = found.record;
    if (this.#ask === null || !found.enforced || (response !== 'suspend' && response !== 'revoke')) return;
    if (call.proof === undefined || now - (this.#asked.get(token.mission_id) ?? 0) < ASK_AGAIN_SECONDS)
      return;
    this.#asked.delete(token.mission_id);
    this.#asked.set(token.mission_id, now);
    if (this.#asked.size > ASKED) this.#asked.delete(this.#asked.keys().next().value ?? '');
    this.#ask(call, token).catch(() => {});
  }

  async #askBroker(call: GuardedCall, token: VerifiedToken): Promise<GuardDenial | null> {
    if (this.#ask === null) return denied('broker_unreachable', { private_reason: 'no broker client' });
    try {
      const word = await this.#ask(call, token);
      if (word === true || (typeof word === 'object' && word.permitted === true)) return this.#moved(token);
      return deniedBy(typeof word === 'object' ? word : { permitted: false });
    } catch {
      return denied('broker_unreachable');
    }
  }
}

/** What the agent is told where the broker said no. */
export function deniedBy({ reason, retry }: BrokerWord): GuardDenial {
  return reason === 'behaviour_denied'
    ? denied('behaviour_denied', { retry: retry ?? 'with_new_mission' })
    : denied('broker_denied', reason === undefined ? {} : { private_reason: reason });
}

function failed(error: unknown): GuardDenial {
  return denied('guard_failed', { private_reason: error instanceof Error ? error.message : 'unknown' });
}
