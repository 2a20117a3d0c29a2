/** What may happen once, so often, or not while blocked. */
import { packDigest, rowNumberOf } from '../packing.ts';
import { Conflicted, type Connection, type Handlers, insertOnce } from './context.ts';

type Kinds = 'use_once' | 'pin_evidence' | 'take_rate' | 'require_unblocked' | 'insert_event_id';

/** Arrival times are sums of fractions: a unit due now must not be refused for their last bit. */
const ROUNDING_SECONDS = 1e-6;

export function onceWrites(db: Connection): Handlers<Kinds> {
  const use = db.prepare<[bigint, number]>('insert into once_ids (digest, expires_at) values (?, ?)');
  const keys = db.prepare<[Buffer], { jkt: Buffer }>('select jkt from evidence_pins where digest = ?');
  const pin = db.prepare<[Buffer, Buffer, number]>(
    'insert into evidence_pins (digest, jkt, expires_at) values (?, ?, ?)',
  );
  const rate = db.prepare<[string], { tat: number }>('select tat from rates where key = ?');
  const setRate = db.prepare<[string, number]>(
    'insert into rates (key, tat) values (?, ?) on conflict (key) do update set tat = excluded.tat',
  );
  const blocked = db.prepare<[string, string, number]>(
    `select 1 from blocks where selector_kind = ? and selector_key = ? and lifted_at is null
     and (until is null or until > ?) limit 1`,
  );
  const event = db.prepare<[string, number]>('insert into event_ids (event_id, at) values (?, ?)');

  return {
    use_once: ({ space, id, expires_at }) => {
      insertOnce(() => use.run(rowNumberOf(space, id), expires_at), 'replayed');
    },
    pin_evidence: ({ digest, jkt, max_keys, expires_at }) => {
      const [packed, key] = [packDigest(digest), packDigest(jkt)];
      const held = keys.all(packed);
      if (held.some((row) => row.jkt.equals(key))) return;
      if (held.length >= max_keys) throw new Conflicted('evidence_pinned');
      pin.run(packed, key, expires_at);
    },
    take_rate: ({ key, at, interval_seconds, burst }) => {
      const tat = Math.max(rate.get(key)?.tat ?? at, at);
      if (tat - at > (burst - 1) * interval_seconds + ROUNDING_SECONDS) throw new Conflicted('rate_limited');
      setRate.run(key, tat + interval_seconds);
    },
    require_unblocked: ({ selectors, at }) => {
      for (const { kind, key } of selectors) {
        if (blocked.get(kind, key, at) !== undefined) throw new Conflicted('blocked');
      }
    },
    insert_event_id: ({ event_id, at }) => {
      insertOnce(() => event.run(event_id, at), 'repeated');
    },
  };
}
