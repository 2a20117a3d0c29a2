/** Writes that create missions and move them through their life. */
import { MISSION_STATES, type Mission, type MissionEvent, nextState, stateAt } from '../../domain/mission.ts';
import { keyOf, packDigest, packDigests } from '../packing.ts';
import { BORN_TAINTED, TAINTED_LATER } from '../rows.ts';
import { missionClause } from '../selection.ts';
import { Conflicted, type Connection, type Effects, type Handlers, isUniqueViolation } from './context.ts';
import type { Interned } from './interned.ts';
import { type LifecycleRow, lifecycle, stateNumber } from './lifecycle.ts';
import { tree } from './tree.ts';

type Kinds =
  | 'insert_mission'
  | 'require_active'
  | 'derive'
  | 'transition'
  | 'transition_all'
  | 'contain'
  | 'taint'
  | 'require_active_below'
  | 'require_fan_out'
  | 'require_tree';

const ACTIVE = stateNumber('active');

/** Digest under which a creation request is unique (wire profile 2, Idempotency). */
export function creationKey(agent: string, jkt: string, creation_request_id: string): Buffer {
  return keyOf('creation', agent, jkt, creation_request_id);
}

interface StandingRow {
  n: number;
  state: number;
  version: number;
  expires_at: number;
  derivations: number;
  max_derivations: number | null;
}

