/** Reads of histories of destinations. */
import type { DestinationHistory, LearnedDestination } from '../../behaviour/history.ts';
import type { HistoryScope, HistorySummary, Store } from '../../ports.ts';
import type { Connection } from '../writes/context.ts';

const SUMMARIES = 1000;

export interface HistoryReads {
  history(scope: HistoryScope): DestinationHistory;
  histories(query: Parameters<Store['histories']>[0]): readonly HistorySummary[];
}

export function historyReads(db: Connection): HistoryReads {
  const find = db.prepare<Record<string, unknown>, { n: number; version: number }>(
    `select n, version from histories
     where template_id = @template_id and agent = @agent and audience = @audience`,
  );
  const destinations = db.prepare<[number], LearnedDestination & { readonly digest: string }>(
    `select digest, first_seen, last_seen, missions, days from history_destinations where history_n = ?`,
  );
  const summaries = db.prepare<Record<string, unknown>, HistorySummary>(
    `select template_id, agent, audience, version,
      (select count(*) from history_destinations d where d.history_n = h.n) as destinations
     from histories h where (@template_id is null or template_id = @template_id)
      and (@agent is null or agent = @agent) order by template_id, agent, audience limit ${SUMMARIES}`,
  );
  return {
    history(scope) {
      const found = find.get({ ...scope });
      if (found === undefined) return { version: 0, learned: new Map() };
      const learned = destinations.all(found.n).map(({ digest, ...rest }) => [digest, rest] as const);
      return { version: found.version, learned: new Map(learned) };
    },
    histories: ({ template_id, agent }) =>
      summaries.all({ template_id: template_id ?? null, agent: agent ?? null }),
  };
}
