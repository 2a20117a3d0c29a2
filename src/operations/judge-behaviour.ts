/**
 * One call judged by where its values came from, with what all verifiers of the mission's tree observed: the engine
 * that runs in a guard, with the whole history (wire profile 3). Consequential calls, and those that a guard could not
 * judge alone, come here; so does what a gateway or another decision point asks.
 */
import type { Catalogue } from '../behaviour/catalogue.ts';
import { originFacts } from '../behaviour/declare.ts';
import { judge } from '../behaviour/engine.ts';
import { recordEvidence } from '../behaviour/evidence.ts';
import { historyContext } from '../behaviour/history.ts';
import { type DigestKey, digestKey } from '../behaviour/memory.ts';
import { beginMission, type DeclaredSource, type MissionState } from '../behaviour/mission.ts';
import { observationsSince } from '../behaviour/observe.ts';
import {
  answersText,
  namedSources,
  onlyUnproven,
  originParameters,
  plannedActions,
} from '../behaviour/plan.ts';
import type { Context } from '../behaviour/proof.ts';
import type { BehaviourRules } from '../behaviour/rules.ts';
import { observe, viewOf, withSteps } from '../behaviour/shared.ts';
import type { Verdict } from '../behaviour/verdict.ts';
import { type CallContext, effective, forAudience } from '../domain/authority/index.ts';
import type { JsonObject } from '../domain/json.ts';
import type { Mission } from '../domain/mission.ts';
import type { Ports, TokenClaims, VerifierPolicy } from '../ports.ts';
import { missionHistory } from './history.ts';
import { missionBehaviour } from './mission-behaviour.ts';
import type { MissionDigestKey } from './mission-facts.ts';
import { OBSERVATION_WAIT_MS, type ObservedTree, type Provenance } from './provenance.ts';

/** How a verifier wants its calls judged. It enforces: what it may switch off in itself, it may switch off here. */
export interface BehaviourWish {
  readonly mode: 'enforce' | 'observe' | 'off';
  /** It reads what the calls answer and reports it; else an answer that may hold text taints when it is permitted. */
  readonly answers_inspected: boolean;
}

export const FULL_JUDGEMENT: BehaviourWish = { mode: 'enforce', answers_inspected: false };

interface JudgedCall {
  readonly action: string;
  readonly parameters: JsonObject;
}

/** The judgement of one call, open until {@link keep}: it may be made again when the world has moved. */
export interface CallJudgement {
  /** The facts of the call with the origins of its parameters, for `origin` constraints. */
  withOrigins(context: CallContext): CallContext;
  /** Judged on what is known now. */
  verdict(): Verdict;
  /** Waits for observations that may be on their way, where they could prove what is unproven. */
  settled(): Promise<Verdict>;
  /** What the last verdict follows from, where it denies; null for the many of a token that is refused again and again. */
  readonly evidence: string | null;
  /** Whether something was read since the verdict that it should have known. */
  readonly outdated: boolean;
  /** The mission takes in what nobody reads: to be written with the permit. */
  readonly taints: boolean;
  /** Keeps what the permitted call itself tells: values that the agent wrote. Before the permit is answered. */
  keep(): void;
}

export interface BehaviourJudgement {
  readonly verifier: VerifierPolicy;
  readonly mission_id: string;
  readonly jti: string;
  /** A proof of the call stands behind it; false for a bearer token, which has none. */
  readonly proven: boolean;
  /** By which the decision is explained. */
  readonly decision_id: string;
  /** Seconds. */
  readonly at: number;
  readonly mode: 'enforce' | 'observe';
  readonly verdict: Verdict;
}

export interface CallBehaviour {
  /** Null where nothing is judged: no catalogue, or switched off. */
  open(
    claims: TokenClaims,
    verifier: VerifierPolicy,
    call: JudgedCall,
    wish: BehaviourWish,
  ): Promise<CallJudgement | null>;
  /** Told of every verdict on a call with a valid proof, once it stands. @returns what ends it */
  onVerdict(listener: (judgement: BehaviourJudgement) => void): () => void;
  tell(judgement: BehaviourJudgement): void;
}

