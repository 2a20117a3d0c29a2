/** Reads of missions and credentials. Every one is bounded: nothing here walks a million rows in one turn. */
import { MISSION_STATES, type Mission } from '../../domain/mission.ts';
import type { BlastRadius, CredentialRecord, MissionQuery, Page, Selector } from '../../ports.ts';
import {
  CREDENTIAL_SELECT,
  type CredentialRow,
  credentialFromRow,
  MISSION_SELECT,
  type MissionRow,
  missionFromRow,
} from '../rows.ts';
import { missionClause, selectorParameters } from '../selection.ts';
import type { Connection } from '../writes/context.ts';
import { creationKey } from '../writes/missions.ts';

/** Rows that one page looks at, at most; a page with few matches is short and has a cursor. */
const SCANNED_ROWS = 5000;
const PAGE_LIMIT = 500;
/** Rows between two turns of the event loop, so that a large answer never stalls a heartbeat. */
const CHUNK = 1000;
/** Ids that a blast radius names; the count is exact beyond. */
const NAMED_MISSIONS = 10_000;

export interface MissionReads {
  mission(id: string): Mission | null;
  missionByCreation(agent: string, jkt: string, creation_request_id: string): Mission | null;
  missions(query: MissionQuery): Page<Mission>;
  missionTree(id: string): readonly Mission[];
  missionsDue(now: number, limit: number): { expired: readonly string[]; silent: readonly string[] };
  blastRadius(selector: Selector, now: number): Promise<BlastRadius>;
  credential(id: string): CredentialRecord | null;
  credentials(mission_id: string): readonly CredentialRecord[];
  statuses(list: number, now: number): Promise<readonly { index: number; status: 1 | 2 }[]>;
  statusListInUse(): { list: number; taken: readonly number[] };
}

type Bound = Record<string, unknown>;

/** Escapes what LIKE would read as a wildcard: a search is for the text as typed. */
function containing(text: string): string {
  return `%${text.replaceAll('\\', '\\\\').replaceAll('%', '\\%').replaceAll('_', '\\_')}%`;
}

function positionOf(cursor: string | undefined): number {
  const n = cursor === undefined ? Number.MAX_SAFE_INTEGER : Number(cursor);
  // A cursor that is not ours reads as the end, never as the whole list.
  return Number.isSafeInteger(n) && n > 0 ? n : 0;
}

