/**
 * The behaviour engine in a guard: each call of a mission judged before it runs, each answer taken in before it is
 * released. One state a mission in this process, bounded: a mission whose state was dropped is *unknown* from then on
 * (only what its template names may be a destination), never clean.
 */
import { type Catalogue, hasLabel } from '../../behaviour/catalogue.ts';
import { declaredActions, originFacts } from '../../behaviour/declare.ts';
import { receiveCatalogue } from '../../behaviour/delivery.ts';
import { judge as judgeStep } from '../../behaviour/engine.ts';
import { recordEvidence } from '../../behaviour/evidence.ts';
import { digestKey } from '../../behaviour/memory.ts';
import { beginMission, type DeclaredAction, type MissionState } from '../../behaviour/mission.ts';
import type { Call, Context } from '../../behaviour/proof.ts';
import { type BehaviourRules, DEFAULT_RULES } from '../../behaviour/rules.ts';
import { strictest } from '../../behaviour/section.ts';
import type { VerdictRecord } from '../../behaviour/verdict.ts';
import { type AuthoritySet, isResourceAccess } from '../../domain/authority/index.ts';
import type { Bundle } from '../../domain/bundle.ts';
import { isJsonObject, type JsonValue } from '../../domain/json.ts';
import type { ReportedVerdict } from '../../domain/verdict-report.ts';
import { AnswerIntake } from './answer-intake.ts';
import type { GuardedCall } from './call.ts';
import { denied, type GuardDenial } from './denial.ts';
import type { MissionFacts, MissionFactsSource, TaintMark } from './mission-facts.ts';
import type { AnswerReader, SequenceJudge } from './state.ts';
import type { VerifiedToken } from './token.ts';

/** `enforce` refuses; `observe` judges and records just the same, and refuses nothing. */
export type BehaviourMode = 'enforce' | 'observe';

export interface BehaviourOptions {
  readonly mode: BehaviourMode;
  readonly bundle: () => Bundle | null;
  readonly facts: MissionFactsSource;
  readonly mark: TaintMark;
  /** Processes that serve this audience: with more than one, this one does not see every answer. */
  readonly processes: () => number;
  /** Seconds since the epoch. */
  readonly started_at: number;
  /** Rules of this server's operator: the stricter of them and the template's holds. Default: the template's. */
  readonly rules?: BehaviourRules;
  /** Missions held at once. Default 8,192. */
  readonly missions?: number;
  /** Told of every verdict: what an administrator may know and an agent may not. */
  readonly onVerdict?: (record: VerdictRecord, token: VerifiedToken) => void;
}

interface Held {
  state: MissionState;
  readonly key: Context['key'];
  readonly facts: MissionFacts;
  /** Of the mission's template, by the version that every verdict names. */
  readonly rules: BehaviourRules;
  /** Authority that the declaration was read from; a renewed token may bring another. */
  authority: AuthoritySet;
  /** A permitted call whose answer nobody reads so far. */
  unread: boolean;
  /** Whether the broker knows of the taint: until it says so, nothing untrusted is released. */
  mark: 'open' | 'known' | Promise<void>;
}

const MISSIONS = 8_192;
/** Refusals of one mission that come with their evidence. */
const EXPLAINED = 32;
/** Dropped missions that are remembered by name; beyond, every mission older than the last one forgotten counts. */
const DROPPED = 65_536;

export class BehaviourJudge implements SequenceJudge {
  readonly #options: BehaviourOptions;
  readonly #capacity: number;
  readonly #held = new Map<string, Held>();
  readonly #dropped = new Map<string, number>();
  readonly #coming = new Map<string, Promise<GuardDenial | null>>();
  /** Missions created up to this time may have been dropped and forgotten. */
  #forgotten_until = Number.NEGATIVE_INFINITY;
  #found: ReportedVerdict | null = null;
  #read: { readonly bundle: Bundle; readonly catalogue: Catalogue | null } | null = null;

