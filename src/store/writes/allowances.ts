/** Counted limits: claims and allotments in the group that records their token, and what comes back of them. */
import { addDecimals, compareDecimals } from '../../domain/authority/decimal.ts';
import { COUNTED_CONTROLS } from '../../domain/limits.ts';
import type { Credit } from '../../domain/settlement.ts';
import { Conflicted, type Connection, exactlyOne, type Handlers, insertOnce } from './context.ts';
import type { Interned } from './interned.ts';

type Kinds = 'reserve_allotment' | 'insert_allotment' | 'settle_allotments' | 'spend_budget';

interface ClaimRow {
  readonly held: number;
  readonly claimed: number;
}

interface BudgetRow {
  readonly currency: string;
  readonly max: string;
  readonly spent: string;
}

export function allowanceWrites(db: Connection, names: Interned): Handlers<Kinds> {
  const numberOf = db.prepare<[string], { n: number }>('select n from missions where id = ?');
  const readClaim = db.prepare<[number, number, number], ClaimRow>(
    'select held, claimed from allowance_claims where mission_n = ? and control = ? and audience_n = ?',
  );
  const writeClaim = db.prepare(
    `insert into allowance_claims (mission_n, control, audience_n, held, claimed)
     values (@n, @control, @audience_n, @held, @claimed)
     on conflict (mission_n, control, audience_n) do update set held = excluded.held, claimed = excluded.claimed`,
  );
  // No row is touched where it does not fit: neither the first claim nor any later one passes `max`.
  const reserve = db.prepare(
    `insert into allowances (mission_n, control, max, reserved)
     select @n, @control, @max, @amount where @amount <= @max
     on conflict (mission_n, control) do update set reserved = reserved + excluded.reserved
     where reserved + excluded.reserved <= max`,
  );
  const insertAllotment = db.prepare(
    `insert into allotments (jti, control, mission_n, audience_n, amount, processes, issued_at, expires_at,
      settled, returned)
     values (@jti, @control, @n, @audience_n, @amount, @processes, @issued_at, @expires_at, 0, 0)`,
  );
  const readRun = db.prepare<[string, string], { through: number }>(
    'select through from counting_runs where verifier_id = ? and run_id = ?',
  );
  const writeRun = db.prepare(
    `insert into counting_runs (verifier_id, run_id, through, last_at) values (@verifier_id, @run_id, @through, @at)
     on conflict (verifier_id, run_id) do update set through = excluded.through, last_at = excluded.last_at`,
  );
  // A word too many, of a process that there should not be, gives nothing back.
  const settle = db.prepare<Record<string, unknown>, { mission_n: number }>(
    `update allotments set settled = settled + 1, returned = returned + @amount
     where jti = @jti and control = @control and audience_n = @audience_n and settled < processes
       and returned + @amount <= amount
     returning mission_n`,
  );
  // The token took the same amount out of every limit above its mission.
  const giveBack = db.prepare(
    `update allowance_claims set held = held - @amount
     where control = @control and audience_n = @audience_n and held >= @amount and (mission_n = @n
       or mission_n in (select ancestor_n from mission_ancestors where mission_n = @n))`,
  );
  const readBudget = db.prepare<[number], BudgetRow>(
    'select currency, max, spent from budgets where mission_n = ?',
  );
  const writeBudget = db.prepare(
    `insert into budgets (mission_n, currency, max, spent) values (@n, @currency, @max, @spent)
     on conflict (mission_n) do update set spent = excluded.spent`,
  );

  function missionNumber(id: string): number {
    const mission = numberOf.get(id);
    if (mission === undefined) throw new Conflicted('mission_not_found');
    return mission.n;
  }

  function credit(audience_n: number, { jti, control: name, amount }: Credit): void {
    const control = COUNTED_CONTROLS.indexOf(name);
    const row = settle.get({ jti, control, audience_n, amount });
    if (row !== undefined && amount > 0) giveBack.run({ n: row.mission_n, control, audience_n, amount });
  }

  return {
    reserve_allotment: ({ mission_id, control: name, audience, max, amount }) => {
      if (!Number.isSafeInteger(amount) || amount < 1 || !Number.isSafeInteger(max))
        throw new RangeError('an allotment is a whole number of at least 1');
      const n = missionNumber(mission_id);
      const control = COUNTED_CONTROLS.indexOf(name);
      const audience_n = names.name(audience);
      const claim = readClaim.get(n, control, audience_n) ?? { held: 0, claimed: 0 };
      const held = claim.held + amount;
      const claimed = Math.max(claim.claimed, held);
      if (claimed > claim.claimed)
        exactlyOne(
          reserve.run({ n, control, max, amount: claimed - claim.claimed }).changes,
          'limit_exhausted',
        );
      writeClaim.run({ n, control, audience_n, held, claimed });
    },
    insert_allotment: ({ mission_id, audience, allotment }) => {
      const { control, ...rest } = allotment;
      const row = {
        ...rest,
        n: missionNumber(mission_id),
        audience_n: names.name(audience),
        control: COUNTED_CONTROLS.indexOf(control),
      };
      insertOnce(() => insertAllotment.run(row));
    },
    settle_allotments: ({ verifier_id, audience, run_id, from, through, at, credits }) => {
      // Nothing is told twice: neither a repeated statement nor one that comes too late is heard.
      if ((readRun.get(verifier_id, run_id)?.through ?? 0) > from) throw new Conflicted('repeated');
      writeRun.run({ verifier_id, run_id, through, at });
      const audience_n = names.name(audience);
      for (const one of credits) credit(audience_n, one);
    },
    spend_budget: ({ mission_id, currency, max, amount }) => {
      const n = missionNumber(mission_id);
      const budget = readBudget.get(n) ?? { currency, max, spent: '0' };
      if (budget.currency !== currency) throw new Conflicted('limit_exhausted');
      const spent = addDecimals(budget.spent, amount);
      if (compareDecimals(spent, budget.max) > 0) throw new Conflicted('limit_exhausted');
      writeBudget.run({ n, currency, max: budget.max, spent });
    },
  };
}
