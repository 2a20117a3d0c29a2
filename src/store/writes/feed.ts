/** Credentials, and the revocation log that must reach whoever could meet one of them. */
import type { FeedKind } from '../../domain/revocation.ts';
import type { StoredFeedEntry } from '../../ports.ts';
import { packDigest } from '../packing.ts';
import { audienceQuery, selectorParameters } from '../selection.ts';
import {
  Conflicted,
  type Connection,
  exactlyOne,
  type Handlers,
  insertOnce,
  type WriteOf,
} from './context.ts';
import type { Interned } from './interned.ts';

type Kinds = 'insert_credential' | 'revoke_credential' | 'append_feed';

/** `audience_n` of an entry for every audience. */
const EVERY_AUDIENCE = 0;
/** A guard's clock may be this far behind: a token that just ended here may still be alive there. */
const CLOCK_LEEWAY_SECONDS = 60;

export function feedWrites(db: Connection, names: Interned): Handlers<Kinds> {
  const mission = db.prepare<[string], { n: number; ground_n: number; jkt: Buffer }>(
    'select n, ground_n, jkt from missions where id = ?',
  );
  const insert = db.prepare(
    `insert into credentials (id, mission_n, type_n, target_n, jkt, issued_at, expires_at, revoked_at)
     values (@id, @mission_n, @type_n, @target_n, @jkt, @issued_at, @expires_at, @revoked_at)`,
  );
  const reachOfMission = db.prepare(
    `insert into mission_audiences (mission_n, audience_n, last_exp) values (@mission_n, @target_n, @expires_at)
     on conflict (mission_n, audience_n) do update set last_exp = excluded.last_exp
     where excluded.last_exp > last_exp`,
  );
  const reachOfGround = db.prepare(
    `insert into ground_audiences (ground_n, audience_n, last_exp) values (@ground_n, @target_n, @expires_at)
     on conflict (ground_n, audience_n) do update set last_exp = excluded.last_exp
     where excluded.last_exp > last_exp`,
  );
  const revoke = db.prepare<[number, string]>(
    'update credentials set revoked_at = ? where id = ? and revoked_at is null',
  );
  const append = db.prepare(
    `insert into feed_entries (ts, kind, key, effect, issued_before, min_version, not_after, reason_code)
     values (@ts, @kind, @key, @effect, @issued_before, @min_version, @not_after, @reason_code)`,
  );
  const address = db.prepare<[number, number]>('insert into feed_audiences (audience_n, seq) values (?, ?)');
  type Reach = ReturnType<typeof db.prepare<Record<string, unknown>, { n: number }>>;
  const reaches = new Map<FeedKind, Reach>();

  function reachOf(kind: FeedKind): Reach | null {
    const prepared = reaches.get(kind);
    if (prepared !== undefined) return prepared;
    const query = audienceQuery(kind);
    if (query === null) return null;
    const statement = db.prepare<Record<string, unknown>, { n: number }>(query);
    reaches.set(kind, statement);
    return statement;
  }

  function appendFeed({ entry, to }: WriteOf<'append_feed'>): StoredFeedEntry | null {
    const reach = to === 'all' ? null : reachOf(entry.kind);
    const audiences =
      reach === null
        ? [EVERY_AUDIENCE]
        : reach
            .all({ ...selectorParameters(entry.key), alive_after: entry.ts - CLOCK_LEEWAY_SECONDS })
            .map(({ n }) => n);
    if (audiences.length === 0) return null;
    const { lastInsertRowid } = append.run({
      ...entry,
      issued_before: entry.issued_before ?? null,
      min_version: entry.min_version ?? null,
    });
    const seq = Number(lastInsertRowid);
    for (const audience of audiences) address.run(audience, seq);
    return { ...entry, seq, audiences: reach === null ? null : audiences.map(names.nameOf).sort() };
  }

  return {
    insert_credential: ({ credential }) => {
      const owner = mission.get(credential.mission_id);
      if (owner === undefined) throw new Conflicted('mission_not_found');
      const jkt = packDigest(credential.jkt);
      const row = {
        id: credential.id,
        mission_n: owner.n,
        ground_n: owner.ground_n,
        type_n: names.name(credential.type),
        target_n: names.name(credential.target),
        jkt: jkt.equals(owner.jkt) ? null : jkt,
        issued_at: credential.issued_at,
        expires_at: credential.expires_at,
        revoked_at: credential.revoked_at,
      };
      insertOnce(() => insert.run(row));
      // Every type counts as reach: an audience too many hears of an entry in vain, one too few would not hear.
      reachOfMission.run(row);
      reachOfGround.run(row);
    },
    revoke_credential: ({ id, at }) => exactlyOne(revoke.run(at, id).changes, 'wrong_state'),
    append_feed: (write, effects) => {
      const entry = appendFeed(write);
      if (entry !== null) effects.feed.push(entry);
    },
  };
}
