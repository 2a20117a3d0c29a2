/** Histories of destinations: what clean missions teach, and what is forgotten. */
import { type Connection, exactlyOne, type Handlers } from './context.ts';

type Kinds = 'save_history';

export function historyWrites(db: Connection): Handlers<Kinds> {
  const begin = db.prepare(
    `insert into histories (template_id, agent, audience, version) values (@template_id, @agent, @audience, 1)
     on conflict do nothing`,
  );
  const advance = db.prepare(
    `update histories set version = @version where template_id = @template_id and agent = @agent
      and audience = @audience and version = @version - 1`,
  );
  const numberOf = db.prepare<Record<string, unknown>, { n: number }>(
    'select n from histories where template_id = @template_id and agent = @agent and audience = @audience',
  );
  const learn = db.prepare(
    `insert into history_destinations (history_n, digest, first_seen, last_seen, missions, days)
     values (@history_n, @digest, @first_seen, @last_seen, @missions, @days)
     on conflict (history_n, digest) do update set first_seen = excluded.first_seen,
      last_seen = excluded.last_seen, missions = excluded.missions, days = excluded.days`,
  );
  const forget = db.prepare(
    'delete from history_destinations where history_n = @history_n and digest = @digest',
  );

  return {
    save_history: ({ scope, version, learned, forgotten }) => {
      const row = { ...scope, version };
      const { changes } = version === 1 ? begin.run({ ...scope }) : advance.run(row);
      exactlyOne(changes, 'wrong_version');
      const history_n = numberOf.get({ ...scope })?.n;
      for (const digest of forgotten) forget.run({ history_n, digest });
      for (const [digest, destination] of learned) learn.run({ history_n, digest, ...destination });
    },
  };
}
