/** Allotments of counted limits: reserved in the group that records their token, and never given back. */
import { COUNTED_CONTROLS } from '../../domain/limits.ts';
import { Conflicted, type Connection, exactlyOne, type Handlers } from './context.ts';

export function allowanceWrites(db: Connection): Handlers<'reserve_allotment'> {
  const numberOf = db.prepare<[string], { n: number }>('select n from missions where id = ?');
  // No row is touched where it does not fit: neither the first allotment nor any later one passes `max`.
  const reserve = db.prepare(
    `insert into allowances (mission_n, control, max, reserved)
     select @n, @control, @max, @amount where @amount <= @max
     on conflict (mission_n, control) do update set reserved = reserved + excluded.reserved
     where reserved + excluded.reserved <= max`,
  );
  return {
    reserve_allotment: ({ mission_id, control, max, amount }) => {
      if (!Number.isSafeInteger(amount) || amount < 1 || !Number.isSafeInteger(max))
        throw new RangeError('an allotment is a whole number of at least 1');
      const mission = numberOf.get(mission_id);
      if (mission === undefined) throw new Conflicted('mission_not_found');
      const { changes } = reserve.run({
        n: mission.n,
        control: COUNTED_CONTROLS.indexOf(control),
        max,
        amount,
      });
      exactlyOne(changes, 'limit_exhausted');
    },
  };
}