/** First states of missions, by token: what a mission declares is read once. */
const BEGUN = 512;
/** Denials of one token that come with their evidence. */
const EXPLAINED = 8;

interface Begun {
  readonly catalogue: Catalogue;
  readonly state: MissionState;
  readonly key: DigestKey;
  readonly rules: BehaviourRules;
  readonly mission: Mission;
  readonly history: NonNullable<Context['history']> | null;
  /** Denials of this token that are still explained: the audit trail is not an agent's to fill. */
  explained_left: number;
}

export function createCallBehaviour(
  ports: Ports,
  provenance: Provenance,
  missionKey: MissionDigestKey,
): CallBehaviour {
  const begun = new Map<string, Begun>();
  const listeners = new Set<(judgement: BehaviourJudgement) => void>();

  async function beginning(
    claims: TokenClaims,
    mission: Mission,
    audience: string,
    own: Catalogue,
  ): Promise<Begun> {
    const known = begun.get(claims.jti);
    if (known !== undefined && known.catalogue === own) return known;
    const { rules, values } = await missionBehaviour(ports, mission, audience);
    const key = digestKey(missionKey(mission.path[0] ?? mission.id));
    const { goal, constraints = [], success_criteria = [], needs = [] } = mission.intent;
    const here = needs.filter(({ resource }) => isAt(resource, audience));
    const state = beginMission(
      {
        mission_id: mission.id,
        texts: [goal, ...constraints, ...success_criteria, ...here.map(({ why }) => why)],
        actions: plannedActions(
          here.flatMap(({ actions }) => actions),
          claims.authorization_details,
          own,
        ),
        template_values: values,
        born_tainted: mission.born_tainted ?? false,
        sources_for_others: sourcesForOthers(ports, mission, audience),
      },
      key,
    );
    const past = await missionHistory(ports, mission, audience);
    const history = past === null ? null : historyContext(past);
    const entry = { catalogue: own, state, key, rules, mission, history, explained_left: EXPLAINED };
    begun.set(claims.jti, entry);
    if (begun.size > BEGUN) {
      const [oldest] = begun.keys();
      if (oldest !== undefined) begun.delete(oldest);
    }
    return entry;
  }

  async function open(
    claims: TokenClaims,
    verifier: VerifierPolicy,
    call: JudgedCall,
    wish: BehaviourWish,
  ): Promise<CallJudgement | null> {
    const { audience } = verifier;
    const own = ports.policy().audience(audience)?.catalogue;
    if (own === undefined || wish.mode === 'off') return null;
    const mission = await ports.store.mission(claims.mission.id);
    if (mission === null) return null;
    const beginnings = await beginning(claims, mission, audience, own);
    const { state: first, key, rules, history } = beginnings;
    const tree = await provenance.tree(mission);
    const ownerOf = (action: string) => ownerOfStep(ports, mission, audience, action);
    const catalogueOf = (other: string) => ports.policy().audience(other)?.catalogue ?? null;
    const steps = first.sources.flatMap(({ action }) => {
      const catalogue = catalogueOf(ownerOf(action) ?? '');
      return catalogue === null ? [] : [{ action, catalogue }];
    });
    const catalogue = withSteps(own, steps);

    function view(): { readonly state: MissionState; readonly context: Context } {
      const seen = viewOf(tree.shared, first, audience, tree.tainted, catalogueOf, ownerOf);
      return {
        state: seen.state,
        context: { catalogue, rules, key, elsewhere: seen.elsewhere, ...(history !== null && { history }) },
      };
    }

    let evidence: string | null = null;
    let judged: { readonly before: MissionState; readonly after: MissionState } | null = null;
    function verdict(): Verdict {
      const { state, context } = view();
      const step = judge(state, { type: 'call', call }, context);
      if (step.verdict === null) throw new Error('a call has a verdict');
      judged = { before: state, after: step.state };
      // Now: what others observe meanwhile is no part of this verdict.
      const explains = step.verdict.decision === 'deny' && beginnings.explained_left > 0;
      if (explains) beginnings.explained_left--;
      evidence = explains ? recordEvidence(state, call, context) : null;
      return step.verdict;
    }

    return {
      withOrigins(context) {
        const names = originParameters(claims.authorization_details, call.action);
        if (names.length === 0) return context;
        const { state, context: known } = view();
        return { ...context, origins: originFacts(state, known, call, names) };
      },
      verdict,
      async settled() {
        const began = performance.now();
        let latest = verdict();
        if (!onlyUnproven(latest) || !(await mayBeOutstanding(ports, tree, mission, verifier))) return latest;
        while (onlyUnproven(latest)) {
          const left = OBSERVATION_WAIT_MS - (performance.now() - began);
          if (!(await provenance.news(tree, left))) break;
          latest = verdict();
        }
        return latest;
      },
      get evidence() {
        return evidence;
      },
      get outdated() {
        return judged !== null && tree.tainted && !judged.before.tainted;
      },
      taints:
        wish.mode === 'enforce' && !wish.answers_inspected && !tree.tainted && answersText(own, call.action),
      keep() {
        if (judged === null || wish.mode !== 'enforce') return;
        if (!wish.answers_inspected && answersText(own, call.action)) provenance.taint(tree);
        const { before, after } = judged;
        if (after.memory === before.memory && after.pending === before.pending) return;
        const reporter = { mission_id: mission.id, audience, catalogue: own };
        const { shared } = observe(tree.shared, reporter, observationsSince(before, after));
        provenance.learn(tree, shared);
      },
    };
  }

  return {
    open,
    onVerdict(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    tell(judgement) {
      for (const listener of listeners) listener(judgement);
    },
  };
}

function isAt(resource: string, audience: string): boolean {
  return resource === audience || resource.startsWith(`${audience}/`);
}

/** Whether anybody but the asking process could still have something to tell: else nothing is waited for. */
async function mayBeOutstanding(
  ports: Ports,
  tree: ObservedTree,
  mission: Mission,
  verifier: VerifierPolicy,
): Promise<boolean> {
  if ((verifier.processes ?? 1) > 1 || mission.path.length > 1) return true;
  const minted = await ports.store.credentials(mission.id);
  if (minted.some(({ target }) => target !== verifier.audience)) return true;
  return (await ports.store.missionTree(tree.root)).length > 1;
}

/** Audiences that the mission holds authority for, and that have a catalogue. */
function audiencesOf(ports: Ports, mission: Mission): { resource: string; catalogue: Catalogue }[] {
  const held = effective(mission.authority, mission.containments);
  return ports
    .policy()
    .audiences.flatMap(({ resource, catalogue }) =>
      catalogue !== undefined && forAudience(held, resource).length > 0 ? [{ resource, catalogue }] : [],
    );
}

/**
 * The one other audience that a step can only mean; null where this audience has such an action itself, and where
 * several others do.
 */
function ownerOfStep(ports: Ports, mission: Mission, audience: string, action: string): string | null {
  const all = audiencesOf(ports, mission).filter(({ catalogue }) => catalogue.actions.has(action));
  if (all.some(({ resource }) => resource === audience)) return null;
  return all.length === 1 ? (all[0]?.resource ?? null) : null;
}

/** Steps of this audience that the mission's entries at other audiences name as origins. */
export function sourcesForOthers(ports: Ports, mission: Mission, audience: string): DeclaredSource[] {
  const held = effective(mission.authority, mission.containments);
  const others = ports.policy().audiences.filter(({ resource }) => resource !== audience);
  const out: DeclaredSource[] = [];
  for (const { resource } of others) {
    for (const source of namedSources(forAudience(held, resource))) {
      if (ownerOfStep(ports, mission, resource, source.action) !== audience) continue;
      if (!out.some(({ action, field }) => action === source.action && field === source.field))
        out.push(source);
    }
  }
  return out;
}