  constructor(options: BehaviourOptions) {
    this.#options = options;
    this.#capacity = options.missions ?? MISSIONS;
  }

  /** Missions held. */
  get size(): number {
    return this.#held.size;
  }

  prepare(token: VerifiedToken, call: GuardedCall): Promise<GuardDenial | null> | null {
    const { mission_id } = token;
    const held = this.#held.get(mission_id);
    if (held !== undefined) return this.#dependsOnTaint(held, call) ? this.#askTaint(held) : null;
    try {
      if (this.#catalogue() === null) return null;
    } catch {
      return null; // `judge` refuses it.
    }
    const coming = this.#coming.get(mission_id) ?? this.#begin(token);
    this.#coming.set(mission_id, coming);
    return coming;
  }

  locate(call: GuardedCall, token: VerifiedToken): GuardedCall {
    const held = this.#held.get(token.mission_id);
    if (held === undefined) return call;
    const names = constrainedParameters(token.claims.authorization_details, call.action);
    if (names.length === 0) return call;
    const context = this.#context(held);
    if (context === null) return call;
    return {
      ...call,
      context: { ...call.context, origins: originFacts(held.state, context, call as Call, names) },
    };
  }

  judge(call: GuardedCall, token: VerifiedToken): GuardDenial | null {
    this.#found = null;
    const rules = this.#options.bundle()?.sequence_rules.length ?? 0;
    if (rules > 0) return denied('rules_unenforceable');
    let catalogue: Catalogue | null;
    try {
      catalogue = this.#catalogue();
    } catch (error) {
      return denied('rules_unenforceable', { private_reason: (error as Error).message });
    }
    if (catalogue === null) return null;
    const held = this.#touch(token.mission_id);
    if (held === null) return denied('rules_unenforceable', { private_reason: 'no facts of the mission' });
    this.#redeclare(held, token);
    const context: Context = { catalogue, rules: held.rules, key: held.key };
    // The answer before went past us: whatever it said, the agent may have read it.
    if (held.unread) held.state = judgeStep(held.state, { type: 'taint' }, context).state;
    held.unread = false;
    const before = held.state;
    const step = judgeStep(before, { type: 'call', call: call as Call }, context);
    const refused = step.verdict?.decision === 'deny' && this.#options.mode === 'enforce';
    held.state = step.state;
    if (step.verdict !== null && step.verdict.record.findings.length > 0)
      this.#found = {
        record: step.verdict.record,
        enforced: this.#options.mode === 'enforce',
        // An agent that goes on being refused must not fill the broker's disk with why.
        evidence: before.refusals < EXPLAINED ? recordEvidence(before, call as Call, context) : null,
      };
    if (!refused) held.unread = this.#answersText(catalogue, call.action);
    if (step.verdict === null) return null;
    this.#tell(step.verdict.record, token);
    if (!refused || step.verdict.agent === null) return null;
    const { code, retry } = step.verdict.agent;
    // Code and retry alone: the agent must not be able to probe the boundary.
    return denied(code, { retry, private_reason: step.verdict.record.rule ?? 'behaviour' });
  }

  takeVerdict(): ReportedVerdict | null {
    const found = this.#found;
    this.#found = null;
    return found;
  }

