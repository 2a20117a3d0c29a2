/**
 * What verifiers observed of live missions, kept by tree in bounded memory: where values came from, by digest. Batches are
 * on disk for people to read, and the taint is; nothing is read back from there. What is dropped, or was before this
 * process, is unknown and never clean.
 */
import { beginShared, bytesOf, observe, type SharedProvenance } from '../behaviour/shared.ts';
import type { Mission } from '../domain/mission.ts';
import type { ObservationReport } from '../domain/reports.ts';
import type { Ports, VerifierPolicy } from '../ports.ts';

export { OBSERVATION_WAIT_MS } from '../behaviour/taint.ts';

/** Memory for all trees together. */
const MAX_BYTES = 64 * 1024 * 1024;
const BYTES_OF_TREE = 400;
/** Missions whose tree is remembered. */
const ROOTS = 20_000;
/** Questions that wait at once, of all trees and of one. */
const WAITING = 256;
const WAITING_OF_TREE = 8;
const EPOCH_BYTES = 12;

/** Origin of an observation that marks its mission. */
const UNTRUSTED = 'text';

/** One tree of missions. An object of this kind stays good after it was dropped, and is then asked by nobody new. */
export interface ObservedTree {
  readonly root: string;
  /** Of the root, seconds. */
  readonly created_at: number;
  shared: SharedProvenance;
  /** Some mission of it has taken in untrusted content. */
  tainted: boolean;
  bytes: number;
  /** Nobody will ask about it again. */
  ended: boolean;
  readonly waiting: Set<() => void>;
}

/** Values that were reported as vouched for and prove nothing: the agent had written them elsewhere. */
export interface Unsettled {
  readonly mission_id: string;
  readonly digests: readonly string[];
  /** Of these only what vouches for them does not count; the text of a declared step that held them first does. */
  readonly repeated: readonly string[];
}

export interface Provenance {
  /** The tree of each mission that lives; before its reports become durable, so that its taint is known from before. */
  trees(mission_ids: Iterable<string>): Promise<ReadonlyMap<string, ObservedTree>>;
  /** Takes in what became durable. */
  take(
    trees: ReadonlyMap<string, ObservedTree>,
    verifier: VerifierPolicy,
    reports: readonly ObservationReport[],
  ): readonly Unsettled[];
  tree(mission: Mission): Promise<ObservedTree>;
  /** What the broker itself observed, such as what the agent wrote in a call that it permits. */
  learn(tree: ObservedTree, shared: SharedProvenance): void;
  taint(tree: ObservedTree): void;
  /** Resolves with true once something was learned of the tree, with false after so long or where too many wait. */
  news(tree: ObservedTree, milliseconds: number): Promise<boolean>;
  readonly size: number;
  readonly bytes: number;
  /** Random for each process: reports that another process took are gone. */
  readonly epoch: string;
}

