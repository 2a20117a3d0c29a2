/** Reads of leases. */
import type { ProviderEntry } from '../../domain/authority/index.ts';
import type { JsonObject } from '../../domain/json.ts';
import { LEASE_STATES, type LeaseRecord } from '../../ports.ts';
import type { Connection } from '../writes/context.ts';

interface LeaseRow extends Omit<LeaseRecord, 'state' | 'entry' | 'revocation'> {
  readonly state: number;
  readonly entry: string;
  readonly revocation: string;
}

export interface LeaseReads {
  leases(mission_id: string): readonly LeaseRecord[];
  leasesDue(type: string, now: number, limit: number): readonly LeaseRecord[];
  openLeases(type: string, target: string, limit: number): readonly LeaseRecord[];
}

export function leaseReads(db: Connection): LeaseReads {
  const ofMission = db.prepare<[string], LeaseRow>(
    'select * from leases where mission_id = ? order by created_at, id',
  );
  const due = db.prepare<[number, string, number], LeaseRow>(
    'select * from leases where state < 3 and next_at <= ? and type = ? order by next_at limit ?',
  );
  const open = db.prepare<[string, string, number], LeaseRow>(
    'select * from leases where state < 3 and type = ? and target = ? order by created_at, id limit ?',
  );
  return {
    openLeases: (type, target, limit) => open.all(type, target, limit).map(fromRow),
    leases: (mission_id) => ofMission.all(mission_id).map(fromRow),
    leasesDue: (type, now, limit) => due.all(now, type, limit).map(fromRow),
  };
}

function fromRow(row: LeaseRow): LeaseRecord {
  const state = LEASE_STATES[row.state];
  if (state === undefined) throw new Error(`lease ${row.id} is in no known state`);
  return {
    ...row,
    state,
    entry: JSON.parse(row.entry) as ProviderEntry,
    revocation: JSON.parse(row.revocation) as JsonObject,
  };
}
