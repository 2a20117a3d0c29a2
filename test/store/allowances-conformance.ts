/** What every {@link Store} guarantees about counted limits. Called as the other conformance suites. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { CountedControl } from '../../src/domain/limits.ts';
import type { Mission } from '../../src/domain/mission.ts';
import { type Conflict, type Store, type Write, WriteConflict } from '../../src/ports.ts';
import type { StoreFactory } from './conformance.ts';
import { child, credential, mission, NOW } from './records.ts';

const ERP = 'https://erp.example.com';
const MAIL = 'https://mail.example.com';
const KEEP_NOTHING = { missions_seconds: 0, credentials_seconds: 0, audit_seconds: 0 };
const END = NOW + 300;

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

interface Reserved {
  readonly control?: CountedControl;
  readonly audience?: string;
  readonly max?: number;
}

function reserve({ id }: Mission, amount: number, over: Reserved = {}): Write {
  return {
    kind: 'reserve_allotment',
    mission_id: id,
    control: 'max_calls',
    audience: ERP,
    max: 10,
    amount,
    ...over,
  };
}

/** A token with an allotment, taken out of the limits of its mission and of those above. */
function token(jti: string, path: readonly [Mission, ...Mission[]], amount: number, processes = 1): Write[] {
  const [own] = path;
  return [
    ...path.map((one) => reserve(one, amount)),
    {
      kind: 'insert_allotment',
      mission_id: own.id,
      audience: ERP,
      allotment: { jti, control: 'max_calls', amount, processes, issued_at: NOW, expires_at: END },
    },
  ];
}

const settlement = (
  credits: readonly [jti: string, amount: number][],
  over: Partial<Extract<Write, { kind: 'settle_allotments' }>> = {},
): Write => ({
  kind: 'settle_allotments',
  verifier_id: 'erp',
  audience: ERP,
  run_id: 'run',
  from: NOW,
  through: END,
  at: END + 1,
  credits: credits.map(([jti, amount]) => ({ jti, control: 'max_calls', amount })),
  ...over,
});

const due = (over: object = {}) => ({
  audience: ERP,
  from: NOW,
  through: END,
  since: NOW - 1,
  until: END,
  limit: 10,
  ...over,
});

const claimed = (held: number, most = held, audience = ERP) => ({ audience, held, claimed: most });

