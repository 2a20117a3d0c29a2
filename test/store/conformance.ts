/**
 * What every {@link Store} guarantees, whatever holds the rows. An engine's own test calls this with a factory
 * that opens an empty store, and adds only what is particular to it.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { GENESIS_HASH, verifyChain } from '../../src/domain/audit.ts';
import type { Mission } from '../../src/domain/mission.ts';
import { type Committed, type Conflict, type Store, type Write, WriteConflict } from '../../src/ports.ts';
import { verifyAudit } from '../../src/store/audit-verify.ts';
import { audit, child, credential, deny, mission, NOW, nextId, signingKey, template } from './records.ts';

export interface StoreFactory {
  /** Opens a new, empty store whose audit segments hold `segment_records`. */
  open(options?: { readonly segment_records?: number }): Promise<Store>;
  /** Closes the store and opens the same rows again. */
  reopen(store: Store): Promise<Store>;
  /** Closes everything and removes what was made. */
  dispose(): Promise<void>;
}

const ERP = 'https://erp.example.com';
const MAIL = 'https://mail.example.com';
const KEEP_NOTHING = { missions_seconds: 0, credentials_seconds: 0, audit_seconds: 0 };

async function conflictOf(store: Store, ...writes: Write[]): Promise<[Conflict, number]> {
  const failure = await store.atomically(writes).then(
    () => null,
    (error: unknown) => error,
  );
  if (!(failure instanceof WriteConflict)) throw new Error(`expected a conflict, got ${String(failure)}`);
  return [failure.conflict, failure.index];
}

function insert(record: Mission): Write {
  return { kind: 'insert_mission', mission: record };
}

function revoke(id: string, over: { expected_version?: number; at?: number } = {}): Write {
  return { kind: 'transition', id, event: 'revoke', at: NOW + 1, reason: 'test', ...over };
}

