/** The missions whose behaviour one process holds: bounded, and begun again from the broker where one was dropped. */
import { type Catalogue, hasLabel, uncatalogued } from '../../behaviour/catalogue.ts';
import { declaredActions } from '../../behaviour/declare.ts';
import { receiveCatalogue } from '../../behaviour/delivery.ts';
import { type DeliveredHistory, historyContext } from '../../behaviour/history.ts';
import { digestKey } from '../../behaviour/memory.ts';
import { beginMission } from '../../behaviour/mission.ts';
import { plannedActions } from '../../behaviour/plan.ts';
import type { Context } from '../../behaviour/proof.ts';
import { type BehaviourRules, DEFAULT_RULES } from '../../behaviour/rules.ts';
import { strictest } from '../../behaviour/section.ts';
import type { AuthoritySet } from '../../domain/authority/index.ts';
import type { Bundle } from '../../domain/bundle.ts';
import { denied, type GuardDenial } from './denial.ts';
import type { MissionFacts, MissionFactsSource } from './mission-facts.ts';
import type { ObservedMission } from './observation-reports.ts';
import type { VerifiedToken } from './token.ts';

export interface Held extends ObservedMission {
  readonly key: Context['key'];
  /** Of the mission's template, by the version that every verdict names. */
  readonly rules: BehaviourRules;
  /** What earlier missions used; null where the template keeps it off. */
  readonly history: DeliveredHistory | null;
  /** Authority that the declaration was read from; a renewed token may bring another. */
  authority: AuthoritySet;
  /** A permitted call whose answer nobody reads so far. */
  unread: boolean;
  /** Whether the broker knows of the taint: until it says so, nothing untrusted is released. */
  mark: 'open' | 'known' | Promise<void>;
}

export interface HeldOptions {
  readonly bundle: () => Bundle | null;
  readonly facts: MissionFactsSource;
  readonly rules?: BehaviourRules;
  /** Default 8,192. */
  readonly missions?: number;
}

const MISSIONS = 8_192;

export class HeldMissions {
  readonly #options: HeldOptions;
  readonly #capacity: number;
  readonly #held = new Map<string, Held>();
  readonly #coming = new Map<string, Promise<GuardDenial | null>>();
  #read: { readonly bundle: Bundle; readonly catalogue: Catalogue | null } | null = null;

  constructor(options: HeldOptions) {
    this.#options = options;
    this.#capacity = options.missions ?? MISSIONS;
  }

  get size(): number {
    return this.#held.size;
  }

  get(mission_id: string): Held | undefined {
    return this.#held.get(mission_id);
  }

  all(): Iterable<Held> {
    return this.#held.values();
  }

  /** The mission of a call, which is now the one that was last heard of. */
  touch(token: VerifiedToken): Held | null {
    const held = this.#held.get(token.mission_id);
    if (held === undefined) return null;
    this.#held.delete(token.mission_id);
    this.#held.set(token.mission_id, held);
    held.jti = token.claims.jti;
    redeclare(held, token.claims.authorization_details);
    return held;
  }

  /** Asks the broker for what must be known of a mission first. Never rejects. */
  begin(token: VerifiedToken): Promise<GuardDenial | null> {
    const { mission_id } = token;
    const coming = this.#coming.get(mission_id) ?? this.#begin(token);
    this.#coming.set(mission_id, coming);
    return coming;
  }

  contextOf(held: Held): Context | null {
    const catalogue = this.catalogue();
    if (catalogue === null) return null;
    const { rules, key, history } = held;
    return { catalogue, rules, key, ...(history !== null && { history: historyContext(history) }) };
  }

  /** @throws CatalogueError for a bundle whose catalogue cannot be read: then nothing is judged, and nothing permitted */
  catalogue(): Catalogue | null {
    const bundle = this.#options.bundle();
    if (bundle === null) return null;
    if (this.#read?.bundle !== bundle) this.#read = { bundle, catalogue: receiveCatalogue(bundle) };
    return this.#read.catalogue;
  }

  async #begin(token: VerifiedToken): Promise<GuardDenial | null> {
    const { mission_id } = token;
    try {
      const facts = await this.#options.facts(mission_id);
      // A mission that was dropped begins like one that was never here: its taint was marked before anything of it
      // was released, what the agent wrote before the call ran, and the rest is told or unknown.
      this.#makeRoom();
      const authority = token.claims.authorization_details;
      const key = digestKey(facts.digest_key);
      const state = beginMission(
        {
          mission_id,
          texts: facts.texts,
          actions: plannedActions(facts.declared, authority, this.catalogue()),
          template_values: facts.behaviour?.values ?? [],
          born_tainted: facts.born_tainted,
          sources_for_others: facts.sources_for_others,
        },
        key,
      );
      this.#held.set(mission_id, {
        mission_id,
        jti: token.claims.jti,
        state: { ...state, tainted: state.tainted || facts.tainted },
        told: null,
        key,
        rules: this.#rulesFor(facts),
        history: facts.history,
        authority,
        unread: false,
        mark: facts.marked ? 'known' : 'open',
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

  #rulesFor({ behaviour }: MissionFacts): BehaviourRules {
    const own = this.#options.rules;
    if (behaviour === null) return own ?? DEFAULT_RULES;
    return own === undefined ? behaviour.rules : strictest(behaviour.rules, own);
  }

  /** Room for one more; the mission that was silent the longest is dropped. */
  #makeRoom(): void {
    while (this.#held.size >= this.#capacity) {
      const [oldest] = this.#held.keys();
      if (oldest === undefined) return;
      this.#held.delete(oldest);
    }
  }
}

/** Whether an action does something to others, or can carry something to them: then it matters where values came from. */
export function reachesOut(catalogue: Catalogue, action: string): boolean {
  const entry = catalogue.actions.get(action) ?? uncatalogued(action);
  return hasLabel(entry, 'effect') || hasLabel(entry, 'external');
}

/** A narrowed mission comes with fewer entries: what was declared shrinks with them, what was seen stays. */
function redeclare(held: Held, authority: AuthoritySet): void {
  if (authority === held.authority) return;
  held.authority = authority;
  const granted = new Set(declaredActions(authority).map(({ action }) => action));
  held.state = { ...held.state, actions: held.state.actions.filter(({ action }) => granted.has(action)) };
}
