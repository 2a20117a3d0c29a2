/** What a mission is limited in together with everything below it: tokens and child missions. */
import { Conflicted, type Connection, type Handlers } from './context.ts';

export interface Tree extends Handlers<'require_fan_out' | 'require_tree'> {
  /**
   * Counts tokens of a mission against every mission above it that has such a limit: delegating makes no more of
   * them. @throws Conflicted `derivations_exhausted`, and then nothing is counted
   */
  derivedBelow(ancestors: readonly number[], amount: number): void;
  /** Row numbers of the missions above one. */
  above(n: number): readonly number[];
}

export function tree(db: Connection): Tree {
  const count = db.prepare<{ n: number; amount: number }>(
    'update missions set derivations = derivations + @amount where n = @n and max_derivations is not null',
  );
  const exhausted = db.prepare<[number]>(
    'select 1 from missions where n = ? and derivations > max_derivations',
  );
  const ancestors = db
    .prepare<[number], number>('select ancestor_n from mission_ancestors where mission_n = ?')
    .pluck();
  const numberOf = db.prepare<[string], number>('select n from missions where id = ?').pluck();
  // A child has one mission more above it than its parent. Ended by the clock is ended, whatever the reaper knows.
  const children = db
    .prepare<{ n: number; at: number; max: number }, number>(
      `select count(*) from (select 1 from mission_ancestors a join missions m on m.n = a.mission_n
         where a.ancestor_n = @n and m.state < 2 and m.expires_at > @at
           and (select count(*) from mission_ancestors b where b.mission_n = m.n) =
             1 + (select count(*) from mission_ancestors b where b.mission_n = @n) limit @max)`,
    )
    .pluck();
  const descendants = db
    .prepare<{ n: number; max: number }, number>(
      'select count(*) from (select 1 from mission_ancestors where ancestor_n = @n limit @max)',
    )
    .pluck();

  const size = db
    .prepare<[number], number>('select count(*) from mission_ancestors where ancestor_n = ?')
    .pluck();

  return {
    require_tree: ({ id, below }) => {
      const n = numberOf.get(id);
      if (n === undefined) throw new Conflicted('mission_not_found');
      if (size.get(n) !== below) throw new Conflicted('tree_changed');
    },
    derivedBelow(line, amount) {
      for (const n of line)
        if (count.run({ n, amount }).changes > 0 && exhausted.get(n) !== undefined)
          throw new Conflicted('derivations_exhausted');
    },
    above: (n) => ancestors.all(n),
    require_fan_out: ({ id, at, max_children, max_descendants }) => {
      const n = numberOf.get(id);
      if (n === undefined) throw new Conflicted('mission_not_found');
      const full =
        (max_children !== undefined && children.get({ n, at, max: max_children }) === max_children) ||
        (max_descendants !== undefined && descendants.get({ n, max: max_descendants }) === max_descendants);
      if (full) throw new Conflicted('fan_out_reached');
    },
  };
}