export function createProvenance(ports: Ports, max_bytes = MAX_BYTES): Provenance {
  const { store, clock, chance } = ports;
  const trees = new Map<string, ObservedTree>();
  const roots = new Map<string, string>();
  /** Of trees created up to this time, something may have been known and forgotten. */
  let unknown_until = clock.now();
  let bytes = 0;
  let waiting = 0;

  // A tree that ended is asked about no more.
  store.onCommit(({ changed_missions }) => {
    for (const id of changed_missions) if (trees.has(id)) void forgetEnded(id);
  });

  async function forgetEnded(root: string): Promise<void> {
    const mission = await store.mission(root).catch(() => null);
    const tree = trees.get(root);
    if (tree === undefined || mission?.state === 'active' || mission?.state === 'suspended') return;
    tree.ended = true;
    drop(tree);
  }

  function drop(tree: ObservedTree): void {
    if (!trees.delete(tree.root)) return;
    bytes -= tree.bytes;
    wake(tree);
  }

  function wake(tree: ObservedTree): void {
    for (const one of [...tree.waiting]) one();
  }

  function keep(tree: ObservedTree, shared: SharedProvenance): void {
    tree.shared = shared;
    if (trees.get(tree.root) === tree) {
      // The tree that was silent the longest is the first in order.
      trees.delete(tree.root);
      trees.set(tree.root, tree);
      const now = bytesOf(shared) + BYTES_OF_TREE;
      bytes += now - tree.bytes;
      tree.bytes = now;
      makeRoom(tree);
    } else if (!tree.ended && tree.tainted) {
      // It was dropped while this was on its way: who asks now must not find a memory without it.
      unknown_until = Math.max(unknown_until, tree.created_at);
      const heir = trees.get(tree.root);
      if (heir !== undefined) heir.shared = { ...heir.shared, lossy: true };
    }
    wake(tree);
  }

  function makeRoom(but: ObservedTree): void {
    for (const tree of trees.values()) {
      if (bytes <= max_bytes) return;
      if (tree === but) continue;
      // Where nothing untrusted was read, nobody can have written it anywhere: what is lost is proof, and no mark.
      if (tree.tainted) unknown_until = Math.max(unknown_until, tree.created_at);
      drop(tree);
    }
  }

  async function treeOf(mission: Mission): Promise<ObservedTree> {
    const root = mission.path[0] ?? mission.id;
    roots.set(mission.id, root);
    if (roots.size > ROOTS) {
      const [oldest] = roots.keys();
      if (oldest !== undefined) roots.delete(oldest);
    }
    const known = trees.get(root);
    if (known !== undefined) {
      if (mission.tainted) known.tainted = true;
      return known;
    }
    const members = await store.missionTree(root);
    const raced = trees.get(root);
    if (raced !== undefined) return raced;
    const tainted = mission.tainted || members.some((member) => member.tainted);
    const created_at = members[0]?.created_at ?? mission.created_at;
    const tree: ObservedTree = {
      root,
      created_at,
      shared: beginShared(!tainted || created_at > unknown_until),
      tainted,
      bytes: BYTES_OF_TREE,
      ended: false,
      waiting: new Set(),
    };
    trees.set(root, tree);
    bytes += tree.bytes;
    makeRoom(tree);
    return tree;
  }

  return {
    epoch: Buffer.from(chance.bytes(EPOCH_BYTES)).toString('base64url'),
    get size() {
      return trees.size;
    },
    get bytes() {
      return bytes;
    },
    async trees(mission_ids) {
      const found = new Map<string, ObservedTree>();
      for (const id of new Set(mission_ids)) {
        const known = trees.get(roots.get(id) ?? '');
        if (known !== undefined) {
          found.set(id, known);
          continue;
        }
        const mission = await store.mission(id);
        if (mission === null || (mission.state !== 'active' && mission.state !== 'suspended')) continue;
        found.set(id, await treeOf(mission));
      }
      return found;
    },
    take(found, verifier, reports) {
      const catalogue = ports.policy().audience(verifier.audience)?.catalogue ?? null;
      const out: Unsettled[] = [];
      for (const [mission_id, tree] of found) {
        const own = reports.filter((report) => report.mission_id === mission_id);
        if (own.some(({ origin }) => origin === UNTRUSTED)) tree.tainted = true;
        const reporter = { mission_id, audience: verifier.audience, catalogue };
        const { shared, unsettled, repeated } = observe(tree.shared, reporter, own);
        keep(tree, shared);
        if (unsettled.length + repeated.length > 0) out.push({ mission_id, digests: unsettled, repeated });
      }
      return out;
    },
    tree: treeOf,
    learn: keep,
    taint(tree) {
      tree.tainted = true;
      wake(tree);
    },
    news(tree, milliseconds) {
      if (waiting >= WAITING || tree.waiting.size >= WAITING_OF_TREE || milliseconds <= 0)
        return Promise.resolve(false);
      waiting++;
      return new Promise((resolve) => {
        const settle = (heard: boolean): void => {
          clearTimeout(late);
          tree.waiting.delete(hear);
          waiting--;
          resolve(heard);
        };
        const hear = (): void => settle(true);
        const late = setTimeout(() => settle(false), milliseconds);
        tree.waiting.add(hear);
      });
    },
  };
}
