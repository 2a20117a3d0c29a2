/** Leases: what was handed out in other systems. Missions reach them through triggers; see the migration. */
import { LEASE_STATES } from '../../ports.ts';
import { Conflicted, type Connection, exactlyOne, type Handlers, insertOnce } from './context.ts';

type Kinds = 'insert_lease' | 'update_lease' | 'require_open_leases';

export function leaseWrites(db: Connection): Handlers<Kinds> {
  const insert = db.prepare(
    `insert into leases (id, mission_id, credential_id, type, target, state, entry, revocation, created_at,
      expires_at, next_at, attempts, last_error, ended_at) values (@id, @mission_id, @credential_id, @type,
      @target, @state, @entry, @revocation, @created_at, @expires_at, @next_at, @attempts, @last_error, @ended_at)`,
  );
  const update = db.prepare(
    `update leases set state = coalesce(@state, state), revocation = coalesce(@revocation, revocation),
      expires_at = coalesce(@expires_at, expires_at), next_at = coalesce(@next_at, next_at),
      attempts = coalesce(@attempts, attempts), last_error = coalesce(@last_error, last_error),
      ended_at = coalesce(@ended_at, ended_at)
     where id = @id and state in (select value from json_each(@from))`,
  );
  const open = db
    .prepare<[string], string>('select id from leases where mission_id = ? and state < 2 order by id')
    .pluck();
  return {
    require_open_leases: ({ mission_id, ids }) => {
      const found = open.all(mission_id);
      const expected = [...ids].sort();
      if (found.length !== expected.length || found.some((id, at) => id !== expected[at]))
        throw new Conflicted('wrong_version');
    },
    insert_lease: ({ lease }) => {
      insertOnce(() =>
        insert.run({
          ...lease,
          state: LEASE_STATES.indexOf(lease.state),
          entry: JSON.stringify(lease.entry),
          revocation: JSON.stringify(lease.revocation),
        }),
      );
    },
    update_lease: ({ id, from, set }) => {
      const { changes } = update.run({
        id,
        from: JSON.stringify(from.map((state) => LEASE_STATES.indexOf(state))),
        state: set.state === undefined ? null : LEASE_STATES.indexOf(set.state),
        revocation: set.revocation === undefined ? null : JSON.stringify(set.revocation),
        expires_at: set.expires_at ?? null,
        next_at: set.next_at ?? null,
        attempts: set.attempts ?? null,
        last_error: set.last_error ?? null,
        ended_at: set.ended_at ?? null,
      });
      exactlyOne(changes, 'wrong_state');
    },
  };
}