  /** Whether this call is judged otherwise once the mission has read what strangers wrote, here or elsewhere. */
  #dependsOnTaint(held: Held, call: GuardedCall): boolean {
    if (held.state.tainted || held.unread) return false;
    try {
      const context = this.#context(held);
      if (context === null) return false;
      const strict = { ...held.state, tainted: true };
      const { verdict } = judgeStep(strict, { type: 'call', call: call as Call }, context);
      return verdict?.decision === 'deny';
    } catch {
      return false; // `judge` refuses it.
    }
  }

  /** Another audience marks before it releases: what the agent can know by now, the broker knows. */
  async #askTaint(held: Held): Promise<GuardDenial | null> {
    try {
      const { tainted } = await this.#options.facts(held.facts.mission_id);
      if (tainted) {
        held.state = { ...held.state, tainted: true };
        held.mark = 'known';
      }
      return null;
    } catch (error) {
      return denied('rules_unenforceable', {
        private_reason: error instanceof Error ? error.message : 'taint of the mission',
      });
    }
  }

  openAnswer(call: GuardedCall, token: VerifiedToken): AnswerReader | null {
    const held = this.#held.get(token.mission_id);
    if (held === undefined) return null;
    held.unread = false;
    return new AnswerIntake({
      take: (body, whole) => this.#take(token.mission_id, call, body, whole),
      taint: () => this.#taint(token.mission_id),
      held: () => this.#hold(token),
    });
  }

  /** Whether a mission has taken in untrusted content, as far as this process knows; null for one it does not hold. */
  isTainted(mission_id: string): boolean | null {
    return this.#held.get(mission_id)?.state.tainted ?? null;
  }

  #take(mission_id: string, call: GuardedCall, body: JsonValue, whole: boolean): void {
    const held = this.#held.get(mission_id);
    const context = held === undefined ? null : this.#context(held);
    if (held === undefined || context === null) return;
    // A piece of an answer is text of nobody: a declared step vouches with whole answers only.
    const named = { action: whole ? call.action : `${call.action} (in part)`, parameters: call.parameters };
    held.state = judgeStep(held.state, { type: 'answer', call: named as Call, body }, context).state;
  }

  /** The first untrusted answer waits until the broker knows; `observe` holds nothing back and marks nothing. */
  #hold(token: VerifiedToken): Promise<void> | null {
    const held = this.#held.get(token.mission_id);
    if (held === undefined || !held.state.tainted || this.#options.mode !== 'enforce') return null;
    if (held.mark === 'known') return null;
    if (held.mark !== 'open') return held.mark;
    held.mark = this.#options.mark(token.mission_id, token.claims.jti).then(
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

  #taint(mission_id: string): void {
    const held = this.#held.get(mission_id);
    if (held !== undefined) held.state = { ...held.state, tainted: true };
  }

  async #begin(token: VerifiedToken): Promise<GuardDenial | null> {
    const { mission_id } = token;
    try {
      const facts = await this.#options.facts(mission_id);
      this.#make();
      const authority = token.claims.authorization_details;
      const key = digestKey(facts.digest_key);
      const unknown = this.#dropped.has(mission_id) || facts.created_at <= this.#forgotten_until;
      const born_tainted = facts.born_tainted || unknown;
      const state = beginMission(
        {
          mission_id,
          texts: facts.texts,
          actions: declared(facts, authority, this.#catalogue()),
          template_values: facts.behaviour?.values ?? [],
          born_tainted,
        },
        key,
      );
      // Answers that another process gave, or this one before it was started, are not known here.
      const partial = this.#options.processes() > 1 || facts.created_at < this.#options.started_at;
      this.#held.set(mission_id, {
        state: { ...state, tainted: state.tainted || facts.tainted || partial },
        key,
        facts,
        rules: this.#rulesFor(facts),
        authority,
        unread: false,
        mark: facts.tainted ? 'known' : 'open',
      });
      return null;
    } catch (error) {
      return denied('rules_unenforceable', {
        private_reason: error instanceof Error ? error.message : 'facts of the mission',
      });
    } finally {
      this.#coming.delete(mission_id);
    }
  }

  /** Room for one more; the mission that was silent the longest is dropped. */
  #make(): void {
    while (this.#held.size >= this.#capacity) {
      const [oldest, held] = this.#held.entries().next().value ?? [];
      if (oldest === undefined || held === undefined) return;
      this.#held.delete(oldest);
      this.#dropped.set(oldest, held.facts.created_at);
      if (this.#dropped.size <= DROPPED) continue;
      const [first, created_at] = this.#dropped.entries().next().value ?? [];
      if (first === undefined || created_at === undefined) return;
      this.#dropped.delete(first);
      this.#forgotten_until = Math.max(this.#forgotten_until, created_at);
    }
  }

  #touch(mission_id: string): Held | null {
    const held = this.#held.get(mission_id);
    if (held === undefined) return null;
    this.#held.delete(mission_id);
    this.#held.set(mission_id, held);
    return held;
  }

  /** A narrowed mission comes with fewer entries: what was declared shrinks with them, what was seen stays. */
  #redeclare(held: Held, token: VerifiedToken): void {
    const authority = token.claims.authorization_details;
    if (authority === held.authority) return;
    held.authority = authority;
    const granted = new Set(declaredActions(authority).map(({ action }) => action));
    held.state = {
      ...held.state,
      actions: held.state.actions.filter(({ action }) => granted.has(action)),
    };
  }

  #context(held: Held): Context | null {
    const catalogue = this.#catalogue();
    return catalogue === null ? null : { catalogue, rules: held.rules, key: held.key };
  }

  #rulesFor({ behaviour }: MissionFacts): BehaviourRules {
    const own = this.#options.rules;
    if (behaviour === null) return own ?? DEFAULT_RULES;
    return own === undefined ? behaviour.rules : strictest(behaviour.rules, own);
  }

  /** @throws CatalogueError for a bundle whose catalogue cannot be read: then nothing is judged, and nothing permitted */
  #catalogue(): Catalogue | null {
    const bundle = this.#options.bundle();
    if (bundle === null) return null;
    if (this.#read?.bundle !== bundle) this.#read = { bundle, catalogue: receiveCatalogue(bundle) };
    return this.#read.catalogue;
  }

  #answersText(catalogue: Catalogue, action: string): boolean {
    const entry = catalogue.actions.get(action);
    if (entry === undefined) return true;
    const strange = (trust: string): boolean => trust === 'third_party' || trust === 'unknown';
    return strange(entry.default_trust) || entry.fields.some(({ trust }) => strange(trust));
  }

  #tell(record: VerdictRecord, token: VerifiedToken): void {
    try {
      this.#options.onVerdict?.(record, token);
    } catch {
      // An observer's fault neither permits nor denies.
    }
  }
}