export function storeConformance(name: string, factory: StoreFactory): void {
  describe(`${name} keeps what a store promises`, () => {
    let store: Store;

    beforeEach(async () => {
      store = await factory.open();
    });
    afterEach(() => factory.dispose());

    describe('missions', () => {
      it('gives back every member as it was stored', async () => {
        const root = mission({
          creation_request_id: 'req-1',
          creation_fingerprint: `sha-256:${'A'.repeat(43)}`,
          jkt: Buffer.alloc(32, 7).toString('base64url'),
          evidence_digest: `sha-256:${Buffer.alloc(32, 9).toString('base64url')}`,
          tainted: true,
          born_tainted: true,
          declared_by: 'launcher',
          max_derivations: 4,
          created_at: NOW + 0.25,
          proposal: [{ type: 'other' }] as unknown as Mission['proposal'],
          proposal_hash: 'sha-256:p',
          state_reason: 'because',
        });
        const below = child(root, { created_at: NOW + 1, proposal: root.authority });
        await store.atomically([insert(root)]);
        await store.atomically([insert({ ...below, tainted: false })]);
        expect(await store.mission(root.id)).toEqual(root);
        expect(await store.mission(below.id)).toEqual({ ...below, tainted: true, born_tainted: true });
        expect(await store.mission('msn_unknown')).toBeNull();
      });

      it('taints a mission that read what strangers wrote, and what its instance or a child declares after', async () => {
        const [read, other] = [mission(), mission()];
        await store.atomically([insert(read), insert(other)]);
        await store.atomically([
          { kind: 'taint', id: read.id },
          { kind: 'taint', id: 'msn_pruned' },
        ]);
        await store.atomically([{ kind: 'taint', id: read.id }]);
        const [again, below, strange] = [mission({ instance: read.instance }), child(read), mission()];
        await store.atomically([insert(again), insert(below), insert(strange)]);
        const taintOf = async ({ id }: Mission) => {
          const found = await store.mission(id);
          return [found?.tainted, found?.born_tainted ?? false];
        };
        expect(await taintOf(read)).toEqual([true, false]);
        expect(await taintOf(again)).toEqual([true, true]);
        expect(await taintOf(below)).toEqual([true, true]);
        for (const clean of [other, strange]) expect(await taintOf(clean)).toEqual([false, false]);
      });

      it('finds a mission by its creation request, for the same agent and key only', async () => {
        const made = mission({ creation_request_id: 'req-1' });
        await store.atomically([insert(made)]);
        expect(await store.missionByCreation(made.agent, made.jkt, 'req-1')).toEqual(made);
        expect(await store.missionByCreation(made.agent, 'other-key', 'req-1')).toBeNull();
        expect(await store.missionByCreation('other-agent', made.jkt, 'req-1')).toBeNull();
        const again = mission({ creation_request_id: 'req-1', jkt: made.jkt });
        expect(await conflictOf(store, insert(again))).toEqual(['duplicate', 0]);
      });

      it('never stores an id twice, nor two missions in one status slot', async () => {
        const made = mission();
        await store.atomically([insert(made)]);
        expect(await conflictOf(store, insert(mission({ id: made.id })))).toEqual(['duplicate', 0]);
        expect(await conflictOf(store, insert(mission({ status_index: made.status_index })))).toEqual([
          'slot_taken',
          0,
        ]);
        expect(await store.statusListInUse()).toEqual({ list: 1, taken: [made.status_index] });
      });

      it('mints for an active, unexpired mission only', async () => {
        const made = mission();
        await store.atomically([insert(made)]);
        const require = (over: object = {}): Write => ({
          kind: 'require_active',
          id: made.id,
          at: NOW,
          ...over,
        });
        await store.atomically([require(), require({ version: 1 })]);
        expect(await conflictOf(store, require({ at: made.expires_at }))).toEqual(['mission_not_active', 0]);
        expect(await conflictOf(store, require({ version: 2 }))).toEqual(['mission_not_active', 0]);
        await store.atomically([{ kind: 'transition', id: made.id, event: 'suspend', at: NOW, reason: 'r' }]);
        expect(await conflictOf(store, audit('a'), require())).toEqual(['mission_not_active', 1]);
      });

      it('counts derivations and stops at the limit', async () => {
        const made = mission({ max_derivations: 2 });
        await store.atomically([insert(made)]);
        const derive = (attested: boolean, version = 1): Write => ({
          kind: 'derive',
          id: made.id,
          at: NOW + 5,
          version,
          attested,
        });
        await store.atomically([derive(false)]);
        expect(await store.mission(made.id)).toMatchObject({ derivations: 1, last_attested_at: NOW });
        expect(await conflictOf(store, derive(true, 7))).toEqual(['wrong_version', 0]);
        await store.atomically([derive(true)]);
        expect(await store.mission(made.id)).toMatchObject({ derivations: 2, last_attested_at: NOW + 5 });
        expect(await conflictOf(store, derive(true))).toEqual(['derivations_exhausted', 0]);
      });

      it('goes through the lifecycle and nowhere else, with a version a step', async () => {
        const made = mission();
        await store.atomically([insert(made)]);
        const step = (event: 'suspend' | 'resume' | 'complete', expected_version?: number): Write => ({
          kind: 'transition',
          id: made.id,
          event,
          at: NOW + 2,
          reason: 'why',
          ...(expected_version === undefined ? {} : { expected_version }),
        });
        const done = await store.atomically([step('suspend', 1)]);
        expect(done.changed_missions).toEqual([made.id]);
        expect(await store.mission(made.id)).toMatchObject({
          state: 'suspended',
          version: 2,
          state_since: NOW + 2,
          state_reason: 'why',
        });
        expect(await conflictOf(store, step('suspend'))).toEqual(['wrong_state', 0]);
        expect(await conflictOf(store, step('resume', 1))).toEqual(['wrong_version', 0]);
        await store.atomically([step('resume')]);
        await store.atomically([step('complete', 3)]);
        expect(await store.mission(made.id)).toMatchObject({ state: 'completed', version: 4 });
        for (const event of ['suspend', 'resume', 'complete'] as const) {
          expect(await conflictOf(store, step(event))).toEqual(['wrong_state', 0]);
        }
        expect(await conflictOf(store, revoke('msn_unknown'))).toEqual(['mission_not_found', 0]);
      });

      it('does not resume what the clock has ended', async () => {
        const made = mission({ state: 'suspended' });
        await store.atomically([insert(made)]);
        const at = made.expires_at + 1;
        const resume: Write = { kind: 'transition', id: made.id, event: 'resume', at, reason: 'r' };
        expect(await conflictOf(store, resume)).toEqual(['wrong_state', 0]);
        await store.atomically([{ kind: 'transition', id: made.id, event: 'expire', at, reason: 'r' }]);
        expect(await store.mission(made.id)).toMatchObject({ state: 'expired' });
      });

      it('ends the whole tree with its root, in the same step', async () => {
        const root = mission();
        const middle = child(root);
        const leaf = child(middle);
        const sibling = child(root);
        const ended = child(root);
        const stranger = mission();
        for (const one of [root, middle, leaf, sibling, ended, stranger])
          await store.atomically([insert(one)]);
        await store.atomically([revoke(ended.id)]);
        const done = await store.atomically([revoke(root.id)]);
        expect(done.changed_missions).toEqual([root.id, middle.id, leaf.id, sibling.id]);
        const tree = await store.missionTree(root.id);
        expect(tree.map(({ id, state, version }) => [id, state, version])).toEqual([
          [root.id, 'revoked', 2],
          [middle.id, 'cascaded', 2],
          [leaf.id, 'cascaded', 2],
          [sibling.id, 'cascaded', 2],
          [ended.id, 'revoked', 2],
        ]);
        expect(await store.mission(stranger.id)).toMatchObject({ state: 'active', version: 1 });
        expect((await store.missionTree(middle.id)).map(({ id }) => id)).toEqual([middle.id, leaf.id]);
        expect(await store.missionTree('msn_unknown')).toEqual([]);
      });

      it('never lets a child be born under a parent that ended', async () => {
        const root = mission();
        await store.atomically([insert(root)]);
        await store.atomically([revoke(root.id)]);
        expect(await conflictOf(store, insert(child(root)))).toEqual(['mission_not_active', 0]);
      });

      it('contains by version and never lengthens a life', async () => {
        const made = mission();
        await store.atomically([insert(made)]);
        const contain = (expected_version: number, expires_at: number): Write => ({
          kind: 'contain',
          id: made.id,
          at: NOW + 1,
          expected_version,
          containments: [{ remove: ['x'] }] as unknown as Mission['containments'],
          expires_at,
        });
        await store.atomically([contain(1, NOW + 60)]);
        const after = await store.mission(made.id);
        expect(after).toMatchObject({ version: 2, expires_at: NOW + 60, containments: [{ remove: ['x'] }] });
        await store.atomically([contain(2, NOW + 9999)]);
        expect(await store.mission(made.id)).toMatchObject({ version: 3, expires_at: NOW + 60 });
        expect(await conflictOf(store, contain(2, NOW + 60))).toEqual(['wrong_version', 0]);
        await store.atomically([revoke(made.id)]);
        expect(await conflictOf(store, contain(4, NOW + 60))).toEqual(['wrong_state', 0]);
      });

      it('knows which missions are due', async () => {
        const soon = mission({ expires_at: NOW + 10 });
        const sooner = mission({ expires_at: NOW + 5 });
        const silent = mission({ last_attested_at: NOW - 700 });
        const suspended = mission({ last_attested_at: NOW - 700, state: 'suspended' });
        const fine = mission();
        for (const one of [soon, sooner, silent, suspended, fine]) await store.atomically([insert(one)]);
        expect(await store.missionsDue(NOW, 10)).toEqual({ expired: [], silent: [silent.id] });
        expect(await store.missionsDue(NOW + 10, 10)).toEqual({
          expired: [sooner.id, soon.id],
          silent: [silent.id],
        });
        expect((await store.missionsDue(NOW + 10, 1)).expired).toEqual([sooner.id]);
        await store.atomically([{ kind: 'derive', id: silent.id, at: NOW, version: 1, attested: true }]);
        expect((await store.missionsDue(NOW + 10, 10)).silent).toEqual([]);
      });

      it('pages through missions newest first, by state, agent, template and text', async () => {
        const all: Mission[] = [];
        for (let at = 0; at < 25; at += 1) {
          const other = at % 5 === 0;
          const one = mission({
            ...(other ? { agent: 'gha/build', sub: 'gha/build' } : {}),
            template: { id: other ? 'build' : 'reconcile', version: '1', hash: 'h' },
            intent: { goal: `Task ${at} 100%_done`, resources: [ERP], expires_at: '2026-09-22T00:00:00Z' },
          });
          all.unshift(one);
        }
        await store.atomically(all.toReversed().map(insert));
        const ids = (list: readonly Mission[]): string[] => list.map(({ id }) => id);
        const seen: string[] = [];
        let cursor: string | null = null;
        do {
          const page = await store.missions({ limit: 7, ...(cursor === null ? {} : { cursor }) });
          seen.push(...ids(page.items));
          cursor = page.next_cursor;
        } while (cursor !== null);
        expect(seen).toEqual(ids(all));
        const builds = all.filter(({ agent }) => agent === 'gha/build');
        expect(ids((await store.missions({ agent: 'gha/build', limit: 50 })).items)).toEqual(ids(builds));
        expect(ids((await store.missions({ template: 'build', limit: 50 })).items)).toEqual(ids(builds));
        expect((await store.missions({ template: 'none', limit: 50 })).items).toEqual([]);
        const [newest] = all;
        if (newest === undefined) throw new Error('no mission');
        await store.atomically([revoke(newest.id)]);
        expect(ids((await store.missions({ state: 'revoked', limit: 50 })).items)).toEqual([newest.id]);
        expect(ids((await store.missions({ q: newest.id, limit: 50 })).items)).toEqual([newest.id]);
        expect((await store.missions({ q: 'Task 1', limit: 50 })).items).toHaveLength(11);
        expect((await store.missions({ q: '%_done', limit: 50 })).items).toHaveLength(25);
        expect((await store.missions({ q: '1%_', limit: 50 })).items).toHaveLength(0);
        expect((await store.missions({ cursor: 'nonsense', limit: 50 })).items).toEqual([]);
      });

      it('holds max_active exactly, whatever ended the others', async () => {
        const below = (at = NOW): Write => ({
          kind: 'require_active_below',
          template_id: 'reconcile',
          max: 2,
          at,
        });
        const [one, two] = [mission({ expires_at: NOW + 50 }), mission()];
        await store.atomically([below(), insert(one)]);
        await store.atomically([below(), insert(two)]);
        expect(await conflictOf(store, below(), insert(mission()))).toEqual(['max_active_reached', 0]);
        // A clock that ran out frees the place before the reaper comes.
        await store.atomically([below(NOW + 50)]);
        expect(await conflictOf(store, below(NOW + 50), insert(mission()), below(NOW + 50))).toEqual([
          'max_active_reached',
          2,
        ]);
        await store.atomically([revoke(two.id)]);
        await store.atomically([below()]);
        const third = child(one);
        await store.atomically([insert(third)]);
        expect(await conflictOf(store, below())).toEqual(['max_active_reached', 0]);
        await store.atomically([revoke(one.id)]);
        await store.atomically([below(), insert(mission()), below(), insert(mission())]);
        expect(await conflictOf(store, below())).toEqual(['max_active_reached', 0]);
        await store.atomically([
          {
            kind: 'transition_all',
            selector: { kind: 'template', key: 'reconcile' },
            event: 'revoke',
            at: NOW,
            reason: 'r',
          },
          below(),
          insert(mission()),
          below(),
        ]);
      });
    });

    describe('bulk', () => {
      it('ends exactly what a selector names', async () => {
        const base = mission();
        const other = mission({
          agent: 'other',
          sub: 'other',
          attester: 'cluster-b',
          rule: 'other',
          template: { id: 'other', version: '9', hash: 'h' },
        });
        const below = child(base);
        const cases = [
          [
            { kind: 'mission', key: base.id },
            { [base.id]: 'revoked', [below.id]: 'cascaded' },
          ],
          [
            { kind: 'mission_tree', key: base.id },
            { [base.id]: 'revoked', [below.id]: 'cascaded' },
          ],
          [{ kind: 'agent', key: 'k8s/payments/helper' }, { [below.id]: 'revoked' }],
          [{ kind: 'instance', key: other.instance }, { [other.id]: 'revoked' }],
          [{ kind: 'agent_key', key: other.jkt }, { [other.id]: 'revoked' }],
          [{ kind: 'template', key: 'other' }, { [other.id]: 'revoked' }],
          [{ kind: 'template', key: 'other@9' }, { [other.id]: 'revoked' }],
          [{ kind: 'template', key: 'other@8' }, {}],
          [{ kind: 'attester', key: 'cluster-b' }, { [other.id]: 'revoked' }],
          [{ kind: 'rule', key: 'other' }, { [other.id]: 'revoked' }],
          [{ kind: 'rule', key: 'unknown' }, {}],
          [{ kind: 'token', key: base.id }, {}],
        ] as const;
        for (const [selector, expected] of cases) {
          const fresh = await factory.open();
          await fresh.atomically([insert(base), insert(below), insert(other)]);
          const radius = await fresh.blastRadius(selector, NOW);
          const done = await fresh.atomically([
            { kind: 'transition_all', selector, event: 'revoke', at: NOW, reason: 'bulk' },
          ]);
          expect([...done.changed_missions].sort(), JSON.stringify(selector)).toEqual(
            Object.keys(expected).sort(),
          );
          const direct = Object.keys(expected).filter((id) => selector.kind !== 'mission' || id === base.id);
          expect([...radius.mission_ids].sort(), JSON.stringify(selector)).toEqual(direct.sort());
          expect(radius.missions).toBe(direct.length);
          for (const [id, state] of Object.entries(expected)) {
            expect(await fresh.mission(id), JSON.stringify(selector)).toMatchObject({ state, version: 2 });
          }
        }
      }, 60_000);

      it('ends everything at once, as a restored backup needs', async () => {
        const root = mission();
        const all = [
          root,
          child(root),
          mission({ state: 'suspended' }),
          mission({ template: { id: 'other', version: '1', hash: 'h' } }),
        ];
        for (const one of all) await store.atomically([insert(one)]);
        const done = await store.atomically([
          { kind: 'set_meta', key: 'epoch', value: '2' },
          {
            kind: 'transition_all',
            selector: { kind: 'issuer', key: 'https://broker.example.com' },
            event: 'revoke',
            at: NOW,
            reason: 'restored backup',
          },
        ]);
        expect([...done.changed_missions].sort()).toEqual(all.map(({ id }) => id).sort());
        expect((await store.missions({ state: 'active', limit: 10 })).items).toEqual([]);
        expect((await store.feedHead()).epoch).toBe(2);
      });

      it('reaches every one of very many, parents and children alike, once', async () => {
        const roots = Array.from({ length: 2300 }, () => mission());
        const below = roots.slice(0, 300).map((root) => child(root, { agent: root.agent, act: null }));
        const all = [...roots, ...below];
        await store.atomically(all.map(insert));
        const agent = { kind: 'agent', key: 'k8s/payments/reconciler' } as const;
        expect(await store.blastRadius(agent, NOW)).toMatchObject({ missions: 2600 });
        const { changed_missions } = await store.atomically([
          { kind: 'transition_all', selector: agent, event: 'revoke', at: NOW, reason: 'r' },
        ]);
        expect(changed_missions).toHaveLength(2600);
        expect(new Set(changed_missions)).toEqual(new Set(all.map(({ id }) => id)));
        expect(await store.blastRadius(agent, NOW)).toMatchObject({ missions: 0, mission_ids: [] });
        expect(await store.statuses(1, NOW)).toHaveLength(2600);
        const free: Write = { kind: 'require_active_below', template_id: 'reconcile', max: 1, at: NOW };
        await store.atomically([free]);
      });

      it('can be taken in steps until nothing is left', async () => {
        const made = Array.from({ length: 7 }, () => mission());
        await store.atomically(made.map(insert));
        const step: Write = {
          kind: 'transition_all',
          selector: { kind: 'rule', key: 'payments' },
          event: 'suspend',
          at: NOW,
          reason: 'r',
          limit: 3,
        };
        const counts: number[] = [];
        for (let at = 0; at < 4; at += 1)
          counts.push((await store.atomically([step])).changed_missions.length);
        expect(counts).toEqual([3, 3, 1, 0]);
      });

      it('tells the blast radius of what is alive', async () => {
        const [one, two] = [mission(), mission()];
        await store.atomically([insert(one), insert(two)]);
        const dead = credential(one.id, { expires_at: NOW - 1 });
        const token = credential(one.id);
        await store.atomically([
          { kind: 'insert_credential', credential: token },
          { kind: 'insert_credential', credential: credential(one.id, { expires_at: NOW + 200 }) },
          {
            kind: 'insert_credential',
            credential: credential(one.id, { type: 'aws_session', target: 'arn', expires_at: NOW + 200 }),
          },
          { kind: 'insert_credential', credential: dead },
          { kind: 'insert_credential', credential: credential(two.id) },
        ]);
        await store.atomically([revoke(two.id)]);
        const radius = await store.blastRadius({ kind: 'rule', key: 'payments' }, NOW);
        expect(radius.missions).toBe(1);
        expect(radius.mission_ids).toEqual([one.id]);
        expect(radius.credentials).toEqual(
          expect.arrayContaining([
            { type: 'jwt', target: ERP, count: 2, last_expires_at: NOW + 300 },
            { type: 'aws_session', target: 'arn', count: 1, last_expires_at: NOW + 200 },
          ]),
        );
        expect(radius.credentials).toHaveLength(2);
        expect(await store.blastRadius({ kind: 'token', key: token.id }, NOW)).toEqual({
          missions: 0,
          mission_ids: [],
          credentials: [{ type: 'jwt', target: ERP, count: 1, last_expires_at: NOW + 300 }],
        });
      });
    });

    describe('credentials', () => {
      it('keeps what was handed out, and ends it once', async () => {
        const made = mission();
        const first = credential(made.id);
        const second = credential(made.id, { jkt: 'another', target: MAIL });
        await store.atomically([insert(made), { kind: 'insert_credential', credential: first }]);
        await store.atomically([{ kind: 'insert_credential', credential: second }]);
        expect(await store.credential(first.id)).toEqual(first);
        expect(await store.credentials(made.id)).toEqual([first, second]);
        expect(await store.credential('cred_unknown')).toBeNull();
        await store.atomically([{ kind: 'revoke_credential', id: first.id, at: NOW + 4 }]);
        expect(await store.credential(first.id)).toEqual({ ...first, revoked_at: NOW + 4 });
        const again: Write = { kind: 'revoke_credential', id: first.id, at: NOW + 5 };
        expect(await conflictOf(store, again)).toEqual(['wrong_state', 0]);
        expect(await conflictOf(store, { kind: 'insert_credential', credential: first })).toEqual([
          'duplicate',
          0,
        ]);
        const orphan: Write = { kind: 'insert_credential', credential: credential('msn_unknown') };
        expect(await conflictOf(store, orphan)).toEqual(['mission_not_found', 0]);
      });
    });

    describe('once and rates', () => {
      it('remembers a used id across a restart', async () => {
        const use: Write = { kind: 'use_once', space: 'dpop', id: 'jti-1', expires_at: NOW + 60 };
        await store.atomically([use]);
        expect(await conflictOf(store, use)).toEqual(['replayed', 0]);
        await store.atomically([{ ...use, space: 'evidence' }]);
        store = await factory.reopen(store);
        expect(await conflictOf(store, audit('a'), use)).toEqual(['replayed', 1]);
        await store.prune(NOW + 61, KEEP_NOTHING);
        await store.atomically([use]);
      });

      it('gives reusable evidence to its first keys only', async () => {
        const pin = (jkt: string, max_keys: number): Write => ({
          kind: 'pin_evidence',
          digest: 'sha-256:e',
          jkt,
          max_keys,
          expires_at: NOW + 60,
        });
        await store.atomically([pin('one', 1)]);
        await store.atomically([pin('one', 1)]);
        expect(await conflictOf(store, pin('two', 1))).toEqual(['evidence_pinned', 0]);
        await store.atomically([pin('two', 2)]);
        expect(await conflictOf(store, pin('three', 2))).toEqual(['evidence_pinned', 0]);
        await store.atomically([pin('two', 2), pin('one', 2)]);
      });

      it('lets a burst pass and then one unit per interval', async () => {
        const take = (at: number, key = 'dispatch:a'): Write => ({
          kind: 'take_rate',
          key,
          at,
          interval_seconds: 10,
          burst: 3,
        });
        await store.atomically([take(NOW), take(NOW), take(NOW)]);
        expect(await conflictOf(store, take(NOW))).toEqual(['rate_limited', 0]);
        expect(await conflictOf(store, take(NOW + 9))).toEqual(['rate_limited', 0]);
        await store.atomically([take(NOW + 10)]);
        expect(await conflictOf(store, take(NOW + 19))).toEqual(['rate_limited', 0]);
        await store.atomically([take(NOW, 'dispatch:b')]);
        await store.atomically([take(NOW + 60), take(NOW + 60), take(NOW + 60)]);
      });

      it('spends nothing of a group that failed', async () => {
        const use: Write = { kind: 'use_once', space: 's', id: 'i', expires_at: NOW + 60 };
        const take: Write = { kind: 'take_rate', key: 'k', at: NOW, interval_seconds: 10, burst: 1 };
        const made = mission();
        const fails = { kind: 'require_active', id: 'msn_unknown', at: NOW } as const;
        expect(await conflictOf(store, use, take, insert(made), audit('a'), fails)).toEqual([
          'mission_not_active',
          4,
        ]);
        expect(await store.mission(made.id)).toBeNull();
        const done = await store.atomically([use, take, insert(made), audit('a')]);
        expect(done.audit.map(({ seq }) => seq)).toEqual([1]);
      });

      it('applies an admin event once', async () => {
        const event: Write = { kind: 'insert_event_id', event_id: 'evt_1', at: NOW };
        await store.atomically([event]);
        expect(await conflictOf(store, event)).toEqual(['repeated', 0]);
      });
    });

    describe('the feed', () => {
      async function withTokens(): Promise<{ root: Mission; below: Mission; token: string }> {
        const root = mission();
        const below = child(root, { agent: 'helper', act: { sub: 'helper', act: { sub: 'between' } } });
        const token = credential(root.id);
        await store.atomically([
          insert(root),
          insert(below),
          insert(mission({ sub: 'x', agent: 'x', rule: 'x', attester: 'x' })),
          { kind: 'insert_credential', credential: token },
          { kind: 'insert_credential', credential: credential(below.id, { target: MAIL }) },
        ]);
        return { root, below, token: token.id };
      }

      it('reaches the audiences for which a matching token was minted, and no other', async () => {
        const { root, below, token } = await withTokens();
        const cases = [
          [{ kind: 'token', key: token }, [ERP]],
          [{ kind: 'mission', key: root.id }, [ERP]],
          [{ kind: 'mission_tree', key: root.id }, [ERP, MAIL]],
          [{ kind: 'mission', key: below.id }, [MAIL]],
          [{ kind: 'agent', key: root.sub }, [ERP, MAIL]],
          [{ kind: 'agent', key: 'helper' }, [MAIL]],
          [{ kind: 'agent', key: 'between' }, [MAIL]],
          [{ kind: 'instance', key: root.instance }, [ERP]],
          [{ kind: 'agent_key', key: below.jkt }, [MAIL]],
          [{ kind: 'template', key: 'reconcile' }, [ERP, MAIL]],
          [{ kind: 'template', key: 'reconcile@3' }, [ERP, MAIL]],
          [{ kind: 'template', key: 'reconcile@4' }, null],
          [{ kind: 'attester', key: 'cluster-a' }, [ERP, MAIL]],
          [{ kind: 'rule', key: 'payments' }, [ERP, MAIL]],
          [{ kind: 'rule', key: 'x' }, null],
        ] as const;
        let seq = 0;
        for (const [selector, audiences] of cases) {
          const { feed } = await store.atomically([deny(selector)]);
          expect(feed.map((entry) => entry.audiences)[0] ?? null, JSON.stringify(selector)).toEqual(
            audiences,
          );
          if (audiences === null) continue;
          seq += 1;
          expect(feed[0]).toMatchObject({ seq, ...selector, effect: 'deny', not_after: NOW + 360 });
        }
        expect(await store.feedHead()).toEqual({ epoch: 1, seq });
        const erp = await store.feedAfter(ERP, 0, NOW, 100);
        expect(erp.every(({ audiences }) => audiences?.includes(ERP))).toBe(true);
        expect(erp).toHaveLength(9);
        expect(await store.feedAfter('https://nobody.example.com', 0, NOW, 100)).toEqual([]);
      });

      it('forgets an audience whose tokens have all ended', async () => {
        const { root } = await withTokens();
        const later = NOW + 300 + 61;
        const { feed } = await store.atomically([deny({ kind: 'mission', key: root.id }, 'minted', later)]);
        expect(feed).toEqual([]);
        expect(await store.feedHead()).toEqual({ epoch: 1, seq: 0 });
      });

      it('sends to all what is for all, in order, with a limit', async () => {
        await withTokens();
        const rule = { kind: 'rule', key: 'payments' } as const;
        for (const to of ['all', 'minted', 'all', 'minted'] as const)
          await store.atomically([deny(rule, to)]);
        const seqs = async (audience: string, after = 0, limit = 100): Promise<number[]> =>
          (await store.feedAfter(audience, after, NOW, limit)).map(({ seq }) => seq);
        expect(await seqs(ERP)).toEqual([1, 2, 3, 4]);
        expect(await seqs(ERP, 2)).toEqual([3, 4]);
        expect(await seqs(ERP, 0, 2)).toEqual([1, 2]);
        expect(await seqs('https://nobody.example.com')).toEqual([1, 3]);
        expect((await store.feedAfter(ERP, 0, NOW, 1))[0]?.audiences).toBeNull();
        expect(await store.feedAfter(ERP, 0, NOW + 360, 100)).toEqual([]);
      });

      it('never gives a number twice, nor leaves one out', async () => {
        await withTokens();
        const rule = { kind: 'rule', key: 'payments' } as const;
        const fails: Write = { kind: 'require_active', id: 'msn_unknown', at: NOW };
        await store.atomically([deny(rule), deny(rule)]);
        expect(await conflictOf(store, deny(rule), fails)).toEqual(['mission_not_active', 1]);
        await store.prune(NOW + 400, KEEP_NOTHING);
        store = await factory.reopen(store);
        expect(await store.feedHead()).toEqual({ epoch: 1, seq: 2 });
        const { feed } = await store.atomically([deny(rule)]);
        expect(feed.map(({ seq }) => seq)).toEqual([3]);
      });

      it('tells listeners of every commit, in order, once durable', async () => {
        const heard: Committed[] = [];
        store.onCommit((committed) => heard.push(committed));
        const all = await Promise.all([
          store.atomically([audit('one')]),
          store.atomically([{ kind: 'require_active', id: 'no', at: NOW }]).catch(() => null),
          store.atomically([audit('two'), audit('three')]),
        ]);
        expect(heard).toEqual(all.filter((one) => one !== null));
        expect(heard.flatMap((one) => one.audit.map(({ seq }) => seq))).toEqual([1, 2, 3]);
      });
    });

    describe('the audit log', () => {
      it('chains every record, across groups, segments and restarts', async () => {
        store = await factory.open({ segment_records: 3 });
        for (let at = 0; at < 4; at += 1) await store.atomically([audit(`e${at}`), audit('x', 'msn_1')]);
        store = await factory.reopen(store);
        await store.atomically([audit('last')]);
        const records = await store.auditRecords({ limit: 100 });
        const segments = await store.auditSegments();
        expect(records.map(({ seq }) => seq)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
        expect(
          segments.map(({ first_seq, last_seq, closed_at }) => [first_seq, last_seq, closed_at]),
        ).toEqual([
          [1, 3, NOW],
          [4, 6, NOW],
          [7, 9, NOW],
        ]);
        expect(segments[0]?.previous_hash).toBe(GENESIS_HASH);
        expect(verifyChain(records, segments)).toMatchObject({ ok: true, records: 9 });
        expect(records[0]).toMatchObject({ event: 'e0', actor: 'broker', details: { a: 'é', b: 1 } });
      });

      it('reads by mission, by event, forwards and backwards', async () => {
        await store.atomically([audit('a', 'msn_1'), audit('b', 'msn_2'), audit('a', 'msn_2'), audit('b')]);
        const seqs = async (query: object): Promise<number[]> =>
          (await store.auditRecords({ limit: 10, ...query })).map(({ seq }) => seq);
        expect(await seqs({ mission_id: 'msn_2' })).toEqual([2, 3]);
        expect(await seqs({ event: 'a' })).toEqual([1, 3]);
        expect(await seqs({ event: 'a', mission_id: 'msn_2' })).toEqual([3]);
        expect(await seqs({ after_seq: 2 })).toEqual([3, 4]);
        expect(await seqs({ newest_first: true, limit: 2 })).toEqual([4, 3]);
        expect(await seqs({ newest_first: true, after_seq: 3 })).toEqual([2, 1]);
      });

      it('seals a closed segment once, and an open one never', async () => {
        const seal: Write = { kind: 'seal_audit_segment', segment: 1, sealed_at: NOW + 1, seal: 'jws' };
        const close: Write = { kind: 'close_audit_segment', at: NOW };
        expect(await conflictOf(store, close)).toEqual(['wrong_state', 0]);
        await store.atomically([audit('a')]);
        expect(await conflictOf(store, seal)).toEqual(['wrong_state', 0]);
        await store.atomically([close]);
        await store.atomically([seal]);
        expect(await conflictOf(store, seal)).toEqual(['wrong_state', 0]);
        await store.atomically([audit('b')]);
        expect(await store.auditSegments()).toMatchObject([
          { segment: 1, first_seq: 1, last_seq: 1, sealed_at: NOW + 1, seal: 'jws' },
          { segment: 2, first_seq: 2, last_seq: 2, sealed_at: null, seal: null, closed_at: null },
        ]);
      });

      it('drops whole sealed segments only, and still verifies across the gap', async () => {
        store = await factory.open({ segment_records: 2 });
        for (let at = 0; at < 7; at += 1) await store.atomically([audit(`e${at}`)]);
        const seal = (segment: number): Write => ({
          kind: 'seal_audit_segment',
          segment,
          sealed_at: NOW,
          seal: `seal-${segment}`,
        });
        // The second is not sealed: the third must wait for it.
        await store.atomically([seal(1), seal(3)]);
        for (let at = 0; at < 3; at += 1) await store.prune(NOW + 10, KEEP_NOTHING);
        expect((await store.auditRecords({ limit: 10 })).map(({ seq }) => seq)).toEqual([3, 4, 5, 6, 7]);
        const trusting = await verifyAudit(
          store,
          async ({ seal: jws, segment }) => jws === `seal-${segment}`,
        );
        expect(trusting).toEqual({ ok: true, records: 5, segments: 4 });
        const strict = await verifyAudit(store, async () => false);
        expect(strict).toMatchObject({ ok: false, first_bad: 1 });
      });
    });

    describe('people and keys', () => {
      it('lets a template dispatch after another person approved exactly that hash', async () => {
        const first = template();
        const second = template({ hash: 'sha-256:t2', version: '2', imported_at: NOW + 1 });
        await store.atomically([{ kind: 'insert_template', template: first }]);
        await store.atomically([{ kind: 'insert_template', template: second }]);
        expect(await conflictOf(store, { kind: 'insert_template', template: first })).toEqual([
          'duplicate',
          0,
        ]);
        expect(await store.approvedTemplate('reconcile')).toBeNull();
        const approve = (hash: string, by: string): Write => ({
          kind: 'approve_template',
          id: 'reconcile',
          hash,
          by,
          at: NOW + 5,
          review_due_at: NOW + 90,
        });
        expect(await conflictOf(store, approve('sha-256:t1', 'admin:ann'))).toEqual(['same_person', 0]);
        expect(await conflictOf(store, approve('sha-256:no', 'admin:bob'))).toEqual(['wrong_state', 0]);
        await store.atomically([approve('sha-256:t1', 'admin:bob')]);
        // Approving again renews what comes due for review, never by its importer.
        expect(await conflictOf(store, approve('sha-256:t1', 'admin:ann'))).toEqual(['same_person', 0]);
        await store.atomically([
          { ...approve('sha-256:t1', 'admin:eve'), at: NOW + 80, review_due_at: NOW + 170 } as Write,
        ]);
        expect(await store.approvedTemplate('reconcile')).toMatchObject({
          approved_by: 'admin:eve',
          approved_at: NOW + 80,
          review_due_at: NOW + 170,
        });
        await store.atomically([approve('sha-256:t1', 'admin:bob')]);
        const approved = {
          ...first,
          approved_by: 'admin:bob',
          approved_at: NOW + 5,
          review_due_at: NOW + 90,
        };
        expect(await store.approvedTemplate('reconcile')).toEqual(approved);
        expect(await store.approvedTemplate('reconcile')).toEqual(approved);
        expect(await store.template('reconcile')).toEqual(second);
        expect(await store.template('reconcile', first.hash)).toEqual(approved);
        expect(await store.templates()).toEqual([approved, second]);
      });

      it('blocks what a live block selects', async () => {
        const block = {
          id: nextId('blk'),
          selector: { kind: 'agent', key: 'bad' },
          until: NOW + 60,
          reason: 'r',
          created_by: 'admin:ann',
          created_at: NOW,
          lifted_at: null,
        } as const;
        await store.atomically([{ kind: 'insert_block', block }]);
        const require = (at: number, key = 'bad'): Write => ({
          kind: 'require_unblocked',
          selectors: [
            { kind: 'rule', key: 'bad' },
            { kind: 'agent', key },
          ],
          at,
        });
        expect(await conflictOf(store, require(NOW))).toEqual(['blocked', 0]);
        await store.atomically([require(NOW, 'good'), require(NOW + 60)]);
        expect(await store.blocks(NOW)).toEqual([block]);
        expect(await store.blocks(NOW + 60)).toEqual([]);
        await store.atomically([{ kind: 'lift_block', id: block.id, at: NOW + 1 }]);
        await store.atomically([require(NOW)]);
        expect(await store.block(block.id)).toEqual({ ...block, lifted_at: NOW + 1 });
        expect(await conflictOf(store, { kind: 'lift_block', id: block.id, at: NOW })).toEqual([
          'wrong_state',
          0,
        ]);
      });

      it('keeps admin tokens by digest, and spends one once', async () => {
        const token = {
          id: 'adm_1',
          name: 'ann',
          token_digest: 'digest',
          role: 'admin',
          bootstrap: true,
          created_at: NOW,
          expires_at: NOW + 3600,
          revoked_at: null,
        } as const;
        await store.atomically([{ kind: 'insert_admin_token', token }]);
        expect(await store.adminToken('digest')).toEqual(token);
        expect(await store.adminToken('other')).toBeNull();
        const spend: Write = { kind: 'revoke_admin_token', id: token.id, at: NOW + 1 };
        const both = await Promise.allSettled([store.atomically([spend]), store.atomically([spend])]);
        expect(both.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
        expect(await store.adminTokens()).toEqual([{ ...token, revoked_at: NOW + 1 }]);
      });

      it('keeps enrolled keys and signing keys', async () => {
        const key = {
          id: 'enr_1',
          agent: 'robot',
          jkt: 'thumb',
          jwk: { kty: 'OKP' },
          created_by: 'admin:ann',
          created_at: NOW,
          expires_at: NOW + 10,
          revoked_at: null,
        };
        await store.atomically([{ kind: 'insert_enrolled_key', key }]);
        expect(await store.enrolledKey('thumb')).toEqual(key);
        expect(
          await conflictOf(store, { kind: 'insert_enrolled_key', key: { ...key, id: 'enr_2' } }),
        ).toEqual(['duplicate', 0]);
        await store.atomically([{ kind: 'revoke_enrolled_key', id: key.id, at: NOW }]);
        expect(await store.enrolledKeys()).toEqual([{ ...key, revoked_at: NOW }]);
        const signing = signingKey();
        await store.atomically([{ kind: 'insert_signing_key', key: signing }]);
        const update = { active_until: NOW + 1, retired_at: NOW + 2, revoked_at: NOW + 1 };
        await store.atomically([{ kind: 'update_signing_key', kid: signing.kid, ...update }]);
        expect(await store.signingKeys()).toEqual([{ ...signing, ...update }]);
        expect(await conflictOf(store, { kind: 'update_signing_key', kid: 'no', ...update })).toEqual([
          'wrong_state',
          0,
        ]);
      });

      it('never lowers an acknowledgement within an epoch', async () => {
        const ack = (epoch: number, seq: number, last_seen: number): Write => ({
          kind: 'acknowledge',
          instance: { verifier_id: 'erp', instance_id: 'a', epoch, seq, last_seen },
        });
        await store.atomically([ack(1, 5, NOW)]);
        await store.atomically([ack(1, 3, NOW + 1)]);
        expect(await store.verifierInstances()).toMatchObject([{ epoch: 1, seq: 5, last_seen: NOW + 1 }]);
        await store.atomically([ack(2, 1, NOW + 2)]);
        await store.atomically([ack(1, 9, NOW + 3)]);
        expect(await store.verifierInstances()).toMatchObject([{ epoch: 2, seq: 1, last_seen: NOW + 3 }]);
      });

      it('keeps meta values, the epoch among them', async () => {
        expect(await store.meta('x')).toBeNull();
        await store.atomically([{ kind: 'set_meta', key: 'x', value: '1' }]);
        await store.atomically([{ kind: 'set_meta', key: 'x', value: '2' }]);
        await store.atomically([{ kind: 'set_meta', key: 'epoch', value: '7' }]);
        store = await factory.reopen(store);
        expect(await store.meta('x')).toBe('2');
        expect((await store.feedHead()).epoch).toBe(7);
      });
    });

    describe('status lists and retention', () => {
      it('tells every status that is not valid', async () => {
        const made = Array.from({ length: 5 }, () => mission());
        const overdue = mission({ expires_at: NOW + 10 });
        const elsewhere = mission({ status_list: 2 });
        await store.atomically([...made, overdue, elsewhere].map(insert));
        const [, suspended, revoked] = made;
        if (suspended === undefined || revoked === undefined) throw new Error('no mission');
        await store.atomically([
          { kind: 'transition', id: suspended.id, event: 'suspend', at: NOW, reason: 'r' },
          revoke(revoked.id),
          revoke(elsewhere.id),
        ]);
        expect(await store.statuses(1, NOW)).toEqual([
          { index: suspended.status_index, status: 2 },
          { index: revoked.status_index, status: 1 },
        ]);
        expect(await store.statuses(1, NOW + 10)).toHaveLength(3);
        expect(await store.statuses(2, NOW)).toEqual([{ index: elsewhere.status_index, status: 1 }]);
        expect((await store.statusListInUse()).list).toBe(2);
      });

      it('removes ended missions with everything of theirs, and nothing that lives', async () => {
        const [ended, live] = [mission({ creation_request_id: 'r' }), mission()];
        const below = child(ended);
        await store.atomically([insert(ended), insert(below), insert(live)]);
        for (const one of [ended, below, live]) {
          await store.atomically([{ kind: 'insert_credential', credential: credential(one.id) }]);
        }
        await store.atomically([revoke(ended.id)]);
        const day = 86_400;
        await store.prune(NOW + day, KEEP_NOTHING);
        expect(await store.mission(ended.id), 'kept for idempotency').not.toBeNull();
        await store.prune(NOW + day + 2, KEEP_NOTHING);
        expect(await store.mission(ended.id)).toBeNull();
        expect(await store.mission(below.id)).toBeNull();
        expect(await store.mission(live.id)).toEqual(live);
        expect(await store.credentials(ended.id)).toEqual([]);
        await store.atomically([insert(mission({ creation_request_id: 'r', jkt: ended.jkt }))]);
        expect(await store.prune(NOW + day + 2, KEEP_NOTHING)).toEqual({ removed: 0 });
      });

      it('takes a mission with very many credentials in several calls', async () => {
        const made = mission();
        await store.atomically([insert(made)]);
        const tokens = Array.from({ length: 6000 }, () => credential(made.id));
        await store.atomically(tokens.map((token) => ({ kind: 'insert_credential', credential: token })));
        await store.atomically([revoke(made.id)]);
        const keep = { missions_seconds: 0, credentials_seconds: 999_999, audit_seconds: 0 };
        expect((await store.prune(NOW + 90_000, keep)).removed).toBe(5000);
        expect(await store.mission(made.id)).not.toBeNull();
        await store.prune(NOW + 90_000, keep);
        expect(await store.mission(made.id)).toBeNull();
        expect(await store.credential(tokens[0]?.id ?? '')).toBeNull();
      });

      it('says that it is healthy while it can write', async () => {
        expect(await store.healthy()).toBe(true);
        await store.close();
        expect(await store.healthy()).toBe(false);
        await expect(store.atomically([audit('late')])).rejects.toThrow();
      });
    });
  });
}
