/** One step of a mission's life: its row, its template's counter and its children, always together. */
import {
  MISSION_STATES,
  type MissionEvent,
  type MissionState,
  statesBefore,
  TERMINAL_STATES,
} from '../../domain/mission.ts';
import { type MissionSelectorKind, missionClause, selectorParameters } from '../selection.ts';
import type { Connection } from './context.ts';

export interface LifecycleRow {
  readonly n: number;
  readonly id: string;
  readonly state: number;
  readonly version: number;
  readonly expires_at: number;
  readonly template_id: string;
}

export interface MissionSelection {
  readonly kind: MissionSelectorKind;
  readonly key: string;
}

/** How many missions a bulk step holds in memory at once. */
const CHUNK = 2000;

export function stateNumber(state: MissionState): number {
  return MISSION_STATES.indexOf(state);
}

/** States that count as live are numbered first; every `state < 2` in SQL relies on it. */
function isLive(state: number): boolean {
  return state <= stateNumber('suspended');
}

/** A subquery, not a join: measured several times faster for one row. */
const COLUMNS = `m.n, m.id, m.state, m.version, m.expires_at,
  (select template_id from grounds where grounds.n = m.ground_n) as template_id`;

export interface Lifecycle {
  find(id: string): LifecycleRow | null;
  /** Missions that match and that `event` may move, one at a time; each must be moved before the next. */
  matching(
    selector: MissionSelection,
    event: MissionEvent,
    at: number,
    limit: number,
  ): Iterable<LifecycleRow>;
  /** Moves one mission, and with its end every live mission below it. */
  move(row: LifecycleRow, to: MissionState, at: number, reason: string, changed: string[]): void;
  count(template_id: string, by: 1 | -1): void;
  /** Whether fewer than `max` missions of the template are live at `at`, exactly. */
  liveBelow(template_id: string, max: number, at: number): boolean;
}

export function lifecycle(db: Connection): Lifecycle {
  const find = db.prepare<[string], LifecycleRow>(`select ${COLUMNS} from missions m where m.id = ?`);
  const below = db.prepare<[number], LifecycleRow>(
    `select ${COLUMNS} from mission_ancestors a join missions m on m.n = a.mission_n
     where a.ancestor_n = ? and m.state < 2 order by m.n`,
  );
  const update = db.prepare(
    `update missions set state = @state, version = version + 1, state_since = @at, state_reason = @reason
     where n = @n`,
  );
  // Whoever resumes a mission gives it its time to attest again: the reaper would suspend it within a second.
  const giveTime = db.prepare<{ n: number; at: number }>(
    `update missions set attest_due_at =
       max(attest_due_at, @at + (select attest_every_seconds from grounds where grounds.n = ground_n))
     where n = @n`,
  );
  // What is below a suspended mission stays as it is and may do nothing: what it holds elsewhere is looked at again.
  const wakeLeasesBelow = db.prepare<[number]>(
    `update leases set next_at = 0 where state < 3 and mission_id in
       (select m.id from mission_ancestors a join missions m on m.n = a.mission_n where a.ancestor_n = ?)`,
  );
  const addCount = db.prepare<[string, number]>(
    `insert into template_counts (template_id, live) values (?, ?)
     on conflict (template_id) do update set live = live + excluded.live`,
  );
  const readCount = db.prepare<[string], { live: number }>(
    'select live from template_counts where template_id = ?',
  );
  const overdue = db.prepare<[number, string], { count: number }>(
    `select count(*) as count from missions m indexed by missions_expiry
     where m.state < 2 and m.expires_at <= ?
       and (select template_id from grounds where grounds.n = m.ground_n) = ?`,
  );
  type Chunk = ReturnType<typeof db.prepare<Record<string, unknown>, LifecycleRow>>;
  const chunks = new Map<string, Chunk>();

  function chunkOf(kind: MissionSelectorKind, event: MissionEvent): Chunk {
    const key = `${kind} ${event}`;
    const prepared = chunks.get(key);
    if (prepared !== undefined) return prepared;
    const states = statesBefore(event).map(stateNumber).join(', ');
    // What the clock has ended is not resumed; ending it once more than needed is harmless.
    const alive = event === 'resume' ? 'and m.expires_at > @at' : '';
    const statement = db.prepare<Record<string, unknown>, LifecycleRow>(
      `select ${COLUMNS} from missions m where ${missionClause(kind)} and m.state in (${states}) ${alive} limit @limit`,
    );
    chunks.set(key, statement);
    return statement;
  }

  function* matching(
    selector: MissionSelection,
    event: MissionEvent,
    at: number,
    limit: number,
  ): Generator<LifecycleRow> {
    const ends = event !== 'suspend' && event !== 'resume';
    // A tree ends by its root: what is below is cascaded and says so.
    const kind = ends && selector.kind === 'mission_tree' ? 'mission' : selector.kind;
    const statement = chunkOf(kind, event);
    const parameters = { ...selectorParameters(selector.key), at };
    for (let left = limit; left > 0; ) {
      const rows = statement.all({ ...parameters, limit: Math.min(CHUNK, left) });
      if (rows.length === 0) return;
      for (const row of rows) {
        // An earlier one of this chunk may have cascaded it.
        const current = find.get(row.id);
        if (current !== undefined && current.state === row.state) yield current;
      }
      left -= rows.length;
    }
  }

  function count(template_id: string, by: 1 | -1): void {
    addCount.run(template_id, by);
  }

  function moveOne(row: LifecycleRow, state: number, at: number, reason: string, changed: string[]): void {
    update.run({ n: row.n, state, at, reason });
    if (state === stateNumber('active')) giveTime.run({ n: row.n, at });
    if (isLive(row.state) && !isLive(state)) count(row.template_id, -1);
    changed.push(row.id);
  }

  function move(row: LifecycleRow, to: MissionState, at: number, reason: string, changed: string[]): void {
    moveOne(row, stateNumber(to), at, reason, changed);
    if (to === 'suspended') wakeLeasesBelow.run(row.n);
    if (!TERMINAL_STATES.includes(to)) return;
    for (const child of below.all(row.n)) {
      moveOne(child, stateNumber('cascaded'), at, 'parent_ended', changed);
    }
  }

  function liveBelow(template_id: string, max: number, at: number): boolean {
    const live = readCount.get(template_id)?.live ?? 0;
    if (live < max) return true;
    // Full by the counter: those whose clock ran out and that the reaper has not met yet do not count.
    return live - (overdue.get(at, template_id)?.count ?? 0) < max;
  }

  return { find: (id) => find.get(id) ?? null, matching, move, count, liveBelow };
}