export function missionReads(db: Connection): MissionReads {
  const byId = db.prepare<[string], MissionRow>(`${MISSION_SELECT} where m.id = ?`);
  const byCreation = db.prepare<[Buffer], MissionRow>(`${MISSION_SELECT} where m.creation_key = ?`);
  const tree = db.prepare<[string], MissionRow>(
    `${MISSION_SELECT} join mission_ancestors a on a.mission_n = m.n
     where a.ancestor_n = (select n from missions where id = ?) order by m.n`,
  );
  const expired = db.prepare<[number, number], { id: string }>(
    'select id from missions where state < 2 and expires_at <= ? order by expires_at limit ?',
  );
  const silent = db.prepare<[number, number, number], { id: string }>(
    `select id from missions where state = 0 and attest_due_at <= ? and expires_at > ?
     order by attest_due_at limit ?`,
  );
  const credential = db.prepare<[string], CredentialRow>(`${CREDENTIAL_SELECT} where c.id = ?`);
  const credentials = db.prepare<[string], CredentialRow>(
    `${CREDENTIAL_SELECT} where c.mission_n = (select n from missions where id = ?) order by c.n`,
  );
  const statuses = db.prepare<Bound, { status_index: number; state: number }>(
    `select status_index, state from missions indexed by missions_status
     where status_list = @list and state > 0 and status_index > @after order by status_index limit ${CHUNK}`,
  );
  const overdueStatuses = db.prepare<Bound, { status_index: number }>(
    'select status_index from missions where state < 2 and expires_at <= @now and status_list = @list',
  );
  const listInUse = db.prepare<[], { list: number | null }>('select max(status_list) as list from missions');
  const taken = db.prepare<[number], { status_index: number }>(
    'select status_index from missions where status_list = ? order by status_index',
  );
  const lowest = db.prepare<[number, number], { n: number | null }>(
    'select min(n) as n from (select n from missions where n < ? order by n desc limit ?)',
  );
  const prepared = new Map<string, ReturnType<typeof db.prepare<Bound, never>>>();

  function statement<Row>(text: string): { all(parameters: Bound): Row[] } {
    const found = prepared.get(text) ?? db.prepare<Bound, never>(text);
    prepared.set(text, found);
    return found as unknown as { all(parameters: Bound): Row[] };
  }

  function missions(query: MissionQuery): Page<Mission> {
    const limit = Math.min(Math.max(1, Math.trunc(query.limit)), PAGE_LIMIT);
    const before = positionOf(query.cursor);
    const conditions = ['m.n < @before'];
    if (query.state !== undefined) conditions.push('m.state = @state');
    if (query.agent !== undefined) conditions.push(`m.ground_n in (${groundsOfAgent})`);
    if (query.template !== undefined) {
      conditions.push('m.ground_n in (select n from grounds where template_id = @template)');
    }
    if (query.q !== undefined) {
      conditions.push(
        `(m.id like @q escape '\\' or g.agent like @q escape '\\' or m.goal like @q escape '\\')`,
      );
    }
    // By row number only: a filter that matches little must cost one bounded walk, not a sort of everything.
    const floor = conditions.length === 1 ? 0 : (lowest.get(before, SCANNED_ROWS)?.n ?? 0);
    const rows = statement<MissionRow>(
      `${MISSION_SELECT.replace('from missions m', 'from missions m not indexed')}
       where ${conditions.join(' and ')} and m.n >= @floor order by m.n desc limit @limit`,
    ).all({
      before,
      floor,
      limit,
      state: query.state === undefined ? null : MISSION_STATES.indexOf(query.state),
      agent: query.agent ?? null,
      template: query.template ?? null,
      q: query.q === undefined ? null : containing(query.q),
    });
    const last = rows.at(-1)?.n;
    const next = rows.length === limit && last !== undefined ? last : floor > 1 ? floor : null;
    return { items: rows.map(missionFromRow), next_cursor: next === null ? null : String(next) };
  }

  async function blastRadius(selector: Selector, now: number): Promise<BlastRadius> {
    const parameters = { ...selectorParameters(selector.key), now };
    const ids: string[] = [];
    let count = 0;
    const reach = new Map<string, { type: string; target: string; count: number; last_expires_at: number }>();
    function credit(rows: readonly { type: string; target: string; count: number; last: number }[]): void {
      for (const { type, target, count: some, last } of rows) {
        const key = JSON.stringify([type, target]);
        const sum = reach.get(key) ?? { type, target, count: 0, last_expires_at: 0 };
        sum.count += some;
        sum.last_expires_at = Math.max(sum.last_expires_at, last);
        reach.set(key, sum);
      }
    }
    const grouped = `select t.name as type, a.name as target, count(*) as count, max(c.expires_at) as last
      from credentials c join names t on t.n = c.type_n join names a on a.n = c.target_n`;
    if (selector.kind === 'token') {
      credit(
        statement<{ type: string; target: string; count: number; last: number }>(
          `${grouped} where c.id = @key and c.expires_at > @now and c.revoked_at is null group by 1, 2`,
        ).all(parameters),
      );
      return { missions: 0, mission_ids: [], credentials: [...reach.values()] };
    }
    const page = statement<{ n: number; id: string; state: number; expires_at: number }>(
      `select m.n, m.id, m.state, m.expires_at from missions m
       where ${missionClause(selector.kind)} order by m.n`,
    );
    // Row numbers first (one indexed walk), the rest in chunks between turns.
    const rows = page.all(parameters);
    for (let at = 0; at < rows.length; at += CHUNK) {
      const chunk = rows.slice(at, at + CHUNK);
      for (const row of chunk) {
        if (row.state >= 2 || row.expires_at <= now) continue;
        count += 1;
        if (ids.length < NAMED_MISSIONS) ids.push(row.id);
      }
      credit(
        statement<{ type: string; target: string; count: number; last: number }>(
          `${grouped} where c.mission_n in (select value from json_each(@ns)) and c.expires_at > @now
           and c.revoked_at is null group by 1, 2`,
        ).all({ ns: JSON.stringify(chunk.map(({ n }) => n)), now }),
      );
      if (at + CHUNK < rows.length) await turn();
    }
    return { missions: count, mission_ids: ids, credentials: [...reach.values()] };
  }

  async function statusesOf(list: number, now: number): Promise<{ index: number; status: 1 | 2 }[]> {
    const found = new Map<number, 1 | 2>();
    for (let after = -1; ; ) {
      const rows = statuses.all({ list, after });
      for (const { status_index, state } of rows) found.set(status_index, state === 1 ? 2 : 1);
      const last = rows.at(-1);
      if (last === undefined || rows.length < CHUNK) break;
      after = last.status_index;
      await turn();
    }
    // The clock has ended these already; the reaper has yet to write it down.
    for (const { status_index } of overdueStatuses.all({ list, now })) found.set(status_index, 1);
    return [...found].map(([index, status]) => ({ index, status })).sort((a, b) => a.index - b.index);
  }

  return {
    mission: (id) => optional(byId.get(id), missionFromRow),
    missionByCreation: (agent, jkt, creation_request_id) =>
      optional(byCreation.get(creationKey(agent, jkt, creation_request_id)), missionFromRow),
    missions,
    missionTree: (id) => {
      const root = byId.get(id);
      return root === undefined ? [] : [root, ...tree.all(id)].map(missionFromRow);
    },
    missionsDue: (now, limit) => ({
      expired: expired.all(now, limit).map(({ id }) => id),
      silent: silent.all(now, now, limit).map(({ id }) => id),
    }),
    blastRadius,
    credential: (id) => optional(credential.get(id), credentialFromRow),
    credentials: (mission_id) => credentials.all(mission_id).map(credentialFromRow),
    statuses: statusesOf,
    statusListInUse: () => {
      const list = listInUse.get()?.list ?? 0;
      return { list, taken: taken.all(list).map(({ status_index }) => status_index) };
    },
  };
}

const groundsOfAgent = 'select ground_n from ground_agents where agent = @agent';

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

export function optional<Row, T>(row: Row | undefined, read: (row: Row) => T): T | null {
  return row === undefined ? null : read(row);
}
