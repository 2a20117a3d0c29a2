/** Reads of counted limits. */
import { type Allowance, COUNTED_CONTROLS, type CountedControl } from '../../domain/limits.ts';
import type { OpenAllotment } from '../../domain/settlement.ts';
import type { AllotmentQuery } from '../../ports.ts';
import type { Connection } from '../writes/context.ts';

interface AllowanceRow {
  readonly control: number;
  readonly max: number;
  readonly reserved: number;
}

interface ClaimRow {
  readonly control: number;
  readonly audience: string;
  readonly held: number;
  readonly claimed: number;
}

interface AllotmentRow {
  readonly jti: string;
  readonly control: number;
  readonly amount: number;
  readonly processes: number;
  readonly expires_at: number;
}

interface BudgetRow {
  readonly currency: string;
  readonly max: string;
  readonly spent: string;
}

export interface AllowanceReads {
  allowances(mission_id: string): readonly Allowance[];
  openAllotments(query: AllotmentQuery): readonly OpenAllotment[];
  budget(mission_id: string): BudgetRow | null;
}

export function allowanceReads(db: Connection): AllowanceReads {
  const ofMission = db.prepare<[string], AllowanceRow>(
    `select control, max, reserved from allowances
     where mission_n = (select n from missions where id = ?) order by control`,
  );
  const claimsOf = db.prepare<[string], ClaimRow>(
    `select c.control, a.name audience, c.held, c.claimed from allowance_claims c join names a on a.n = c.audience_n
     where c.mission_n = (select n from missions where id = ?) order by a.name`,
  );
  // The half-open interval names the end; what was issued in the same second as the run began is not its own.
  const due = `from allotments where audience_n = (select n from names where name = @audience)
     and expires_at > @from and expires_at <= @through and issued_at > @since and issued_at <= @until
     and settled < processes`;
  const lastOf = db.prepare<Record<string, unknown>, { expires_at: number }>(
    `select expires_at ${due} order by expires_at limit 1 offset @limit - 1`,
  );
  const open = db.prepare<Record<string, unknown>, AllotmentRow>(
    `select jti, control, amount, processes, expires_at ${due} order by expires_at`,
  );
  const budgetOf = db.prepare<[string], BudgetRow>(
    'select currency, max, spent from budgets where mission_n = (select n from missions where id = ?)',
  );

  function controlAt(index: number, of: string): CountedControl {
    const control = COUNTED_CONTROLS[index];
    if (control === undefined) throw new Error(`limit ${index} of ${of} is none of this build's`);
    return control;
  }

  return {
    allowances(mission_id) {
      const rows = ofMission.all(mission_id);
      if (rows.length === 0) return [];
      const claims = claimsOf.all(mission_id);
      return rows.map(({ control, ...row }) => ({
        control: controlAt(control, mission_id),
        ...row,
        claims: claims
          .filter((claim) => claim.control === control)
          .map(({ audience, held, claimed }) => ({ audience, held, claimed })),
      }));
    },
    openAllotments({ audience, from, through, since, until, limit }) {
      const query = { audience, from, since, until };
      const last = lastOf.get({ ...query, through, limit });
      return open
        .all({ ...query, through: last?.expires_at ?? through })
        .map(({ control, ...row }) => ({ control: controlAt(control, row.jti), ...row }));
    },
    budget: (mission_id) => budgetOf.get(mission_id) ?? null,
  };
}
