/** Reads of missions and credentials. Every one is bounded: nothing here walks a million rows in one turn. */
import { MISSION_STATES, type Mission } from '../../domain/mission.ts';
import type { BlastRadius, CredentialRecord, MissionQuery, Page, Selector } from '../../ports.ts';
import {
  CREDENTIAL_SELECT,
  type CredentialRow,
  credentialFromRow,
  type GroundRow,
  type MissionRow,
  missionFromRow,
} from '../rows.ts';
import { groundClause, missionClause, selectorParameters } from '../selection.ts';
import type { Connection } from '../writes/context.ts';
import { creationKey } from '../writes/missions.ts';

/** Rows that one page looks at, at most; a page with few matches is short and has a cursor. */
const SCANNED_ROWS = 5000;
const PAGE_LIMIT = 500;
/** Rows between two turns of the event loop, so that a large answer never stalls a heartbeat. */
const CHUNK = 1000;
/** Ids that a blast radius names; the count is exact beyond. */
const NAMED_MISSIONS = 10_000;
/** Grounds in memory; missions share them, so that few serve many. */
const GROUNDS_KEPT = 4096;
/** A filter over more grounds than this walks the newest missions instead of one index lane a ground. */
const LANES = 256;

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
  const byId = db.prepare<[string], MissionRow>('select * from missions where id = ?');
  const byCreation = db.prepare<[Buffer], MissionRow>('select * from missions where creation_key = ?');
  const groundByNumber = db.prepare<[number], GroundRow>('select * from grounds where n = ?');
  const tree = db.prepare<[string], MissionRow>(
    `select * from missions where n in (select mission_n from mission_ancestors where ancestor_n =
       (select n from missions where id = ?)) order by n`,
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
    `select status_index from missions indexed by missions_expiry
     where state < 2 and expires_at <= @now and status_list = @list`,
  );
  const listInUse = db.prepare<[], { list: number | null }>('select max(status_list) as list from missions');
  const taken = db.prepare<[number], { status_index: number }>(
    'select status_index from missions where status_list = ? order by status_index',
  );
  const walked = db.prepare<[number, number], { n: number | null; seen: number }>(
    'select min(n) as n, count(*) as seen from (select n from missions where n < ? order by n desc limit ?)',
  );
  const byNumber = db.prepare<[number], MissionRow>('select * from missions where n = ?');
  const lane = db.prepare<Bound, { n: number }>(
    `select n from missions where ground_n = @ground and state = @state and n < @before
     order by n desc limit @limit`,
  );
  const prepared = new Map<string, ReturnType<typeof db.prepare<Bound, never>>>();

  /** Grounds never change and their numbers are never given again: remembering one is safe. */
  const grounds = new Map<number, GroundRow>();

  function missionOf(row: MissionRow): Mission {
    let ground = grounds.get(row.ground_n);
    if (ground === undefined) {
      ground = groundByNumber.get(row.ground_n);
      if (ground === undefined) throw new Error(`the ground of ${row.id} is gone`);
      if (grounds.size >= GROUNDS_KEPT) grounds.clear();
      grounds.set(row.ground_n, ground);
    }
    return missionFromRow(row, ground);
  }

  function pageOf(rows: readonly MissionRow[], next: number | undefined): Page<Mission> {
    return { items: rows.map(missionOf), next_cursor: next === undefined ? null : String(next) };
  }

  function statement<Row>(text: string): { all(parameters: Bound): Row[] } {
    const found = prepared.get(text) ?? db.prepare<Bound, never>(text);
    prepared.set(text, found);
    return found as unknown as { all(parameters: Bound): Row[] };
  }

  /** Grounds of the query's agent and template; null where there are too many for a lane each. */
  function groundsOf(query: MissionQuery): readonly number[] | null {
    const conditions = [
      ...(query.agent === undefined
        ? []
        : ['n in (select ground_n from ground_agents where agent = @agent)']),
      ...(query.template === undefined ? [] : ['template_id = @template']),
    ];
    const where = conditions.length === 0 ? '' : `where ${conditions.join(' and ')}`;
    const rows = statement<{ n: number }>(`select n from grounds ${where} limit ${LANES + 1}`).all({
      agent: query.agent ?? null,
      template: query.template ?? null,
    });
    return rows.length > LANES ? null : rows.map(({ n }) => n);
  }

  /** Row numbers of a page, newest first, from one index lane a ground and state: cost is the page's, not the table's. */
  function pageByLanes(
    query: MissionQuery,
    grounds: readonly number[],
    before: number,
    limit: number,
  ): number[] {
    const states =
      query.state === undefined ? MISSION_STATES.keys() : [MISSION_STATES.indexOf(query.state)].values();
    const found: number[] = [];
    for (const state of states) {
      for (const ground of grounds) {
        for (const { n } of lane.all({ ground, state, before, limit })) found.push(n);
      }
    }
    return found.sort((a, b) => b - a).slice(0, limit);
  }

  function missions(query: MissionQuery): Page<Mission> {
    const limit = Math.min(Math.max(1, Math.trunc(query.limit)), PAGE_LIMIT);
    const before = positionOf(query.cursor);
    const filtered = query.state !== undefined || query.agent !== undefined || query.template !== undefined;
    const lanes = filtered && query.q === undefined ? groundsOf(query) : null;
    if (lanes !== null) {
      const rows = pageByLanes(query, lanes, before, limit).flatMap((n) => byNumber.get(n) ?? []);
      return pageOf(rows, rows.length === limit ? rows.at(-1)?.n : undefined);
    }
    // A whole id is found wherever it is; any other text only in what each page walks.
    const exact = query.q === undefined || query.cursor !== undefined ? undefined : byId.get(query.q);
    if (exact !== undefined && !filtered) return pageOf([exact], undefined);
    return pageByWalk(query, before, limit, filtered || query.q !== undefined);
  }

  /** Walks the newest rows and keeps what matches; a page may be short and still not be the last. */
  function pageByWalk(query: MissionQuery, before: number, limit: number, sparse: boolean): Page<Mission> {
    const conditions = ['m.n < @before', 'm.n >= @floor'];
    if (query.state !== undefined) conditions.push('m.state = @state');
    if (query.agent !== undefined) {
      conditions.push('m.ground_n in (select ground_n from ground_agents where agent = @agent)');
    }
    if (query.template !== undefined)
      conditions.push('m.ground_n in (select n from grounds where template_id = @template)');
    if (query.q !== undefined) {
      conditions.push(
        `(m.id like @q escape '\\' or m.goal like @q escape '\\'
          or m.ground_n in (select n from grounds where agent like @q escape '\\'))`,
      );
    }
    const window = sparse ? walked.get(before, SCANNED_ROWS) : undefined;
    const floor = window !== undefined && window.seen === SCANNED_ROWS ? (window.n ?? 0) : 0;
    const rows = statement<MissionRow>(
      `select m.* from missions m not indexed
       where ${conditions.join(' and ')} order by m.n desc limit @limit`,
    ).all({
      before,
      floor,
      limit,
      state: query.state === undefined ? null : MISSION_STATES.indexOf(query.state),
      agent: query.agent ?? null,
      template: query.template ?? null,
      q: query.q === undefined ? null : containing(query.q),
    });
    return pageOf(rows, rows.length === limit ? rows.at(-1)?.n : floor || undefined);
  }

  async function blastRadius(selector: Selector, now: number): Promise<BlastRadius> {
    const parameters = { ...selectorParameters(selector.key), now };
    const sums = new Map<string, Sum>();
    if (selector.kind === 'token') {
      addUp(sums, statement<Sum>(`${SUMS} where c.id = @key ${ALIVE}`).all(parameters));
      return { missions: 0, mission_ids: [], credentials: [...sums.values()] };
    }
    const clause = groundClause(selector.kind);
    const lanes: Bound[] =
      clause === null
        ? [parameters]
        : statement<{ n: number }>(clause.replace('select ground_n', 'select ground_n as n'))
            .all(parameters)
            .flatMap(({ n: ground }) => [0, 1].map((state) => ({ ...parameters, ground, state })));
    // One index lane at a time, in the index's own order: a million matches are a linear walk.
    const condition =
      clause === null
        ? `${missionClause(selector.kind)} and m.state < 2`
        : 'm.ground_n = @ground and m.state = @state';
    const page = statement<{ n: number; id: string; expires_at: number }>(
      `select m.n, m.id, m.expires_at from missions m where ${condition} and m.n > @after
       order by m.n limit ${CHUNK}`,
    );
    const credits = statement<Sum>(
      `${SUMS} where c.mission_n in (select value from json_each(@ns)) ${ALIVE}`,
    );
    const ids: string[] = [];
    let count = 0;
    for (const bound of lanes) {
      for (let after = 0; ; ) {
        const rows = page.all({ ...bound, after });
        const last = rows.at(-1);
        if (last === undefined) break;
        const live = rows.filter(({ expires_at }) => expires_at > now);
        count += live.length;
        for (const { id } of live.slice(0, NAMED_MISSIONS - ids.length)) ids.push(id);
        addUp(sums, credits.all({ ns: JSON.stringify(live.map(({ n }) => n)), now }));
        if (rows.length < CHUNK) break;
        after = last.n;
        await turn();
      }
    }
    return { missions: count, mission_ids: ids, credentials: [...sums.values()] };
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
    mission: (id) => optional(byId.get(id), missionOf),
    missionByCreation: (agent, jkt, creation_request_id) =>
      optional(byCreation.get(creationKey(agent, jkt, creation_request_id)), missionOf),
    missions,
    missionTree: (id) => {
      const root = byId.get(id);
      return root === undefined ? [] : [root, ...tree.all(id)].map(missionOf);
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

interface Sum {
  readonly type: string;
  readonly target: string;
  readonly count: number;
  readonly last_expires_at: number;
}

const SUMS = `select t.name as type, a.name as target, count(*) as count, max(c.expires_at) as last_expires_at
  from credentials c join names t on t.n = c.type_n join names a on a.n = c.target_n`;
const ALIVE = 'and c.expires_at > @now and c.revoked_at is null group by 1, 2';

function addUp(sums: Map<string, Sum>, rows: readonly Sum[]): void {
  for (const row of rows) {
    const key = JSON.stringify([row.type, row.target]);
    const before = sums.get(key);
    sums.set(key, {
      ...row,
      count: row.count + (before?.count ?? 0),
      last_expires_at: Math.max(row.last_expires_at, before?.last_expires_at ?? 0),
    });
  }
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

export function optional<Row, T>(row: Row | undefined, read: (row: Row) => T): T | null {
  return row === undefined ? null : read(row);
}