export function allowanceConformance(name: string, factory: StoreFactory): void {
  describe(`${name} keeps counted limits`, () => {
    let store: Store;
    beforeEach(async () => {
      store = await factory.open();
    });
    afterEach(() => factory.dispose());

    const claims = async ({ id }: Mission) => (await store.allowances(id)).flatMap((one) => one.claims);

    it('reserves allotments with their token, never past the limit and never twice', async () => {
      const made = mission();
      const other = mission();
      const minted = credential(made.id);
      await store.atomically([insert(made), insert(other), reserve(made, 4)]);
      // What cannot be reserved takes its token along.
      expect(
        await conflictOf(store, { kind: 'insert_credential', credential: minted }, reserve(made, 7)),
      ).toEqual(['limit_exhausted', 1]);
      expect(await store.credential(minted.id)).toBeNull();
      // The limit is what it was at first, whatever a later token says.
      expect(await conflictOf(store, reserve(made, 7, { max: 100 }))).toEqual(['limit_exhausted', 0]);
      await store.atomically([
        reserve(made, 5, { control: 'max_egress_volume', max: 5 }),
        reserve(made, 3),
        reserve(made, 3),
      ]);
      expect(await conflictOf(store, reserve(made, 1))).toEqual(['limit_exhausted', 0]);
      expect(await conflictOf(store, reserve(made, 1, { audience: MAIL }))).toEqual(['limit_exhausted', 0]);
      expect(await conflictOf(store, reserve(other, 11))).toEqual(['limit_exhausted', 0]);
      expect(await conflictOf(store, { ...reserve(made, 1), mission_id: 'msn_unknown' } as Write)).toEqual([
        'mission_not_found',
        0,
      ]);
      for (const amount of [0, -1, 0.5, Number.NaN])
        await expect(store.atomically([reserve(made, amount)])).rejects.toThrow('whole number');
      store = await factory.reopen(store);
      expect(await store.allowances(made.id)).toEqual([
        { control: 'max_calls', max: 10, reserved: 10, claims: [claimed(10)] },
        { control: 'max_egress_volume', max: 5, reserved: 5, claims: [claimed(5)] },
      ]);
      expect(await store.allowances(other.id)).toEqual([]);
    });

    it('counts allotments exactly, however many tokens are minted at once', async () => {
      const made = mission();
      const max = Number.MAX_SAFE_INTEGER;
      const big = (amount: number) => reserve(made, amount, { control: 'max_egress_volume', max });
      await store.atomically([insert(made), big(max - 7)]);
      const tried = await Promise.allSettled(Array.from({ length: 20 }, () => store.atomically([big(1)])));
      expect(tried.filter(({ status }) => status === 'fulfilled')).toHaveLength(7);
      expect(await store.allowances(made.id)).toEqual([
        { control: 'max_egress_volume', max, reserved: max, claims: [claimed(max)] },
      ]);
    });

    it('gives back to the audience that had it, in the missions above too, and to no other', async () => {
      const root = mission();
      const below = child(root);
      await store.atomically([insert(root), insert(below), ...token('one', [below, root], 8)]);
      await store.atomically([settlement([['one', 6]])]);
      expect(await claims(root)).toEqual([claimed(2, 8)]);
      expect(await claims(below)).toEqual([claimed(2, 8)]);
      // What came back stays claimed: elsewhere there is what there was before.
      expect(await conflictOf(store, reserve(root, 3, { audience: MAIL }))).toEqual(['limit_exhausted', 0]);
      await store.atomically([reserve(root, 2, { audience: MAIL }), ...token('two', [below, root], 6)]);
      expect(await claims(root)).toEqual([claimed(8), claimed(2, 2, MAIL)]);
      expect(await conflictOf(store, ...token('three', [below, root], 1))).toEqual(['limit_exhausted', 1]);
    });

    it('hears one run once, and no allotment oftener than it has processes', async () => {
      const made = mission();
      await store.atomically([insert(made), ...token('one', [made], 8, 2)]);
      await store.atomically([settlement([['one', 4]])]);
      for (const again of [settlement([['one', 4]]), settlement([['one', 4]], { from: END - 1 })])
        expect(await conflictOf(store, again)).toEqual(['repeated', 0]);
      expect(await claims(made)).toEqual([claimed(4, 8)]);
      expect(await store.openAllotments(due())).toHaveLength(1);
      await store.atomically([settlement([['one', 1]], { run_id: 'other' })]);
      expect(await claims(made)).toEqual([claimed(3, 8)]);
      // Two processes were registered: a third word is not heard.
      expect(await store.openAllotments(due())).toEqual([]);
      await store.atomically([settlement([['one', 3]], { run_id: 'third' })]);
      expect(await claims(made)).toEqual([claimed(3, 8)]);
    });

    it('gives back nothing that was not there: unknown, of another audience, more than it was', async () => {
      const made = mission();
      await store.atomically([insert(made), ...token('one', [made], 5, 9)]);
      await store.atomically([settlement([['unknown', 5]], { run_id: 'a' })]);
      await store.atomically([settlement([['one', 5]], { run_id: 'b', audience: MAIL })]);
      await store.atomically([settlement([['one', 6]], { run_id: 'c' })]);
      expect(await claims(made)).toEqual([claimed(5)]);
      await store.atomically([settlement([['one', 5]], { run_id: 'd' })]);
      await store.atomically([settlement([['one', 1]], { run_id: 'e' })]);
      expect(await claims(made)).toEqual([claimed(0, 5)]);
      expect(await conflictOf(store, ...token('one', [made], 1))).toEqual(['duplicate', 1]);
    });

    it('lists what a statement is about, those that end together never apart', async () => {
      const made = mission();
      const at = (jti: string, issued_at: number, expires_at: number): Write => ({
        kind: 'insert_allotment',
        mission_id: made.id,
        audience: ERP,
        allotment: { jti, control: 'max_calls', amount: 2, processes: 2, issued_at, expires_at },
      });
      await store.atomically([
        insert(made),
        at('late', NOW, END + 1),
        at('c', NOW + 2, END),
        at('a', NOW + 1, END - 9),
        at('b', NOW + 2, END),
        at('d', NOW + 3, END),
      ]);
      const found = async (over: object = {}) =>
        (await store.openAllotments(due(over))).map(({ jti }) => jti).sort();
      expect(await found()).toEqual(['a', 'b', 'c', 'd']);
      expect(await found({ limit: 1 })).toEqual(['a']);
      expect(await found({ limit: 2 })).toEqual(['a', 'b', 'c', 'd']);
      expect(await found({ from: END - 9 })).toEqual(['b', 'c', 'd']);
      expect(await found({ since: NOW + 1, until: NOW + 2 })).toEqual(['b', 'c']);
      expect(await found({ audience: MAIL })).toEqual([]);
      const [first] = await store.openAllotments(due());
      expect(first).toEqual({ jti: 'a', control: 'max_calls', amount: 2, processes: 2, expires_at: END - 9 });
    });

    it('adds up a budget exactly and never past it', async () => {
      const made = mission();
      const spend = (amount: string, over: object = {}): Write =>
        ({
          kind: 'spend_budget',
          mission_id: made.id,
          currency: 'EUR',
          max: '1.00',
          amount,
          ...over,
        }) as Write;
      await store.atomically([insert(made)]);
      expect(await store.budget(made.id)).toBeNull();
      for (let cent = 0; cent < 10; cent++) await store.atomically([spend('0.10'), spend('0')]);
      expect(await store.budget(made.id)).toEqual({ currency: 'EUR', max: '1.00', spent: '1' });
      expect(await conflictOf(store, spend('0.000000000000000001'))).toEqual(['limit_exhausted', 0]);
      expect(await conflictOf(store, spend('0', { currency: 'USD' }))).toEqual(['limit_exhausted', 0]);
      expect(await conflictOf(store, spend('0', { mission_id: 'msn_unknown' }))).toEqual([
        'mission_not_found',
        0,
      ]);
    });

    it('forgets what is over with its mission, and allotments that nobody settled', async () => {
      const made = mission();
      await store.atomically([insert(made), ...token('one', [made], 5)]);
      await store.prune(END + 90_000, KEEP_NOTHING);
      expect(await store.openAllotments(due())).toEqual([]);
      // What nobody told to be unused counts as used.
      expect(await claims(made)).toEqual([claimed(5)]);
      await store.atomically([settlement([['one', 5]])]);
      expect(await claims(made)).toEqual([claimed(5)]);
      await store.atomically([{ kind: 'transition', id: made.id, event: 'revoke', at: NOW, reason: 'r' }]);
      await store.prune(NOW + 200_000, KEEP_NOTHING);
      expect(await store.mission(made.id)).toBeNull();
      expect(await store.allowances(made.id)).toEqual([]);
    });
  });
}