/** Parameters of an action that some entry limits by origin. */
function constrainedParameters(authority: AuthoritySet, action: string): string[] {
  const names = new Set<string>();
  for (const entry of authority) {
    if (!isResourceAccess(entry) || !entry.actions.includes(action)) continue;
    const rules = entry.constraints?.['parameters'];
    if (!isJsonObject(rules)) continue;
    for (const [name, rule] of Object.entries(rules))
      if (isJsonObject(rule) && Object.hasOwn(rule, 'origin')) names.add(name);
  }
  return [...names];
}

/**
 * What the mission declares: the actions of its `needs`, in their order, with what the granted entries fix and name
 * as origins. An intent without needs declares everything that was granted. A read that is declared before an effect
 * is an implied source of it.
 */
function declared(
  facts: MissionFacts,
  authority: AuthoritySet,
  catalogue: Catalogue | null,
): DeclaredAction[] {
  const granted = new Map(declaredActions(authority).map((one) => [one.action, one]));
  if (facts.declared.length === 0) return [...granted.values()];
  const out = new Map<string, DeclaredAction>();
  const reads: string[] = [];
  for (const action of facts.declared) {
    const entry = granted.get(action);
    if (entry === undefined) continue;
    const before = out.get(action);
    const sources = [...(before?.sources ?? [])];
    for (const read of reads)
      if (read !== action && !sources.some((known) => known.action === read))
        sources.push({ action: read, implied: true });
    out.set(action, { action, parameters: entry.parameters, sources });
    const known = catalogue?.actions.get(action);
    if (known !== undefined && hasLabel(known, 'read') && !reads.includes(action)) reads.push(action);
  }
  return [...out.values()];
}
