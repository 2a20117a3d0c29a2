/** Reads of counted limits. */
import { type Allowance, COUNTED_CONTROLS } from '../../domain/limits.ts';
import type { Connection } from '../writes/context.ts';

interface AllowanceRow {
  readonly control: number;
  readonly max: number;
  readonly reserved: number;
}

export function allowanceReads(db: Connection): (mission_id: string) => readonly Allowance[] {
  const ofMission = db.prepare<[string], AllowanceRow>(
    `select control, max, reserved from allowances
     where mission_n = (select n from missions where id = ?) order by control`,
  );
  return (mission_id) =>
    ofMission.all(mission_id).flatMap(({ control: index, ...row }) => {
      const control = COUNTED_CONTROLS[index];
      if (control === undefined) throw new Error(`limit ${index} of ${mission_id} is none of this build's`);
      return { control, ...row };
    });
}
