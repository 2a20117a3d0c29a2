/** Verifiers' reports: one row a batch, and one small row for each mission that it speaks of. */
import { rowNumberOf, unpackReport } from '../packing.ts';
import { type Connection, type Handlers, insertOnce } from './context.ts';

type Kinds = 'insert_report';

/** Missions whose key is remembered: the same ones come again with every batch. */
const REMEMBERED = 20_000;

/** Key of a mission in the index. Two missions that share one only cost a look into a batch too many. */
export function missionKeyOf(mission_id: string): bigint {
  return rowNumberOf('report-mission', mission_id);
}

export function reportWrites(db: Connection): Handlers<Kinds> {
  const insertBatch = db.prepare(
    `insert into report_batches (digest, kind, verifier_id, instance_id, audience, received_at, bundle_version,
      count, denials, missions, body) values (@digest, @kind, @verifier_id, @instance_id, @audience,
      @received_at, @bundle_version, @count, @denials, @missions, @body)`,
  );
  const insertMission = db.prepare<[bigint, number | bigint]>(
    'insert into report_missions (mission_key, batch_n) values (?, ?)',
  );
  const addToSource = db.prepare(
    `insert into report_sources (verifier_id, instance_id, batches, events, dropped_foreign, dropped_malformed,
      lost, last_at)
     values (@verifier_id, @instance_id, 1, @count, @foreign, @malformed, @lost, @received_at)
     on conflict (verifier_id, instance_id) do update set batches = batches + 1, events = events + @count,
      dropped_foreign = dropped_foreign + @foreign, dropped_malformed = dropped_malformed + @malformed,
      lost = max(lost, @lost), last_at = @received_at`,
  );
  const keys = new Map<string, bigint>();

  function keyOf(mission_id: string): bigint {
    const known = keys.get(mission_id);
    if (known !== undefined) return known;
    if (keys.size >= REMEMBERED) keys.clear();
    const key = missionKeyOf(mission_id);
    keys.set(mission_id, key);
    return key;
  }

  return {
    insert_report: ({ report, dropped, lost }) => {
      // In the order of the index, so that neighbours share its pages.
      const missions = BigInt64Array.from(new Set(report.missions.map(keyOf))).sort();
      const { digest, body } = unpackReport(report);
      let batch_n: number | bigint = 0;
      insertOnce(() => {
        batch_n = insertBatch.run({
          digest,
          kind: report.kind === 'decisions' ? 0 : 1,
          verifier_id: report.verifier_id,
          instance_id: report.instance_id,
          audience: report.audience,
          received_at: report.received_at,
          bundle_version: report.bundle_version,
          count: report.count,
          denials: report.denials,
          missions: Buffer.from(missions.buffer),
          body,
        }).lastInsertRowid;
      }, 'repeated');
      for (const key of missions) insertMission.run(key, batch_n);
      addToSource.run({
        verifier_id: report.verifier_id,
        instance_id: report.instance_id,
        count: report.count,
        foreign: dropped.foreign,
        malformed: dropped.malformed,
        lost,
        received_at: report.received_at,
      });
    },
  };
}