export function missionWrites(db: Connection, names: Interned): Handlers<Kinds> {
  const life = lifecycle(db);
  const { derivedBelow, above, require_fan_out, require_tree } = tree(db);
  const insert = db.prepare(
    `insert into missions (id, ground_n, state, version, created_at, expires_at, state_since, state_reason,
      instance, jkt, path, digests, goal, intent, proposal, authority, containments,
      status_list, status_index, derivations, max_derivations, tainted,
      last_attested_at, attest_due_at, creation_request_id, creation_key)
     values (@id, @ground_n, @state, @version, @created_at, @expires_at, @state_since, @state_reason,
      @instance, @jkt, @path, @digests, @goal, @intent, @proposal, @authority, @containments,
      @status_list, @status_index, @derivations,
      @max_derivations, @tainted, @last_attested_at, @attest_due_at, @creation_request_id,
      @creation_key)`,
  );
  const taintedInstance = db.prepare<{ key: string }>(
    `select 1 from missions m where ${missionClause('instance')} and m.tainted <> 0 limit 1`,
  );
  const taintedParent = db.prepare<[string | null]>('select 1 from missions where id = ? and tainted <> 0');
  const isTaintedBefore = ({ instance, parent_id }: Mission): boolean =>
    taintedInstance.get({ key: instance }) !== undefined || taintedParent.get(parent_id) !== undefined;
  const taint = db.prepare<{ id: string; later: number }>(
    'update missions set tainted = @later where id = @id and tainted = 0',
  );
  const standing = db.prepare<[string], StandingRow>(
    'select n, state, version, expires_at, derivations, max_derivations from missions where id = ?',
  );
  const addAncestor = db.prepare<[number, number]>(
    'insert into mission_ancestors (ancestor_n, mission_n) values (?, ?)',
  );
  const derive = db.prepare<[number]>('update missions set derivations = derivations + 1 where n = ?');
  const deriveAttested = db.prepare<{ n: number; at: number }>(
    `update missions set derivations = derivations + 1, last_attested_at = @at,
      attest_due_at = @at + (select attest_every_seconds from grounds where grounds.n = ground_n)
     where n = @n`,
  );
  const contain = db.prepare(
    `update missions set containments = @containments, expires_at = min(expires_at, @expires_at),
      version = version + 1 where n = @n`,
  );

  /** A child under a parent that is ending would escape the cascade: its whole line must stand. */
  function standingAncestors(mission: Mission): number[] {
    const line = mission.path.slice(0, -1);
    if (mission.parent_id !== (line.at(-1) ?? null)) throw new Error('parent_id is not the end of path');
    return line.map((id) => {
      const row = standing.get(id);
      if (row === undefined || row.state !== ACTIVE || row.expires_at <= mission.created_at) {
        throw new Conflicted('mission_not_active');
      }
      return row.n;
    });
  }

  function insertMission(mission: Mission): void {
    const ancestors = standingAncestors(mission);
    const { goal, ...intent } = mission.intent;
    const authority = JSON.stringify(mission.authority);
    const proposal = mission.proposal === null ? null : JSON.stringify(mission.proposal);
    let n: number;
    try {
      n = Number(
        insert.run({
          id: mission.id,
          ground_n: names.ground(mission),
          state: stateNumber(mission.state),
          version: mission.version,
          created_at: mission.created_at,
          expires_at: mission.expires_at,
          state_since: mission.state_since,
          state_reason: mission.state_reason,
          instance: mission.instance,
          jkt: packDigest(mission.jkt),
          path: ancestors.length === 0 ? null : JSON.stringify(mission.path),
          digests: packDigests([
            mission.evidence_digest,
            mission.intent_hash,
            mission.proposal_hash,
            mission.authority_hash,
            mission.creation_fingerprint,
          ]),
          goal,
          intent: JSON.stringify(intent),
          // Most missions get what they ask for: one text then, not two.
          proposal: proposal === authority ? '' : proposal,
          authority,
          containments: mission.containments.length === 0 ? null : JSON.stringify(mission.containments),
          status_list: mission.status_list,
          status_index: mission.status_index,
          derivations: mission.derivations,
          max_derivations: mission.max_derivations,
          // In the same transaction: a mark that is durable by now taints whatever the instance declares after it.
          tainted: mission.tainted || isTaintedBefore(mission) ? BORN_TAINTED : 0,
          last_attested_at: mission.last_attested_at,
          attest_due_at: mission.last_attested_at + mission.attest_every_seconds,
          creation_request_id: mission.creation_request_id,
          creation_key:
            mission.creation_request_id === null
              ? null
              : creationKey(mission.agent, mission.jkt, mission.creation_request_id),
        }).lastInsertRowid,
      );
    } catch (error) {
      if (!isUniqueViolation(error)) throw error;
      throw new Conflicted(error.message.includes('status_index') ? 'slot_taken' : 'duplicate');
    }
    for (const ancestor of ancestors) addAncestor.run(ancestor, n);
    derivedBelow(ancestors, mission.derivations);
    if (stateNumber(mission.state) <= stateNumber('suspended')) life.count(mission.template.id, 1);
  }

  function requireActive(id: string, at: number): StandingRow {
    const row = standing.get(id);
    if (row === undefined || row.state !== ACTIVE || row.expires_at <= at) {
      throw new Conflicted('mission_not_active');
    }
    return row;
  }

  function step(row: LifecycleRow, event: MissionEvent, at: number, reason: string, effects: Effects): void {
    const from = MISSION_STATES[row.state];
    const to = from === undefined ? null : nextState(from, event);
    if (to === null) throw new Conflicted('wrong_state');
    life.move(row, to, at, reason, effects.changed_missions);
  }

  return {
    insert_mission: ({ mission }) => insertMission(mission),
    require_active: ({ id, at, version }) => {
      const row = requireActive(id, at);
      if (version !== undefined && row.version !== version) throw new Conflicted('mission_not_active');
    },
    derive: ({ id, at, version, attested }) => {
      const row = requireActive(id, at);
      if (row.version !== version) throw new Conflicted('wrong_version');
      if (row.max_derivations !== null && row.derivations >= row.max_derivations) {
        throw new Conflicted('derivations_exhausted');
      }
      derivedBelow(above(row.n), 1);
      if (attested) deriveAttested.run({ n: row.n, at });
      else derive.run(row.n);
    },
    transition: ({ id, event, at, reason, expected_version }, effects) => {
      const row = life.find(id);
      if (row === null) throw new Conflicted('mission_not_found');
      if (expected_version !== undefined && row.version !== expected_version) {
        throw new Conflicted('wrong_version');
      }
      // The clock judges first: what has run out can only be recorded as such.
      const overdue = row.expires_at <= at && event !== 'expire' && event !== 'cascade';
      if (overdue) throw new Conflicted('wrong_state');
      step(row, event, at, reason, effects);
    },
    transition_all: ({ selector, event, at, reason, limit }, effects) => {
      for (const row of life.matching(selector, event, at, limit ?? Number.POSITIVE_INFINITY)) {
        step(row, event, at, reason, effects);
      }
    },
    contain: ({ id, at, expected_version, containments, expires_at }) => {
      const row = standing.get(id);
      if (row === undefined) throw new Conflicted('mission_not_found');
      if (row.version !== expected_version) throw new Conflicted('wrong_version');
      const state = MISSION_STATES[row.state];
      const now = state === undefined ? 'expired' : stateAt({ state, expires_at: row.expires_at }, at);
      if (now !== 'active' && now !== 'suspended') throw new Conflicted('wrong_state');
      contain.run({ n: row.n, containments: JSON.stringify(containments), expires_at });
    },
    taint: ({ id }) => {
      taint.run({ id, later: TAINTED_LATER });
    },
    require_fan_out,
    require_tree,
    require_active_below: ({ template_id, max, at }) => {
      if (life.liveBelow(template_id, max, at)) return;
      throw new Conflicted('max_active_reached');
    },
  };
}
